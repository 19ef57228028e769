"""Hears the emergency stop beside everything else: own node, own thread, own line to the controller.

A call into the arm that blocks, or a beat that is late, delays nothing here. Called by the arm node.
"""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Bool

from bridge.ros import qos
from core.errors import DeviceError

log = logging.getLogger(__name__)

_POLL_S = 0.1


class StopEar:
    """Stops the controller when `e_stop` says True, and remembers it until it is released.

    Args:
        node: The node it belongs to; its namespace and remappings count.
        stop: Stops the controller and returns when that was read back; called in this thread, may raise `DeviceError`.
    """

    def __init__(self, node: Node, stop: Callable[[], None]) -> None:
        self._node, self._stop = node, stop
        self._asked, self._proven, self._over = threading.Event(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.heard = 0
        """How many stops were asked for so far."""

    def __enter__(self) -> Self:
        self._own = Node(
            f"{self._node.get_name()}_stop",
            namespace=self._node.get_namespace(),
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        topic = self._node.resolve_topic_name("e_stop")
        self._own.create_subscription(Bool, topic, self._hear, qos.emergency())
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._own)
        self._thread = threading.Thread(target=self._listen, name="stop ear", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)
        self._executor.shutdown(timeout_sec=1.0)
        self._own.destroy_node()

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for and not released since."""
        return self._asked.is_set()

    @property
    def proven(self) -> bool:
        """Whether the controller was read back as stopped after the present stop was asked for."""
        return self._proven.is_set()

    def prove(self) -> None:
        """Notes that the controller was read back as stopped by other means."""
        self._proven.set()

    def release(self, heard: int) -> None:
        """Forgets the stop that a person reset, unless another one came since.

        Args:
            heard: What `heard` was when the reset was asked for.
        """
        if heard == self.heard:
            self._asked.clear()
            self._proven.clear()

    def _listen(self) -> None:
        while not self._over.is_set():
            self._executor.spin_once(timeout_sec=_POLL_S)

    def _hear(self, message: Bool) -> None:
        if not message.data:
            return
        self.heard += 1
        self._asked.set()
        began = time.monotonic_ns()
        try:
            self._stop()
        except DeviceError as error:
            log.error("emergency stop: %s", error)
        else:
            self._proven.set()
            log.warning("emergency stop: the controller stopped after %.1f ms", (time.monotonic_ns() - began) / 1e6)
