"""Pictures that another driver publishes, as a source of the camera node: remap any camera driver to it."""

import time
from types import TracebackType
from typing import Self

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from bridge.ros import qos
from bridge.ros.messages import picture_from
from bridge.sight import Frame
from core.errors import DeviceTimeout

_WAIT_S = 1.0


class TopicCamera:
    """A camera whose driver is another node; heard by a small node of its own, in the thread that reads.

    Pictures count as taken when they arrive: the stamps of another node are on another clock.

    Args:
        node: Whose namespace and remappings count.
        name: Of the camera.
        topic: An image topic, rgb8.
    """

    def __init__(self, node: Node, name: str, topic: str) -> None:
        self._node, self._name, self._topic = node, name, topic
        self._arrived: tuple[int, Image] | None = None

    def __enter__(self) -> Self:
        self._own = Node(
            f"{self._node.get_name()}_{self._name}",
            namespace=self._node.get_namespace(),
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._own.create_subscription(Image, self._node.resolve_topic_name(self._topic), self._take, qos.images())
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._own)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._executor.shutdown(timeout_sec=1.0)
        self._own.destroy_node()

    def read(self) -> Frame:
        """Returns the next picture; raises `DeviceTimeout` when none comes, `ContractError` when it is not rgb8."""
        until = time.monotonic() + _WAIT_S
        while self._arrived is None:
            left = until - time.monotonic()
            if left <= 0:
                raise DeviceTimeout(
                    "no picture arrives", device=f"topic {self._topic}", remedy="is its driver running?"
                )
            self._executor.spin_once(timeout_sec=left)
        (t_ns, message), self._arrived = self._arrived, None
        return Frame(image=picture_from(message), t_ns=t_ns)

    def _take(self, message: Image) -> None:
        self._arrived = time.monotonic_ns(), message
