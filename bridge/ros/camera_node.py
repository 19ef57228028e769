"""The camera node: pictures to topics and to the runtime's shared memory. Executable `camera`.

One process may serve several cameras. The runtime reads the rings; topics are for people, recorders and other hosts and
are published only while somebody listens.
"""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from bridge.realtime import enter_realtime
from bridge.ros import messages, qos
from bridge.ros.camera_feed import CameraFeed
from bridge.ros.camera_info import read_camera_info
from bridge.ros.camera_source import DeviceCamera, FrameSource, TwinCamera
from bridge.ros.camera_topic import TopicCamera
from bridge.ros.node import LOG_FORMAT, Shell, opened
from bridge.ros.parameters import parameter
from bridge.sight import Frame
from core.errors import ConfigError, DeviceNotConnected, RegraspError

log = logging.getLogger(__name__)

BEAT_NS = 5_000_000
"""How often the feeds are looked at [ns]."""
TOPIC = "topic:"
"""What a source begins with that is another driver's image topic."""
PRIORITY = 30
"""Of SCHED_FIFO, where the user may: pictures must not wait for models, the arm must not wait for pictures."""
DONE, WRONG_USE = 0, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraNodeConfig:
    """Parameters of the camera node."""

    cameras: tuple[str, ...] = parameter(("front", "wrist"), says="Names of the cameras.")
    source: str = parameter("", says="The twin's control, http://HOST:PORT, for all cameras; `sources` when empty.")
    sources: tuple[str, ...] = parameter(
        (), says="One a camera: video device (0, /dev/video0), topic:NAME of another driver, or http://HOST:PORT."
    )
    width: int = parameter(640, says="Asked of video devices [px].", low=16, high=4096)
    height: int = parameter(480, says="Asked of video devices [px].", low=16, high=4096)
    rate_hz: float = parameter(30.0, says="Pictures per second [Hz].", low=1.0, high=120.0)
    ring_prefix: str = parameter("regrasp", says="Rings of images are named PREFIX-CAMERA.")
    silent_s: float = parameter(
        0.5, says="Without a picture for so long a camera is in error [s].", low=0.05, high=10.0
    )
    jpeg_quality: int = parameter(85, says="Of the compressed pictures.", low=10, high=100)
    calibrations: tuple[str, ...] = parameter((), says="One a camera: calibration file in ROS's YAML, or none at all.")
    link_s: float = parameter(10.0, says="How long configuring waits for every camera's first picture [s].", low=0.1,
                              high=60.0)  # fmt: skip


class CameraWork:
    """The camera node's work.

    Args:
        shell: Its node.
        config: Its parameters.

    Raises:
        ConfigError: Lists of different lengths, or no source.
    """

    def __init__(self, shell: Shell, config: CameraNodeConfig) -> None:
        self._shell, self._config = shell, config
        self._infos = _infos(config)
        self._feeds = {
            name: CameraFeed(name, f"{config.ring_prefix}-{name}", self._source(name, place))
            for name, place in _places(config).items()
        }
        self._outlets = {name: _Outlet(shell, name, self._infos.get(name), config.jpeg_quality) for name in self._feeds}
        self._open = ExitStack()
        self._counted = {name: (0, time.monotonic()) for name in self._feeds}

    def configure(self) -> None:
        """Opens every camera and waits for its first picture; raises `DeviceNotConnected` when one stays silent."""
        for feed in self._feeds.values():
            self._open.enter_context(feed)
        until = time.monotonic() + self._config.link_s
        while silent := [name for name, feed in self._feeds.items() if not feed.count]:
            if time.monotonic() > until or not self._shell.running:
                why = "; ".join(self._feeds[name].trouble for name in silent)
                raise DeviceNotConnected(
                    f"no picture of {', '.join(silent)}: {why}", device="camera node", remedy="check the sources"
                )
            time.sleep(0.02)
            self._shell.pulse(time.monotonic_ns())

    def activate(self) -> None:
        """Publishes from now on."""

    def deactivate(self) -> None:
        """Publishes no more; the rings go on until it is cleaned up."""

    def cleanup(self) -> None:
        """Closes cameras and rings."""
        self._open.close()

    def diagnose(self) -> Sequence[DiagnosticStatus]:
        """Returns how every camera is; a silent one is in error."""
        return [self._health(name, feed) for name, feed in self._feeds.items()]

    def beat(self) -> None:
        """Publishes what is new."""
        for name, feed in self._feeds.items():
            frame = feed.take()
            if frame is not None and self._shell.active:
                self._outlets[name].publish(frame)

    def _health(self, name: str, feed: CameraFeed) -> DiagnosticStatus:
        count, now = feed.count, time.monotonic()
        before, since = self._counted[name]
        self._counted[name] = count, now
        rate, silent_s = (count - before) / max(now - since, 1e-3), feed.silent_s()
        silent = silent_s > self._config.silent_s
        said = f"silent for {silent_s:.1f} s: {feed.trouble}" if silent else f"{rate:.1f} pictures a second"
        facts = {
            "rate [Hz]": f"{rate:.2f}",
            "age [s]": f"{silent_s:.3f}",
            "pictures": str(count),
            "trouble": feed.trouble,
        }
        level = DiagnosticStatus.ERROR if silent else DiagnosticStatus.OK
        return messages.status_message(f"camera {name}", level, said, facts, hardware=name)

    def _source(self, name: str, place: str) -> Callable[[], FrameSource]:
        given = self._config
        if place.startswith(TOPIC):
            topic = place.removeprefix(TOPIC)
            return lambda: TopicCamera(self._shell, name, topic)
        if place.startswith("http://"):
            return lambda: TwinCamera(place, name, given.rate_hz)
        return lambda: DeviceCamera(place, width=given.width, height=given.height, rate_hz=given.rate_hz)


class _Outlet:
    """One camera's topics."""

    def __init__(self, shell: Shell, name: str, info: CameraInfo | None, quality: int) -> None:
        self._shell, self._name, self._info, self._quality = shell, name, info, quality
        self._raw = shell.create_publisher(Image, f"camera/{name}/image_raw", qos.images())
        self._jpeg = shell.create_publisher(CompressedImage, f"camera/{name}/image_raw/compressed", qos.images())
        self._infos = shell.create_publisher(CameraInfo, f"camera/{name}/camera_info", qos.images()) if info else None

    def publish(self, frame: Frame) -> None:
        """Publishes one picture to whoever listens; its stamp is when it was taken, on the system's clock."""
        clock = self._shell.get_clock().now()
        age_ns = time.monotonic_ns() - frame.t_ns
        sec, nanosec = divmod(clock.nanoseconds - age_ns, 1_000_000_000)
        stamp = messages.stamp(sec, nanosec)
        if self._raw.get_subscription_count():
            self._raw.publish(messages.image_message(stamp, self._name, frame.image))
        if self._jpeg.get_subscription_count():
            whole, data = cv2.imencode(".jpg", frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self._quality])
            if whole:
                self._jpeg.publish(messages.jpeg_message(stamp, self._name, data.tobytes()))
        if self._infos is not None and self._info is not None:
            self._info.header.stamp, self._info.header.frame_id = stamp, f"camera_{self._name}"
            self._infos.publish(self._info)


def _places(config: CameraNodeConfig) -> dict[str, str]:
    places = (config.source,) * len(config.cameras) if config.source else config.sources
    if not config.cameras or len(places) != len(config.cameras):
        raise ConfigError(
            f"{len(config.cameras)} cameras {config.cameras} with {len(places)} sources {places}; "
            "give one source a camera in `sources`, or the twin's control in `source`"
        )
    return dict(zip(config.cameras, places, strict=True))


def _infos(config: CameraNodeConfig) -> dict[str, CameraInfo]:
    if not config.calibrations:
        return {}
    if len(config.calibrations) != len(config.cameras):
        raise ConfigError(
            f"{len(config.calibrations)} calibrations for {len(config.cameras)} cameras; one each or none"
        )
    pairs = zip(config.cameras, config.calibrations, strict=True)
    return {name: read_camera_info(Path(file)) for name, file in pairs}


def main() -> int:
    """Runs the process; returns its exit code."""
    cv2.setNumThreads(1)
    realtime = enter_realtime(PRIORITY)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    log.info("%s", realtime.line())
    try:
        with opened("camera", CameraNodeConfig, sys.argv) as (shell, config):
            work = CameraWork(shell, config)
            shell.attach(work)
            while shell.running:
                work.beat()
                now = time.monotonic_ns()
                shell.pulse(now)
                shell.serve_until(now + BEAT_NS)
    except RegraspError as error:
        print(f"camera: {error}", file=sys.stderr)  # noqa: T201, the process's answer
        return WRONG_USE
    return DONE


if __name__ == "__main__":
    sys.exit(main())
