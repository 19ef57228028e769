"""The report of an evaluation: one self-contained HTML page.

Called by the commands `run`, `eval` and `report`. The page asks the network for nothing and needs no script.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from jinja2 import Environment, PackageLoader, StrictUndefined

from core.recovery import Rate
from regrasp import report_views as views
from regrasp.evaluation import ArmName, EpisodeResult
from regrasp.figures import Evaluation
from regrasp.report_clips import PHASE_RGB, ClipPair, EncodedClip, filmstrip_uri, pair_clips
from regrasp.report_table import number

REPORT_NAME = "report.html"
"""File name inside the output folder."""
CLIP_BUDGET_BYTES = 4_500_000
"""All pairs of clips together, before base64 makes a third more of them; keeps the page below 8 MB."""
FAILING_BUDGET_BYTES = 1_000_000
"""All clips of what still fails together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    evaluation: Evaluation
    groups: tuple[views.BarGroup, ...]
    confusion: tuple[views.ConfusionRow, ...]
    timelines: tuple[views.TimelineGroup, ...]
    failing: tuple[views.StillFailing, ...]
    kinds: tuple[views.FailingKind, ...]
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
    page = _page(results, evaluation, shown, left_out, views.failing_kinds(evaluation, clips, FAILING_BUDGET_BYTES))
    text = _environment().get_template("report.html.j2").render(page=page)
    path = out_dir / REPORT_NAME
    out_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _page(
    results: Sequence[EpisodeResult], evaluation: Evaluation, pairs: tuple[ClipPair, ...], left_out: int,
    kinds: tuple[views.FailingKind, ...],
) -> _Page:  # fmt: skip
    watched = [r for r in results if r.arm == ArmName.RECOVERY]
    return _Page(
        evaluation=evaluation,
        groups=views.bar_groups(evaluation),
        confusion=views.confusion_rows(evaluation.monitor),
        timelines=views.timeline_groups(evaluation, results),
        failing=views.still_failing(evaluation, results),
        kinds=kinds,
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
        extensions=["jinja2.ext.loopcontrols"],
        loader=PackageLoader("regrasp"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(words=views.words, number=number, percent=_percent, interval=_interval, filmstrip=filmstrip_uri)
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


def _percent(rate: Rate) -> str:
    return f"{100.0 * rate.rate:.0f} %" if rate.n else "n/a"


def _interval(rate: Rate) -> str:
    low, high = rate.ci95
    return f"{100.0 * low:.0f} to {100.0 * high:.0f} %" if rate.n else "no episodes"
