"""Reads a model's answer: plain JSON, validated name by name, never executed. Called by `VlmDiagnoser`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.errors import BadAnswer
from core.failures import FailureMode
from core.recovery import RecoveryStage
from runtime.recover.prompt import Allowed

_KEYS = ("mode", "stage", "target", "obstacles", "terms", "confidence", "rationale")
_LONGEST = 50_000
"""Characters of an answer that are looked at."""
_RATIONALE = 500
"""Characters of a rationale that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A validated answer."""

    mode: FailureMode
    stage: RecoveryStage
    target: str
    obstacles: tuple[str, ...]
    terms: frozenset[str]
    confidence: float
    """As the model stated it, [0, 1]; not calibrated."""
    rationale: str


def parse_answer(text: str, allowed: Allowed) -> Answer:
    """Returns the validated answer in `text`.

    Args:
        text: What the model said; the first JSON object in it counts.
        allowed: Names the answer may use.

    Raises:
        BadAnswer: No JSON object, a missing or extra key, a wrong type, a name that is not allowed.
    """
    found = _first_object(text[:_LONGEST])
    keys = set(found)
    if keys != set(_KEYS):
        raise BadAnswer(f"missing keys {sorted(set(_KEYS) - keys)}, unexpected keys {sorted(keys - set(_KEYS))}")
    return Answer(
        mode=FailureMode(_one_of("mode", found["mode"], allowed.mode_names)),
        stage=RecoveryStage(_one_of("stage", found["stage"], allowed.stage_names)),
        target=_one_of("target", found["target"], ("", *allowed.objects)),
        obstacles=_some_of("obstacles", found["obstacles"], allowed.objects),
        terms=frozenset(_some_of("terms", found["terms"], allowed.terms)),
        confidence=_probability(found["confidence"]),
        rationale=_text("rationale", found["rationale"])[:_RATIONALE],
    )


def _first_object(text: str) -> Mapping[str, object]:
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        try:
            found, _ = decoder.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            start = text.find("{", start + 1)
            continue
        return dict(found)
    raise BadAnswer(f"no JSON object in {text[:80]!r}")


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadAnswer(f"{key!r} is {value!r}; expected a string")
    return value


def _one_of(key: str, value: object, names: Sequence[str]) -> str:
    if _text(key, value) not in names:
        raise BadAnswer(f"{key!r} is {value!r}; allowed {', '.join(repr(n) for n in names)}")
    return str(value)


def _some_of(key: str, value: object, names: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadAnswer(f"{key!r} is {value!r}; expected a list")
    return tuple(dict.fromkeys(_one_of(key, item, names) for item in value))


def _probability(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise BadAnswer(f"'confidence' is {value!r}; expected a number from 0 to 1")
    return float(value)
