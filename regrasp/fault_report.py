"""What the fault bench found: one value a row, a table for the terminal, a page and figures on disk."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from regrasp.fault_rows import Row
from regrasp.fault_trace import Stop

_RED, _GREEN, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[0m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What happened in one row."""

    row: Row
    stop: Stop | None
    """How the arm reacted; None when that could not be measured."""
    jump_deg: float
    """Largest change of a joint in one beat from the fault to the end of the row [degrees]."""
    lost: int | None
    """Committed steps that are not in the recording."""
    phase: str
    """Phase of the loop when the arm was at rest."""
    ok: bool
    """Whether all was as expected."""
    broken: bool
    """Whether the robot cannot be used for another row."""
    note: str
    """What differed."""

    def expected(self) -> str:
        """Returns what was expected, in words."""
        hold = "no stop" if self.row.hold_s is None else f"rest within {self.row.hold_s:.2f} s"
        return f"{hold}, {self.row.after}"

    def held(self) -> str:
        """Returns how soon the arm was at rest."""
        if self.stop is None:
            return "not measured"
        return "no rest" if self.stop.hold_s is None else f"{self.stop.hold_s:.3f} s"

    def cells(self) -> tuple[str, ...]:
        """Returns the row's cells."""
        lost = "?" if self.lost is None else str(self.lost)
        return (
            self.row.group, self.row.name, self.expected(), self.held(), f"{self.jump_deg:.2f}", lost, self.phase,
            "as expected" if self.ok else self.note,
        )  # fmt: skip

    def line(self) -> str:
        """Returns the row for a terminal, red when it differs."""
        colour = _GREEN if self.ok else _RED
        group, name, expected, held, jump, lost, phase, note = self.cells()
        return (
            f"{colour}{group:<8}{name:<38}{held:>12}  jump {jump:>5} deg  lost {lost}  {phase:<11}{_PLAIN} "
            f"[{expected}] {note}"
        )


HEAD = ("group", "fault", "expected", "time to rest", "jump [deg]", "steps lost", "phase", "found")


def table_text(outcomes: Sequence[Outcome]) -> str:
    """Returns the summary for a terminal."""
    wrong = [outcome for outcome in outcomes if not outcome.ok]
    stopped = [o.stop.hold_s for o in outcomes if o.stop is not None and o.stop.hold_s is not None]
    worst = max((o.jump_deg for o in outcomes), default=0.0)
    lines = [
        f"{len(outcomes) - len(wrong)} of {len(outcomes)} rows as expected; largest jump {worst:.2f} degrees; "
        f"slowest rest {max(stopped, default=0.0):.3f} s"
    ]
    return "\n".join([*lines, *(f"  {o.row.group}: {o.row.name}: {o.note}" for o in wrong)])


def write_report(outcomes: Sequence[Outcome], out: Path) -> None:
    """Writes faults.json and faults.md into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    rows = [dict(zip(HEAD, outcome.cells(), strict=True)) | {"ok": outcome.ok} for outcome in outcomes]
    (out / "faults.json").write_text(json.dumps(rows, indent=1) + "\n")
    lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    lines += [f"| {' | '.join(outcome.cells())} |" for outcome in outcomes]
    (out / "faults.md").write_text("\n".join(lines) + "\n")
