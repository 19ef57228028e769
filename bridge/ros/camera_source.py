"""Where a camera node's pictures come from: the twin over HTTP, a video device, or another driver's topic's pictures.

A source is opened with `with` and read in a thread of its own (`bridge.ros.camera_feed`); a read never waits for ever.
"""

import http.client
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

import cv2
import numpy as np

from bridge.sight import Frame
from core.errors import ConfigError, DeviceError, DeviceNotConnected, DeviceTimeout

ANSWER_S = 2.0
"""Longest wait for a picture [s]."""


class FrameSource(Protocol):
    """One camera, linked by entering it."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def read(self) -> Frame | None:
        """Returns the next picture, None when there is none that is new; raises `DeviceError` when the link is bad."""
        ...


class TwinCamera:
    """A camera of the simulated cell, over the twin's HTTP control.

    Args:
        url: Root of the control, e.g. "http://127.0.0.1:8700".
        name: Of the camera.
        rate_hz: How often it is asked [Hz].
    """

    def __init__(self, url: str, name: str, rate_hz: float) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ConfigError(f"camera source {url!r}; allowed: http://HOST:PORT of the twin's control")
        self._host, self._port, self._name = parts.hostname, parts.port or 80, name
        self._device = f"camera {name} at {url}"
        self._period_ns = round(1e9 / rate_hz)
        self._due_ns = self._newest_ns = 0

    def __enter__(self) -> Self:
        self._link = http.client.HTTPConnection(self._host, self._port, timeout=ANSWER_S)
        self._due_ns = time.monotonic_ns()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._link.close()

    def read(self) -> Frame | None:
        """Asks for a picture when it is due; None when the twin still has the one of before."""
        self._pace()
        try:
            self._link.request("GET", f"/frame/{self._name}")
            answer = self._link.getresponse()
            body = answer.read()
        except TimeoutError as error:
            raise DeviceTimeout("no picture in time", device=self._device, remedy="is the twin busy?") from error
        except (OSError, http.client.HTTPException) as error:
            raise DeviceNotConnected(str(error), device=self._device, remedy="is the twin running?") from error
        if answer.status != http.client.OK:
            said = body[:200].decode(errors="replace")
            raise DeviceError(said, device=self._device, code=answer.status, remedy="check the camera's name")
        return self._frame(answer, body)

    def _frame(self, answer: http.client.HTTPResponse, body: bytes) -> Frame | None:
        try:
            width, height = int(answer.headers["X-Width"]), int(answer.headers["X-Height"])
            t_ns = int(answer.headers["X-Capture-Ns"])
            image = np.frombuffer(body, np.uint8).reshape(height, width, 3)
        except (TypeError, ValueError) as error:
            raise DeviceError(f"a damaged picture: {error}", device=self._device, remedy="update the twin") from error
        if t_ns <= self._newest_ns:
            return None
        self._newest_ns = t_ns
        return Frame(image=image, t_ns=t_ns)

    def _pace(self) -> None:
        now = time.monotonic_ns()
        self._due_ns = max(self._due_ns + self._period_ns, now - self._period_ns)
        time.sleep(max(0, self._due_ns - now) * 1e-9)


class DeviceCamera:
    """A video device through OpenCV: V4L2 on Linux; a video file stands in for one and is played at its rate.

    Args:
        place: Index, e.g. "0", or path, e.g. "/dev/video0".
        width: Asked for [px].
        height: Asked for [px].
        rate_hz: Asked for [Hz].
    """

    def __init__(self, place: str, *, width: int, height: int, rate_hz: float) -> None:
        self._place, self._size, self._rate_hz = place, (width, height), rate_hz
        self._device = f"camera {place}"

    def __enter__(self) -> Self:
        is_file = Path(self._place).is_file()
        where, by = (self._place, cv2.CAP_ANY) if is_file else (_index(self._place), cv2.CAP_V4L2)
        self._video = cv2.VideoCapture(where, by)
        if not self._video.isOpened():
            raise DeviceNotConnected("cannot be opened", device=self._device, remedy="check cable, path and permission")
        if not is_file:
            self._ask_for_mode()
        self._pause_s = 1.0 / self._rate_hz if is_file else 0.0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with suppress(cv2.error):
            self._video.release()

    def read(self) -> Frame | None:
        """Returns the next picture; its time is when it was grabbed."""
        time.sleep(self._pause_s)
        if not self._video.grab():
            raise DeviceTimeout("gives no pictures", device=self._device, remedy="check its cable")
        t_ns = time.monotonic_ns()
        whole, picture = self._video.retrieve()
        if not whole:
            raise DeviceError("a damaged picture", device=self._device, remedy="try a lower rate or size")
        return Frame(image=np.ascontiguousarray(picture[..., ::-1]), t_ns=t_ns)

    def _ask_for_mode(self) -> None:
        width, height = self._size
        for key, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, width),
            (cv2.CAP_PROP_FRAME_HEIGHT, height),
            (cv2.CAP_PROP_FPS, self._rate_hz),
            (cv2.CAP_PROP_BUFFERSIZE, 1),
            (cv2.CAP_PROP_READ_TIMEOUT_MSEC, ANSWER_S * 1e3),
        ):
            self._video.set(key, value)


def _index(place: str) -> int | str:
    return int(place) if place.isdigit() else place
