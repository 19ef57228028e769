"""The doors of the house. Each has one contract test that every implementation passes (tests/contract).

Whatever can be slow has `submit` and `poll` and never blocks a tick.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from core.arm import ArmState
from core.arrays import Floats, Image, Ints
from core.clock import Clock
from core.failures import FailureReport
from core.flow import ActionChunk, Observation, OperatorInput, Step
from core.recovery import RecoveryDescriptor
from core.scene import SceneState
from core.worlds import DomainParams, WorldSnapshot, WorldState

__all__ = ["ChatAnswer", "ChatModel", "Clock", "Detector", "Diagnoser", "Evidence", "Expert", "JointArm", "Operator",
           "Policy", "Residual", "Robot", "Sink", "Stream", "Tracker", "World"]  # fmt: skip


@runtime_checkable
class Robot(Protocol):
    """One arm. Connecting is entering it as a context manager; leaving holds it, never drops, never homes."""

    def read(self) -> Observation:
        """Returns what is measured now; raises `DeviceError`."""
        ...

    def send(self, action: Floats) -> Floats:
        """Sends one action (A,) for one control period and returns what was truly sent (A,)."""
        ...

    def hold(self) -> None:
        """Stops where it is and keeps the gripper as it is; may be called at any time, any number of times."""
        ...


@runtime_checkable
class Stream(Protocol):
    """What a robot has whose arm wants points faster than actions come: it is told every beat."""

    def emit(self, *, late: bool) -> None:
        """Sends the next point of the present action, the last one again when the beat is late; never waits.

        Raises:
            DeviceError: The arm is gone.
        """
        ...


@runtime_checkable
class JointArm(Protocol):
    """An arm that follows a stream of joint targets. Entering links it and sets its limits; leaving holds it."""

    def state(self) -> ArmState:
        """Returns the newest measurement, however old (see its `t_ns`); raises `DeviceNotConnected` without any."""
        ...

    def arm(self) -> None:
        """Makes it ready to follow, from the measured pose; raises `DeviceError` when it cannot, and moves nothing."""
        ...

    def stream(self, joint_target: Floats, gripper_opening: float) -> Floats:
        """Sends one joint target (J,) [rad] and opening [0, 1]; returns the target that was truly sent (J,) [rad]."""
        ...

    def hold(self) -> None:
        """Comes to rest where it is and keeps the gripper; any time, any number of times."""
        ...

    def stop(self) -> None:
        """Emergency stop, latched; returns when the controller was read back as stopped, else raises `DeviceError`."""
        ...

    def reset_stop(self) -> None:
        """Releases a latched stop after its cool-down; the arm is not armed by it. Raises `DeviceError` too early."""
        ...

    def clear_fault(self, *, by_person: bool) -> None:
        """Clears the present fault in the documented order, if who asks may; leaves the arm idle, not armed.

        Raises:
            DeviceFault: The fault's class or the budget forbids it, or it came back.
        """
        ...


@runtime_checkable
class Policy(Protocol):
    """A base policy. One request is in flight at most; a newer `submit` replaces an older one."""

    @property
    def policy_id(self) -> str:
        """name@hash of the checkpoint."""
        ...

    def submit(self, obs: Observation) -> None:
        """Asks for a chunk; returns at once."""
        ...

    def poll(self) -> ActionChunk | None:
        """Returns a finished chunk once, else None; returns at once."""
        ...

    def reset(self) -> None:
        """Forgets requests and memory: a new episode starts."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a diagnoser is shown: the report, the last seconds, the task."""

    report: FailureReport
    task: str
    instruction: str
    steps: Sequence[Step]
    """Oldest first, the last about two seconds; images are present in `images`, not here."""
    images: Mapping[str, Sequence[Image]]
    """By camera, oldest first."""


@runtime_checkable
class Diagnoser(Protocol):
    """Names a failure. Never raises for a bad model: answers a descriptor with mode UNKNOWN."""

    def submit(self, evidence: Evidence) -> None:
        """Asks for a diagnosis; returns at once."""
        ...

    def poll(self) -> RecoveryDescriptor | None:
        """Returns a finished answer once, else None."""
        ...


@runtime_checkable
class Residual(Protocol):
    """A bounded correction of the base action."""

    def correct(self, obs: Observation, scene: SceneState, base: Floats) -> Floats:
        """Returns (A,), dimensionless in [-1, 1], 0 outside the residual space's dims."""
        ...

    def reset(self) -> None:
        """Forgets its memory: a new attempt starts."""
        ...


@runtime_checkable
class Tracker(Protocol):
    """Finds the objects in the images."""

    def track(self, obs: Observation) -> SceneState:
        """Returns where everything is; fast enough for a tick."""
        ...

    def reset(self) -> None:
        """Forgets what was seen: a new episode starts."""
        ...


@runtime_checkable
class Detector(Protocol):
    """Watches; reports; never acts."""

    def update(self, step: Step) -> FailureReport | None:
        """Returns a report when something looks wrong in this step, whose `report` is still None."""
        ...

    def reset(self) -> None:
        """Forgets the past: a new episode or attempt starts."""
        ...


@runtime_checkable
class Operator(Protocol):
    """The person."""

    def poll(self) -> OperatorInput | None:
        """Returns what was asked since the last poll, None when nothing."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Gets every step."""

    def write(self, step: Step) -> None:
        """Takes one step; what it took survives kill -9."""
        ...

    def close(self) -> None:
        """Finishes; may be called twice."""
        ...


@runtime_checkable
class World(Protocol):
    """N simulated cells with one task in them. No reward inside."""

    @property
    def n(self) -> int:
        """Number of worlds."""
        ...

    def reset(self, ids: Ints, seeds: Ints, domain: DomainParams | None = None) -> None:
        """Starts new episodes in worlds `ids` from `seeds`, one each; `domain` has one row per id."""
        ...

    def step(self, actions: Floats) -> None:
        """Runs one control period with actions (N, A), in the action space's units."""
        ...

    def state(self) -> WorldState:
        """Returns the ground truth of all worlds."""
        ...

    def instruction(self, i: int) -> str:
        """Returns what the policy in world `i` is told."""
        ...

    def snapshot(self, i: int) -> WorldSnapshot:
        """Returns all of world `i`."""
        ...

    def restore(self, ids: Ints, snapshots: Sequence[WorldSnapshot], domain: DomainParams | None = None) -> None:
        """Puts snapshots back, one per id, bit for bit when the domain is the one they were taken in."""
        ...

    def park(self, ids: Ints, names: Sequence[str]) -> None:
        """Takes an object out of each of worlds `ids`, by name; "" takes nothing."""
        ...


@runtime_checkable
class Expert(Protocol):
    """A scripted demonstrator over ground truth: for demonstrations, warm starts and the authority test."""

    def act(self, state: WorldState) -> Floats:
        """Returns actions (N, A), in the action space's units, from the state alone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """What a chat model said, or why it did not."""

    text: str
    """Raw answer; "" on error."""
    error: str = ""
    """What went wrong, "" when nothing."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    """From the configured price list [USD]."""
    seconds: float = 0.0
    """From submit to answer [s]."""


@runtime_checkable
class ChatModel(Protocol):
    """A vision-language model behind an endpoint: transport only."""

    @property
    def model_id(self) -> str:
        """Name of the model asked."""
        ...

    def submit(self, prompt: str, images: Sequence[Image], schema: Mapping[str, Any]) -> None:
        """Asks; returns at once. `schema` is a JSON schema the answer should follow, which nobody guarantees."""
        ...

    def poll(self) -> ChatAnswer | None:
        """Returns the answer once, else None; past its deadline it answers with an error."""
        ...
