"""Advances the phase: sorts out what happened in a step, asks the transition table, keeps the budgets.

Called by the loop once a tick. Everything it decides follows from recorded steps alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

from core.failures import FailureMode, FailureReport, Severity
from core.flow import OperatorCommand, Phase, Step
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.subtasks import Course
from runtime.config import HandRules, RecoverLimits
from runtime.due import due_in
from runtime.phases import Input, next_phase
from runtime.recover.attempt import Attempt, AttemptStatus
from runtime.recover.skills import Skill, SkillBank
from runtime.recover.verify import Handback
from runtime.watch.panel import BLINDING

_COMMANDS = {
    OperatorCommand.STOP: Input.STOP,
    OperatorCommand.HOLD: Input.HOLD,
    OperatorCommand.RESUME: Input.RESUME,
    OperatorCommand.TAKE_OVER: Input.TAKE_OVER,
    OperatorCommand.RESET: Input.RESET,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a step means for the phases."""

    event: Input
    phase: Phase
    """Phase of the next tick."""
    report: FailureReport | None
    """The step's report, or the one a failed attempt makes."""
    note: str = ""
    """Why the phase changed, or why an answer was not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    kind: Input
    note: str = ""
    report: FailureReport | None = None
    skill: Skill | None = None


class Recovery:
    """The phases of one episode, with bounded diagnoses and attempts.

    Args:
        task: Name of the task.
        course: What the robot was told to do.
        skills: What may be tried.
        limits: How long and how often.
        rules: What counts as held and placed.
        table_height_m: Table top in base [m].
    """

    def __init__(
        self,
        *,
        task: str,
        course: Course,
        skills: SkillBank,
        limits: RecoverLimits,
        rules: HandRules,
        table_height_m: float = 0.0,
    ) -> None:
        self._task, self._course, self._skills = task, course, skills
        self._limits, self._rules, self._table_m = limits, rules, table_height_m
        self.reset()

    def reset(self) -> None:
        """Starts a new episode in RUNNING, with full budgets."""
        self._phase = Phase.RUNNING
        self._since_ns = 0
        self._asked: FailureReport | None = None
        self._named: RecoveryDescriptor | None = None
        self._attempt: Attempt | None = None
        self._person_ns = 0
        self._refill()

    @property
    def phase(self) -> Phase:
        """Phase of the next tick."""
        return self._phase

    @property
    def asked(self) -> FailureReport | None:
        """The report that is, or was last, diagnosed."""
        return self._asked

    @property
    def skill(self) -> Skill | None:
        """The skill that drives, None when none does."""
        return None if self._attempt is None else self._attempt.skill

    def fault(self) -> None:
        """Goes to STOPPED: the system itself failed."""
        self._phase, self._attempt = Phase.STOPPED, None

    def advance(self, step: Step) -> Turn:
        """Moves on to the next phase.

        Args:
            step: What was measured, arrived and reported in the phase that is now over.
        """
        if step.arrived.operator is not None:
            self._person_ns = step.arrived.now_ns
        event = self._sorted_out(step)
        before, self._phase = self._phase, next_phase(self._phase, event.kind)
        report = event.report or step.report
        if self._phase is not before:
            self._enter(step, event, report)
        return Turn(event=event.kind, phase=self._phase, report=report, note=event.note)

    def _sorted_out(self, step: Step) -> _Event:
        looks: tuple[Callable[[Step], _Event | None], ...] = (
            self._person, self._reported, self._by_phase
        )  # fmt: skip
        return next((event for look in looks if (event := look(step)) is not None), _Event(kind=Input.NOTHING))

    def _person(self, step: Step) -> _Event | None:
        report, operator = step.report, step.arrived.operator
        if report is not None and report.severity is Severity.STOP:
            return _Event(kind=Input.STOP, note=f"{report.detector} says stop")
        if operator is None or operator.command is None:
            return None
        return _Event(kind=_COMMANDS[operator.command], note=f"operator: {operator.command.value}")

    def _reported(self, step: Step) -> _Event | None:
        report = step.report
        if report is None or report.severity is not Severity.HOLD:
            return None
        if report.mode in BLINDING:
            return _Event(kind=Input.BLIND, note=f"{report.detector}: {report.mode.value}")
        if not self._limits.enabled or self._phase not in (Phase.RUNNING, Phase.RECOVERING):
            return None
        return self._failed(f"{report.detector} suspects {report.mode.value}")

    def _failed(self, note: str, report: FailureReport | None = None) -> _Event:
        if self._attempts >= self._limits.attempts or self._diagnoses >= self._limits.diagnoses:
            spent = f"{note}; {self._attempts} attempts and {self._diagnoses} diagnoses are spent"
            return _Event(kind=Input.EXHAUSTED, note=spent, report=report)
        return _Event(kind=Input.FAILURE, note=note, report=report)

    def _by_phase(self, step: Step) -> _Event | None:
        if self._phase is Phase.DIAGNOSING:
            return self._diagnosing(step)
        if self._phase is Phase.RECOVERING and self._attempt is not None:
            return self._recovering(step, self._attempt)
        silent_s = (step.arrived.now_ns - max(self._person_ns, self._since_ns)) * 1e-9
        if self._phase is Phase.OPERATOR and silent_s >= self._limits.operator_silence_s:
            return _Event(kind=Input.TIMEOUT, note=f"operator silent for {silent_s:.2f} s")
        return None

    def _diagnosing(self, step: Step) -> _Event | None:
        answer = step.arrived.descriptor
        if answer is not None and self._asked is not None:
            if answer.report_id == self._asked.id:
                return self._judged(answer, step)
            return _Event(kind=Input.NOTHING, note=f"answer to {answer.report_id} ignored: {self._asked.id} was asked")
        lasted_s = (step.arrived.now_ns - self._since_ns) * 1e-9
        if lasted_s >= self._limits.diagnose_s:
            return _Event(kind=Input.TIMEOUT, note=f"no diagnosis within {self._limits.diagnose_s:g} s")
        return None

    def _judged(self, answer: RecoveryDescriptor, step: Step) -> _Event:
        who = f"{answer.model_id}: {answer.mode.value} at {answer.stage.value}, {answer.confidence:.2f}"
        if answer.confidence < self._limits.confidence:
            return _Event(kind=Input.UNKNOWN, note=f"{who}; too unsure")
        if answer.mode is FailureMode.UNKNOWN:
            cleared = answer.stage is RecoveryStage.RESUME
            return _Event(kind=Input.CLEARED if cleared else Input.UNKNOWN, note=who)
        manner = due_in(self._course, step.arrived.scene).sub.manner
        skill = self._skills.find(self._task, answer.mode, manner, answer.stage)
        if skill is None:
            return _Event(kind=Input.UNKNOWN, note=f"{who}; no skill helps")
        self._named = answer
        return _Event(kind=Input.DIAGNOSED, note=f"{who}; {skill.card.name}", skill=skill)

    def _recovering(self, step: Step, attempt: Attempt) -> _Event | None:
        status = attempt.update(step)
        if status is AttemptStatus.SUCCEEDED:
            return _Event(kind=Input.RECOVERED, note=f"{attempt.skill.card.resume_when} is verified")
        if status is AttemptStatus.RUNNING:
            return None
        note = f"attempt {self._attempts} with {attempt.skill.card.name} ran out of time"
        return self._failed(note, self._attempt_report(step))

    def _attempt_report(self, step: Step) -> FailureReport:
        return FailureReport(
            id=f"attempt-{step.index}",
            t_ns=step.arrived.now_ns,
            detector="attempt",
            mode=FailureMode.UNKNOWN if self._named is None else self._named.mode,
            severity=Severity.HOLD,
            confidence=1.0,
            evidence={"attempts_count": float(self._attempts), "attempt_limit_s": self._limits.attempt_s},
        )

    def _enter(self, step: Step, event: _Event, report: FailureReport | None) -> None:
        self._since_ns = step.arrived.now_ns
        self._attempt = None
        if event.kind is Input.RESUME:
            self._refill()
        if self._phase is Phase.DIAGNOSING:
            self._asked = report
            self._diagnoses += 1
        if self._phase is Phase.RECOVERING and event.skill is not None:
            self._attempts += 1
            self._attempt = self._started(event.skill, step.arrived.now_ns)

    def _started(self, skill: Skill, now_ns: int) -> Attempt:
        handback = Handback(
            skill.card.resume_when,
            self._course,
            self._rules,
            ticks=self._limits.verify_ticks,
            table_height_m=self._table_m,
        )
        return Attempt(skill, handback, started_ns=now_ns, limit_s=self._limits.attempt_s)

    def _refill(self) -> None:
        self._attempts = self._diagnoses = 0
