"""What must not hold up the stream of points: error code, joint velocity, gripper, and whether the stop line lives.

A named thread with a connection of its own asks for them in turn. Called by the arm.
"""

import logging
import threading
import time
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import numpy as np

from bridge.xarm import units
from bridge.xarm.config import XArmConfig
from bridge.xarm.link import Line
from bridge.xarm.stop_line import StopLine
from core.arrays import Floats
from core.errors import DeviceError

log = logging.getLogger(__name__)
_ROUND_S = 0.02
"""Pause between two rounds [s]."""
_GRIPPER_ROUNDS = 3
"""The gripper's position is asked for in one round of so many."""
_PROBE_S = 1.0
"""The stop line is proven to work this often [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideReading:
    """What the side line knows."""

    t_ns: int
    """When the box last answered [ns]; 0 never."""
    error: int = 0
    """The controller's error code, 0 when there is none."""
    joint_vel: Floats
    """Shape (7,) [rad/s]."""
    opening: float = 1.0
    """Measured, or the last known."""
    gripper_trouble: str = ""
    """Why the gripper does not answer or obey, "" when it does."""
    stop_trouble: str = ""
    """Why the stop line cannot be counted on, "" when it can."""


class SideLine:
    """The slow conversation with the box; runs while it is entered.

    Args:
        config: How to link.
        stop_line: Proven to work now and then.
    """

    def __init__(self, config: XArmConfig, stop_line: StopLine) -> None:
        self._config, self._stop_line = config, stop_line
        self._line = Line(config)
        self._over, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="xarm side line", daemon=True)
        self._wanted: int | None = None
        self._sent: int | None = None
        self._readied = False
        self._rounds, self._probed_s = 0, 0.0
        self.reading = SideReading(t_ns=0, joint_vel=np.zeros(7))
        """The newest answers."""

    def __enter__(self) -> Self:
        self._line.__enter__()
        self._ask()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._wake.set()
        self._thread.join(timeout=3.0)
        if self._thread.is_alive():
            log.warning("thread %s still waits for the box and was left behind", self._thread.name)
        self._line.__exit__(kind, error, tb)

    def grip(self, opening: float) -> None:
        """Asks for an opening [0, 1]; returns at once, the newest wish wins, and only changes are sent."""
        wanted = units.counts(opening)
        if wanted != self._wanted:
            self._wanted = wanted
            self._wake.set()

    def forget_grip(self) -> None:
        """Drops a wish that was not sent yet, and readies the gripper again before the next: it keeps what it has."""
        self._wanted = self._sent = None
        self._readied = False

    def note_error(self, code: int) -> None:
        """Takes the controller's error code from whoever asked for it."""
        self.reading = replace(self.reading, error=code)

    def _run(self) -> None:
        while not self._over.is_set():
            self._wake.wait(_ROUND_S)
            self._wake.clear()
            try:
                self._ask()
            except DeviceError as error:
                log.debug("side line: %s", error)

    def _ask(self) -> None:
        """One round; raises `DeviceError` when the box does not answer."""
        error = self._line.error_code()
        vel = self._line.asked("read joint velocities", lambda: self._line.api.get_joint_states(num=2))[1]
        self.reading = replace(
            self.reading, t_ns=time.monotonic_ns(), error=error, joint_vel=np.nan_to_num(np.array(vel[:7]))
        )
        self._prove_stop_line()
        if self._config.gripper:
            self._rounds += 1
            self._talk_to_gripper()

    def _prove_stop_line(self) -> None:
        if time.monotonic() - self._probed_s < _PROBE_S:
            return
        self._probed_s, trouble = time.monotonic(), ""
        try:
            self._stop_line.probe()
        except DeviceError as error:
            trouble = str(error)
        self.reading = replace(self.reading, stop_trouble=trouble)

    def _talk_to_gripper(self) -> None:
        """Sends a changed wish and asks for the position; trouble is noted, for the arm goes on without."""
        try:
            wanted = self._wanted
            if wanted is not None and wanted != self._sent and not self._config.readonly:
                self._send(wanted)
            elif self._rounds % _GRIPPER_ROUNDS:
                return
            count = self._line.asked("read the gripper", self._line.api.get_gripper_position)
        except DeviceError as error:
            self.reading = replace(self.reading, gripper_trouble=str(error))
            return
        measured = self.reading.opening if count is None else units.opening(float(count))
        self.reading = replace(self.reading, opening=measured, gripper_trouble="")

    def _send(self, wanted: int) -> None:
        api, told = self._line.api, self._line.told
        if not self._readied:
            told("enable the gripper", lambda: int(api.set_gripper_enable(True)))
            told("set the gripper's mode", lambda: int(api.set_gripper_mode(0)))
            told("set the gripper's speed", lambda: int(api.set_gripper_speed(self._config.gripper_rpm)))
            self._readied = True
        told("move the gripper", lambda: int(api.set_gripper_position(wanted, wait=False, wait_motion=False)))
        self._sent = wanted
