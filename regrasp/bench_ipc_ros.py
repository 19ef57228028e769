"""The way over ROS 2 of `regrasp bench ipc`: the project's own quality of service and middleware profile."""

import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image as ImageMessage

from bridge.ros import qos
from bridge.ros.messages import image_message, picture_from, stamp
from core.arrays import Image

_FOUND_S = 15.0
"""How long a sender waits for its receiver [s]."""


class _Node(ABC):
    """A node of its own in a context of its own."""

    def __init__(self, name: str, topic: str) -> None:
        self._name, self._topic = name, topic

    def __enter__(self) -> Self:
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(f"{self._name}_{self._topic}", context=self._context)
        self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    @abstractmethod
    def _open(self) -> None: ...


class RosSender(_Node):
    """Publishes images.

    Args:
        topic: Name of the topic.
    """

    def __init__(self, topic: str) -> None:
        super().__init__("sender", topic)

    def send(self, image: Image, t_ns: int) -> None:
        """Publishes one image; the first waits for the receiver to be found."""
        until = time.monotonic() + _FOUND_S
        while not self._publisher.get_subscription_count() and time.monotonic() < until:
            time.sleep(0.01)
        self._publisher.publish(image_message(stamp(*divmod(t_ns, 1_000_000_000)), "bench", image))

    def _open(self) -> None:
        self._publisher = self.node.create_publisher(ImageMessage, self._topic, qos.images())


class RosReceiver(_Node):
    """Spins until an image is there.

    Args:
        topic: Name of the topic.
    """

    def __init__(self, topic: str) -> None:
        super().__init__("receiver", topic)
        self._heard: list[int] = []

    def receive(self, timeout_s: float) -> int | None:
        """Returns the capture time of the next image [ns]."""
        until = time.monotonic() + timeout_s
        while not self._heard and time.monotonic() < until:
            self._executor.spin_once(timeout_sec=max(0.0, until - time.monotonic()))
        return self._heard.pop(0) if self._heard else None

    def _open(self) -> None:
        self.node.create_subscription(ImageMessage, self._topic, self._hear, qos.images())
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def _hear(self, message: ImageMessage) -> None:
        picture_from(message)
        self._heard.append(message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec)
