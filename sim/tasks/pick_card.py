"""Put the card that the instruction names on the tray; four others lie about.

Made of: what the task is called and how it is told (`INFO`, `TOLD`), how episodes start (`scene`), when it is done
(`success`, `subgoals`), what can go wrong (`injectors`). The demonstrator is `sim.tasks.pick_card_expert`.

Cards lie on a loose grid of two rows and three columns, one place of which stays empty: the open hand, 116 mm wide
along y, fits between any two.
"""

from collections.abc import Mapping
from itertools import product
from types import MappingProxyType

import numpy as np

from core.arrays import Bools
from core.failures import FailureMode
from core.scene import SceneRoles
from core.subtasks import Manner, SubTask, Where
from core.tasks import ObjectInfo, TaskInfo
from sim.cell import PARKED_M
from sim.failures import Collision, Drop, MissedGrasp, TargetMoved, WrongObject
from sim.instructions import Instructions
from sim.task import Facts, Injector, Scene, Task, Wording

CARD_M = np.array([0.032, 0.022, 0.007])
"""Half extents of every card; the hand closes across y [m]."""
COLOURS = {
    "red": np.array([0.85, 0.06, 0.06]),
    "yellow": np.array([0.95, 0.85, 0.05]),
    "green": np.array([0.08, 0.62, 0.12]),
    "blue": np.array([0.08, 0.20, 0.85]),
    "pink": np.array([0.92, 0.10, 0.58]),
}
CARDS = tuple(
    ObjectInfo(
        name=f"{colour} card",
        words=(f"{colour} rectangle", f"{colour} one"),
        shape="box",
        size_m=CARD_M,
        rgb=rgb,
        graspable=True,
    )
    for colour, rgb in COLOURS.items()
)
TRAY = ObjectInfo(
    name="tray",
    words=("round tray",),
    shape="disc",
    size_m=np.array([0.095, 0.095, 0.006]),
    rgb=np.array([0.05, 0.72, 0.78]),
    graspable=False,
)
BLOCK = ObjectInfo(
    name="block",
    words=(),
    shape="box",
    size_m=np.array([0.02, 0.06, 0.10]),
    rgb=np.array([0.42, 0.10, 0.78]),
    graspable=False,
)

ON_TRAY_M = 0.085
"""A card whose centre is nearer than this to the tray's centre, and rests flat on it, is on the tray."""
DONE_M = 0.075
"""Half the side of the square on the tray in which the sub-task counts as done, by positions alone."""

INFO = TaskInfo(
    name="pick_card",
    objects=(*CARDS, TRAY, BLOCK),
    goal="tray",
    obstacle="block",
    family="short_horizon",
    templates=(
        "put the {target} on the {goal}",
        "place the {target} on the {goal}",
        "move the {target} onto the {goal}",
        "pick up the {target} and put it on the {goal}",
        "lay the {target} on the {goal}",
        "the {target} goes on the {goal}",
        "take the {target} and lay it onto the {goal}",
        "on the {goal} put the {target}",
        "pick the {target} and place it on the {goal}",
        "please move the {target} to the {goal}",
        "onto the {goal} with the {target}",
        "set the {target} down on the {goal}",
    ),
    subtasks=(
        SubTask(
            name="card on the tray",
            manner=Manner.PLACE,
            roles=SceneRoles(target="{target}", distractor="{distractor}", goal="tray", obstacle="block"),
            done=(
                Where(
                    thing="{target}",
                    anchor="tray",
                    low=np.array([-DONE_M, -DONE_M, 0.008]),
                    high=np.array([DONE_M, DONE_M, 0.05]),
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
    episode_steps=280,
)
TOLD = Instructions(INFO, held_out=tuple(f"{colour} one" for colour in COLOURS))

ROWS_M, COLUMNS_M = np.array([0.45, 0.56]), np.array([-0.285, -0.17, -0.055])
"""Places of the grid, x and y [m]."""
JITTER_M, JITTER_RAD = np.array([0.018, 0.010]), 0.15
"""How far a card lies from its place at most, x, y and heading."""
TRAY_LOW_M, TRAY_HIGH_M = np.array([0.38, 0.19]), np.array([0.54, 0.27])
"""Where the tray starts; the demonstrations never show it elsewhere [m]."""
HEIGHT_SLACK_M = 0.004
FLAT = 0.985
"""Cosine of the largest tilt of a card that lies flat."""
RETREAT_M = 0.07
LIFTED_M = 0.05
"""Height of the card's centre above the table that counts as lifted."""


class PickCard(Task):
    """The task."""

    def __init__(self) -> None:
        self._injectors = _injectors()

    @property
    def info(self) -> TaskInfo:
        """What may be known of it without the simulator."""
        return INFO

    @property
    def subgoal_names(self) -> tuple[str, ...]:
        """Sub-goals of the Q-score, each worth the same."""
        return ("reached", "grasped", "lifted", "over_tray", "placed", "retreated")

    @property
    def injectors(self) -> Mapping[FailureMode, Injector]:
        """How each failure is made to happen."""
        return MappingProxyType(self._injectors)

    def scene(self, rng: np.random.Generator, wording: Wording) -> Scene:
        """Returns a random start: five cards, a tray, no block, and one of the instructions of `wording`."""
        cards = rng.permutation(np.array(list(product(ROWS_M, COLUMNS_M))))[: len(CARDS)]
        cards = cards + rng.uniform(-JITTER_M, JITTER_M, cards.shape)
        tray = rng.uniform(TRAY_LOW_M, TRAY_HIGH_M)
        lying = np.column_stack([cards, np.full(len(cards), CARD_M[2])])
        yaw = np.concatenate([rng.uniform(-JITTER_RAD, JITTER_RAD, len(CARDS)), np.zeros(2)])
        return Scene(
            object_pos_in_base=np.vstack([lying, [*tray, TRAY.size_m[2]], PARKED_M]),
            instruction=TOLD.draw(rng, wording),
            object_yaw=yaw,
        )

    def subgoals(self, facts: Facts) -> Bools:
        """Returns which sub-goals hold now, shape (N, 6)."""
        state = facts.state
        target, tray = state.of("target"), state.of("goal")
        held, placed = facts.held(), _placed(facts)
        lifted = held & (target[:, 2] - tray[:, 2] + TRAY.size_m[2] > LIFTED_M)
        over = lifted & (np.linalg.norm((target - tray)[:, :2], axis=1) < ON_TRAY_M)
        reached = np.linalg.norm(state.tcp_pos_in_base - target, axis=1) < 0.03
        return np.stack([reached, held, lifted, over, placed, self.success(facts)], axis=1)

    def success(self, facts: Facts) -> Bools:
        """Returns whether the named card lies flat on the tray, let go, with the gripper more than 7 cm away, (N,)."""
        away = np.linalg.norm(facts.state.tcp_pos_in_base - facts.state.of("target"), axis=1) > RETREAT_M
        rows = np.arange(len(away))
        slow = facts.object_speed[rows, facts.state.roles[:, 0]] < 0.05
        return np.asarray(_placed(facts) & ~facts.held() & away & slow)


def _injectors() -> dict[FailureMode, Injector]:
    """Returns how each failure is made to happen, clear of every card.

    Each strikes in 128 of 128 episodes (seeds 9000 to 9127, in the expert's hands); whoever goes on blindly succeeds in
    none of them, and the scripted expert, taking over a random 0 to 4.5 s later, within 280 steps in all. At seeds 700
    to 763 it once does not find a way to a card between block and cards (63 of 64; 64 of 64 in the other modes).
    """
    tray_m, block_m = float(TRAY.size_m[2]), float(BLOCK.size_m[2])

    def keep(distance_m: float) -> dict[str, float]:
        return {card.name: distance_m for card in CARDS}

    return {
        FailureMode.MISSED_GRASP: MissedGrasp(default=0.09, keep_m=keep(0.08)),
        FailureMode.DROP: Drop(),
        FailureMode.TARGET_MOVED: TargetMoved(plate_low=TRAY_LOW_M, x_low_m=0.28, x_high_m=0.30, keep_m=keep(0.135)),
        FailureMode.WRONG_OBJECT: WrongObject(),
        FailureMode.COLLISION: Collision(
            half_height_m=block_m, goal_half_height_m=tray_m, goal_m=0.125, keep_m=keep(0.095)
        ),
    }


def _placed(facts: Facts) -> Bools:
    """Returns where the target lies flat on the tray, on nothing else, shape (N,)."""
    state = facts.state
    target, tray = state.of("target"), state.of("goal")
    height = target[:, 2] - tray[:, 2] - TRAY.size_m[2] - CARD_M[2]
    near = np.linalg.norm((target - tray)[:, :2], axis=1) < ON_TRAY_M
    x, y = state.object_quat_xyzw_in_base[np.arange(len(target)), state.roles[:, 0], :2].T
    flat = np.abs(1.0 - 2.0 * (x * x + y * y)) > FLAT
    return np.asarray(near & flat & (np.abs(height) < HEIGHT_SLACK_M))
