"""What the loop does, told to the graph: every failure report, every change of phase. A sink of the runtime node."""

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from bridge.ros import qos
from bridge.ros.messages import phase_message, report_message
from core.flow import Phase, Step


class LoopStatus:
    """Publishes `failure_report` and `recovery_status`; implements `core.ports.Sink`.

    Args:
        node: Whose topics they are.
    """

    def __init__(self, node: Node) -> None:
        self._reports = node.create_publisher(DiagnosticStatus, "failure_report", qos.reports())
        self._phases = node.create_publisher(DiagnosticStatus, "recovery_status", qos.status())
        self._told: tuple[Phase, str] | None = None
        self._trace = ""

    def write(self, step: Step) -> None:
        """Tells what is new in one step; the id of the report that began a recovery goes with every phase of it."""
        if step.report is not None:
            self._reports.publish(report_message(step.report))
            self._trace = step.report.id
        news = step.next_phase, step.note
        if news == self._told or (step.next_phase is step.phase and not step.note and self._told is not None):
            return
        self._told = news
        facts = {
            "step": str(step.index),
            "source": str(step.source),
            "report_id": self._trace,
            "clipped_by": ",".join(step.clipped_by),
        }
        self._phases.publish(phase_message(step.next_phase, step.note, facts))

    def close(self) -> None:
        """Does nothing: the node owns the topics."""
