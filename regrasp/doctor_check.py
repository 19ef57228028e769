"""What the doctor finds: one value for each thing looked at, and how they are shown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding."""

    name: str
    ok: bool
    found: str
    """What is there."""
    remedy: str
    """What to do, "" when nothing."""
    required: bool = True
    """False for what only makes things better; it never fails the doctor."""


def format_checks(found: Sequence[Check]) -> str:
    """Returns the findings as a table for the terminal, remedies below what is wrong."""
    lines = []
    for check in found:
        mark = "ok" if check.ok else "FAIL" if check.required else "note"
        lines.append(f"{mark:<6}{check.name:<13}{check.found}")
        if not check.ok:
            lines.append(f"{'':<19}-> {check.remedy}")
    return "\n".join(lines)


def exit_code(found: Iterable[Check]) -> int:
    """Returns 0 when all that is required is there, else 1."""
    return int(any(c.required and not c.ok for c in found))
