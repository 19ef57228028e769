"""The figures of evaluations as tables for a terminal. Called by `run`, `eval`, `report` and the driver."""

from collections.abc import Sequence
from statistics import fmean

from core.recovery import Rate
from regrasp.evaluation import ArmName
from regrasp.figures import ArmFigures, Evaluation, MonitorFigures
from regrasp.report_views import ARM_TITLES

_NAME, _RATE, _SHORT = 20, 28, 9


def format_table(evaluation: Evaluation) -> str:
    """Returns one evaluation as a table, at most 96 columns wide but for its first line."""
    c, m = evaluation.campaign, evaluation.monitor
    ran = [arm for arm in evaluation.arms if not arm.not_run]
    lines = [
        f"{c.task} on a SIMULATED arm, tracker {c.tracker}, policy {c.policy}, gap {c.gap}, seeds from {c.seed}",
        f"{'':<{_NAME}}{'nominal':<{_RATE}}{'failures injected':<{_RATE}}{'Q':>5}{'mended':>8}{'tries':>7}",
        *(_arm_line(arm) for arm in ran),
        *(f"{ARM_TITLES[a.name]:<{_NAME}}not run: {a.not_run}" for a in evaluation.arms if a.not_run),
        "",
        f"{'by mode, k/n':<{_NAME}}" + "".join(f"{arm.name:>{_SHORT + 2}}" for arm in ran),
        *(_mode_line(str(mode), [arm.by_mode[i][1] for arm in ran]) for i, mode in enumerate(c.modes)),
        _mode_line("waits for a person", [arm.interventions for arm in ran]),
        "",
        *_monitor_lines(m),
    ]
    return "\n".join(lines)


def format_summary(evaluations: Sequence[Evaluation]) -> str:
    """Returns several tasks' evaluations as one table: injected success by arm, mean over tasks, and the monitor."""
    names = [arm for arm in ArmName if any(_ran(e, arm) is not None for e in evaluations)]
    lines = [
        "failures injected, share recovered",
        f"{'':<{_NAME}}" + "".join(f"{name:>{_SHORT + 2}}" for name in names) + f"{'Q':>7}",
    ]
    for e in evaluations:
        arms = [_ran(e, name) for name in names]
        recovery = _ran(e, ArmName.RECOVERY)
        told = "".join(f"{'not run' if a is None else number(_value(a.injected)):>{_SHORT + 2}}" for a in arms)
        lines.append(f"{e.campaign.task:<{_NAME}}{told}{number(recovery.q if recovery else None):>7}")
    means = [[_value(a.injected) for e in evaluations if (a := _ran(e, name)) is not None] for name in names]
    lines.append(f"{'mean':<{_NAME}}" + "".join(f"{number(mean_of(values)):>{_SHORT + 2}}" for values in means))
    monitors = [e.monitor for e in evaluations]
    together = [
        (what, _sum(rates))
        for what, rates in (
            ("mode named rightly", [m.modes for m in monitors]),
            ("stage named rightly", [m.stages for m in monitors]),
            ("acted when it was wrong", [m.acting for m in monitors]),
            ("successes with a false alarm", [m.false_alarms for m in monitors]),
        )
    ]
    return "\n".join([*lines, "", *(f"{what}: {rate_text(rate)}" for what, rate in together)])


def rate_text(rate: Rate) -> str:
    """Returns a rate with its count and interval."""
    if not rate.n:
        return "no episodes"
    low, high = rate.ci95
    return f"{rate.k}/{rate.n}  {rate.rate:.2f} [{low:.2f}, {high:.2f}]"


def number(value: float | None) -> str:
    """Returns a number with two digits, "n/a" when it is not known."""
    return "n/a" if value is None else f"{value:.2f}"


def mean_of(values: Sequence[float | None]) -> float | None:
    """Returns the mean of what is known, None when nothing is."""
    known = [v for v in values if v is not None]
    return fmean(known) if known else None


def _arm_line(arm: ArmFigures) -> str:
    mended = "n/a" if arm.mending_s is None else f"{arm.mending_s:.1f} s"
    return (
        f"{ARM_TITLES[arm.name]:<{_NAME}}{rate_text(arm.nominal):<{_RATE}}{rate_text(arm.injected):<{_RATE}}"
        f"{number(arm.q):>5}{mended:>8}{number(arm.attempts):>7}"
    )


def _mode_line(title: str, rates: Sequence[Rate]) -> str:
    return f"  {title:<{_NAME - 2}}" + "".join(f"{f'{r.k}/{r.n}':>{_SHORT + 2}}" for r in rates)


def _monitor_lines(m: MonitorFigures) -> list[str]:
    return [
        f"monitor: mode {rate_text(m.modes)}, stage {rate_text(m.stages)}",
        f"         acted when it was wrong {rate_text(m.acting)}, detection delay {number(m.lead_time_s)} s",
        f"         successes with a false alarm {rate_text(m.false_alarms)}, "
        f"alarms a success {number(m.false_alarms_per_success)}",
    ]


def _ran(evaluation: Evaluation, name: ArmName) -> ArmFigures | None:
    return next((a for a in evaluation.arms if a.name is name and not a.not_run), None)


def _value(rate: Rate) -> float | None:
    return rate.rate if rate.n else None


def _sum(rates: Sequence[Rate]) -> Rate:
    return Rate(k=sum(r.k for r in rates), n=sum(r.n for r in rates))
