"""The ways by which `regrasp bench ipc` sends an image to another process: shared-memory ring and ZeroMQ.

Every way has a sender and a receiver with the same two methods; the one over ROS 2 is `bench_ipc_ros`, which only a
machine with rclpy can import.
"""

import time
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import zmq

from bridge.ring import RingReader, RingWriter
from core.arrays import Image

SHAPES = {"vga": (480, 640, 3), "state": (1, 86, 3)}
"""What is sent: a camera image of 921600 bytes, and 258 bytes as a state has."""
_QUEUE = 4
"""Messages that a way without a ring keeps."""


class Sender(Protocol):
    """One end, a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def send(self, image: Image, t_ns: int) -> None:
        """Sends an image taken at `t_ns` [ns]."""
        ...


class Receiver(Protocol):
    """The other end, a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def receive(self, timeout_s: float) -> int | None:
        """Returns the capture time of the next image once it can be read [ns]; None when none came in time."""
        ...


class RingSender:
    """Writes into a ring.

    Args:
        name: Of the ring.
        shape: Of every image.
    """

    def __init__(self, name: str, shape: tuple[int, int, int]) -> None:
        self._ring = RingWriter(name, shape[0], shape[1])

    def __enter__(self) -> Self:
        self._ring.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._ring.__exit__(kind, error, tb)

    def send(self, image: Image, t_ns: int) -> None:
        """Writes one image."""
        self._ring.write(image, t_ns)


class RingReceiver:
    """Sleeps until the ring's writer wakes it.

    Args:
        name: Of the ring.
        in_place: Reads the image where it lies; else copies it.
    """

    def __init__(self, name: str, *, in_place: bool) -> None:
        self._ring, self._in_place = RingReader(name), in_place

    def __enter__(self) -> Self:
        self._ring.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._ring.__exit__(kind, error, tb)

    def receive(self, timeout_s: float) -> int | None:
        """Returns the capture time of the next image [ns]."""
        if not self._ring.wait(timeout_s):
            return None
        if not self._in_place:
            frame = self._ring.next()
            return None if frame is None else frame.t_ns
        view = self._ring.view()
        return view.t_ns if view is not None and view.intact() else None


class ZmqSender:
    """Pushes without copying; the images must not change while they are under way.

    Args:
        endpoint: ipc:// and a path.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def __enter__(self) -> Self:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.sndhwm, self._socket.linger = _QUEUE, 0
        self._socket.bind(self._endpoint)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._socket.close()
        self._context.term()

    def send(self, image: Image, t_ns: int) -> None:
        """Sends one image; drops it when the receiver is behind."""
        try:
            self._socket.send_multipart([t_ns.to_bytes(8, "little"), image.data], flags=zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return


class ZmqReceiver:
    """Pulls without copying.

    Args:
        endpoint: ipc:// and a path.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def __enter__(self) -> Self:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PULL)
        self._socket.rcvhwm, self._socket.linger = _QUEUE, 0
        self._socket.connect(self._endpoint)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._socket.close()
        self._context.term()

    def receive(self, timeout_s: float) -> int | None:
        """Returns the capture time of the next image [ns]."""
        if not self._socket.poll(round(timeout_s * 1e3)):
            return None
        stamp, body = self._socket.recv_multipart(copy=False)
        np.frombuffer(body.buffer, np.uint8)
        return int.from_bytes(stamp.buffer, "little")


def paced(sender: Sender, images: list[Image], count: int, hz: float) -> None:
    """Sends `count` images at a steady rate, each stamped right before it is sent.

    Args:
        sender: By which way.
        images: Sent in turn; more than a queue holds.
        count: How many are sent.
        hz: How many a second [1/s].
    """
    due = time.monotonic()
    for number in range(count):
        due += 1 / hz
        time.sleep(max(0.0, due - time.monotonic()))
        sender.send(images[number % len(images)], time.monotonic_ns())
