"""The tables of docs/results.md as Markdown. Called by `results`; every number comes from an evaluation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.recovery import Rate
from regrasp.evaluation import ArmName
from regrasp.figures import ArmFigures, Evaluation
from regrasp.report_table import mean_of, number
from regrasp.report_views import ARM_TITLES, words
from regrasp.results_plot import PlotRow, bars

PLOTS = "results"
"""Folder of the plots, beside the page."""
MOST_FAILING = 5
"""Kinds of failure listed for each task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What the page is made from."""

    main: Sequence[Evaluation]
    """One a task, nominal cell, all arms."""
    gaps: Mapping[str, Sequence[Evaluation]]
    """By gap profile."""
    ablations: Mapping[str, Sequence[Evaluation]]
    """By name; empty when not run."""
    ablation_words: Mapping[str, str]
    """What each ablation is."""


def page(material: Material) -> str:
    """Returns the page."""
    c = material.main[0].campaign
    seeds = ", ".join(f"{e.campaign.task} {e.campaign.seed}-{_last_seed(e)}" for e in material.main)
    parts = [
        "# Results\n\nWritten by `regrasp results` from evaluations; do not edit. **A simulated arm**. "
        f"Policy `{c.policy}`, objects tracked by: {c.tracker}. Each seed is lived through once with nothing "
        "injected and once with one failure injected, modes in turn; the same seeds and injections in every arm. "
        f"Seeds: {seeds}. Brackets are 95 % Wilson intervals; where they overlap much, read no difference.",
        _section("Failures injected, by arm", f"![arms]({PLOTS}/arms.svg)", _arms(material.main)),
        _section("The recovery arm", "", _recovery(material.main)),
        _section("By failure mode, base alone and with recovery", "", _modes(material.main)),
        _section("Watching", _WATCHING, _monitor(material.main)),
        _section("What was named", "Rows: injected and reached; columns: named first.", _confusions(material.main)),
        _section("What still fails with recovery", "", _failing(material.main)),
        _section("Gap profiles", _gap_words(material), _gaps(material)),
        _section("Ablations", _ablation_words(material), _ablations(material)),
    ]
    return "\n\n".join(parts) + "\n"


def plots(material: Material) -> dict[str, str]:
    """Returns every plot as SVG text, by file name."""
    arms = [
        (e.campaign.task, [
            PlotRow(title=ARM_TITLES[a.name], rate=None if a.not_run else a.injected, strong=a.name is ArmName.RECOVERY)
            for a in e.arms
        ])
        for e in material.main
    ]  # fmt: skip
    found = {"arms.svg": bars(arms)}
    if material.gaps:
        rows = [
            (e.campaign.task, [
                PlotRow(title=gap, rate=_injected(_same(e, evaluations)), strong=gap == "nominal")
                for gap, evaluations in {"nominal": material.main, **material.gaps}.items()
            ])
            for e in material.main
        ]  # fmt: skip
        found["gaps.svg"] = bars(rows)
    if any(material.ablations.values()):
        rates = {name: _sum([_injected(e) for e in found_]) for name, found_ in material.ablations.items()}
        rows_ = [
            PlotRow(title=name, rate=rate if rate.n else None, strong=name == "full") for name, rate in rates.items()
        ]
        found["ablations.svg"] = bars([("recovery, failures injected", rows_)])
    return found


_WATCHING = (
    "Mode: first diagnosis after a failure that struck while the policy drove; no alarm counts as wrong. Stage: among "
    "the diagnoses that named a failure, against the same rule on the simulator's truth. Acting: attempts begun while "
    "the injected failure had struck and was not mended, or where the policy fails without any. False alarms: "
    "successful episodes with nothing injected that had one, on seeds on which the policy alone does not fail either."
)


def _arms(main: Sequence[Evaluation]) -> str:
    names = [arm for arm in ArmName if any(_arm(e, arm) for e in main)]
    head = ("task", *(ARM_TITLES[n] for n in names))
    rows = [(e.campaign.task, *(_cell(_arm(e, n)) for n in names)) for e in main]
    means = [mean_of([a.injected.rate for e in main if (a := _ran(e, n)) and a.injected.n]) for n in names]
    missing = sorted({f"- {ARM_TITLES[a.name]}: {a.not_run}" for e in main for a in e.arms if a.not_run})
    return _table(head, [*rows, ("**mean**", *(f"**{number(m)}**" for m in means))]) + "".join(
        f"\n\n{m}" for m in missing
    )


def _recovery(main: Sequence[Evaluation]) -> str:
    head = ("task", "nothing injected", "failures injected", "Q", "mended after [s]", "attempts", "waits for a person")
    rows = [
        (e.campaign.task, _rate(a.nominal), _rate(a.injected), number(a.q), number(a.mending_s), number(a.attempts),
         _rate(a.interventions))
        for e in main
        if (a := _ran(e, ArmName.RECOVERY))
    ]  # fmt: skip
    arms = [a for e in main if (a := _ran(e, ArmName.RECOVERY))]
    last = (
        "**mean**", number(_mean_rate(a.nominal for a in arms)), number(_mean_rate(a.injected for a in arms)),
        number(mean_of([a.q for a in arms])), number(mean_of([a.mending_s for a in arms])),
        number(mean_of([a.attempts for a in arms])), number(_mean_rate(a.interventions for a in arms)),
    )  # fmt: skip
    return _table(head, [*rows, last])


def _modes(main: Sequence[Evaluation]) -> str:
    rows = []
    for e in main:
        base, recovery = (_ran(e, name) for name in (ArmName.BASE, ArmName.RECOVERY))
        for i, mode in enumerate(e.campaign.modes):
            told = [_rate(arm.by_mode[i][1]) if arm else "not run" for arm in (base, recovery)]
            rows.append((e.campaign.task if i == 0 else "", words(mode), *told))
    return _table(("task", "mode", "base alone", "with recovery"), rows)


def _monitor(main: Sequence[Evaluation]) -> str:
    columns: list[tuple[str, Callable[[Evaluation], Rate]]] = [
        ("mode", lambda e: e.monitor.modes), ("stage", lambda e: e.monitor.stages),
        ("acting", lambda e: e.monitor.acting), ("false alarms", lambda e: e.monitor.false_alarms),
    ]  # fmt: skip
    rows = [(e.campaign.task, *(_rate(of(e)) for _, of in columns), number(e.monitor.lead_time_s)) for e in main]
    total = ("**all**", *(_rate(_sum([of(e) for e in main])) for _, of in columns), "")
    return _table(("task", *(name for name, _ in columns), "alarm after [s]"), [*rows, total])


def _confusions(main: Sequence[Evaluation]) -> str:
    found = []
    for e in main:
        labels = e.monitor.labels
        rows = [(words(label), *map(str, row)) for label, row in zip(labels, e.monitor.confusion, strict=True)]
        found.append(f"{e.campaign.task}\n\n" + _table(("", *map(words, labels)), rows))
    return "\n\n".join(found)


def _failing(main: Sequence[Evaluation]) -> str:
    rows = [
        (e.campaign.task, str(len(f.seeds)), words(f.mode), f.phase, f.stage or "not known", f.why,
         ", ".join(map(str, f.seeds[:4])) + (" ..." if len(f.seeds) > 4 else ""))
        for e in main
        for f in e.failing[:MOST_FAILING]
    ]  # fmt: skip
    head = ("task", "episodes", "mode", "last phase", "last stage", "why", "seeds")
    return _table(head, rows) if rows else "Nothing did."


def _gaps(material: Material) -> str:
    if not material.gaps:
        return "Not run."
    head = ("task", "nominal", *material.gaps)
    rows = [
        (e.campaign.task, _told(_injected(e)), *(_told(_injected(_same(e, g))) for g in material.gaps.values()))
        for e in material.main
    ]
    every = [material.main, *material.gaps.values()]
    means = [_mean_rate(r for e in some if (r := _injected(e)) is not None) for some in every]
    return _table(head, [*rows, ("**mean**", *(number(m) for m in means))])


def _gap_words(material: Material) -> str:
    shown = f"\n\n![gaps]({PLOTS}/gaps.svg)" if material.gaps else ""
    return "Recovery arm, failures injected; profiles in `config/gaps`, none of them a training distribution." + shown


def _ablations(material: Material) -> str:
    full = _mean_rate(r for e in material.ablations.get("full", ()) if (r := _injected(e)) is not None)
    rows = []
    for name, evaluations in material.ablations.items():
        told = material.ablation_words[name]
        arms = [a for e in evaluations if (a := _ran(e, ArmName.RECOVERY))]
        mean = _mean_rate(a.injected for a in arms)
        change = "" if mean is None or full is None or name == "full" else f"{mean - full:+.2f}"
        tasks = ", ".join(e.campaign.task for e in evaluations)
        together = _rate(_sum([a.injected for a in arms])) if arms else "not run"
        rows.append((name, told, together, number(mean), change, number(mean_of([a.q for a in arms])), tasks))
    head = ("skills", "trained with", "failures injected", "mean over tasks", "change", "Q", "tasks")
    return _table(head, rows)


def _ablation_words(material: Material) -> str:
    shown = f"\n\n![ablations]({PLOTS}/ablations.svg)" if any(material.ablations.values()) else ""
    return (
        "Each row is `regrasp train` with one thing taken away (or, for the features, added), then "
        "`regrasp eval --arms recovery --skills ... --out out/ablations/NAME`. Compare rows of the same tasks only."
        + shown
    )


def _section(title: str, text: str, table: str) -> str:
    return "\n\n".join(part for part in (f"## {title}", text, table) if part)


def _table(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [tuple(head), tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _arm(evaluation: Evaluation, name: ArmName) -> ArmFigures | None:
    return next((a for a in evaluation.arms if a.name is name), None)


def _ran(evaluation: Evaluation, name: ArmName) -> ArmFigures | None:
    found = _arm(evaluation, name)
    return None if found is None or found.not_run else found


def _same(evaluation: Evaluation, others: Sequence[Evaluation]) -> Evaluation | None:
    return next((o for o in others if o.campaign.task == evaluation.campaign.task), None)


def _injected(evaluation: Evaluation | None) -> Rate | None:
    arm = None if evaluation is None else _ran(evaluation, ArmName.RECOVERY)
    return None if arm is None else arm.injected


def _cell(arm: ArmFigures | None) -> str:
    return "not run" if arm is None or arm.not_run else _rate(arm.injected)


def _told(rate: Rate | None) -> str:
    return "not run" if rate is None else _rate(rate)


def _rate(rate: Rate) -> str:
    if not rate.n:
        return "n/a"
    low, high = rate.ci95
    return f"{rate.rate:.2f} ({rate.k}/{rate.n}) [{low:.2f}, {high:.2f}]"


def _sum(rates: Sequence[Rate | None]) -> Rate:
    known = [r for r in rates if r is not None]
    return Rate(k=sum(r.k for r in known), n=sum(r.n for r in known))


def _mean_rate(rates: Iterable[Rate]) -> float | None:
    return mean_of([r.rate for r in rates if r.n])


def _last_seed(evaluation: Evaluation) -> int:
    return evaluation.campaign.seed + evaluation.campaign.episodes - 1
