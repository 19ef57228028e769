"""Recovery: stages, what a diagnoser answers, and the card of a trained skill."""

from dataclasses import dataclass
from enum import StrEnum

from core.arrays import in_range
from core.errors import ContractError
from core.failures import FailureMode
from core.manner import Manner
from core.rewards import RewardMask
from core.robots import ResidualSpace


class RecoveryStage(StrEnum):
    """Steps of a recovery, named as on the wire."""

    RETREAT = "retreat"
    APPROACH = "approach"
    ALIGN = "align"
    GRASP = "grasp"
    LIFT = "lift"
    TRANSPORT = "transport"
    PLACE = "place"
    INSERT = "insert"
    WIPE = "wipe"
    PULL = "pull"
    PUSH = "push"
    RELEASE = "release"
    RESUME = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryDescriptor:
    """A diagnoser's answer: what failed, where to resume, on which objects, and which reward terms matter."""

    report_id: str
    """The report it answers."""
    mode: FailureMode
    stage: RecoveryStage
    """Stage at which recovery starts."""
    target: str
    """Object to act on, "" when none."""
    obstacles: tuple[str, ...]
    """Objects to keep clear of."""
    mask: RewardMask
    confidence: float
    """Calibrated probability that `mode` is right, [0, 1]."""
    model_id: str
    """Which model answered, name@version."""
    rationale: str = ""
    """Plain words for the operator; never executed."""

    def __post_init__(self) -> None:
        in_range("confidence", self.confidence, 0.0, 1.0)
        object.__setattr__(self, "mode", FailureMode(self.mode))
        object.__setattr__(self, "stage", RecoveryStage(self.stage))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A success count with its honesty: n and a 95 % Wilson interval."""

    k: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.k <= self.n:
            raise ContractError(f"rate {self.k}/{self.n}: 0 <= k <= n is required")

    @property
    def rate(self) -> float:
        """k / n; NaN when n is 0."""
        return self.k / self.n if self.n else float("nan")

    @property
    def ci95(self) -> tuple[float, float]:
        """Wilson score interval at 95 %. Source: Wilson (1927), z = 1.96."""
        if not self.n:
            return 0.0, 1.0
        z, p, n = 1.959964, self.rate, self.n
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
        return max(0.0, centre - half), min(1.0, centre + half)


RESUME_WHEN = ("held", "placed", "home")
"""Conditions that can end an attempt well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillCard:
    """What a residual skill is for, what it was trained on, and how well it did."""

    name: str
    task: str
    manner: Manner
    """How the sub-tasks are done that it recovers."""
    modes: tuple[FailureMode, ...]
    stages: tuple[RecoveryStage, ...]
    """Stages it may start from."""
    space: ResidualSpace
    resume_when: str
    """Verified condition that hands the arm back: "held"; "placed": the sub-task is done and the hand is free; or
    "home": the open hand is back where episodes start."""
    weights_file: str
    weights_sha256: str
    reward_hash: str
    base_policy: str
    """name@hash of the frozen policy whose failures it was trained on."""
    surrogate: str
    """name@hash of the state policy that stood in for it during training."""
    warm_start: str
    """"none" or what it started from."""
    lint: str
    """"passed", or "forced: " and what the reward's lint had found."""
    inputs: str
    """"state", or "state and policy" when it also reads the frozen policy's own features."""
    train_seed: int
    train_steps: int
    eval_seeds: tuple[int, int]
    """First and last evaluation seed."""
    evaluation: Rate
    """In simulation, from held-out failure states."""
    base_alone: Rate
    """The base policy from the same states."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "manner", Manner(self.manner))
        object.__setattr__(self, "modes", tuple(FailureMode(m) for m in self.modes))
        object.__setattr__(self, "stages", tuple(RecoveryStage(s) for s in self.stages))
        if self.resume_when not in RESUME_WHEN:
            raise ContractError(f"resume_when {self.resume_when!r}; allowed {RESUME_WHEN}")

    def helps(self, task: str, mode: FailureMode, manner: Manner) -> bool:
        """Whether this skill was trained for `mode` in sub-tasks of `task` that are done in this manner."""
        return self.task == task and mode in self.modes and self.manner is manner
