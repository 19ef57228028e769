"""What a task gives the world: scenes, sub-goals, success, injectors. Made in `sim.tasks`, used by `sim.world`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import mujoco
import numpy as np

from core.arrays import Bools, Floats
from core.failures import FailureMode
from core.tasks import TaskInfo
from core.worlds import WorldState

Wording = Literal["training", "paraphrases", "all"]
"""Which instructions episodes draw from: those of the demonstrations, those held out, or both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """How one episode starts."""

    object_pos_in_base: Floats
    """Centres on a table at its nominal height, shape (O, 3) [m]."""
    instruction: str
    object_yaw: Floats | None = None
    """Headings about z, shape (O,) [rad]; all 0 when None. Sliding things have none."""
    event_s: float = float("nan")
    """When the scene's own event is due (a swap, say), NaN for none [s]; `Task.effects` makes it happen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Ground truth of N worlds for predicates and injectors, with what `WorldState` leaves out."""

    state: WorldState
    """`success` and `q_score` are not yet filled in."""
    object_speed: Floats
    """Shape (N, O) [m/s]."""
    pinched: Bools
    """Whether both pads touch the object, shape (N, O)."""
    event_s: Floats
    """When the scene's own event is due, NaN when there is none or it is past, shape (N,) [s]."""

    def held(self) -> Bools:
        """Whether the target is pinched, shape (N,)."""
        rows = np.arange(len(self.pinched))
        return np.asarray(self.pinched[rows, self.state.roles[:, 0]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What an injector does to one world, at one instant."""

    place: Mapping[int, Floats] = field(default_factory=dict)
    """New centre (3,) [m] by object index; its velocity becomes zero."""
    kick: Mapping[int, Floats] = field(default_factory=dict)
    """New linear velocity (3,) [m/s] by object index; of a sliding one only what is along its joint."""
    yaw: Mapping[int, float] = field(default_factory=dict)
    """New heading about z by object index, for objects that are also placed [rad]."""
    open_steps: int = 0
    """Control steps for which the gripper is forced open."""
    spends_event: bool = False
    """Whether this was the scene's own event, which then is past."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """What an injector waits on: the present, and what is about to be done."""

    facts: Facts
    actions: Floats
    """Actions about to be taken, shape (N, A)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One failure to be made."""

    i: int
    """World index."""
    strength: float
    """In the injector's unit."""
    rng: np.random.Generator


class Injector(Protocol):
    """Makes one failure happen."""

    @property
    def unit(self) -> str:
        """What the strength measures."""
        ...

    @property
    def default(self) -> float:
        """Strength when none is asked for, in `unit`."""
        ...

    def due(self, cue: Cue) -> Bools:
        """Returns whether the moment has come, shape (N,)."""
        ...

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Returns what to do to one world; None when it is not possible yet, and `due` is asked again next step."""
        ...


class Task(Protocol):
    """One task; unless it says more, its things are of one piece, and what lies on the table stays there."""

    @property
    def info(self) -> TaskInfo:
        """What may be known of it without the simulator."""
        ...

    @property
    def subgoal_names(self) -> tuple[str, ...]:
        """G names, in the order they are reached."""
        ...

    @property
    def injectors(self) -> Mapping[FailureMode, Injector]:
        """How each failure of `info.modes` is made to happen."""
        ...

    @property
    def pressed(self) -> tuple[str, str] | None:
        """Two objects whose contact force is measured (`WorldState.pressed_n`), None when it does not matter."""
        return None

    def furnish(self, spec: mujoco.MjSpec) -> None:  # noqa: ARG002  # nothing is built unless a task says so
        """Adds the bodies of all objects whose shape is "built", each with a geometry called NAME_geom."""
        return

    def effects(self, facts: Facts) -> Mapping[int, Disturbance]:  # noqa: ARG002  # nothing happens unless a task says so
        """Returns what happens by itself now, by world index: a stain that was wiped vanishes, two fruits swap."""
        return {}

    def scene(self, rng: np.random.Generator, wording: Wording) -> Scene:
        """Returns a random start."""
        ...

    def subgoals(self, facts: Facts) -> Bools:
        """Returns which sub-goals hold now, shape (N, G)."""
        ...

    def success(self, facts: Facts) -> Bools:
        """Returns whether the task is done now, shape (N,)."""
        ...
