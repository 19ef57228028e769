"""The shell of every node: life cycle, heartbeat, diagnostics, served callbacks, signals. Called by the executables.

A node's process has one thread that beats: it does the node's work at its deadline and serves callbacks (services,
topics, transitions) in the time that is left. A node that beats no more gives no heartbeat either.
"""

import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Protocol, TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from std_msgs.msg import Header

from bridge.ros import qos
from bridge.ros.parameters import Config, declare, described
from core.errors import ConfigError, RegraspError

log = logging.getLogger(__name__)

C = TypeVar("C", bound=Config)

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
HEARTBEAT_NS = 100_000_000
"""Time between two heartbeats [ns]."""
DIAGNOSTICS_NS = 1_000_000_000
"""Time between two diagnostics [ns]."""
UNREGISTERED = "Transition is not registered"
"""What rclpy's own life-cycle service raises, instead of answering no, for a transition out of turn."""
SERVE_MARGIN_NS = 500_000
"""Callbacks are served until so long before the next deadline [ns]."""


class Work(Protocol):
    """What a node does. A transition is refused by raising `RegraspError`."""

    def configure(self) -> None:
        """Links devices; nothing moves."""
        ...

    def activate(self) -> None:
        """Makes it ready for its job."""
        ...

    def deactivate(self) -> None:
        """Comes to rest; never raises `RegraspError`."""
        ...

    def cleanup(self) -> None:
        """Lets go of devices; never raises `RegraspError`."""
        ...

    def diagnose(self) -> Sequence[DiagnosticStatus]:
        """Returns how it is, asked once a second."""
        ...


class Shell(LifecycleNode):
    """A life-cycle node around some work.

    Args:
        name: The node's name.
        namespace: Its namespace; a process's arguments win.
    """

    def __init__(self, name: str, *, namespace: str = "") -> None:
        super().__init__(name, namespace=namespace, automatically_declare_parameters_from_overrides=True)
        self.running = True
        """False once the process was asked to end."""
        self.active = False
        """Whether it is in the life cycle's state `active`."""
        self._work: Work | None = None
        self._configured = False
        self._pulsed_ns = self._diagnosed_ns = 0
        self._header = Header(frame_id=self.get_name())
        self._heart = self.create_publisher(Header, "heartbeat", qos.heartbeat())
        self._doctor = self.create_publisher(DiagnosticArray, "/diagnostics", qos.diagnostics())
        self._serving = SingleThreadedExecutor()
        self._serving.add_node(self)

    def attach(self, work: Work) -> None:
        """Gives it the work that its transitions drive; before anything is served."""
        self._work = work

    def serve_until(self, t_ns: int) -> None:
        """Serves callbacks until `t_ns` on the monotonic clock [ns], or until the process is asked to end.

        What arrived already is served even when `t_ns` has passed, one callback.
        """
        self._serve_one(0.0)
        while self.running and (left := t_ns - time.monotonic_ns()) > 0:
            self._serve_one(left * 1e-9)

    def _serve_one(self, timeout_s: float) -> None:
        """Serves one callback; a transition that the present state does not have is nobody's reason to end the node."""
        try:
            self._serving.spin_once(timeout_sec=timeout_s)
        except RCLError as error:
            if UNREGISTERED not in str(error):
                raise
            log.error("a transition was asked for that the present state does not have; it was left out: %s", error)

    def pulse(self, t_ns: int) -> None:
        """Gives the heartbeat and the diagnostics when they are due at `t_ns` [ns]; call it every beat."""
        if t_ns - self._pulsed_ns >= HEARTBEAT_NS:
            self._pulsed_ns = t_ns
            self._header.stamp = self.get_clock().now().to_msg()
            self._heart.publish(self._header)
        if t_ns - self._diagnosed_ns >= DIAGNOSTICS_NS and self._work is not None:
            self._diagnosed_ns = t_ns
            message = DiagnosticArray(status=list(self._work.diagnose()))
            message.header.stamp = self.get_clock().now().to_msg()
            self._doctor.publish(message)

    def rest(self) -> None:
        """Comes to rest and lets go of the devices, in whatever state it is."""
        self.on_deactivate(None)
        self.on_cleanup(None)

    def close(self) -> None:
        """Comes to rest, lets go of the devices and leaves the graph."""
        self.rest()
        self._serving.shutdown(timeout_sec=1.0)
        self.destroy_node()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:  # noqa: ARG002, the framework's call
        """Links the devices; refuses when that fails."""
        if self._work is not None and not _tried("configure", self._work.configure):
            self._work.cleanup()
            return TransitionCallbackReturn.FAILURE
        self._configured = True
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:  # noqa: ARG002, the framework's call
        """Starts the work; refuses when that fails."""
        if self._work is not None and not _tried("activate", self._work.activate):
            return TransitionCallbackReturn.FAILURE
        self.active = True
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState | None) -> TransitionCallbackReturn:  # noqa: ARG002
        """Comes to rest."""
        if self.active and self._work is not None:
            self._work.deactivate()
        self.active = False
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState | None) -> TransitionCallbackReturn:  # noqa: ARG002
        """Lets go of the devices."""
        if self._configured and self._work is not None:
            self._work.cleanup()
        self._configured = False
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Comes to rest, lets go of the devices, ends the process."""
        self.on_deactivate(state)
        self.on_cleanup(state)
        self.running = False
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Comes to rest after an error in a transition; it can be configured again."""
        self.on_deactivate(state)
        return self.on_cleanup(state)


class Pace:
    """Deadlines one period apart; those that were missed are skipped, never made up for.

    Args:
        period_s: Time between two [s].
    """

    def __init__(self, period_s: float) -> None:
        self._period_ns = round(period_s * 1e9)
        self._due_ns = time.monotonic_ns()
        self.missed = 0
        """Deadlines that were skipped so far."""
        self.worst_ns = 0
        """Largest lateness since `reset_worst` [ns]."""

    @property
    def due_ns(self) -> int:
        """The next deadline, monotonic [ns]."""
        return self._due_ns

    def wait(self) -> int:
        """Sleeps until the deadline, moves it on, and returns the present instant [ns]."""
        time.sleep(max(0, self._due_ns - time.monotonic_ns()) * 1e-9)
        now = time.monotonic_ns()
        self.worst_ns = max(self.worst_ns, now - self._due_ns)
        skipped = (now - self._due_ns) // self._period_ns
        self.missed += skipped
        self._due_ns += (skipped + 1) * self._period_ns
        return now

    def take_worst(self) -> int:
        """Returns the largest lateness since it was last asked [ns]."""
        worst, self.worst_ns = self.worst_ns, 0
        return worst


@contextmanager
def opened(name: str, config: type[C], args: Sequence[str]) -> Iterator[tuple[Shell, C]]:
    """Opens a node in this process: its parameters are printed, signals end it, leaving it is clean.

    Args:
        name: The node's name unless the arguments rename it.
        config: Dataclass of its parameters.
        args: The process's arguments with the program's name first.

    Raises:
        ConfigError: A parameter or argument is unknown or wrong.
    """
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    unknown = remove_ros_args(list(args))[1:]
    if unknown:
        raise ConfigError(f"arguments {unknown} are unknown; parameters are given as --ros-args -p name:=value")
    rclpy.init(args=list(args), signal_handler_options=SignalHandlerOptions.NO)
    shell: Shell | None = None
    try:
        shell = _shell(name)
        values = declare(shell, config)
        log.info("node %s with parameters\n%s", shell.get_fully_qualified_name(), described(values))
        _end_on_signals(shell)
        yield shell, values
    finally:
        _ignore_signals()
        if shell is not None:
            shell.close()
        rclpy.try_shutdown()


def _shell(name: str) -> Shell:
    try:
        return Shell(name)
    except ValueError as error:
        raise ConfigError(f"a parameter of node {name} has a value that ROS cannot type: {error}") from error


def _tried(what: str, transition: Callable[[], None]) -> bool:
    """Runs a transition; why it failed is logged, since its caller hears only yes or no."""
    try:
        transition()
    except RegraspError as error:
        log.error("%s refused: %s", what, error)
        return False
    except Exception:
        log.exception("%s failed", what)
        raise
    return True


def _end_on_signals(shell: Shell) -> None:
    """Lets Ctrl-C and a launcher's SIGTERM end the beat, which then leaves in order."""

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001, the interpreter's call
        shell.running = False

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)


def _ignore_signals() -> None:
    """Lets nothing interrupt the way out: launchers send both signals, some twice."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
