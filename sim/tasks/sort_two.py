"""Sort two blocks: the green cube onto the blue tray, then the orange one onto the purple tray.

Made of: what the task is called and how it is told (`INFO`, `TOLD`), how episodes start (`scene`), when it is done
(`success`, `subgoals`), what can go wrong (`sim.tasks.sort_two_failures`). The demonstrator is
`sim.tasks.pick_place.PickPlaceExpert`. No instruction names a block or a tray: which belongs where has to be learned.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from core.arrays import Bools, Floats
from core.failures import FailureMode
from core.scene import SceneRoles
from core.subtasks import Manner, SubTask, Where
from core.tasks import ObjectInfo, TaskInfo
from sim.cell import PARKED_M
from sim.instructions import Instructions
from sim.task import Facts, Injector, Scene, Task, Wording
from sim.tasks.sort_two_failures import sorting_injectors

GREEN = ObjectInfo(
    name="green cube",
    words=("green block",),
    shape="box",
    size_m=np.full(3, 0.020),
    rgb=np.array([0.05, 0.62, 0.15]),
    graspable=True,
)
ORANGE = ObjectInfo(
    name="orange cube",
    words=("orange block",),
    shape="box",
    size_m=np.full(3, 0.020),
    rgb=np.array([0.98, 0.42, 0.03]),
    graspable=True,
)
BLUE = ObjectInfo(
    name="blue tray",
    words=("blue dish",),
    shape="disc",
    size_m=np.array([0.080, 0.080, 0.0035]),
    rgb=np.array([0.10, 0.28, 0.85]),
    graspable=False,
)
PURPLE = ObjectInfo(
    name="purple tray",
    words=("purple dish",),
    shape="disc",
    size_m=np.array([0.080, 0.080, 0.0035]),
    rgb=np.array([0.62, 0.10, 0.66]),
    graspable=False,
)
BARRIER = ObjectInfo(
    name="barrier",
    words=(),
    shape="box",
    size_m=np.array([0.02, 0.05, 0.10]),
    rgb=np.array([0.05, 0.66, 0.72]),
    graspable=False,
)
PAIRS = ((GREEN, BLUE), (ORANGE, PURPLE))
"""What belongs where, in the order in which it is put there."""

ON_TRAY_M = 0.055
"""A block whose centre is nearer than this to its tray's centre, along x and along y, is on the tray, not its rim."""
RESTS_M = 0.0075
"""A block whose underside is higher than this above its tray is still carried: it does not rest there."""


def _put(thing: ObjectInfo, tray: ObjectInfo, other: ObjectInfo) -> SubTask:
    rest = thing.size_m[2] + tray.size_m[2]
    return SubTask(
        name=f"{thing.name} on the {tray.name}",
        manner=Manner.PLACE,
        roles=SceneRoles(target=thing.name, distractor=other.name, goal=tray.name, obstacle=BARRIER.name),
        done=(
            Where(
                thing=thing.name,
                anchor=tray.name,
                low=np.array([-ON_TRAY_M, -ON_TRAY_M, 0.0]),
                high=np.array([ON_TRAY_M, ON_TRAY_M, rest + RESTS_M]),
            ),
        ),
    )


INFO = TaskInfo(
    name="sort_two",
    objects=(GREEN, ORANGE, BLUE, PURPLE, BARRIER),
    goal="",
    obstacle=BARRIER.name,
    family="long_horizon",
    templates=(
        "sort the blocks",
        "sort the two blocks onto their trays",
        "put each block on its own tray",
        "put both blocks on the trays they belong on",
        "place every block on its tray",
        "move the two blocks onto their trays",
        "sort both blocks",
        "place each block on the tray it belongs on",
        "put the two blocks on their own trays",
        "move every block onto its own tray",
        "each of the two blocks goes on its tray",
        "please sort the two blocks",
    ),
    subtasks=(_put(GREEN, BLUE, ORANGE), _put(ORANGE, PURPLE, GREEN)),
    modes=(
        FailureMode.MISSED_GRASP,
        FailureMode.SLIP,
        FailureMode.DROP,
        FailureMode.TARGET_MOVED,
        FailureMode.WRONG_OBJECT,
        FailureMode.COLLISION,
    ),
    episode_steps=400,
)
TOLD = Instructions(INFO)

BLOCK_LOW_M, BLOCK_HIGH_M = np.array([0.32, -0.28]), np.array([0.56, 0.02])
"""Where blocks start, x and y [m]."""
TRAY_LOW_M, TRAY_HIGH_M = np.array([0.32, 0.15]), np.array([0.58, 0.28])
"""Where trays start; the demonstrations never show them elsewhere [m]."""
BLOCKS_APART_M = 0.12
"""Smallest distance between the blocks' centres: the open hand fits between."""
TRAYS_APART_M = 0.175
"""Smallest distance between the trays' centres: 15 mm of table show between them."""
TRAY_APART_M = 0.22
"""Smallest distance from a block's to a tray's centre: the barrier fits between."""
YAW_RAD = 0.3
"""Largest heading of a block at the start, either way."""
LIFTED_M = 0.04
"""Height of a block's underside above a tray's top that counts as lifted."""
RETREAT_M = 0.07
STILL_M_S = 0.05


class SortTwo(Task):
    """The task."""

    def __init__(self) -> None:
        self._names = tuple(o.name for o in INFO.objects)
        self._injectors = sorting_injectors(
            blocks=(GREEN, ORANGE), trays=(BLUE, PURPLE), barrier=BARRIER, start=(BLOCK_LOW_M, BLOCK_HIGH_M),
            tray_low=TRAY_LOW_M,
        )  # fmt: skip

    @property
    def info(self) -> TaskInfo:
        """What may be known of it without the simulator."""
        return INFO

    @property
    def subgoal_names(self) -> tuple[str, ...]:
        """Sub-goals of the Q-score, each worth the same."""
        steps = ("grasped", "over_tray", "placed")
        return (*(f"{thing.name.split()[0]}_{step}" for thing, _ in PAIRS for step in steps), "retreated")

    @property
    def injectors(self) -> Mapping[FailureMode, Injector]:
        """How each failure is made to happen."""
        return MappingProxyType(self._injectors)

    def scene(self, rng: np.random.Generator, wording: Wording) -> Scene:
        """Returns a random start: two blocks, two trays, no barrier, and one of the instructions of `wording`."""
        heights = [o.size_m[2] for o in (GREEN, ORANGE, BLUE, PURPLE)]
        centres = np.concatenate([np.column_stack([_apart(rng), heights]), PARKED_M[None]])
        return Scene(
            object_pos_in_base=centres,
            object_yaw=np.append(rng.uniform(-YAW_RAD, YAW_RAD, 2), np.zeros(3)),
            instruction=TOLD.draw(rng, wording),
        )

    def subgoals(self, facts: Facts) -> Bools:
        """Returns which sub-goals hold now, shape (N, 7)."""
        reached = [goal for pair in PAIRS for goal in self._steps(facts, *pair)]
        return np.stack([*reached, self.success(facts)], axis=1)

    def success(self, facts: Facts) -> Bools:
        """Returns whether both blocks rest on their trays, let go, with the gripper more than 7 cm away, (N,)."""
        loose = [self._names.index(thing.name) for thing, _ in PAIRS]
        gap = facts.state.object_pos_in_base[:, loose] - facts.state.tcp_pos_in_base[:, None]
        away = (np.linalg.norm(gap, axis=2) > RETREAT_M).all(axis=1)
        still = (facts.object_speed[:, loose] < STILL_M_S).all(axis=1) & ~facts.pinched[:, loose].any(axis=1)
        return np.asarray((facts.state.subtask == len(INFO.subtasks)) & away & still)

    def _steps(self, facts: Facts, thing: ObjectInfo, tray: ObjectInfo) -> tuple[Bools, Bools, Bools]:
        """Returns where a block is grasped, carried over its tray, and let go of on it, each shape (N,)."""
        index, pos = self._names.index(thing.name), facts.state.object_pos_in_base
        held = facts.pinched[:, index]
        offset = pos[:, index] - pos[:, self._names.index(tray.name)]
        lifted = held & (offset[:, 2] - thing.size_m[2] - tray.size_m[2] > LIFTED_M)
        over = lifted & (np.abs(offset[:, :2]) < ON_TRAY_M).all(axis=1)
        done = INFO.subtasks[[pair[0] for pair in PAIRS].index(thing)].done[0].holds(self._names, pos)
        return held, over, np.asarray(done & ~held)


def _apart(rng: np.random.Generator) -> Floats:
    """Returns x and y of green and orange block, blue and purple tray, shape (4, 2) [m]."""
    while True:
        blocks, trays = rng.uniform(BLOCK_LOW_M, BLOCK_HIGH_M, (2, 2)), rng.uniform(TRAY_LOW_M, TRAY_HIGH_M, (2, 2))
        between = np.linalg.norm(blocks[:, None] - trays[None], axis=2).min()
        apart = np.linalg.norm(blocks[0] - blocks[1]) > BLOCKS_APART_M
        if apart and between > TRAY_APART_M and np.linalg.norm(trays[0] - trays[1]) > TRAYS_APART_M:
            return np.concatenate([blocks, trays])
