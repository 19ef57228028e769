"""What a sink and the recorder say to one another beside the shared memory: small msgpack maps on a Unix socket.

A sink sends Begin with the memory, a `WAKE` for every record it put in, and Finish or nothing more; the recorder sends
Opened, Failed, Closed. The steps themselves never pass through the socket. Used by `remote_sink` and `record_session`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bridge.wire_fields import Fields, pack, unpack
from core.episodes import Outcome
from core.errors import BadAnswer
from runtime.record.writer import OutcomeNote

VERSION = 1
LARGEST_BYTES = 1 << 16
WAKE = b"."


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Sink: write an episode there; its meta is the first record in the memory that comes with this."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Sink: that was all."""

    steps: int
    """How many were put in."""
    outcome: OutcomeNote | None
    """How it ended; None leaves it open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Recorder: the file is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Recorder: nothing more is recorded, and why."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """Recorder: the file is finished and on disk."""

    steps: int
    """How many it holds."""


Said = Begin | Finish | Opened | Failed | Closed


def encode(said: Said) -> bytes:
    """Returns a message."""
    match said:
        case Begin():
            return _sealed("begin", {"path": str(said.path)})
        case Finish():
            note = said.outcome
            outcome = {"outcome": "", "note": "", "facts": {}} if note is None else _outcome_fields(note)
            return _sealed("finish", {"steps": said.steps, **outcome})
        case Opened():
            return _sealed("opened", {})
        case Failed():
            return _sealed("failed", {"why": said.why[:2000]})
        case Closed():
            return _sealed("closed", {"steps": said.steps})


def decode(data: bytes) -> Said:
    """Returns what was said; raises `BadAnswer` naming what is wrong with it."""
    fields = unpack(data, LARGEST_BYTES)
    version, kind = fields.whole("v"), fields.text("kind")
    if version != VERSION or kind not in _KINDS:
        raise BadAnswer(
            f"message {kind[:40]!r} of version {version}; this side speaks version {VERSION}: {', '.join(_KINDS)}"
        )
    said = _KINDS[kind](fields)
    fields.end()
    return said


def _sealed(kind: str, body: Mapping[str, object]) -> bytes:
    return pack({"v": VERSION, "kind": kind, **body}, LARGEST_BYTES)


def _outcome_fields(note: OutcomeNote) -> dict[str, object]:
    return {"outcome": note.outcome.value, "note": note.note[:2000], "facts": dict(note.facts)}


def _begin(fields: Fields) -> Begin:
    path = Path(fields.text("path"))
    if not path.is_absolute():
        raise BadAnswer(f"path {path} is relative; the recorder works in another folder, send an absolute one")
    return Begin(path=path)


def _finish(fields: Fields) -> Finish:
    steps, outcome, note, facts = (
        fields.whole("steps"), fields.text("outcome"), fields.text("note"), fields.inside("facts"),
    )  # fmt: skip
    figures = {name: facts.number(name) for name in facts.names()}
    if not outcome:
        return Finish(steps=steps, outcome=None)
    if outcome not in set(Outcome):
        raise BadAnswer(f"outcome {outcome[:40]!r}; allowed: {', '.join(Outcome)}")
    return Finish(steps=steps, outcome=OutcomeNote(outcome=Outcome(outcome), note=note, facts=figures))


_KINDS: Mapping[str, Callable[[Fields], Said]] = {
    "begin": _begin,
    "finish": _finish,
    "opened": lambda _: Opened(),
    "failed": lambda f: Failed(why=f.text("why")),
    "closed": lambda f: Closed(steps=f.whole("steps")),
}
