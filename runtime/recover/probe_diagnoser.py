"""The embedded probe as a diagnoser: names the mode from features, the stage by rule. Wired by `regrasp`."""

from collections.abc import Mapping, Sequence

import numpy as np

from core.arrays import Floats
from core.errors import ConfigError
from core.failures import FailureMode
from core.flow import Step
from core.ports import Evidence
from core.probe import NOMINAL, ProbeWeights
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.rewards import RewardMask
from core.subtasks import Course, Manner
from runtime.due import due_in
from runtime.recover.stages import stage_for
from runtime.watch.features import probe_features
from runtime.watch.panel import BUMP
from runtime.watch.probe import check_layout, judged
from runtime.watch.reports import SURE
from runtime.watch.trained_time import in_trained_time

Masks = Mapping[Manner, Mapping[FailureMode, RewardMask]]
"""Reward masks by manner and mode."""
_EVEN = 0.5
"""From this probability on it is believed that nothing is wrong; below it the likeliest failure is named."""
_AVERAGED = 3
"""The last so many instants are judged and averaged."""


class ProbeDiagnoser:
    """Answers within the tick in which it is asked.

    When the probe finds nothing wrong it answers mode UNKNOWN with stage RESUME, which asks the loop to go on. When it
    has nothing to judge by, as right after a fault of the arm, a sure detector's own word is taken; without one it
    answers mode UNKNOWN with confidence 0, which makes the loop hold.

    Args:
        weights: The trained, calibrated probe.
        course: What the robot was told to do.
        masks: The reward masks of every mode the probe can name, by manner of the sub-task that is due.
        pace: Share of the trained speed at which the arm moves, (0, 1].

    Raises:
        ArtifactError: The probe was trained on another feature layout.
        ConfigError: A mode has no mask.
    """

    def __init__(
        self, weights: ProbeWeights, course: Course, masks: Masks, *, pace: float = 1.0,
    ) -> None:  # fmt: skip
        check_layout(weights)
        named = [FailureMode(m) for m in weights.labels if m != NOMINAL]
        missing = [m for m in named if not any(m in known for known in masks.values())]
        if missing or not masks:
            raise ConfigError(f"no reward mask for {missing or 'any mode'}; the probe names {weights.labels}")
        self._weights, self._course, self._masks = weights, course, dict(masks)
        self._pace = pace
        self._answer: RecoveryDescriptor | None = None

    def submit(self, evidence: Evidence) -> None:
        """Judges the evidence at once; a newer question replaces an older one."""
        report, probabilities = evidence.report, self._judge(evidence.steps)
        heard = report.confidence >= SURE and any(report.mode in known for known in self._masks.values())
        if probabilities is None and evidence.steps and heard:
            self._answer = self._named(evidence, report.mode, report.confidence, f"{report.detector} is sure")
        elif probabilities is None or not evidence.steps:
            self._answer = self._unsure(evidence, "nothing to judge by", RecoveryStage.RETREAT, 0.0)
        elif (nominal := float(probabilities[self._weights.nominal_index])) >= _EVEN:
            self._answer = self._unsure(evidence, "looks nominal", RecoveryStage.RESUME, nominal)
        elif report.detector == BUMP and heard and self._failing(probabilities).max() < report.confidence:
            self._answer = self._named(evidence, report.mode, report.confidence, "the arm felt it")
        else:
            given = self._failing(probabilities)
            likeliest = int(given.argmax())
            said = ", ".join(f"{n} {p:.2f}" for n, p in zip(self._weights.labels, probabilities, strict=True))
            mode = FailureMode(self._weights.labels[likeliest])
            self._answer = self._named(evidence, mode, float(given[likeliest]), said)

    def poll(self) -> RecoveryDescriptor | None:
        """Returns the answer once, else None."""
        answer, self._answer = self._answer, None
        return answer

    def _judge(self, steps: Sequence[Step]) -> Floats | None:
        ends = range(max(1, len(steps) - _AVERAGED + 1), len(steps) + 1)
        seen = [in_trained_time(steps[:end], self._pace) for end in ends]
        found = [judged(self._weights, probe_features(some, self._course)) for some in seen]
        known = [p for p in found if p is not None]
        return np.mean(known, axis=0) if known else None

    def _failing(self, probabilities: Floats) -> Floats:
        """Returns the probability of every label given that something failed; 0 for nominal."""
        failing = np.where(np.arange(len(probabilities)) == self._weights.nominal_index, 0.0, probabilities)
        return np.asarray(failing / max(float(failing.sum()), 1e-9))

    def _named(self, evidence: Evidence, mode: FailureMode, confidence: float, why: str) -> RecoveryDescriptor:
        last = evidence.steps[-1]
        now = due_in(self._course, last.arrived.scene)
        roles = now.roles
        return RecoveryDescriptor(
            report_id=evidence.report.id,
            mode=mode,
            stage=stage_for(mode, last.observation, last.arrived.scene, self._course),
            target=roles.target,
            obstacles=tuple(n for n in (roles.distractor, roles.obstacle) if n),
            mask=self._masks[now.sub.manner].get(mode, self._nothing()),
            confidence=confidence,
            model_id=self._weights.name,
            rationale=why,
        )

    def _unsure(self, evidence: Evidence, why: str, stage: RecoveryStage, confidence: float) -> RecoveryDescriptor:
        return RecoveryDescriptor(
            report_id=evidence.report.id,
            mode=FailureMode.UNKNOWN,
            stage=stage,
            target="",
            obstacles=(),
            mask=self._nothing(),
            confidence=confidence,
            model_id=self._weights.name,
            rationale=why,
        )

    def _nothing(self) -> RewardMask:
        library = next(m.library for known in self._masks.values() for m in known.values())
        return RewardMask(library=library, active=frozenset())
