"""Open the drawer, put the thing that the instruction names into it, close it; the other thing stays outside.

Made of: what the task is called and how it is told (`INFO`, `TOLD`), how episodes start (`scene`), when it is done
(`success`, `subgoals`), what can go wrong (`injectors`). Furniture: `sim.tasks.drawer_parts`; failures:
`sim.tasks.drawer_failures`; the demonstrator: `sim.tasks.drawer_expert`.
"""

from collections.abc import Mapping
from types import MappingProxyType

import mujoco
import numpy as np

from core.arrays import Bools, Floats, Ints
from core.failures import FailureMode
from core.scene import SceneRoles
from core.subtasks import Manner, SubTask, Where
from core.tasks import ObjectInfo, TaskInfo
from sim.cell import PARKED_M
from sim.instructions import Instructions
from sim.task import Disturbance, Facts, Injector, Scene, Task, Wording
from sim.tasks.drawer_failures import drawer_injectors
from sim.tasks.drawer_parts import (
    CABINET,
    CATCH,
    DRAWER,
    DRAWER_IN_CABINET_M,
    FREED_M,
    HANDLE,
    HANDLE_IN_CABINET_M,
    INSIDE_HIGH_M,
    INSIDE_LOW_M,
    add_cabinet,
    inside,
    open_m,
)

BALL = ObjectInfo(
    name="ball",
    words=("red ball", "red toy", "red one"),
    shape="sphere",
    size_m=np.full(3, 0.019),
    rgb=np.array([0.86, 0.07, 0.05]),
    graspable=True,
)
LIME = ObjectInfo(
    name="lime",
    words=("green lime", "green fruit", "green one"),
    shape="sphere",
    size_m=np.full(3, 0.019),
    rgb=np.array([0.16, 0.70, 0.12]),
    graspable=True,
)
OPEN_M = 0.10
"""A drawer that is farther out than this is open."""
SHUT_M = 0.015
"""A drawer that is less far out than this is closed."""
_ANY = np.full(3, np.inf)
_IN_DRAWER = Where(thing="{target}", anchor="drawer", low=INSIDE_LOW_M, high=INSIDE_HIGH_M)

INFO = TaskInfo(
    name="tidy_drawer",
    objects=(BALL, LIME, CABINET, DRAWER, HANDLE, CATCH),
    goal="drawer",
    obstacle="catch",
    family="long_horizon",
    templates=(
        "put the {target} in the {goal}",
        "open the {goal} and put the {target} in",
        "tidy the {target} away into the {goal}",
        "place the {target} in the {goal} and close it",
        "open the {goal}, put the {target} in and close the {goal}",
        "the {target} goes in the {goal}",
        "place the {target} into the {goal}",
        "open the {goal} and place the {target} in it",
        "put the {target} away in the {goal}",
        "in the {goal} put the {target} and close it",
        "tidy away the {target} into the {goal}",
        "please open the {goal}, put in the {target} and close it",
    ),
    subtasks=(
        SubTask(
            name="drawer open",
            manner=Manner.PULL,
            roles=SceneRoles(target="handle", distractor="{distractor}", goal="cabinet", obstacle="catch"),
            done=(
                Where(
                    thing="handle",
                    anchor="cabinet",
                    low=-_ANY,
                    high=np.array([HANDLE_IN_CABINET_M[0] - OPEN_M, np.inf, np.inf]),
                ),
                _IN_DRAWER,
            ),
        ),
        SubTask(
            name="thing in the drawer",
            manner=Manner.PLACE,
            roles=SceneRoles(target="{target}", distractor="{distractor}", goal="drawer", obstacle="handle"),
            done=(_IN_DRAWER,),
        ),
        SubTask(
            name="drawer closed",
            manner=Manner.PUSH,
            roles=SceneRoles(target="handle", distractor="{distractor}", goal="cabinet"),
            done=(
                Where(
                    thing="handle",
                    anchor="cabinet",
                    low=np.array([HANDLE_IN_CABINET_M[0] - SHUT_M, -np.inf, -np.inf]),
                    high=_ANY,
                ),
            ),
        ),
    ),
    modes=(
        FailureMode.SLIP,
        FailureMode.JAM,
        FailureMode.MISSED_GRASP,
        FailureMode.DROP,
        FailureMode.TARGET_MOVED,
        FailureMode.WRONG_OBJECT,
    ),
    episode_steps=360,
)
TOLD = Instructions(INFO, held_out=("red one", "green one"))

CABINET_LOW_M, CABINET_HIGH_M = np.array([0.62, 0.07]), np.array([0.66, 0.20])
"""Where the cabinet's back stands, x and y [m]."""
AJAR_M = 0.015
"""The drawer starts at most so far open."""
THING_LOW_M, THING_HIGH_M = np.array([0.32, -0.28]), np.array([0.54, 0.0])
"""Where things start, x and y [m]."""
APART_M = 0.11
"""Smallest distance between the things' centres."""
ASIDE_M = 0.15
"""Smallest distance, along y, of a thing's to the cabinet's centre: the open hand fits between."""
THING_KG = 0.11
RETREAT_M = 0.05
LIFTED_M = 0.05
"""Height of a thing's centre above the table that counts as lifted."""
_CABINET, _DRAWER, _HANDLE, _CATCH = range(2, 6)


class TidyDrawer(Task):
    """The task."""

    def __init__(self) -> None:
        self._injectors = drawer_injectors()

    @property
    def info(self) -> TaskInfo:
        """What may be known of it without the simulator."""
        return INFO

    @property
    def subgoal_names(self) -> tuple[str, ...]:
        """Sub-goals of the Q-score, each worth the same."""
        return ("reached", "opened", "grasped", "over_drawer", "put_in", "closed", "retreated")

    @property
    def injectors(self) -> Mapping[FailureMode, Injector]:
        """How each failure is made to happen."""
        return MappingProxyType(self._injectors)

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """Adds the cabinet with its drawer, and makes the things heavy enough not to be squashed by the fingers."""
        add_cabinet(spec)
        for thing in (BALL, LIME):
            spec.geom(f"{thing.name}_geom").mass = THING_KG

    def effects(self, facts: Facts) -> Mapping[int, Disturbance]:
        """Returns where the drawer was pushed home and lifts the catch."""
        pos = facts.state.object_pos_in_base
        home = open_m(pos[:, _HANDLE], pos[:, _CABINET]) < FREED_M
        freed = np.flatnonzero(home & (pos[:, _CATCH, 2] > 0.0))
        return {int(i): Disturbance(place={_CATCH: PARKED_M}) for i in freed}

    def scene(self, rng: np.random.Generator, wording: Wording) -> Scene:
        """Returns a random start: two things, the drawer closed or ajar, and one of the instructions of `wording`."""
        cabinet = np.append(rng.uniform(CABINET_LOW_M, CABINET_HIGH_M), CABINET.size_m[2])
        ball, lime = _apart(rng, cabinet)
        out = np.array([-rng.uniform(0.0, AJAR_M), 0.0, 0.0])
        centres = np.array(
            [ball, lime, cabinet, cabinet + DRAWER_IN_CABINET_M + out, cabinet + HANDLE_IN_CABINET_M + out, PARKED_M]
        )
        return Scene(object_pos_in_base=centres, instruction=TOLD.draw(rng, wording))

    def subgoals(self, facts: Facts) -> Bools:
        """Returns which sub-goals hold now, shape (N, 7)."""
        state, pos = facts.state, facts.state.object_pos_in_base
        rows, named = np.arange(len(pos)), named_thing(facts.state.roles)
        thing, drawer, handle = pos[rows, named], pos[:, _DRAWER], pos[:, _HANDLE]
        out = open_m(handle, pos[:, _CABINET])
        reached = np.linalg.norm(state.tcp_pos_in_base - handle, axis=1) < 0.03
        table = pos[:, _CABINET, 2] - CABINET.size_m[2]
        lifted = facts.pinched[rows, named] & (thing[:, 2] - table > LIFTED_M)
        over = lifted & (out > OPEN_M) & (np.abs((thing - drawer)[:, :2]) < 0.04).all(axis=1)
        placed = inside(thing, drawer) & ~facts.pinched[rows, named]
        closed = placed & (out < SHUT_M)
        return np.stack([reached, out > OPEN_M, lifted, over, placed, closed, self.success(facts)], axis=1)

    def success(self, facts: Facts) -> Bools:
        """Returns whether it is done, shape (N,).

        The named thing lies in the closed drawer, the other one does not, all is at rest, and the hand is more than
        5 cm away from the handle.
        """
        state, pos = facts.state, facts.state.object_pos_in_base
        rows, named = np.arange(len(pos)), named_thing(facts.state.roles)
        drawer, handle = pos[:, _DRAWER], pos[:, _HANDLE]
        tidy = inside(pos[rows, named], drawer) & ~inside(pos[rows, 1 - named], drawer)
        closed = open_m(handle, pos[:, _CABINET]) < SHUT_M
        away = np.linalg.norm(state.tcp_pos_in_base - handle, axis=1) > RETREAT_M
        loose = ~facts.pinched[rows, named] & ~facts.pinched[:, _HANDLE]
        still = (facts.object_speed[:, _HANDLE] < 0.02) & (facts.object_speed[rows, named] < 0.1)
        return np.asarray(tidy & closed & away & loose & still)


def named_thing(roles: Ints) -> Ints:
    """Returns the object index of the thing that is to be tidied away, shape (N,): the one that is no distractor.

    Args:
        roles: Of any sub-task, shape (N, 4).
    """
    return np.asarray(1 - roles[:, 1])


def _apart(rng: np.random.Generator, cabinet: Floats) -> Floats:
    """Returns the centres of ball and lime, shape (2, 3) [m]."""
    while True:
        spots = rng.uniform(THING_LOW_M, THING_HIGH_M, (2, 2))
        if np.linalg.norm(spots[0] - spots[1]) > APART_M and (cabinet[1] - spots[:, 1] > ASIDE_M).all():
            return np.column_stack([spots, [BALL.size_m[2], LIME.size_m[2]]])
