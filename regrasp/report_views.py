"""What the report shows, as plain rows of text and percentages; the template only lays them out. Used by `report`."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.flow import Phase
from core.recovery import Rate
from regrasp.evaluation import ArmName, EpisodeResult
from regrasp.figures import Evaluation, Failing, MonitorFigures, success_rate
from regrasp.report_clips import EncodedClip

ARM_TITLES = {
    ArmName.BASE: "base alone", ArmName.RETRY: "base + retry", ArmName.FINETUNED: "base fine-tuned",
    ArmName.RECOVERY: "with recovery", ArmName.NO_GATES: "recovery, no gates", ArmName.ALL_TERMS: "recovery, all terms",
    ArmName.ORACLE: "oracle diagnosis",
}  # fmt: skip
"""What tables call them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One success rate as a bar."""

    arm: ArmName
    title: str
    rate: Rate
    percent: float
    """Success rate [%], 0 when n is 0."""
    low: float
    """Lower end of the interval [%]."""
    high: float
    """Upper end of the interval [%]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarGroup:
    """The bars of one row: both arms under the same condition."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the confusion matrix."""

    count: int
    share: float
    """Of its row, [0, 1]."""
    right: bool
    """On the diagonal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionRow:
    """One true label and what was named instead."""

    label: str
    total: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of one phase on the timeline."""

    phase: Phase
    left: float
    """Start [%] of the axis."""
    width: float
    """Length [%] of the axis."""
    words: str
    """Phase and times, for the tooltip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One episode of the recovery arm on a time axis."""

    result: EpisodeResult
    base: EpisodeResult | None
    """The same seed and mode without recovery."""
    spans: tuple[Span, ...]
    injected: float | None
    """Injection [%] of the axis."""
    alarms: tuple[float, ...]
    """Alarms [%] of the axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineGroup:
    """All timelines of one mode."""

    title: str
    timelines: tuple[Timeline, ...]
    base: Rate
    recovery: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class StillFailing:
    """The recovery arm's failed episodes of one condition."""

    title: str
    failed: tuple[EpisodeResult, ...]
    n: int
    """Episodes of this condition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingKind:
    """One kind of what still fails, with an episode to look at."""

    title: str
    kind: Failing
    clip: EncodedClip | None


def bar_groups(evaluation: Evaluation) -> tuple[BarGroup, ...]:
    """Returns the nominal bars, then those of each injected mode."""
    arms = [arm for arm in evaluation.arms if not arm.not_run]
    groups = [BarGroup(title="nominal", bars=tuple(_bar(a.name, a.nominal) for a in arms))]
    for i, mode in enumerate(evaluation.campaign.modes):
        groups.append(BarGroup(title=words(mode), bars=tuple(_bar(a.name, a.by_mode[i][1]) for a in arms)))
    return tuple(groups)


def confusion_rows(monitor: MonitorFigures) -> tuple[ConfusionRow, ...]:
    """Returns the confusion matrix with shares of each row."""
    return tuple(
        ConfusionRow(
            label=words(label),
            total=sum(counts),
            cells=tuple(
                Cell(count=count, share=count / max(1, sum(counts)), right=i == j) for j, count in enumerate(counts)
            ),
        )
        for i, (label, counts) in enumerate(zip(monitor.labels, monitor.confusion, strict=True))
    )


def timeline_groups(evaluation: Evaluation, results: Sequence[EpisodeResult]) -> tuple[TimelineGroup, ...]:
    """Returns the recovery arm's timelines, injected modes first, each group in order of seed."""
    axis_s = axis_length_s(results)
    base = {r.key[1:]: r for r in results if r.arm == ArmName.BASE}
    groups = []
    for mode in (*evaluation.campaign.modes, None):
        chosen = sorted((r for r in results if r.injected == mode), key=lambda r: r.seed)
        watched = [r for r in chosen if r.arm == ArmName.RECOVERY]
        if watched:
            lines = tuple(_timeline(r, base.get(r.key[1:]), axis_s) for r in watched)
            alone = success_rate(r for r in chosen if r.arm == ArmName.BASE)
            title = words(mode) if mode else "nominal"
            groups.append(TimelineGroup(title=title, timelines=lines, base=alone, recovery=success_rate(watched)))
    return tuple(groups)


def still_failing(evaluation: Evaluation, results: Sequence[EpisodeResult]) -> tuple[StillFailing, ...]:
    """Returns, for each condition in which the recovery arm failed at all, the episodes that did."""
    groups = []
    for mode in (*evaluation.campaign.modes, None):
        chosen = [r for r in results if r.arm == ArmName.RECOVERY and r.injected == mode]
        failed = tuple(sorted((r for r in chosen if not r.success), key=lambda r: r.seed))
        if failed:
            groups.append(StillFailing(title=words(mode) if mode else "nominal", failed=failed, n=len(chosen)))
    return tuple(groups)


def failing_kinds(evaluation: Evaluation, clips: Sequence[EncodedClip], budget_bytes: int) -> tuple[FailingKind, ...]:
    """Returns what still fails, the most frequent first, with a clip of each kind as far as there are some and room."""
    found, kinds = {(c.mode, c.seed): c for c in clips if c.arm == ArmName.RECOVERY}, []
    for kind in evaluation.failing:
        clip = next((found[kind.mode, seed] for seed in kind.seeds if (kind.mode, seed) in found), None)
        if clip is not None and len(clip.webp) > budget_bytes:
            clip = None
        budget_bytes -= 0 if clip is None else len(clip.webp)
        kinds.append(FailingKind(title=words(kind.mode), kind=kind, clip=clip))
    return tuple(kinds)


def wrong_claims(results: Sequence[EpisodeResult]) -> int:
    """Returns how many recovery episodes the loop itself called a success that the truth calls a failure."""
    return sum(r.arm == ArmName.RECOVERY and r.claimed == "success" and not r.success for r in results)


def axis_length_s(results: Sequence[EpisodeResult]) -> float:
    """Returns the length of the timelines' axis: the longest episode, rounded up to a whole second [s]."""
    return float(max([1.0, *(-(-r.duration_s // 1.0) for r in results)]))


def axis_ticks(axis_s: float) -> tuple[tuple[float, str], ...]:
    """Returns the ticks of a time axis: position [%] and label, at most nine."""
    step = next(s for s in (1, 2, 5, 10, 30, 60, 300, 1_000_000) if axis_s / s <= 8)
    return tuple((100.0 * t / axis_s, f"{t} s") for t in range(0, int(axis_s) + 1, step))


def words(name: str | None) -> str:
    """Returns an identifier as words; None is the mode of an episode in which nothing was injected."""
    return "nominal" if name is None else name.replace("_", " ")


def _bar(arm: ArmName, rate: Rate) -> Bar:
    low, high = rate.ci95
    percent = 100.0 * rate.rate if rate.n else 0.0
    return Bar(arm=arm, title=ARM_TITLES[arm], rate=rate, percent=percent, low=100.0 * low, high=100.0 * high)


def _timeline(result: EpisodeResult, base: EpisodeResult | None, axis_s: float) -> Timeline:
    ends = [*(p.t_s for p in result.phases[1:]), result.duration_s]
    spans = tuple(
        Span(
            phase=start.phase,
            left=100.0 * start.t_s / axis_s,
            width=100.0 * max(0.0, end - start.t_s) / axis_s,
            words=f"{start.phase} {start.t_s:.2f} to {end:.2f} s",
        )
        for start, end in zip(result.phases, ends, strict=True)
    )
    injected = None if result.injected_at_s is None else 100.0 * result.injected_at_s / axis_s
    alarms = tuple(100.0 * a.t_s / axis_s for a in result.alarms)
    return Timeline(result=result, base=base, spans=spans, injected=injected, alarms=alarms)
