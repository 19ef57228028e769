"""Writes docs/reward_terms.md and its plots from the reward library; run it as `python -m regrasp.reward_page`.

The plots are drawn here, as plain SVG, and not by a plotting library: the same code must give the same bytes on every
machine, for a test compares them with what is committed, and forty small lines do not need more.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from core.arrays import Floats
from residual.library import LIBRARY
from residual.sweeps import SWEEPS, evaluate
from residual.term import Category, Number, Role, Term

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reward_terms.md"
PLOTS = PAGE.parent / "terms"
POINTS = 121
"""Points of a curve."""
_WIDE, _TALL = 310, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 36, 290, 10, 112
_TIE = 1e-6
"""Added before rounding, so that a last bit that differs between machines does not turn a digit."""
_HEAD = """# The terms of the reward library `{library}`
Written from the code by `python -m regrasp.reward_page`; how terms become one reward is in [rewards.md](rewards.md).

Every term is a pure function over N worlds at once, without unit. A **value** lies in [0, 1] and sees one state; a
**penalty** lies in [-1, 0] and sees one control step. Values drive stages, gates and exits; penalties are costs.

In the formulas *role* and *goal* are the centres of the objects that have those roles now, *tool* is the tool centre
point, *opening* and *command* are the gripper's measured and commanded opening (0 closed, 1 open), clip cuts to [0, 1]
and smooth is 3x^2 - 2x^3 of that. All is in the base's axes, in SI units and radians. A role that nobody has, or whose
object is parked below the table, is absent, as if infinitely far away; each term says what it is then, and no term is
ever NaN. Penalties about an object follow the one that had the role before the step.

Each plot shows the term over its main variable, all parameters at their defaults; the dashed line marks the variable's
typical magnitude. A parameter outside its range is refused.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Docs:
    """What a term's docstring says."""

    text: str
    """What it measures: everything before the formula."""
    formula: str
    arguments: Mapping[str, str]
    """Meaning of each argument, by name."""
    source: str


def page() -> str:
    """Returns the page, as Markdown."""
    parts = [_HEAD.format(library=LIBRARY.id), _overview()]
    for category in get_args(Category):
        parts.append(f"## {category.capitalize()}\n")
        parts += [section(term) for term in LIBRARY.terms.values() if term.category == category]
    return "\n".join(parts)


def plots() -> dict[str, str]:
    """Returns every plot as SVG text, by file name."""
    return {f"{name}.svg": plot(term) for name, term in LIBRARY.terms.items()}


def docs_of(term: Term) -> Docs:
    """Returns the parts of the docstring of a term's function."""
    text, _, rest = (inspect.getdoc(term.function) or "").partition("\n\nFormula: ")
    formula, _, rest = rest.partition("\n\nArgs:\n")
    arguments, _, source = rest.partition("\n\nSource: ")
    named = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", arguments, re.MULTILINE)
    return Docs(
        text=_one_line(text), formula=_one_line(formula), source=_one_line(source),
        arguments={name: _one_line(meaning) for name, meaning in named},
    )  # fmt: skip


def section(term: Term) -> str:
    """Returns the part of the page that is about one term."""
    docs = docs_of(term)
    low = "[0, 1]" if term.kind == "value" else "[-1, 0]"
    facts = (
        ("kind", f"{term.kind} in {low}, {term.category}"),
        ("formula", f"`{docs.formula}`"),
        ("main variable", f"{term.variable} [{term.unit}], typically {term.scale:g}" if term.variable else "none"),
        ("monotone", term.monotone),
        ("Source", docs.source),
    )
    listed = "\n".join(f"- {name}: {fact}" for name, fact in facts)
    parts = [f"### `{term.name}`", docs.text, f"![{term.name}](terms/{term.name}.svg)", listed]
    if term.parameters:
        head = ("parameter", "unit", "default", "range", "meaning")
        parts.append(_table(head, [_parameter(p, docs) for p in term.parameters]))
    return "\n\n".join(parts) + "\n"


def plot(term: Term) -> str:
    """Returns a term over its main variable at default parameters, as SVG text."""
    sweep, params = SWEEPS[term.name], term.bind({})
    x = np.linspace(sweep.low, sweep.high, POINTS)
    y = evaluate(term, params, sweep.place(x, params))
    floor = 0.0 if term.kind == "value" else -1.0
    across, up = _across(x, sweep.low, sweep.high), _BOTTOM - (y - floor) * (_BOTTOM - _TOP)
    curve = " ".join(f"{a + _TIE:.1f},{b + _TIE:.1f}" for a, b in zip(across, up, strict=True))
    label = f"{term.variable} [{term.unit}]" if term.variable else "nothing"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_TALL}" width="{_WIDE}" height="{_TALL}" '
        'font-family="sans-serif" font-size="11" fill="#808080">',
        f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}" fill="none" stroke="#808080"/>',
        *_marked(term.scale if term.variable else np.nan, sweep.low, sweep.high),
        f'<polyline points="{curve}" fill="none" stroke="#2a7fd4" stroke-width="2"/>',
        *(f'<text x="{_LEFT - 4}" y="{_BOTTOM + 4 - s * (_BOTTOM - _TOP):g}" text-anchor="end">{floor + s:g}</text>'
          for s in (0.0, 0.5, 1.0)),
        *(f'<text x="{_across(at, sweep.low, sweep.high):g}" y="{_BOTTOM + 14}" text-anchor="middle">{at:g}</text>'
          for at in (sweep.low, (sweep.low + sweep.high) / 2, sweep.high)),
        f'<text x="{(_LEFT + _RIGHT) / 2:g}" y="{_TALL - 8}" text-anchor="middle">{label}</text>',
        "</svg>",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _across(x: Floats | float, low: float, high: float) -> Floats:
    return np.asarray(_LEFT + (np.asarray(x) - low) / (high - low) * (_RIGHT - _LEFT))


def _marked(scale: float, low: float, high: float) -> list[str]:
    if not low < scale < high:
        return []
    at = f"{_across(scale, low, high):.1f}"
    return [f'<path d="M{at} {_TOP}V{_BOTTOM}" stroke="#808080" stroke-dasharray="2 3"/>']


def _parameter(one: Number | Role, docs: Docs) -> tuple[str, ...]:
    meaning = docs.arguments[one.name]
    if isinstance(one, Role):
        return f"`{one.name}`", "role", one.default, "any role", meaning
    return f"`{one.name}`", one.unit, f"{one.default:g}", f"[{one.low:g}, {one.high:g}]", meaning


def _overview() -> str:
    rows = [
        (f"[`{t.name}`](#{t.name})", t.kind, t.category, t.monotone, ", ".join(p.name for p in t.parameters))
        for t in LIBRARY.terms.values()
    ]
    return _table(("term", "kind", "category", "monotone", "parameters"), rows) + "\n"


def _table(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [tuple(head), tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def write() -> None:
    """Writes the page and its plots, and takes away plots of terms that are no more."""
    PLOTS.mkdir(exist_ok=True)
    drawn = plots()
    for old in PLOTS.glob("*.svg"):
        if old.name not in drawn:
            old.unlink()
    for name, text in drawn.items():
        (PLOTS / name).write_text(text, encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write()
