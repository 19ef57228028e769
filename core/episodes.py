"""An episode: its steps, and what must be known to read them years later."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.flow import Step
from core.robots import ActionSpace, RobotSpec


class Outcome(StrEnum):
    """How an episode ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    ABORTED = "aborted"
    """Stopped by a person, a fault or a void simulation."""
    OPEN = "open"
    """No outcome was written: the recorder was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeMeta:
    """Identity of an episode; written first, before any step."""

    id: str
    task: str
    instruction: str
    seed: int
    robot: RobotSpec
    action_space: ActionSpace
    simulated: bool
    """True for every simulated arm."""
    policy: str
    """name@hash."""
    tracker: str
    """"image" or "truth"."""
    gap: str
    """Name of the gap profile."""
    injected: str
    """Failure mode injected, "" when none."""
    config_json: str
    """Resolved runtime configuration; enough to build the same loop for a replay."""
    config_hash: str
    calibration_hash: str
    code_version: str
    started_unix_s: float
    """Wall-clock start [s]; for people only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A recorded episode as read back."""

    meta: EpisodeMeta
    steps: Sequence[Step]
    outcome: Outcome
