"""Sends points through the wall, one a beat, notices stalls, and goes on from rest after them. Called by the arm."""

import threading
import time

import numpy as np

from bridge.xarm.config import XArmConfig
from bridge.xarm.links import Links
from bridge.xarm.wall import JointWall
from core.arrays import Floats, floats
from core.errors import DeviceNotConnected, DeviceTimeout

EARLY_SHARE = 0.4
"""A call sooner after the last point than this share of a beat sends nothing: it would make the arm faster."""
PAUSE_BEATS = 5.0
"""After a silence of so many beats the arm has come to rest at the last point by itself."""
MOVED_RAD = 0.02
"""A resting arm farther than this from the last point was moved by something else [rad]."""
RESTING_RAD_S = 0.05
"""Joints slower than this rest [rad/s]."""


class Streamer:
    """One arm's stream of points. Its `lock` is held by whoever talks on the main line.

    Args:
        config: Of the arm.
    """

    def __init__(self, config: XArmConfig) -> None:
        self._config = config
        self._wall = JointWall(config.wall, config.beat_s)
        self._links: Links | None = None
        self._sent_ns = 0
        self._clipped: tuple[str, ...] = ()
        self._slowest_s = 0.0
        self.lock = threading.RLock()
        """Held during every call on the main line."""
        self.holding = False
        """Whether the stream is being braked."""
        self.stalls = 0
        """Points that took too long since linking."""

    @property
    def at_rest(self) -> bool:
        """Whether the last points did not move."""
        return bool(self._wall.at_rest.all())

    def use(self, links: Links) -> None:
        """Streams to `links` from now on; nothing is sent before `restart`."""
        self._links, self.stalls, self._clipped, self._slowest_s = links, 0, (), 0.0

    def restart(self) -> None:
        """Starts at rest at the pose that is measured now, and sends it as the first point.

        Raises:
            DeviceError: Nothing is measured, or the point was refused.
        """
        with self.lock:
            here = self._require_links().main.fresh(1.0).joint_pos
            self._wall.seed(here[None])
            self.holding = False
            self._send(here)

    def follow(self, target: Floats) -> Floats:
        """Sends the next point on the way to `target` (J,) [rad] and returns it; raises `DeviceError`."""
        with self.lock:
            reading = self._require_links().reading()
            asked = floats("joint_target [rad]", target, reading.joint_pos.shape, finite=False)[None]
            self.holding = False
            if self._early():
                return np.asarray(self._wall.position[0])
            self._after_pause()
            wrench = reading.wrench[None] if self._config.force_sensor else None
            walled = self._wall.follow(asked, wrench=wrench, measured=reading.joint_pos[None])
            self._clipped = walled.names()
            self._send(walled.target[0])
            return np.asarray(walled.target[0])

    def brake(self) -> bool:
        """Sends the next point of coming to rest, if it is to; returns whether there are more. Raises `DeviceError`."""
        with self.lock:
            if not self.holding:
                return False
            if not self._early():
                self._after_pause()
                self._send(self._wall.hold().target[0])
            return not self.at_rest

    def details(self) -> dict[str, str]:
        """Returns what the wall did last, for people."""
        return {"wall": " ".join(self._clipped) or "free", "slowest point [ms]": f"{self._slowest_s * 1e3:.1f}"}

    def _send(self, point: Floats) -> None:
        main, config = self._require_links().main, self._config
        values = [float(value) for value in point]
        speed, acceleration = config.wall.joint_speed, config.wall.joint_acceleration
        try:
            if config.motion == "servo":
                took_s = main.told("stream", lambda: int(main.api.set_servo_angle_j(values)))
            else:
                took_s = main.told(
                    "stream",
                    lambda: int(main.api.set_servo_angle(angle=values, speed=speed, mvacc=acceleration, wait=False)),
                )
        except DeviceTimeout:
            self.stalls += 1
            raise
        self.stalls += took_s > config.stall_s
        self._slowest_s = max(self._slowest_s, took_s)
        self._sent_ns = time.monotonic_ns()

    def _early(self) -> bool:
        return time.monotonic_ns() - self._sent_ns < EARLY_SHARE * self._config.beat_s * 1e9

    def _after_pause(self) -> None:
        """Goes on from rest after a silence: from the last point, or from where the arm is if it was moved."""
        links = self._require_links()
        if time.monotonic_ns() - self._sent_ns < PAUSE_BEATS * self._config.beat_s * 1e9:
            return
        last, here = self._wall.position, links.reading().joint_pos[None]
        moved = float(np.abs(here - last).max()) > MOVED_RAD
        resting = float(np.abs(links.side.reading.joint_vel).max()) < RESTING_RAD_S
        self._wall.seed(here if moved and resting else last)

    def _require_links(self) -> Links:
        if self._links is None:
            raise DeviceNotConnected("not linked", device=self._config.device, remedy="enter the arm with `with`")
        return self._links
