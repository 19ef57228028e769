"""What an evaluation found: one value per episode, and the figures of `eval.json` made from them.

Called by the commands `run`, `eval` and `report`. Rates come with k, n and a 95 % Wilson interval, always.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from statistics import fmean
from typing import Any

from core.arrays import in_range
from core.episodes import Outcome
from core.errors import ContractError
from core.failures import FailureMode
from core.flow import Phase
from core.recovery import Rate
from runtime.recover.diagnose import ChatUsage

NO_FAILURE = "none"
"""The monitor's label for "nothing failed" (row) and "none of the task's modes was named" (column)."""


class ArmName(StrEnum):
    """The two arms of an evaluation: the same seeds, with and without recovery."""

    BASE = "base"
    """The frozen policy alone."""
    RECOVERY = "recovery"
    """The same policy, watched, diagnosed and recovered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """What was evaluated; results of different campaigns never mix."""

    task: str
    policy: str
    """name@hash of the frozen base policy."""
    tracker: str
    """"image" or "truth"; truth reads the simulator and is an ablation."""
    gap: str
    """Name of the gap profile."""
    episodes: int
    """Seeds evaluated, each in every arm."""
    seed: int
    """First seed."""
    modes: tuple[FailureMode, ...]
    """Failure modes injected, in the order of the report."""
    config_hash: str
    """Hash of all else that shapes a result: runtime configuration, skills, probe, sampling noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One time the loop left the policy because of a report."""

    t_s: float
    """Since the episode's start [s]."""
    mode: FailureMode
    """Mode the detector suspected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStart:
    """When a phase began."""

    t_s: float
    """Since the episode's start [s]."""
    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceTimes:
    """How long the base policy took for a chunk, from submit to poll."""

    chunks: int
    p50_s: float | None
    """Median [s]; None when there was no chunk."""
    p95_s: float | None
    """95th percentile [s]; None when there was no chunk."""

    @staticmethod
    def of(seconds: Sequence[float]) -> "InferenceTimes":
        """Returns the summary of one episode's wall times [s]."""
        if not seconds:
            return InferenceTimes(chunks=0, p50_s=None, p95_s=None)
        ordered = sorted(seconds)
        p50, p95 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.95))
        return InferenceTimes(chunks=len(ordered), p50_s=p50, p95_s=p95)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeResult:
    """One episode as the evaluator saw it. Truth is used here to score, never to drive."""

    arm: ArmName
    seed: int
    injected: FailureMode | None
    """Mode injected, None in a nominal episode."""
    instruction: str
    success: bool
    """The task's success predicate on the simulator's truth, at the end."""
    q_score: float
    """Share of the task's sub-goals reached, [0, 1]."""
    steps: int
    """Control steps lived."""
    duration_s: float
    """Simulated time lived [s]."""
    claimed: Outcome
    """How the loop itself said it ended."""
    injected_at_s: float | None
    """When the failure was injected [s]; None when the episode never reached the injector's condition."""
    alarms: tuple[Alarm, ...]
    """In order of time."""
    diagnosed: FailureMode | None
    """Mode the diagnoser gave for the first alarm, after the injection if there was one; None without answer."""
    phases: tuple[PhaseStart, ...]
    """In order of time, the first at 0 s."""
    attempts: int
    """Recovery attempts made."""
    recovery_s: float | None
    """Time spent in RECOVERING [s]; None when no attempt was made."""
    episode_file: str
    """Recording, relative to the output folder; "" when not recorded."""
    inference: InferenceTimes
    chat: ChatUsage = field(default_factory=ChatUsage)
    """What the vision-language model was asked and what that cost; all zero without one."""

    def __post_init__(self) -> None:
        in_range("q_score", self.q_score, 0.0, 1.0)
        in_range("duration_s [s]", self.duration_s, 0.0, 1e6)
        if self.injected is None and self.injected_at_s is not None:
            raise ContractError(f"seed {self.seed}: injected_at_s is {self.injected_at_s} s but no mode was injected")

    @property
    def key(self) -> tuple[str, int, str]:
        """Arm, seed and injected mode: unique within a campaign."""
        return self.arm, self.seed, self.injected or ""

    @property
    def detection_delay_s(self) -> float | None:
        """Seconds from the injection to the first alarm at or after it; None when either is missing."""
        if self.injected_at_s is None:
            return None
        return next((a.t_s - self.injected_at_s for a in self.alarms if a.t_s >= self.injected_at_s), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFigures:
    """One arm's row in the table."""

    name: ArmName
    nominal: Rate
    """Nothing injected."""
    injected: Rate
    """Every injected episode, also those that never reached the injector's condition."""
    q: float | None
    """Mean Q-score over the injected episodes; None when there are none."""
    by_mode: tuple[tuple[FailureMode, Rate], ...]
    """The injected episodes, by mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorFigures:
    """How well failures were noticed and named, over the recovery arm."""

    labels: tuple[str, ...]
    """The campaign's modes, then `NO_FAILURE`."""
    confusion: tuple[tuple[int, ...], ...]
    """Row: what was injected and reached. Column: what was diagnosed, `NO_FAILURE` when no alarm came after the
    injection or the answer was none of the labels. The last row holds the successful nominal episodes."""
    accuracy: float | None
    """Share of correct names over the rows of the modes; None when no failure was reached."""
    false_alarms_per_success: float | None
    """Alarms in successful nominal episodes, divided by their number; None when there are none."""
    lead_time_s: float | None
    """Mean detection delay [s]: first alarm at or after the injection, minus the injection. None when no alarm.

    How long before a failure becomes final an alarm comes cannot be known from one run; the delay after its cause can.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All figures of `eval.json`."""

    campaign: Campaign
    arms: tuple[ArmFigures, ...]
    monitor: MonitorFigures

    def arm(self, name: ArmName) -> ArmFigures:
        """Returns one arm's figures."""
        return next(a for a in self.arms if a.name == name)


def evaluate(campaign: Campaign, results: Sequence[EpisodeResult]) -> Evaluation:
    """Returns the figures of a campaign's results, finished or not.

    Args:
        campaign: What was evaluated.
        results: Episodes of both arms in any order, each key at most once.

    Raises:
        ContractError: An episode is there twice, or injects a mode the campaign does not have.
    """
    _check(campaign, results)
    arms = tuple(_arm(name, campaign, [r for r in results if r.arm == name]) for name in ArmName)
    watched = [r for r in results if r.arm == ArmName.RECOVERY]
    return Evaluation(campaign=campaign, arms=arms, monitor=_monitor(campaign, watched))


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Writes `eval.json`; what is not known is null, never NaN."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_as_json(evaluation), indent=2, allow_nan=False) + "\n")


def success_rate(results: Iterable[EpisodeResult]) -> Rate:
    """Returns how many of the episodes succeeded."""
    wins = [r.success for r in results]
    return Rate(k=sum(wins), n=len(wins))


def _check(campaign: Campaign, results: Sequence[EpisodeResult]) -> None:
    keys = [r.key for r in results]
    if twice := sorted({k for k in keys if keys.count(k) > 1}):
        raise ContractError(f"episodes {twice[:3]} are there twice; an arm, seed and mode is evaluated once")
    if foreign := {r.injected for r in results} - {None, *campaign.modes}:
        raise ContractError(f"modes {sorted(map(str, foreign))} were injected; the campaign has {campaign.modes}")


def _arm(name: ArmName, campaign: Campaign, results: Sequence[EpisodeResult]) -> ArmFigures:
    injected = [r for r in results if r.injected is not None]
    return ArmFigures(
        name=name,
        nominal=success_rate(r for r in results if r.injected is None),
        injected=success_rate(injected),
        q=_mean(r.q_score for r in injected),
        by_mode=tuple((mode, success_rate(r for r in injected if r.injected == mode)) for mode in campaign.modes),
    )


def _monitor(campaign: Campaign, watched: Sequence[EpisodeResult]) -> MonitorFigures:
    labels = (*(str(m) for m in campaign.modes), NO_FAILURE)
    reached = [r for r in watched if r.injected_at_s is not None]
    calm = [r for r in watched if r.injected is None and r.success]
    delays = [r.detection_delay_s for r in reached]
    return MonitorFigures(
        labels=labels,
        confusion=_confusion(labels, [*reached, *calm]),
        accuracy=_mean(_named(r, labels) == r.injected for r in reached),
        false_alarms_per_success=_mean(len(r.alarms) for r in calm),
        lead_time_s=_mean(d for d in delays if d is not None),
    )


def _confusion(labels: Sequence[str], results: Iterable[EpisodeResult]) -> tuple[tuple[int, ...], ...]:
    counts = [[0] * len(labels) for _ in labels]
    for r in results:
        counts[labels.index(r.injected or NO_FAILURE)][labels.index(_named(r, labels))] += 1
    return tuple(tuple(row) for row in counts)


def _named(result: EpisodeResult, labels: Sequence[str]) -> str:
    return str(result.diagnosed) if result.diagnosed in labels else NO_FAILURE


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return fmean(numbers) if numbers else None


def _as_json(evaluation: Evaluation) -> dict[str, Any]:
    c, m = evaluation.campaign, evaluation.monitor
    return {
        "task": c.task, "policy": c.policy, "tracker": c.tracker, "gap": c.gap, "episodes": c.episodes, "seed": c.seed,
        "arms": [_arm_as_json(arm) for arm in evaluation.arms],
        "monitor": {
            "labels": m.labels, "confusion": m.confusion, "accuracy": m.accuracy,
            "false_alarms_per_success": m.false_alarms_per_success, "lead_time_s": m.lead_time_s,
        },
    }  # fmt: skip


def _arm_as_json(arm: ArmFigures) -> dict[str, Any]:
    return {
        "name": arm.name,
        "nominal": _rate_as_json(arm.nominal),
        "injected": {**_rate_as_json(arm.injected), "q": arm.q},
        "by_mode": {mode: _rate_as_json(rate) for mode, rate in arm.by_mode},
    }


def _rate_as_json(rate: Rate) -> dict[str, Any]:
    return {"k": rate.k, "n": rate.n, "rate": rate.rate if rate.n else None, "ci95": list(rate.ci95)}
