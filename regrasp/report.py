"""The report of an evaluation: one self-contained HTML page, and a table for the terminal.

Called by the commands `run`, `eval` and `report`. The page asks the network for nothing and needs no script.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from jinja2 import Environment, PackageLoader, StrictUndefined

from core.recovery import Rate
from regrasp import report_views as views
from regrasp.evaluation import ArmName, EpisodeResult, Evaluation
from regrasp.report_clips import PHASE_RGB, ClipPair, EncodedClip, filmstrip_uri, pair_clips

REPORT_NAME = "report.html"
"""File name inside the output folder."""
CLIP_BUDGET_BYTES = 5_500_000
"""All clips together, before base64 makes a third more of them; keeps the page below 8 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    evaluation: Evaluation
    groups: tuple[views.BarGroup, ...]
    confusion: tuple[views.ConfusionRow, ...]
    timelines: tuple[views.TimelineGroup, ...]
    failing: tuple[views.StillFailing, ...]
    pairs: tuple[ClipPair, ...]
    pairs_left_out: int
    ticks: tuple[tuple[float, str], ...]
    watched: int
    wrong_claims: int
    unreached: int
    recorded: int
    recovery_p50_s: float | None
    policy_p50_s: float | None
    policy_p95_s: float | None


def write_report(
    results: Sequence[EpisodeResult], evaluation: Evaluation, clips: Sequence[EncodedClip], out_dir: Path
) -> Path:
    """Writes `report.html` into `out_dir` and returns its path.

    Args:
        results: The episodes `evaluation` was made from.
        evaluation: The figures.
        clips: Clips of both arms; the most telling pair of each mode is shown, within the size budget.
        out_dir: Output folder; made when missing.
    """
    shown, left_out = _within_budget(pair_clips(clips, results))
    text = _environment().get_template("report.html.j2").render(page=_page(results, evaluation, shown, left_out))
    path = out_dir / REPORT_NAME
    out_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def format_table(evaluation: Evaluation) -> str:
    """Returns the figures as a table for an 80-column terminal."""
    c, m = evaluation.campaign, evaluation.monitor
    rows = [("", *(views.ARM_TITLES[a.name] for a in evaluation.arms))]
    rows.append(("nominal", *(_rate_text(a.nominal) for a in evaluation.arms)))
    rows.append(("failures injected", *(_rate_text(a.injected) for a in evaluation.arms)))
    for i, mode in enumerate(c.modes):
        rows.append((f"  {mode}", *(_rate_text(a.by_mode[i][1]) for a in evaluation.arms)))
    rows.append(("Q-score (injected)", *(_number(a.q) for a in evaluation.arms)))
    lines = [f"{title:<20}{base:<28}{recovery}" for title, base, recovery in rows]
    return "\n".join([
        f"{c.task} on a SIMULATED arm, tracker {c.tracker}, policy {c.policy}, gap {c.gap}, seeds from {c.seed}",
        *lines,
        f"monitor: named rightly {_number(m.accuracy)}, false alarms a success {_number(m.false_alarms_per_success)}, "
        f"detection delay {_number(m.lead_time_s)} s",
    ])  # fmt: skip


def _page(
    results: Sequence[EpisodeResult], evaluation: Evaluation, pairs: tuple[ClipPair, ...], left_out: int
) -> _Page:
    watched = [r for r in results if r.arm == ArmName.RECOVERY]
    return _Page(
        evaluation=evaluation,
        groups=views.bar_groups(evaluation),
        confusion=views.confusion_rows(evaluation.monitor),
        timelines=views.timeline_groups(evaluation, results),
        failing=views.still_failing(evaluation, results),
        pairs=pairs,
        pairs_left_out=left_out,
        ticks=views.axis_ticks(views.axis_length_s(results)),
        watched=len(watched),
        wrong_claims=views.wrong_claims(results),
        unreached=sum(r.injected is not None and r.injected_at_s is None for r in results),
        recorded=sum(bool(r.episode_file) for r in results),
        recovery_p50_s=_median([r.recovery_s for r in watched]),
        policy_p50_s=_median([r.inference.p50_s for r in results]),
        policy_p95_s=_median([r.inference.p95_s for r in results]),
    )


def _environment() -> Environment:
    env = Environment(
        loader=PackageLoader("regrasp"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(words=views.words, number=_number, percent=_percent, interval=_interval, filmstrip=filmstrip_uri)
    env.globals.update(phase_rgb=PHASE_RGB, arm_titles=views.ARM_TITLES)
    return env


def _within_budget(pairs: Sequence[ClipPair]) -> tuple[tuple[ClipPair, ...], int]:
    shown: list[ClipPair] = []
    for pair in pairs:
        if sum(p.size for p in [*shown, pair]) <= CLIP_BUDGET_BYTES:
            shown.append(pair)
    return tuple(shown), len(pairs) - len(shown)


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return median(known) if known else None


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _percent(rate: Rate) -> str:
    return f"{100.0 * rate.rate:.0f} %" if rate.n else "n/a"


def _interval(rate: Rate) -> str:
    low, high = rate.ci95
    return f"{100.0 * low:.0f} to {100.0 * high:.0f} %" if rate.n else "no episodes"


def _rate_text(rate: Rate) -> str:
    if not rate.n:
        return "no episodes"
    low, high = rate.ci95
    return f"{rate.k}/{rate.n}  {rate.rate:.2f} [{low:.2f}, {high:.2f}]"
