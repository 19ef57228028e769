"""The figures of an evaluation, made from what its episodes showed. Called by `run`, `eval` and `report`.

Rates come with k, n and a 95 % Wilson interval, always.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, median

from core.episodes import Outcome
from core.errors import ContractError
from core.failures import FailureMode
from core.flow import Phase
from core.recovery import Rate, RecoveryStage
from regrasp.evaluation import ArmName, Campaign, EpisodeResult

NO_FAILURE = "none"
"""The monitor's label for "nothing failed" (row) and "none of the task's modes was named" (column)."""


class Why(StrEnum):
    """Why an episode failed, as far as its phases tell."""

    WRONG_CLAIM = "claimed success that was none"
    STOPPED = "stopped: the system itself failed"
    UNREACHED = "failed before anything was injected"
    UNNOTICED = "no alarm after the failure"
    NOT_ACTED_ON = "noticed, but no attempt was made"
    GAVE_UP = "attempts or diagnoses spent, waits for a person"
    OUT_OF_TIME = "time ran out"


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
    mending_s: float | None
    """Median time from the injection to the end of its sub-task, where that was reached [s]; None without any."""
    attempts: float | None
    """Mean recovery attempts in an injected episode; None when there are none."""
    interventions: Rate
    """Episodes, injected or not, that ended with the arm waiting for a person."""
    not_run: str = ""
    """Why the arm was not run, "" when it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorFigures:
    """How well failures were noticed and named, over the recovery arm.

    Failures that struck while a skill drove count nowhere here: the monitor listens while the policy drives. Calm
    episodes are successes with nothing injected, in scenes in which the policy alone does not fail either.
    """

    labels: tuple[str, ...]
    """The campaign's modes, then `NO_FAILURE`."""
    confusion: tuple[tuple[int, ...], ...]
    """Row: what was injected and reached. Column: what was diagnosed, `NO_FAILURE` when no alarm came after the
    injection or the answer was none of the labels. The last row holds the calm episodes."""
    modes: Rate
    """Correct names over the rows of the modes."""
    stages: Rate
    """Correct stages among the diagnoses that named a failure after the injection."""
    acting: Rate
    """Attempts begun while something was truly wrong: the injected failure had struck and was not mended, or the base
    policy alone fails in the same scene without any."""
    false_alarms: Rate
    """Calm episodes with an alarm."""
    false_alarms_per_success: float | None
    """Alarms in calm episodes, divided by their number; None when there are none."""
    lead_time_s: float | None
    """Mean detection delay [s]: first alarm at or after the injection, minus the injection. None when no alarm.

    How long before a failure becomes final an alarm comes cannot be known from one run; the delay after its cause can.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """One kind of failed episode of the recovery arm."""

    mode: FailureMode | None
    """Injected mode."""
    phase: Phase
    """Phase at the end."""
    stage: RecoveryStage | None
    """Stage on the truth at the end; None when not known."""
    why: Why
    seeds: tuple[int, ...]
    """Of the episodes, rising."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All figures of `eval.json`."""

    campaign: Campaign
    arms: tuple[ArmFigures, ...]
    monitor: MonitorFigures
    failing: tuple[Failing, ...]
    """What still fails in the recovery arm, the most frequent first."""

    def arm(self, name: ArmName) -> ArmFigures:
        """Returns one arm's figures."""
        return next(a for a in self.arms if a.name == name)


def evaluate(campaign: Campaign, results: Sequence[EpisodeResult]) -> Evaluation:
    """Returns the figures of a campaign's results, finished or not.

    Args:
        campaign: What was evaluated.
        results: Episodes of all arms in any order, each key at most once.

    Raises:
        ContractError: An episode is there twice, injects a mode or is of an arm that the campaign does not have.
    """
    _check(campaign, results)
    watched = [r for r in results if r.arm == ArmName.RECOVERY]
    return Evaluation(
        campaign=campaign,
        arms=tuple(
            _arm(plan.name, campaign, [r for r in results if r.arm == plan.name], plan.not_run)
            for plan in campaign.arms
        ),
        monitor=_monitor(campaign, watched, [r for r in results if r.arm == ArmName.BASE]),
        failing=_failing(watched),
    )


def success_rate(results: Iterable[EpisodeResult]) -> Rate:
    """Returns how many of these episodes ended in success."""
    return _share(r.success for r in results)


def why_failed(result: EpisodeResult) -> Why:
    """Returns why a failed episode failed."""
    last = result.phases[-1].phase
    after = [a for a in result.alarms if result.injected_at_s is None or a.t_s >= result.injected_at_s]
    rules = (
        (result.claimed is Outcome.SUCCESS, Why.WRONG_CLAIM),
        (last is Phase.STOPPED, Why.STOPPED),
        (result.injected is not None and result.injected_at_s is None, Why.UNREACHED),
        (not after, Why.UNNOTICED),
        (not result.attempts, Why.NOT_ACTED_ON),
        (last is Phase.HOLDING, Why.GAVE_UP),
    )
    return next((why for found, why in rules if found), Why.OUT_OF_TIME)


def _check(campaign: Campaign, results: Sequence[EpisodeResult]) -> None:
    if twice := sorted(k for k, count in Counter(r.key for r in results).items() if count > 1):
        raise ContractError(f"episodes {twice[:3]} are there twice; an arm, seed and mode is evaluated once")
    if foreign := {r.injected for r in results} - {None, *campaign.modes}:
        raise ContractError(f"modes {sorted(map(str, foreign))} were injected; the campaign has {campaign.modes}")
    arms = {plan.name for plan in campaign.arms}
    if others := {r.arm for r in results} - arms:
        raise ContractError(f"episodes are of arms {sorted(others)}; the campaign has {sorted(arms)}")


def _arm(name: ArmName, campaign: Campaign, results: Sequence[EpisodeResult], not_run: str) -> ArmFigures:
    injected = [r for r in results if r.injected is not None]
    mending = [r.mending_s for r in injected if r.mending_s is not None]
    return ArmFigures(
        name=name,
        nominal=success_rate(r for r in results if r.injected is None),
        injected=success_rate(injected),
        q=_mean(r.q_score for r in injected),
        by_mode=tuple((mode, success_rate(r for r in injected if r.injected == mode)) for mode in campaign.modes),
        mending_s=median(mending) if mending else None,
        attempts=_mean(r.attempts for r in injected),
        interventions=_share(r.intervention for r in results),
        not_run=not_run,
    )


def _monitor(campaign: Campaign, watched: Sequence[EpisodeResult], base: Sequence[EpisodeResult]) -> MonitorFigures:
    labels = (*(str(m) for m in campaign.modes), NO_FAILURE)
    hopeless = {r.seed for r in base if r.injected is None and not r.success}
    reached = [r for r in watched if r.struck_while_driven]
    calm = [r for r in watched if r.injected is None and r.success and r.seed not in hopeless]
    delays = [r.detection_delay_s for r in reached]
    named = [r for r in reached if r.true_stage is not None and r.diagnosed not in (None, FailureMode.UNKNOWN)]
    return MonitorFigures(
        labels=labels,
        confusion=_confusion(labels, [*reached, *calm]),
        modes=_share(_named(r, labels) == r.injected for r in reached),
        stages=_share(r.named_stage == r.true_stage for r in named),
        acting=_share(r.wrong_at(t_s) or r.seed in hopeless for r in watched for t_s in r.attempts_at_s),
        false_alarms=_share(bool(r.alarms) for r in calm),
        false_alarms_per_success=_mean(len(r.alarms) for r in calm),
        lead_time_s=_mean(d for d in delays if d is not None),
    )


def _failing(watched: Sequence[EpisodeResult]) -> tuple[Failing, ...]:
    kinds: dict[tuple[FailureMode | None, Phase, RecoveryStage | None, Why], list[int]] = {}
    for r in watched:
        if not r.success:
            kinds.setdefault((r.injected, r.phases[-1].phase, r.last_stage, why_failed(r)), []).append(r.seed)
    found = [
        Failing(mode=mode, phase=phase, stage=stage, why=why, seeds=tuple(sorted(seeds)))
        for (mode, phase, stage, why), seeds in kinds.items()
    ]
    return tuple(sorted(found, key=lambda f: (-len(f.seeds), str(f.mode), f.why)))


def _confusion(labels: Sequence[str], results: Iterable[EpisodeResult]) -> tuple[tuple[int, ...], ...]:
    counts = [[0] * len(labels) for _ in labels]
    for r in results:
        counts[labels.index(r.injected or NO_FAILURE)][labels.index(_named(r, labels))] += 1
    return tuple(tuple(row) for row in counts)


def _named(result: EpisodeResult, labels: Sequence[str]) -> str:
    return str(result.diagnosed) if result.diagnosed in labels else NO_FAILURE


def _share(hits: Iterable[bool]) -> Rate:
    found = list(hits)
    return Rate(k=sum(found), n=len(found))


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return fmean(numbers) if numbers else None
