"""Success rates as small SVG pictures: one bar a row, with its 95 % Wilson interval. Called by `results`."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from core.recovery import Rate

_LEFT, _RIGHT, _WIDE = 170, 560, 640
_ROW, _TOP, _FOOT = 18, 8, 26
_GREY, _BLUE, _INK = "#9aa7b4", "#2a7fd4", "#808080"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotRow:
    """One bar."""

    title: str
    rate: Rate | None
    """None when it was not run."""
    strong: bool = False
    """Whether it is drawn in the strong colour."""


def bars(groups: Sequence[tuple[str, Sequence[PlotRow]]]) -> str:
    """Returns groups of bars as SVG text, each group under its title.

    Args:
        groups: Title and bars of each.
    """
    lines, y = [], _TOP
    for title, rows in groups:
        lines.append(f'<text x="4" y="{y + 12}" font-weight="bold">{escape(title)}</text>')
        y += _ROW
        for row in rows:
            lines += _bar(row, y)
            y += _ROW
        y += 6
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {y + _FOOT}" width="{_WIDE}" '
        f'height="{y + _FOOT}" font-family="sans-serif" font-size="11" fill="{_INK}">'
    )
    ticks = [
        f'<path d="M{_x(share):g} {_TOP}V{y}" stroke="{_INK}" stroke-opacity="0.25"/>'
        f'<text x="{_x(share):g}" y="{y + 14}" text-anchor="middle">{share:g}</text>'
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    return "\n".join([head, *ticks, *lines, "</svg>"]) + "\n"


def _bar(row: PlotRow, y: int) -> list[str]:
    middle = y + _ROW / 2
    name = f'<text x="{_LEFT - 6}" y="{middle + 4:g}" text-anchor="end">{escape(row.title)}</text>'
    if row.rate is None or not row.rate.n:
        return [name, f'<text x="{_LEFT + 4}" y="{middle + 4:g}">not run</text>']
    low, high = row.rate.ci95
    colour = _BLUE if row.strong else _GREY
    return [
        name,
        f'<rect x="{_LEFT}" y="{y + 3}" width="{_x(row.rate.rate) - _LEFT:.1f}" height="{_ROW - 6}" fill="{colour}"/>',
        f'<path d="M{_x(low):.1f} {middle:g}H{_x(high):.1f}" stroke="{_INK}" stroke-width="1.5"/>',
        f'<text x="{_RIGHT + 8}" y="{middle + 4:g}">{row.rate.rate:.2f} ({row.rate.k}/{row.rate.n})</text>',
    ]


def _x(share: float) -> float:
    return _LEFT + share * (_RIGHT - _LEFT)
