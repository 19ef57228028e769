"""`wipe_board`: the eraser is taken, and pressed along a path over four stains on the board, neither softly nor hard.

Called by `sim.world` and by the wiring (`regrasp.task_registry`). The eraser's lower side is soft: 1 mm of depth is
about 2 N. A stain that is pressed on within the force band is gone; above the band nothing is wiped.
"""

from collections.abc import Mapping
from types import MappingProxyType

import mujoco
import numpy as np

from core.arrays import Bools, Floats
from core.failures import FailureMode
from core.scene import SceneRoles
from core.subtasks import Manner, SubTask, Where
from core.tasks import ObjectInfo, TaskInfo
from sim.cell import FRUIT_DAMPING, PARKED_M
from sim.instructions import Instructions
from sim.task import Disturbance, Facts, Injector, Scene, Task, Wording
from sim.tasks.wipe_failures import wipe_injectors

ERASER = ObjectInfo(
    name="eraser",
    words=("sponge", "wiper"),
    shape="built",
    size_m=np.array([0.025, 0.020, 0.020]),
    rgb=np.array([0.90, 0.08, 0.58]),
    graspable=True,
)
BOARD = ObjectInfo(
    name="board",
    words=("panel", "tablet"),
    shape="box",
    size_m=np.array([0.11, 0.13, 0.0025]),
    rgb=np.array([0.42, 0.56, 0.84]),
    graspable=False,
)
STAIN_SIZE_M = np.array([0.032, 0.013, 0.0005])
"""Half extents of a stain: a stroke along x, longer than the eraser, so that its end shows while it is wiped [m]."""
STAINS = tuple(
    ObjectInfo(
        name=f"stain_{k + 1}",
        words=(),
        shape="built",
        size_m=STAIN_SIZE_M,
        rgb=np.array(rgb),
        graspable=False,
        vanishes=True,
    )
    for k, rgb in enumerate(((0.80, 0.05, 0.03), (0.92, 0.84, 0.04), (0.06, 0.58, 0.10), (0.02, 0.68, 0.70)))
)
"""Red, yellow, green, cyan: the order in which they are wiped."""
BLOCK = ObjectInfo(
    name="block",
    words=(),
    shape="box",
    size_m=np.array([0.02, 0.075, 0.10]),
    rgb=np.array([0.40, 0.10, 0.80]),
    graspable=False,
)
_NAMES = tuple(s.name for s in STAINS)
GONE_M = -0.1
"""A stain lower than this is gone [m]."""

INFO = TaskInfo(
    name="wipe_board",
    objects=(ERASER, BOARD, *STAINS, BLOCK),
    goal="board",
    obstacle="block",
    family="contact_rich",
    templates=(
        "wipe the {goal} clean",
        "wipe all the stains off the {goal}",
        "clean the {goal} with the {target}",
        "take the {target} and wipe the {goal}",
        "rub the stains off the {goal} with the {target}",
        "use the {target} to clean the {goal}",
        "please wipe the {goal} with the {target}",
        "get all the stains off the {goal}",
        "pick up the {target} and clean the {goal}",
        "rub the {goal} clean",
        "clean all the stains off the {goal}",
        "use the {target} to get the {goal} clean",
    ),
    subtasks=tuple(
        SubTask(
            name=f"wipe {name}",
            manner=Manner.WIPE,
            roles=SceneRoles(target="eraser", goal=name, obstacle="block"),
            done=(Where(thing=name, low=np.full(3, -np.inf), high=np.array([np.inf, np.inf, GONE_M])),),
        )
        for name in _NAMES
    ),
    modes=(
        FailureMode.MISSED_GRASP,
        FailureMode.DROP,
        FailureMode.SLIP,
        FailureMode.MISALIGNED,
        FailureMode.TARGET_MOVED,
        FailureMode.COLLISION,
    ),
    episode_steps=320,
)
TOLD = Instructions(INFO, held_out=("wiper", "tablet"))

ERASER_LOW_M, ERASER_HIGH_M = np.array([0.34, -0.30]), np.array([0.52, -0.22])
"""Where the eraser starts, x and y [m]."""
ERASER_TURN_RAD = 0.5
"""It starts turned by so much at most, either way [rad]."""
BOARD_LOW_M, BOARD_HIGH_M = np.array([0.40, 0.11]), np.array([0.46, 0.15])
"""Where the board's centre starts [m]."""
STAIN_LOW_M, STAIN_HIGH_M = np.array([-0.010, -0.09]), np.array([0.075, 0.09])
"""Where on the board stains start; the demonstrations never show one elsewhere, x and y from its centre [m]."""
STAIN_GAP_M = (0.036, 0.058)
"""Distance of one stain from the next along y [m]."""
STAIN_APART_M = (0.040, 0.068)
"""Distance of one stain from the next [m]."""
WIPED_M = 0.018
"""A stain is wiped when the eraser's centre is this near to its centre in the plane [m]..."""
BAND_N = (3.0, 25.0)
"""...and the eraser is pressed on the board with a force inside this band [N]."""
CLEAR_M = 0.06
"""Height of the tool above the board that counts as withdrawn [m]."""

_FOAM_M = 0.016
"""Thickness of the eraser's soft lower side [m]."""
_FOAM_REF = (-3000.0, -100.0)
_FOAM_IMP = (0.5, 0.5, 0.01, 0.5, 2.0)
"""Stiffness and damping of the soft side: about 2 N per mm, see tests/unit/test_sim_wipe_board.py."""
_FOAM_FRICTION = (0.5, 0.005, 0.0005)
_FOAM_KG, _GRIP_KG = 0.05, 0.03
"""Mass of the soft and of the hard part: the weight lies low, so that a dropped eraser lands on its soft side [kg]."""


class WipeBoard(Task):
    """The task."""

    def __init__(self) -> None:
        self._injectors = wipe_injectors(BOARD.size_m, ERASER.size_m, BLOCK.size_m, STAIN_LOW_M)

    @property
    def info(self) -> TaskInfo:
        """What may be known of it without the simulator."""
        return INFO

    @property
    def subgoal_names(self) -> tuple[str, ...]:
        """Sub-goals of the Q-score, each worth the same."""
        return ("reached", "grasped", "pressed", *(f"{n}_gone" for n in _NAMES), "withdrawn")

    @property
    def injectors(self) -> Mapping[FailureMode, Injector]:
        """How each failure is made to happen."""
        return MappingProxyType(self._injectors)

    @property
    def pressed(self) -> tuple[str, str]:
        """The eraser is pressed on the board."""
        return ("eraser", "board")

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """Adds the eraser, hard above and soft below, and the stains, which nothing touches."""
        _add_eraser(spec)
        for stain in STAINS:
            body = spec.worldbody.add_body(name=stain.name, pos=PARKED_M, mocap=True)
            body.add_geom(
                name=f"{stain.name}_geom", type=mujoco.mjtGeom.mjGEOM_BOX, size=stain.size_m, rgba=[*stain.rgb, 1.0],
                contype=0, conaffinity=0, mass=0,
            )  # fmt: skip

    def effects(self, facts: Facts) -> Mapping[int, Disturbance]:
        """Returns which stains vanish now: those under the eraser where it is pressed with a force in the band."""
        state = facts.state
        working = (state.pressed_n > BAND_N[0]) & (state.pressed_n < BAND_N[1])
        stains = _of(facts, _NAMES)
        under = np.linalg.norm((stains - _of(facts, ("eraser",)))[..., :2], axis=2) < WIPED_M
        wiped = working[:, None] & under & (stains[..., 2] > GONE_M)
        first = state.object_names.index(_NAMES[0])
        return {
            int(i): Disturbance(place={first + int(k): PARKED_M for k in np.flatnonzero(wiped[i])})
            for i in np.flatnonzero(wiped.any(axis=1))
        }

    def scene(self, rng: np.random.Generator, wording: Wording) -> Scene:
        """Returns a random start: the eraser beside the board, four stains on it along a path, no block."""
        board = np.append(rng.uniform(BOARD_LOW_M, BOARD_HIGH_M), BOARD.size_m[2])
        eraser = np.append(rng.uniform(ERASER_LOW_M, ERASER_HIGH_M), ERASER.size_m[2])
        stains = np.tile(board, (len(STAINS), 1))
        stains[:, :2] += _path(rng)
        stains[:, 2] = 2 * BOARD.size_m[2]
        yaw = np.zeros(len(INFO.objects))
        yaw[0] = rng.uniform(-ERASER_TURN_RAD, ERASER_TURN_RAD)
        return Scene(
            object_pos_in_base=np.concatenate([[eraser, board], stains, [PARKED_M]]),
            instruction=TOLD.draw(rng, wording),
            object_yaw=yaw,
        )

    def subgoals(self, facts: Facts) -> Bools:
        """Returns which sub-goals hold now, shape (N, 8)."""
        state = facts.state
        held = facts.held()
        reached = np.linalg.norm(state.tcp_pos_in_base - state.of("target"), axis=1) < 0.03
        pressed = held & (state.pressed_n > BAND_N[0]) & (state.pressed_n < BAND_N[1])
        gone = [state.subtask > k for k in range(len(STAINS))]
        return np.stack([reached, held, pressed, *gone, self.success(facts)], axis=1)

    def success(self, facts: Facts) -> Bools:
        """Returns whether no stain is left, the hand is 6 cm above the board, and the eraser is held or lies, (N,)."""
        state = facts.state
        clean = state.subtask == len(STAINS)
        top = _of(facts, ("board",))[:, 0, 2] + BOARD.size_m[2]
        away = state.tcp_pos_in_base[:, 2] > top + CLEAR_M
        safe = facts.held() | (facts.object_speed[:, 0] < 0.05)
        return np.asarray(clean & away & safe)


def _of(facts: Facts, names: tuple[str, ...]) -> Floats:
    """Returns the positions of the objects called so, shape (N, M, 3) [m]."""
    index = [facts.state.object_names.index(name) for name in names]
    return np.asarray(facts.state.object_pos_in_base[:, index])


def _add_eraser(spec: mujoco.MjSpec) -> None:
    body = spec.worldbody.add_body(name=ERASER.name, pos=PARKED_M)
    box, (x, y, z) = mujoco.mjtGeom.mjGEOM_BOX, ERASER.size_m
    body.add_geom(
        name="eraser_geom", type=box, pos=[0, 0, _FOAM_M / 2], size=[x, y, z - _FOAM_M / 2], rgba=[*ERASER.rgb, 1.0],
        mass=_GRIP_KG, friction=[1.5, 0.02, 0.002], condim=6,
    )  # fmt: skip
    body.add_geom(
        name="eraser_foam", type=box, pos=[0, 0, _FOAM_M / 2 - z], size=[x - 0.002, y - 0.003, _FOAM_M / 2],
        rgba=[*ERASER.rgb, 1.0], mass=_FOAM_KG, friction=list(_FOAM_FRICTION), condim=3, priority=1,
        solref=list(_FOAM_REF), solimp=list(_FOAM_IMP),
    )  # fmt: skip
    body.add_joint(name="eraser_free", type=mujoco.mjtJoint.mjJNT_FREE, damping=[FRUIT_DAMPING] * 3, armature=0.0)


def _path(rng: np.random.Generator) -> Floats:
    """Returns where on the board the stains are, x and y from its centre, in the order of wiping, shape (4, 2) [m]."""
    while True:
        y = np.cumsum(rng.uniform(*STAIN_GAP_M, len(STAINS)))
        y += rng.uniform(STAIN_LOW_M[1] - y[0], STAIN_HIGH_M[1] - y[0])
        path = np.stack([rng.uniform(STAIN_LOW_M[0], STAIN_HIGH_M[0], len(STAINS)), y], axis=1)
        apart = np.linalg.norm(np.diff(path, axis=0), axis=1)
        if y[-1] <= STAIN_HIGH_M[1] and (apart > STAIN_APART_M[0]).all() and (apart < STAIN_APART_M[1]).all():
            return np.asarray(path[:: int(rng.choice((-1, 1)))])
