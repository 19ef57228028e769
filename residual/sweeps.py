"""What each reward term's main variable looks like: made-up worlds in which it, and little else, changes.

Called by the page of terms, which plots every term over its sweep, and by the tests of what the library claims.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from core.arrays import Floats
from core.demonstrations import DOWN_XYZW
from core.kinematics import XARM7
from core.robots import EE_DELTA
from core.scene import ROLES
from core.transforms import quat_from_rotvec, quat_multiply
from core.worlds import WorldState
from residual.penalties import Transition
from residual.term import Term

TOOL_M = np.array([0.4, 0.0, 0.35])
"""Where the tool and, unless a sweep moves it, every object is [m]."""

Params = Mapping[str, float | str]
"""The term's parameters, bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A range of a term's main variable, and worlds in which it takes given values."""

    low: float
    """In the variable's unit."""
    high: float
    place: Callable[[Floats, Params], Transition]
    """From N values and the parameters to N worlds, before and after a step."""


def evaluate(term: Term, params: Params, step: Transition) -> Floats:
    """Returns the term (N,) in these worlds: a value sees the state after the step, a penalty the whole step.

    Args:
        term: From the library.
        params: Bound by it.
        step: N worlds.
    """
    return np.asarray(term.function(step.state if term.kind == "value" else step, **params))


def still_life(n: int) -> WorldState:
    """Returns `n` equal worlds: hand open, straight down, one object for each role, all of them where the tool is."""
    at_tool = np.tile(TOOL_M, (n, 1))
    return WorldState(
        time_s=np.zeros(n), joint_pos=np.tile((XARM7.joint_low + XARM7.joint_high) / 2, (n, 1)),
        joint_vel=np.zeros((n, 7)), tcp_pos_in_base=at_tool, tcp_quat_xyzw_in_base=np.tile(DOWN_XYZW, (n, 1)),
        tcp_goal_in_base=at_tool, gripper_opening=np.ones(n), gripper_command=np.ones(n),
        contact_force_n=np.zeros(n), pressed_n=np.zeros(n), object_names=ROLES,
        object_pos_in_base=np.tile(TOOL_M, (n, len(ROLES), 1)),
        object_quat_xyzw_in_base=np.tile([0.0, 0.0, 0.0, 1.0], (n, len(ROLES), 1)),
        roles=np.tile(np.arange(len(ROLES)), (n, 1)), subtask=np.zeros(n, dtype=np.int64),
        success=np.zeros(n, dtype=bool), q_score=np.zeros(n), physics_reset=np.zeros(n, dtype=bool),
    )  # fmt: skip


def _stay(state: WorldState) -> Transition:
    """Nothing happens in the step."""
    return _turn_into(state, state)


def _turn_into(prev: WorldState, state: WorldState) -> Transition:
    none = np.zeros((len(state.time_s), EE_DELTA.size))
    return Transition(prev=prev, state=state, action=none, prev_action=none)


def _put(state: WorldState, role: str | float, x: Floats, direction: Floats, start: Floats | None = None) -> WorldState:
    """The object in `role` is moved to `start` (the tool when None) plus x times `direction`."""
    pos = state.object_pos_in_base.copy()
    pos[:, ROLES.index(str(role))] = (TOOL_M if start is None else start) + x[:, None] * direction
    return replace(state, object_pos_in_base=pos)


def _gripping(state: WorldState) -> WorldState:
    """The hand is told to close and something keeps it half open."""
    n = len(state.time_s)
    return replace(state, gripper_opening=np.full(n, 0.6), gripper_command=np.zeros(n))


_ALONG, _UP = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])


def _object_away(x: Floats, params: Params) -> Transition:
    return _stay(_put(still_life(len(x)), params["role"], x, _ALONG))


def _above_point(x: Floats, params: Params) -> Transition:
    start = TOOL_M - float(params["height_m"]) * _UP
    return _stay(_put(still_life(len(x)), params["role"], x, _ALONG, start))


def _behind_point(x: Floats, params: Params) -> Transition:
    start = TOOL_M + float(params["distance_m"]) * _heading(params) - float(params["height_m"]) * _UP
    return _stay(_put(still_life(len(x)), params["role"], x, _ALONG, start))


def _tool_above(x: Floats, params: Params) -> Transition:
    return _stay(_put(still_life(len(x)), params["role"], x, -_UP))


def _object_height(x: Floats, params: Params) -> Transition:
    return _stay(_put(still_life(len(x)), params["role"], x, _UP, TOOL_M * [1, 1, 0]))


def _object_above(x: Floats, params: Params) -> Transition:
    return _stay(_put(still_life(len(x)), params["role"], x, _UP))


def _tip_below_rim(x: Floats, params: Params) -> Transition:
    start = TOOL_M + (float(params["rim_m"]) + float(params["tip_m"])) * _UP
    return _stay(_put(still_life(len(x)), params["role"], x, -_UP, start))


def _across_box(x: Floats, params: Params) -> Transition:
    middle = TOOL_M + 0.5 * (float(params["low_m"]) + float(params["high_m"])) * _UP
    return _stay(_put(still_life(len(x)), params["role"], x, _ALONG, middle))


def _slide(x: Floats, params: Params) -> Transition:
    return _stay(_put(still_life(len(x)), params["role"], x, _heading(params)))


def _heading(params: Params) -> Floats:
    heading = float(params["heading_rad"])
    return np.array([np.cos(heading), np.sin(heading), 0.0])


def _tool_turn(x: Floats, params: Params) -> Transition:
    down = quat_multiply(quat_from_rotvec(float(params.get("yaw_rad", 0.0)) * _UP), DOWN_XYZW)
    quat = quat_multiply(quat_from_rotvec(x[:, None] * _ALONG), np.tile(down, (len(x), 1)))
    return _stay(replace(still_life(len(x)), tcp_quat_xyzw_in_base=quat))


def _object_turn(about: Floats) -> Callable[[Floats, Params], Transition]:
    def place(x: Floats, params: Params) -> Transition:
        state = still_life(len(x))
        quats = state.object_quat_xyzw_in_base.copy()
        quats[:, ROLES.index(str(params["role"]))] = quat_from_rotvec(
            (x - float(params.get("turn_rad", 0.0)))[:, None] * about
        )
        return _stay(replace(state, object_quat_xyzw_in_base=quats))

    return place


def _off_sight(x: Floats, params: Params) -> Transition:
    pos = still_life(len(x)).object_pos_in_base.copy()
    sight = np.stack([np.sin(x), np.zeros(len(x)), -np.cos(x)], axis=1)
    pos[:, ROLES.index(str(params["role"]))] = TOOL_M + 0.1 * sight
    return _stay(replace(still_life(len(x)), object_pos_in_base=pos))


def _opening_away(x: Floats, params: Params) -> Transition:
    far = _put(still_life(len(x)), params["role"], np.full(len(x), 0.3), _ALONG)
    return _stay(replace(far, gripper_opening=x))


def _opening(x: Floats) -> Transition:
    return _stay(replace(still_life(len(x)), gripper_opening=x))


def _command(x: Floats) -> Transition:
    return _stay(replace(still_life(len(x)), gripper_command=x))


def _pressed(x: Floats) -> Transition:
    return _stay(replace(still_life(len(x)), pressed_n=x))


def _touched(x: Floats) -> Transition:
    return _stay(replace(still_life(len(x)), contact_force_n=x))


def _same(x: Floats) -> Transition:
    return _stay(still_life(len(x)))


def _gripped_opening(x: Floats) -> Transition:
    return _stay(replace(_gripping(still_life(len(x))), gripper_opening=x))


def _subtask(x: Floats) -> Transition:
    return _stay(replace(still_life(len(x)), subtask=np.floor(x).astype(np.int64)))


def _one_joint(x: Floats) -> Floats:
    return np.asarray(x[:, None] * np.eye(7)[3])


def _joint_speed(x: Floats) -> Transition:
    return _stay(replace(still_life(len(x)), joint_vel=_one_joint(x)))


def _joint_acceleration(x: Floats) -> Transition:
    state = still_life(len(x))
    return _turn_into(state, replace(state, joint_vel=_one_joint(x * EE_DELTA.dt_s)))


def _joint_gap(x: Floats) -> Transition:
    state = still_life(len(x))
    joints = state.joint_pos.copy()
    joints[:, 3] = XARM7.joint_high[3] - x
    return _stay(replace(state, joint_pos=joints))


def _tool_speed(x: Floats) -> Transition:
    state = still_life(len(x))
    after = state.tcp_pos_in_base + x[:, None] * EE_DELTA.dt_s * _ALONG
    return _turn_into(state, replace(state, tcp_pos_in_base=after))


def _outside(x: Floats, params: Params) -> Transition:
    pos = np.tile(TOOL_M, (len(x), 1))
    pos[:, 0] = float(params["far_x_m"]) + x
    return _stay(replace(still_life(len(x)), tcp_pos_in_base=pos))


def _correction(x: Floats) -> Transition:
    return replace(_stay(still_life(len(x))), action=np.tile(x[:, None], (1, EE_DELTA.size)))


def _corrections(x: Floats) -> Transition:
    half = np.tile(x[:, None] / 2, (1, EE_DELTA.size))
    return replace(_stay(still_life(len(x))), action=half, prev_action=-half)


def _object_moved(x: Floats, params: Params) -> Transition:
    state = _gripping(still_life(len(x)))
    return _turn_into(state, _put(state, params["role"], x, _ALONG))


def _object_fell(x: Floats, params: Params) -> Transition:
    state = still_life(len(x))
    return _turn_into(state, _put(state, params["role"], x, _UP, TOOL_M * [1, 1, 0]))


def _any(place: Callable[[Floats], Transition]) -> Callable[[Floats, Params], Transition]:
    """The same worlds for all parameters."""
    return lambda x, _: place(x)


def _sweep(low: float, high: float, place: Callable[[Floats, Params], Transition]) -> Sweep:
    return Sweep(low=low, high=high, place=place)


SWEEPS: Mapping[str, Sweep] = MappingProxyType(
    {
        "approach": _sweep(0.0, 0.3, _above_point), "align": _sweep(0.0, 0.1, _object_away),
        "near": _sweep(0.0, 0.06, _object_away), "behind": _sweep(0.0, 0.15, _behind_point),
        "retreat": _sweep(0.0, 0.15, _object_away), "avoid": _sweep(0.0, 0.15, _object_away),
        "clearance": _sweep(0.0, 0.2, _tool_above), "lift": _sweep(0.0, 0.2, _object_height),
        "transport": _sweep(0.0, 0.3, _object_away), "centred": _sweep(0.0, 0.02, _object_away),
        "over_goal": _sweep(0.0, 0.12, _object_away), "lower": _sweep(0.0, 0.2, _object_above),
        "on_goal": _sweep(0.0, 0.1, _object_away), "insertion": _sweep(-0.01, 0.05, _tip_below_rim),
        "is_inside": _sweep(0.0, 0.1, _across_box), "maintain_distance": _sweep(0.0, 0.3, _object_away),
        "upright": _sweep(0.0, 1.5, _tool_turn), "maintain_orientation": _sweep(0.0, 1.5, _tool_turn),
        "align_heading": _sweep(0.0, 1.5, _object_turn(_UP)), "look_at": _sweep(0.0, 1.5, _off_sight),
        "standing": _sweep(0.0, 1.5, _object_turn(_ALONG)), "parallel": _sweep(0.0, 1.5, _object_turn(_ALONG)),
        "still": _sweep(0.0, 3.0, _any(_joint_speed)), "always": _sweep(0.0, 1.0, _any(_same)),
        "grasp_open": _sweep(0.0, 1.0, _opening_away), "grasp_close": _sweep(0.0, 1.0, _any(_command)),
        "hand_closed": _sweep(0.0, 1.0, _any(_opening)), "held": _sweep(0.0, 0.2, _any(_gripped_opening)),
        "released": _sweep(0.0, 1.0, _any(_opening)), "is_open": _sweep(0.05, 0.3, _slide),
        "is_closed": _sweep(0.05, 0.3, _slide), "gone": _sweep(-0.3, 0.1, _object_height),
        "subtasks_done": _sweep(0.0, 3.0, _any(_subtask)), "pressing": _sweep(0.0, 60.0, _any(_pressed)),
        "gentle": _sweep(0.0, 25.0, _any(_touched)), "elapsed": _sweep(0.0, 1.0, _any(_same)),
        "effort": _sweep(0.0, 1.0, _any(_correction)), "jerkiness": _sweep(0.0, 2.0, _any(_corrections)),
        "speeding": _sweep(0.0, 1.2, _any(_tool_speed)), "rushing": _sweep(0.0, 0.3, _any(_tool_speed)),
        "limit_acceleration": _sweep(0.0, 30.0, _any(_joint_acceleration)),
        "joint_margin": _sweep(0.0, 0.3, _any(_joint_gap)),
        "outside_workspace": _sweep(-0.05, 0.1, _outside), "tilted": _sweep(0.0, 1.0, _tool_turn),
        "off_table": _sweep(-0.3, 0.1, _object_fell), "disturbed": _sweep(0.0, 0.02, _object_moved),
        "intrusion": _sweep(0.0, 0.15, _object_away), "slipped": _sweep(0.0, 0.02, _object_moved),
        "collision_force": _sweep(0.0, 50.0, _any(_touched)),
        "overpressed": _sweep(0.0, 60.0, _any(_pressed)),
    }
)  # fmt: skip
"""By term: where its main variable is swept with default parameters."""
