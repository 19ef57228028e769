"""What the arm node does each beat and on request: measure, tell, follow, hold, clear by rule, link again.

Calls that may take long (linking, arming, clearing) run one at a time in a thread of their own, so that measurements
and heartbeat go on meanwhile; nothing is streamed to the arm during them. Called by `bridge.ros.arm_node`.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

from diagnostic_msgs.msg import DiagnosticStatus
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from bridge.ros import messages, qos
from bridge.ros.arm_rules import ArmCommand, Backoff, ClearingRule, Duty, Follower
from bridge.ros.arm_topics import ArmTopics
from bridge.ros.node import Pace, Shell
from bridge.ros.stop_ear import StopEar
from bridge.worker import Threaded
from core.arm import ArmMode, ArmState, ArmStatus
from core.errors import ContractError, DeviceError, DeviceFault, DeviceNotConnected, RegraspError
from core.ports import JointArm

log = logging.getLogger(__name__)

_OFFLINE = ArmStatus(mode=ArmMode.OFFLINE, fault="not linked yet")


class LinkedArm(JointArm, Protocol):
    """An arm that is linked by entering it."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPolicy:
    """How the arm node behaves."""

    readonly: bool
    """Whether it only measures: it never arms, never moves, never holds; the emergency stop still works."""
    watchdog_s: float
    """Longest silence of the commands before it holds [s]."""
    auto_clear: bool
    """Whether faults of the automatic class are cleared by rule, within the arm's budget."""
    clear_pause_s: float
    """Time before each automatic clearing [s]."""
    link_pause_s: tuple[float, float]
    """First and longest pause between attempts to link again [s]."""


class _Job:
    """One long call under way."""

    def __init__(self, name: str, call: Callable[[], None], then: Callable[[], None] | None = None) -> None:
        self.name, self.call, self.then = name, call, then
        self.over = False
        self.error: RegraspError | None = None


class ArmWork:
    """The arm node's work.

    Args:
        shell: Its node.
        arm: The arm, not linked yet.
        ear: Hears the emergency stop.
        pace: The node's deadlines; long calls beat on with it.
        policy: How it behaves.
        hardware: What the status calls the device.
    """

    def __init__(
        self, shell: Shell, arm: LinkedArm, ear: StopEar, *, pace: Pace, policy: ArmPolicy, hardware: str
    ) -> None:
        self._shell, self._arm, self._ear, self._pace, self._policy = shell, arm, ear, pace, policy
        self._hardware = hardware
        self._topics = ArmTopics(shell, hardware)
        self._follower = Follower(policy.watchdog_s)
        self._rule = ClearingRule(allowed=policy.auto_clear and not policy.readonly, pause_s=policy.clear_pause_s)
        self._relink, self._restop = Backoff(*policy.link_pause_s), Backoff(0.2, 0.2)
        self._errands = Threaded[Callable[[], None], bool](_done, "arm errands", stop_s=10.0)
        self._link = ExitStack()
        self._linked = False
        self._job: _Job | None = None
        self._status = _OFFLINE
        shell.create_subscription(JointTrajectory, "command", self._take, qos.command())
        for name, answer in self._services().items():
            shell.create_service(Trigger, f"arm/{name}", _served(name, answer))
        self._topics.tell_status(_OFFLINE)

    def __enter__(self) -> Self:
        self._errands.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._errands.stop()

    def configure(self) -> None:
        """Links the arm and reads its limits back; raises `DeviceError` when that fails."""
        self._run("link", self._enter)

    def activate(self) -> None:
        """Arms it, unless it is only watched; raises `DeviceError` when that fails."""
        if not self._policy.readonly:
            self._require_no_stop()
            self._run("arm", self._arm.arm, self._follower.release)
        else:
            self._follower.rest("readonly: commands are refused", until_released=True)

    def deactivate(self) -> None:
        """Holds."""
        self._hold("deactivated")

    def cleanup(self) -> None:
        """Holds and lets go of the link."""
        self._wait_for_job()
        self._linked = False
        try:
            self._link.close()
        except DeviceError as error:
            log.error("leaving the arm: %s", error)
        self._topics.tell_status(_OFFLINE)

    def diagnose(self) -> Sequence[DiagnosticStatus]:
        """Returns the arm's status and how well the beat kept time."""
        late_ms, missed = self._pace.take_worst() / 1e6, self._pace.missed
        facts = {"worst lateness [ms]": f"{late_ms:.3f}", "missed beats": str(missed), "job": self._job_name()}
        beat = messages.status_message("arm beat", DiagnosticStatus.OK, f"{late_ms:.2f} ms late at worst", facts)
        return [self._topics.status_message(self._status), beat]

    def beat(self, t_ns: int) -> None:
        """Does one beat at `t_ns` [ns]: measures, tells, and when active follows or holds."""
        self._finish_job()
        state = self._measured()
        if self._ear.asked:
            self._obey_stop(t_ns, state)
        elif self._shell.active:
            self._act(t_ns, state)
        self._status = self._described(state)
        if state is not None:
            self._topics.tell(state)
            self._topics.tell_safety(_limits(state.status))
        self._topics.tell_status(self._status)

    def _act(self, t_ns: int, state: ArmState | None) -> None:
        mode = ArmMode.OFFLINE if state is None else state.status.mode
        if mode is not ArmMode.OFFLINE:
            self._relink.reset()
        if self._job is not None:
            return
        if state is not None and mode is ArmMode.READY:
            self._follow(t_ns, state)
            return
        if self._follower.following:
            self._follower.rest(f"the arm is {mode}")
        self._mend(t_ns, mode, state)

    def _follow(self, t_ns: int, state: ArmState) -> None:
        duty, command = self._follower.decide(t_ns, state), self._follower.command
        try:
            if duty is Duty.HOLD:
                log.warning("holding: %s", self._follower.reason)
                self._arm.hold()
            elif duty is Duty.FOLLOW and command is not None and command.joint_target is not None:
                self._arm.stream(command.joint_target, command.opening)
        except (DeviceError, ContractError) as error:
            self._follower.rest(f"refused by the arm: {error}")
            log.error("%s", self._follower.reason)

    def _obey_stop(self, t_ns: int, state: ArmState | None) -> None:
        self._follower.rest("emergency stop", until_released=True)
        if state is None or self._job is not None:
            return
        if not (self._ear.proven and state.status.mode is ArmMode.STOPPED) and self._restop.due(t_ns):
            self._start(_Job("stop", self._arm.stop, self._ear.prove))

    def _mend(self, t_ns: int, mode: ArmMode, state: ArmState | None) -> None:
        if mode is ArmMode.OFFLINE and self._relink.due(t_ns):
            self._start(_Job("link again", self._enter))
        elif state is not None and mode is ArmMode.FAULT and self._rule.due(t_ns, state.status):
            self._start(_Job("clear by rule", self._clear_by_rule))

    def _clear_by_rule(self) -> None:
        self._arm.clear_fault(by_person=False)
        if not self._ear.asked:
            self._arm.arm()

    def _enter(self) -> None:
        self._linked = False
        self._link.close()
        self._link.enter_context(self._arm)
        self._linked = True

    def _hold(self, reason: str) -> None:
        self._follower.rest(reason, until_released=True)
        if self._policy.readonly or not self._linked:
            return
        try:
            self._arm.hold()
        except DeviceError as error:
            log.error("hold: %s", error)

    def _measured(self) -> ArmState | None:
        if not self._linked:
            return None
        try:
            return self._arm.state()
        except DeviceNotConnected:
            return None

    def _described(self, state: ArmState | None) -> ArmStatus:
        """Returns the arm's status with why it rests.

        It is IDLE while commands are ignored until `arm/rearm`, and STOPPED as soon as the stop line proved it.
        """
        status = _OFFLINE if state is None else state.status
        rests = {} if self._follower.following else {"hold": self._follower.reason}
        mode = ArmMode.IDLE if status.mode is ArmMode.READY and self._follower.blocked else status.mode
        mode = ArmMode.STOPPED if self._ear.proven and state is not None else mode
        fault = "emergency stop, not confirmed yet" if self._ear.asked and not self._ear.proven else status.fault
        return replace(status, mode=mode, fault=fault, details={**status.details, **rests})

    def _take(self, message: JointTrajectory) -> None:
        now = time.monotonic_ns()
        try:
            target = messages.target_from(message)
        except ContractError as error:
            self._follower.take(ArmCommand(t_ns=now, joint_target=None))
            log.error("command refused, holding: %s", error)
            return
        if target is None:
            self._follower.take(ArmCommand(t_ns=now, joint_target=None))
        else:
            self._follower.take(ArmCommand(t_ns=now, joint_target=target[0], opening=min(1.0, max(0.0, target[1]))))

    def _services(self) -> Mapping[str, Callable[[], None]]:
        return {
            "rearm": self._serve_rearm,
            "hold": lambda: self._hold("arm/hold was called; arm/rearm ends it"),
            "reset_e_stop": self._serve_reset,
            "clear_fault": self._serve_clear,
        }

    def _serve_rearm(self) -> None:
        self._require_writable()
        if not self._shell.active:
            raise DeviceFault("the node is not active", device="arm", remedy="activate it; supervisor/bring_up does")
        self._require_no_stop()
        self._run("arm", self._arm.arm, self._follower.release)

    def _serve_reset(self) -> None:
        heard = self._ear.heard
        self._run("reset stop", self._arm.reset_stop, lambda: self._ear.release(heard))

    def _serve_clear(self) -> None:
        self._require_writable()
        self._run("clear fault", lambda: self._arm.clear_fault(by_person=True))

    def _require_writable(self) -> None:
        if self._policy.readonly:
            raise DeviceFault("the node only measures", device="arm", remedy="start it without readonly")

    def _require_no_stop(self) -> None:
        if self._ear.asked:
            raise DeviceFault("an emergency stop is latched", device="arm", remedy="call arm/reset_e_stop first")

    def _run(self, name: str, call: Callable[[], None], then: Callable[[], None] | None = None) -> None:
        """Runs a long call while the beat goes on, then what follows from its success; raises what it raised."""
        if self._job is not None:
            raise DeviceFault(f"busy: {self._job_name()}", device="arm", remedy="ask again in a second")
        job = _Job(name, call, then)
        self._start(job)
        while not job.over:
            now = self._pace.wait()
            self.beat(now)
            self._shell.pulse(now)
        if job.error is not None:
            raise job.error

    def _start(self, job: _Job) -> None:
        log.info("arm: %s", job.name)
        self._job = job
        self._errands.submit(job.call)

    def _finish_job(self) -> None:
        if self._job is None:
            return
        job, error = self._job, None
        try:
            over = self._errands.poll() is not None
        except RegraspError as raised:
            over, error = True, raised
        if over:
            job.over, job.error, self._job = True, error, None
            if error is None and job.then is not None:
                job.then()
            log.info("arm: %s %s", job.name, f"failed: {error}" if error else "done")

    def _wait_for_job(self) -> None:
        if self._job is not None:
            self._errands.wait(10.0)
            self._finish_job()

    def _job_name(self) -> str:
        return self._job.name if self._job else ""


def _done(call: Callable[[], None]) -> bool:
    call()
    return True


def _limits(status: ArmStatus) -> dict[str, str]:
    return {key: value for key, value in status.details.items() if key.startswith("safety")}


def _served(name: str, answer: Callable[[], None]) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
    """Returns a service's callback: what `answer` raises becomes the reply's text."""

    def reply(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:  # noqa: ARG001, rclpy's call
        try:
            answer()
            response.success, response.message = True, f"{name}: done"
        except RegraspError as error:
            response.success, response.message = False, str(error)
        log.info("arm/%s: %s", name, response.message)
        return response

    return reply
