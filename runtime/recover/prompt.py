"""What a vision-language model is asked, versioned, and the schema its answer must follow. Called by `VlmDiagnoser`.

The model chooses among names; it never writes actions, rewards or code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.failures import FailureMode
from core.ports import Evidence
from core.recovery import RecoveryStage

PROMPT_VERSION = "diagnose@1"
"""Part of every answer's model id; any change of the words below is a new version."""
_SAMPLES = 5
"""So many instants of the window are written out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Every name an answer may use."""

    modes: tuple[FailureMode, ...]
    """Modes of this task; `unknown` is always allowed."""
    stages: tuple[RecoveryStage, ...]
    """Stages of this task; `resume` (nothing is wrong) is always allowed."""
    objects: tuple[str, ...]
    """Names of the objects on the table."""
    terms: tuple[str, ...]
    """Names of the reward terms in the library."""

    @property
    def mode_names(self) -> tuple[str, ...]:
        """Allowed values of "mode"."""
        return tuple(dict.fromkeys([*(m.value for m in self.modes), FailureMode.UNKNOWN.value]))

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Allowed values of "stage"."""
        return tuple(dict.fromkeys([*(s.value for s in self.stages), RecoveryStage.RESUME.value]))


def answer_schema(allowed: Allowed) -> Mapping[str, Any]:
    """Returns the JSON schema of an answer."""
    names = {"type": "string", "enum": list(allowed.objects)}
    properties = {
        "mode": {"type": "string", "enum": list(allowed.mode_names)},
        "stage": {"type": "string", "enum": list(allowed.stage_names)},
        "target": {"type": "string", "enum": ["", *allowed.objects]},
        "obstacles": {"type": "array", "items": names},
        "terms": {"type": "array", "items": {"type": "string", "enum": list(allowed.terms)}},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "rationale": {"type": "string"},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def question(evidence: Evidence, allowed: Allowed, shown: tuple[str, ...]) -> str:
    """Returns the prompt for a fresh diagnosis.

    Args:
        evidence: The report and the last seconds.
        allowed: Names the answer may use.
        shown: What each image shows, in the order in which they are sent.
    """
    report = evidence.report
    measured = ", ".join(f"{k} = {v:.4g}" for k, v in report.evidence.items())
    pictures = "; ".join(f"image {i + 1}: {what}" for i, what in enumerate(shown)) or "none"
    suspicion = f"{report.mode.value} (probability {report.confidence:.2f}; {measured or 'no measurements'})"
    return f"""A robot arm was told: "{evidence.instruction}" (task {evidence.task}).
It was stopped because the detector {report.detector!r} suspects {suspicion}.
Images: {pictures}.
Measured over the last seconds, oldest first (positions in the arm's base frame in metres, z is up, table at 0; gripper
0 is closed, 1 is open):
{_history(evidence)}
Decide what went wrong and from which stage the arm should recover. Use stage "resume" with mode "unknown" only if
nothing is wrong. Use mode "unknown" with another stage if you cannot tell.
Answer with one JSON object and nothing else, with exactly these keys:
  "mode": one of {", ".join(allowed.mode_names)}
  "stage": one of {", ".join(allowed.stage_names)}
  "target": the object to act on, one of {", ".join(allowed.objects)}, or ""
  "obstacles": list of objects to keep clear of, from the same names
  "terms": list of reward terms that matter for the recovery, from {", ".join(allowed.terms)}
  "confidence": probability from 0 to 1 that "mode" is right
  "rationale": one sentence for the operator"""


def repair(question_text: str, answer: str, problem: str) -> str:
    """Returns the prompt that asks again after an answer that did not validate.

    Args:
        question_text: The first prompt.
        answer: What came back; cut to its first 2000 characters.
        problem: Why it was refused.
    """
    return f"{question_text}\n\nYour answer was:\n{answer[:2000]}\nIt was refused: {problem}. Answer again, JSON only."


def _history(evidence: Evidence) -> str:
    steps = list(evidence.steps)
    if not steps:
        return "(nothing recorded)"
    picks = sorted({round(i * (len(steps) - 1) / (_SAMPLES - 1)) for i in range(_SAMPLES)})
    return "\n".join(_line(evidence, i) for i in picks)


def _line(evidence: Evidence, i: int) -> str:
    step, last = evidence.steps[i], evidence.steps[-1]
    obs, scene = step.observation, step.arrived.scene
    seconds = (step.arrived.now_ns - last.arrived.now_ns) * 1e-9
    objects = {} if scene is None else scene.objects
    places = ", ".join(f"{name} at {_point(o.pos_in_base)}" for name, o in sorted(objects.items()))
    return (
        f"t = {seconds:+.2f} s: tool at {_point(obs.tcp_pos_in_base)}, gripper told {obs.gripper_command:.2f}, "
        f"measured {obs.gripper_opening:.2f}; {places or 'no object seen'}"
    )


def _point(position: Any) -> str:
    return "(" + ", ".join(f"{v:.3f}" for v in position) + ")"
