"""Put the peg into the hole: grasp it by its upper part, bring it over the socket, let it down through the funnel.

Made of: what the task is called and how it is told (`INFO`, `TOLD`), how episodes start (`scene`), when it is done
(`success`, `subgoals`), what can go wrong (`injectors`). Peg and socket are built in `sim.tasks.peg_parts`; the
demonstrator is `sim.tasks.peg_expert`.
"""

from collections.abc import Mapping
from types import MappingProxyType

import mujoco
import numpy as np

from core.arrays import Bools, Floats
from core.failures import FailureMode
from core.scene import SceneRoles
from core.subtasks import Manner, SubTask, Where
from core.tasks import TaskInfo
from sim.cell import PARKED_M
from sim.failures import Collision, MissedGrasp
from sim.instructions import Instructions
from sim.task import Facts, Injector, Scene, Task, Wording
from sim.tasks.peg_failures import Jammed, Shifted, SlippedOut, SocketMoved
from sim.tasks.peg_parts import BLOCK, PEG, SOCKET, add_foot, add_socket, aside_m, depth_m

INSERTED_M = 0.025
"""A peg whose lower end is this far below the rim is inserted."""
ASIDE_M = 0.0025
"""Farthest the axis of an inserted peg can be off the hole's, with some slack for leaning."""
DONE_ASIDE_M = 0.010
"""The same for a tracked peg: if it is that deep it is inside, for outside the walls it would be 36 mm off."""

INFO = TaskInfo(
    name="peg_in_hole",
    objects=(PEG, SOCKET, BLOCK),
    goal="socket",
    obstacle="block",
    family="contact_rich",
    templates=(
        "put the {target} into the {goal}",
        "insert the {target} into the {goal}",
        "push the {target} into the {goal}",
        "pick up the {target} and put it into the {goal}",
        "into the {goal} with the {target}",
        "the {target} goes into the {goal}",
        "take the {target} and insert it into the {goal}",
        "into the {goal} put the {target}",
        "the {goal} is where the {target} goes",
        "please insert the {target} into the {goal}",
    ),
    subtasks=(
        SubTask(
            name="peg in the hole",
            manner=Manner.INSERT,
            roles=SceneRoles(target="peg", goal="socket", obstacle="block"),
            done=(
                Where(
                    thing="peg",
                    anchor="socket",
                    low=np.array([-DONE_ASIDE_M, -DONE_ASIDE_M, -np.inf]),
                    high=np.array([DONE_ASIDE_M, DONE_ASIDE_M, SOCKET.size_m[2] + PEG.size_m[2] - INSERTED_M]),
                ),
            ),
        ),
    ),
    modes=(
        FailureMode.MISSED_GRASP,
        FailureMode.DROP,
        FailureMode.TARGET_MOVED,
        FailureMode.MISALIGNED,
        FailureMode.JAM,
        FailureMode.COLLISION,
    ),
    episode_steps=300,
)
TOLD = Instructions(INFO, held_out=("red pin", "green hole"))

PEG_LOW_M, PEG_HIGH_M = np.array([0.34, -0.26]), np.array([0.54, 0.02])
"""Where the peg starts, x and y [m]."""
SOCKET_LOW_M, SOCKET_HIGH_M = np.array([0.38, 0.12]), np.array([0.54, 0.25])
"""Where the socket starts; the demonstrations never show it elsewhere [m]."""
APART_M = 0.24
"""Smallest distance of peg and socket: the block fits between."""
TURNED_RAD = 0.08
"""The peg starts turned by up to this much; the pads set it straight."""
LIFTED_M = 0.03
"""Height of the peg's lower end above the table that counts as lifted."""
GRIP_M = 0.020
"""How far above its middle the peg is best held: the fingers then stay above the socket [m]."""
RETREAT_M = 0.09
"""A tool centre point this far from the peg's middle has its finger tips 3 cm above the peg's upper end [m]."""
UPRIGHT = 0.99
"""Smallest cosine of the angle between the peg's axis and the vertical that counts as upright: 8 degrees."""


class PegInHole(Task):
    """The task."""

    def __init__(self) -> None:
        self._injectors: dict[FailureMode, Injector] = {
            FailureMode.MISSED_GRASP: MissedGrasp(),
            FailureMode.DROP: SlippedOut(),
            FailureMode.TARGET_MOVED: SocketMoved(socket_low=SOCKET_LOW_M),
            FailureMode.MISALIGNED: Shifted(),
            FailureMode.JAM: Jammed(),
            FailureMode.COLLISION: Collision(
                half_height_m=float(BLOCK.size_m[2]), goal_half_height_m=float(SOCKET.size_m[2])
            ),
        }

    @property
    def info(self) -> TaskInfo:
        """What may be known of it without the simulator."""
        return INFO

    @property
    def subgoal_names(self) -> tuple[str, ...]:
        """Sub-goals of the Q-score, each worth the same."""
        return ("reached", "grasped", "lifted", "over_socket", "entered", "inserted", "retreated")

    @property
    def injectors(self) -> Mapping[FailureMode, Injector]:
        """How each failure is made to happen."""
        return MappingProxyType(self._injectors)

    @property
    def pressed(self) -> tuple[str, str]:
        """The peg, on or in its socket."""
        return PEG.name, SOCKET.name

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """Adds the socket, and the peg's steel foot."""
        add_socket(spec)
        add_foot(spec)

    def scene(self, rng: np.random.Generator, wording: Wording) -> Scene:
        """Returns a random start: a standing peg, a socket, no block, and one of the instructions of `wording`."""
        peg, socket = _apart(rng)
        centres = np.array([[*peg, PEG.size_m[2]], [*socket, SOCKET.size_m[2]], PARKED_M])
        return Scene(
            object_pos_in_base=centres,
            instruction=TOLD.draw(rng, wording),
            object_yaw=np.array([rng.uniform(-TURNED_RAD, TURNED_RAD), 0.0, 0.0]),
        )

    def subgoals(self, facts: Facts) -> Bools:
        """Returns which sub-goals hold now, shape (N, 7)."""
        peg, socket, held = facts.state.of("target"), facts.state.of("goal"), facts.held()
        grip = peg + np.array([0.0, 0.0, GRIP_M])
        reached = np.linalg.norm(facts.state.tcp_pos_in_base - grip, axis=1) < 0.03
        lifted = held & (peg[:, 2] - PEG.size_m[2] - (socket[:, 2] - SOCKET.size_m[2]) > LIFTED_M)
        aside, depth = aside_m(peg, socket), depth_m(peg, socket)
        over = lifted & (aside < 0.02)
        entered, inserted = ((aside < ASIDE_M) & (depth > least) for least in (0.012, INSERTED_M))
        return np.stack([reached, held, lifted, over, entered, inserted, self.success(facts)], axis=1)

    def success(self, facts: Facts) -> Bools:
        """Returns whether the peg stands at rest in the hole, let go, with the hand above and away, shape (N,)."""
        peg, socket = facts.state.of("target"), facts.state.of("goal")
        inserted = (aside_m(peg, socket) < ASIDE_M) & (depth_m(peg, socket) > INSERTED_M)
        target = facts.state.roles[:, 0]
        rows = np.arange(len(target))
        quat = facts.state.object_quat_xyzw_in_base[rows, target]
        upright = 1.0 - 2.0 * (quat[:, 0] ** 2 + quat[:, 1] ** 2) > UPRIGHT
        away = np.linalg.norm(facts.state.tcp_pos_in_base - peg, axis=1) > RETREAT_M
        slow = facts.object_speed[rows, target] < 0.05
        return np.asarray(inserted & upright & ~facts.held() & away & slow)


def _apart(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Returns x and y of peg and socket, shape (2,) each [m]."""
    while True:
        peg, socket = rng.uniform(PEG_LOW_M, PEG_HIGH_M), rng.uniform(SOCKET_LOW_M, SOCKET_HIGH_M)
        if np.linalg.norm(peg - socket) > APART_M:
            return peg, socket
