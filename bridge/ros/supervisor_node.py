"""The supervisor: brings the nodes up, and makes the stack safe when one dies or hangs. Executable `supervisor`.

Dead and hung are the same to it: the heartbeat ends. The arm is then stopped on a line of the supervisor's own. A node
that comes back is left as it is until a person calls `supervisor/bring_up`.
"""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.event_handler import QoSLivelinessChangedInfo, SubscriptionEventCallbacks
from std_msgs.msg import Bool, Header
from std_srvs.srv import Trigger

from bridge.realtime import enter_realtime
from bridge.ros import messages, qos
from bridge.ros.lifecycle_client import ManagedNode, Patience, Stage
from bridge.ros.node import LOG_FORMAT, Shell, opened
from bridge.ros.own_stop import OwnStop, StopLine
from bridge.ros.parameters import parameter
from bridge.xarm.config import XArmConfig
from bridge.xarm.stop_line import StopLine as XArmStopLine
from core.errors import RegraspError

log = logging.getLogger(__name__)

BEAT_NS = 10_000_000
"""How often the heartbeats are looked at [ns]."""
PRIORITY = 40
"""Of SCHED_FIFO: below the beats it watches."""
DONE, WRONG_USE = 0, 2
ARM, RUNTIME = "arm", "runtime"


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorNodeConfig:
    """Parameters of the supervisor."""

    nodes: tuple[str, ...] = parameter(("arm", "camera", "runtime"), says="Nodes to bring up, in this order.")
    ip: str = parameter("", says="Address of the control box for the stop line; as the arm node says when empty.")
    lost_s: float = parameter(0.6, says="Without a heartbeat for longer a node is lost [s].", low=0.15, high=5.0)
    transition_s: float = parameter(60.0, says="Longest transition of a node [s].", low=1.0, high=600.0)
    restart_lifecycle: bool = parameter(
        False, says="Whether a camera that comes back is configured and activated again; arm and runtime never are."
    )


class Supervisor:
    """Watches the nodes and acts when one is lost.

    Args:
        shell: Its own node.
        config: Its parameters.
        line: Its own way to stop the controller.
    """

    def __init__(self, shell: Shell, config: SupervisorNodeConfig, line: OwnStop) -> None:
        self._shell, self._config, self._line = shell, config, line
        patience = Patience(lost_s=config.lost_s, transition_s=config.transition_s)
        self._nodes = {name: ManagedNode(shell, name, patience) for name in config.nodes}
        self._told: tuple[object, ...] = ()
        self._dead_publishers = 0
        self._e_stop = shell.create_publisher(Bool, "e_stop", qos.emergency())
        self._status = shell.create_publisher(DiagnosticStatus, "supervisor_status", qos.status())
        events = SubscriptionEventCallbacks(liveliness=self._liveliness)
        shell.create_subscription(Header, "heartbeat", self._hear, qos.heartbeat(), event_callbacks=events)
        shell.create_subscription(DiagnosticStatus, "robot_status", self._hear_arm, qos.status())
        self._holds = {
            ARM: shell.create_client(Trigger, "arm/hold"),
            RUNTIME: shell.create_client(Trigger, "runtime/hold"),
        }
        shell.create_service(Trigger, "~/bring_up", self._bring_up)
        line.aim(config.ip)

    def beat(self, t_ns: int) -> None:
        """Looks at every node at `t_ns` [ns] and moves the bring-up on."""
        up = True
        for node in self._nodes.values():
            if node.check(t_ns):
                self._lost(node)
            node.tend(t_ns, may_rise=up)
            up = up and node.stage is Stage.ACTIVE
        self._line.tend(t_ns)
        self._tell()

    def _lost(self, node: ManagedNode) -> None:
        log.error("%s is lost: %s", node.name, node.trouble)
        if node.name == ARM:
            self._line.stop()
            self._stop_topic()
        elif node.name == RUNTIME:
            self._hold(ARM)
        else:
            self._hold(RUNTIME)
            if self._config.restart_lifecycle:
                node.want()

    def _stop_topic(self) -> None:
        self._e_stop.publish(Bool(data=True))

    def _hold(self, who: str) -> None:
        client = self._holds[who]
        if not client.service_is_ready():
            log.error("%s offers no hold; nobody is left to be told", who)
            return
        client.call_async(Trigger.Request())
        log.warning("told %s to hold", who)

    def _hear(self, message: Header) -> None:
        node = self._nodes.get(message.frame_id)
        if node is None or not node.heard(time.monotonic_ns()):
            return
        log.warning("%s is back; it is not activated before a person calls supervisor/bring_up", node.name)
        if node.name == ARM:
            self._stop_topic()

    def _hear_arm(self, message: DiagnosticStatus) -> None:
        if not self._config.ip:
            self._line.aim(message.hardware_id)

    def _liveliness(self, event: QoSLivelinessChangedInfo) -> None:
        self._dead_publishers = event.not_alive_count
        if event.not_alive_count_change > 0:
            log.warning("the middleware reports a heartbeat that ended")

    def _bring_up(self, _: Trigger.Request, answer: Trigger.Response) -> Trigger.Response:
        for node in self._nodes.values():
            node.want()
        answer.success, answer.message = True, "nodes that are there are configured and activated, in order"
        return answer

    def _tell(self) -> None:
        stages = {name: str(node.stage) for name, node in self._nodes.items()}
        troubles = {f"{name}.trouble": node.trouble for name, node in self._nodes.items() if node.trouble}
        facts = {"stack": self._stack(), **stages, **troubles, "stop_line": self._line.state}
        if self._told == (facts,):
            return
        self._told = (facts,)
        level = {"active": DiagnosticStatus.OK, "starting": DiagnosticStatus.WARN}.get(
            facts["stack"], DiagnosticStatus.ERROR
        )
        said = "; ".join(f"{name} {stage}" for name, stage in stages.items())
        self._status.publish(messages.status_message("supervisor", level, said, facts))

    def _stack(self) -> str:
        stages = [node.stage for node in self._nodes.values()]
        if Stage.LOST in stages or not all(node.wanted for node in self._nodes.values()):
            return "degraded"
        return "active" if all(stage is Stage.ACTIVE for stage in stages) else "starting"


def run_supervisor(args: Sequence[str], line: Callable[[str], StopLine]) -> int:
    """Runs the node's process.

    Args:
        args: The process's arguments, the program's name first.
        line: Makes a stop line to a control box's address.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: A parameter is unknown or wrong.
    """
    with opened("supervisor", SupervisorNodeConfig, args) as (shell, config), OwnStop(line) as own:
        supervisor = Supervisor(shell, config, own)
        while shell.running:
            now = time.monotonic_ns()
            supervisor.beat(now)
            shell.pulse(now)
            shell.serve_until(now + BEAT_NS)
    return DONE


def xarm_line(ip: str) -> StopLine:
    """Returns a stop line to an xArm's control box."""
    return XArmStopLine(XArmConfig(ip=ip))


def main() -> int:
    """Runs the process; returns its exit code."""
    realtime = enter_realtime(PRIORITY)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    log.info("%s", realtime.line())
    try:
        return run_supervisor(sys.argv, xarm_line)
    except RegraspError as error:
        print(f"supervisor: {error}", file=sys.stderr)  # noqa: T201, the process's answer
        return WRONG_USE


if __name__ == "__main__":
    sys.exit(main())
