"""Diagnosers of single arms of an evaluation: one knows what was injected, one does not care. See `arms`."""

from collections.abc import Callable
from dataclasses import replace

from core.failures import FailureMode
from core.ports import Diagnoser, Evidence
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.rewards import RewardMask
from core.subtasks import Course
from residual.library import LIBRARY
from runtime.recover.stages import stage_for


class OracleDiagnoser:
    """Names the injected failure while it stands; implements `core.ports.Diagnoser`.

    What nobody injected has no name but the one that another diagnoser gives it. The stage is found from the tracked
    scene, as every diagnoser finds it.

    Args:
        course: What the robot was told to do.
        mode: What is injected, None when nothing is.
        stands: Whether it has struck and is not mended.
        judge: Asked about everything else.
    """

    def __init__(self, course: Course, mode: FailureMode | None, stands: Callable[[], bool], judge: Diagnoser) -> None:
        self._course, self._mode, self._stands, self._judge = course, mode, stands, judge
        self._answer: RecoveryDescriptor | None = None

    def submit(self, evidence: Evidence) -> None:
        """Answers at once or asks the other one; a newer question replaces an older one."""
        self._answer = None
        if self._mode is None or not self._stands() or not evidence.steps:
            self._judge.submit(evidence)
            return
        last = evidence.steps[-1]
        self._answer = RecoveryDescriptor(
            report_id=evidence.report.id, mode=self._mode, target="", obstacles=(),
            stage=stage_for(self._mode, last.observation, last.arrived.scene, self._course),
            mask=RewardMask(library=LIBRARY.id, active=frozenset()), confidence=1.0, model_id="oracle@1",
            rationale="told by the injector",
        )  # fmt: skip

    def poll(self) -> RecoveryDescriptor | None:
        """Returns the answer once, else None."""
        answer, self._answer = self._answer, None
        return self._judge.poll() if answer is None else answer


class AnyFailure:
    """Whatever another diagnoser finds wrong is reason enough to try again; implements `core.ports.Diagnoser`.

    An alarm that the other one clears stays cleared: the monitor is the same in every arm.

    Args:
        judge: The other one.
    """

    def __init__(self, judge: Diagnoser) -> None:
        self._judge = judge
        self._suspected = FailureMode.STALLED

    def submit(self, evidence: Evidence) -> None:
        """Asks the other one."""
        mode = evidence.report.mode
        self._suspected = FailureMode.STALLED if mode is FailureMode.UNKNOWN else mode
        self._judge.submit(evidence)

    def poll(self) -> RecoveryDescriptor | None:
        """Returns the answer once, else None; never unsure."""
        answer = self._judge.poll()
        if answer is None or answer.stage is RecoveryStage.RESUME:
            return answer
        mode = self._suspected if answer.mode is FailureMode.UNKNOWN else answer.mode
        return replace(answer, mode=mode, stage=RecoveryStage.RETREAT, confidence=1.0)
