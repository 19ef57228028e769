"""Put the fruit that the instruction names on the plate; the other fruit is not to be mistaken for it.

In a quarter of the episodes somebody swaps the two fruits once, while the hand is still on its way: that is no failure,
whoever does the task has to see it. Made of: what the task is called and how it is told (`INFO`, `TOLD`), how episodes
start (`scene`), what happens by itself (`effects`), when it is done (`success`, `subgoals`), what can go wrong
(`injectors`). The demonstrator is `sim.tasks.fruit_expert`.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from core.arrays import Bools, Floats
from core.failures import FailureMode
from core.scene import ROLES, SceneRoles
from core.subtasks import Manner, SubTask, Where
from core.tasks import ObjectInfo, TaskInfo
from sim.cell import PARKED_M
from sim.failures import fruit_injectors
from sim.instructions import Instructions
from sim.task import Disturbance, Facts, Injector, Scene, Task, Wording

APPLE = ObjectInfo(
    name="apple",
    words=("red apple", "red fruit", "red one"),
    shape="sphere",
    size_m=np.full(3, 0.032),
    rgb=np.array([0.82, 0.07, 0.07]),
    graspable=True,
)
LEMON = ObjectInfo(
    name="lemon",
    words=("yellow lemon", "yellow fruit", "yellow one"),
    shape="sphere",
    size_m=np.full(3, 0.030),
    rgb=np.array([0.95, 0.85, 0.08]),
    graspable=True,
)
PLATE = ObjectInfo(
    name="plate",
    words=("dish",),
    shape="disc",
    size_m=np.array([0.085, 0.085, 0.006]),
    rgb=np.array([0.10, 0.28, 0.85]),
    graspable=False,
)
BLOCK = ObjectInfo(
    name="block",
    words=(),
    shape="box",
    size_m=np.array([0.02, 0.06, 0.10]),
    rgb=np.array([0.62, 0.10, 0.66]),
    graspable=False,
)

ON_PLATE_M = 0.075
"""A fruit whose centre is nearer than this to the plate's centre, and rests on it, is on the plate."""

INFO = TaskInfo(
    name="fruit_on_plate",
    objects=(APPLE, LEMON, PLATE, BLOCK),
    goal="plate",
    obstacle="block",
    family="short_horizon",
    templates=(
        "put the {target} on the {goal}",
        "place the {target} on the {goal}",
        "move the {target} onto the {goal}",
        "pick up the {target} and put it on the {goal}",
        "onto the {goal} with the {target}",
        "the {target} goes on the {goal}",
        "take the {target} and place it onto the {goal}",
        "on the {goal} put the {target}",
        "set the {target} down on the {goal}",
        "please move the {target} to the {goal}",
        "pick the {target} and place it on the {goal}",
        "onto the {goal} move the {target}",
    ),
    subtasks=(
        SubTask(
            name="fruit on the plate",
            manner=Manner.PLACE,
            roles=SceneRoles(target="{target}", distractor="{distractor}", goal="plate", obstacle="block"),
            done=(
                Where(
                    thing="{target}",
                    anchor="plate",
                    low=np.array([-0.07, -0.07, 0.031]),
                    high=np.array([0.07, 0.07, 0.05]),
                ),
            ),
        ),
    ),
    modes=(
        FailureMode.MISSED_GRASP,
        FailureMode.DROP,
        FailureMode.TARGET_MOVED,
        FailureMode.WRONG_OBJECT,
        FailureMode.COLLISION,
    ),
    episode_steps=240,
)
TOLD = Instructions(INFO, held_out=("red one", "yellow one"))

FRUIT_LOW_M, FRUIT_HIGH_M = np.array([0.32, -0.26]), np.array([0.56, 0.04])
"""Where fruit starts, x and y [m]."""
PLATE_LOW_M, PLATE_HIGH_M = np.array([0.38, 0.13]), np.array([0.54, 0.26])
"""Where the plate starts; the demonstrations never show it elsewhere [m]."""
FRUIT_APART_M = 0.12
"""Smallest distance between the fruits' centres: the open hand fits between."""
PLATE_APART_M = 0.22
"""Smallest distance from a fruit's to the plate's centre: the block fits between."""
HEIGHT_SLACK_M = 0.006
RETREAT_M = 0.07
SWAP_SHARE, SWAP_LOW_S, SWAP_HIGH_S = 0.25, 0.1, 0.45
"""In how many scenes the fruits are to be swapped, and between which times since the start [s].

A quick hand is at its fruit after 0.5 s.
"""
SWAP_APART_M = 0.09
"""A hand nearer than this to one of the fruits [m], or that holds one, keeps them from being swapped."""
LIFTED_M = 0.05
"""Height of the fruit's underside above the table that counts as lifted."""


class FruitOnPlate(Task):
    """The task."""

    def __init__(self) -> None:
        self._radius = np.array([o.size_m[2] for o in INFO.objects])
        self._injectors = fruit_injectors(INFO, PLATE_LOW_M)

    @property
    def info(self) -> TaskInfo:
        """What may be known of it without the simulator."""
        return INFO

    @property
    def subgoal_names(self) -> tuple[str, ...]:
        """Sub-goals of the Q-score, each worth the same."""
        return ("reached", "grasped", "lifted", "over_plate", "placed", "retreated")

    @property
    def injectors(self) -> Mapping[FailureMode, Injector]:
        """How each failure is made to happen."""
        return MappingProxyType(self._injectors)

    def effects(self, facts: Facts) -> Mapping[int, Disturbance]:
        """Returns the swaps that are due; one that a hand is in the way of does not take place, then or later."""
        due = np.flatnonzero(facts.state.time_s >= facts.event_s)
        return {int(i): _swap(facts, int(i)) for i in due}

    def scene(self, rng: np.random.Generator, wording: Wording) -> Scene:
        """Returns a random start: two fruits, a plate, no block, one of the instructions of `wording`, perhaps a swap.

        The swap has a random stream of its own: scenes of a seed are otherwise what they were without swaps.
        """
        apple, lemon, plate = _apart(rng)
        centres = np.array([[*apple, APPLE.size_m[2]], [*lemon, LEMON.size_m[2]], [*plate, PLATE.size_m[2]], PARKED_M])
        instruction = TOLD.draw(rng, wording)
        return Scene(object_pos_in_base=centres, instruction=instruction, event_s=_swap_time(rng.spawn(1)[0]))

    def subgoals(self, facts: Facts) -> Bools:
        """Returns which sub-goals hold now, shape (N, 6)."""
        state = facts.state
        target, plate = state.of("target"), state.of("goal")
        held, placed = facts.held(), self._placed(facts)
        table = plate[:, 2] - PLATE.size_m[2]
        lifted = held & (target[:, 2] - self._target_radius(facts) - table > LIFTED_M)
        over = lifted & (np.linalg.norm((target - plate)[:, :2], axis=1) < ON_PLATE_M)
        reached = np.linalg.norm(state.tcp_pos_in_base - target, axis=1) < 0.03
        return np.stack([reached, held, lifted, over, placed, self.success(facts)], axis=1)

    def success(self, facts: Facts) -> Bools:
        """Returns whether the named fruit rests on the plate, let go, with the gripper more than 7 cm away, (N,)."""
        away = np.linalg.norm(facts.state.tcp_pos_in_base - facts.state.of("target"), axis=1) > RETREAT_M
        rows = np.arange(len(away))
        slow = facts.object_speed[rows, facts.state.roles[:, 0]] < 0.05
        return np.asarray(self._placed(facts) & ~facts.held() & away & slow)

    def _placed(self, facts: Facts) -> Bools:
        target, plate = facts.state.of("target"), facts.state.of("goal")
        height = target[:, 2] - plate[:, 2] - PLATE.size_m[2] - self._target_radius(facts)
        near = np.linalg.norm((target - plate)[:, :2], axis=1) < ON_PLATE_M
        return np.asarray(near & (np.abs(height) < HEIGHT_SLACK_M))

    def _target_radius(self, facts: Facts) -> Floats:
        return np.asarray(self._radius[facts.state.roles[:, ROLES.index("target")]])


def _swap_time(rng: np.random.Generator) -> float:
    """Returns when the fruits are to be swapped since the start [s], NaN for not at all."""
    return float(rng.uniform(SWAP_LOW_S, SWAP_HIGH_S)) if rng.random() < SWAP_SHARE else float("nan")


def _swap(facts: Facts, i: int) -> Disturbance:
    """Returns the swap of the two fruits of world `i`, or what only spends its event where that cannot be."""
    apple, lemon = (facts.state.object_names.index(o.name) for o in (APPLE, LEMON))
    pos = facts.state.object_pos_in_base[i]
    hand = np.linalg.norm(pos[[apple, lemon]] - facts.state.tcp_pos_in_base[i], axis=1)
    if (hand < SWAP_APART_M).any() or facts.pinched[i, [apple, lemon]].any():
        return Disturbance(spends_event=True)
    places = {apple: np.append(pos[lemon, :2], pos[apple, 2]), lemon: np.append(pos[apple, :2], pos[lemon, 2])}
    return Disturbance(place=places, spends_event=True)


def _apart(rng: np.random.Generator) -> Floats:
    """Returns x and y of apple, lemon and plate, shape (3, 2) [m]."""
    while True:
        apple, lemon = rng.uniform(FRUIT_LOW_M, FRUIT_HIGH_M, (2, 2))
        plate = rng.uniform(PLATE_LOW_M, PLATE_HIGH_M)
        clear = min(np.linalg.norm(apple - plate), np.linalg.norm(lemon - plate)) > PLATE_APART_M
        if clear and np.linalg.norm(apple - lemon) > FRUIT_APART_M:
            return np.array([apple, lemon, plate])
