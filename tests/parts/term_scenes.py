"""Worlds laid out by hand, and what a reward term says of them."""

from dataclasses import replace

import numpy as np

from core.arrays import Floats
from core.scene import ROLES
from core.transforms import quat_from_rotvec, quat_multiply
from core.worlds import WorldState
from residual.library import LIBRARY
from residual.penalties import Transition
from residual.sweeps import evaluate, still_life

N = 5
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
GOAL = np.array([0.5, 0.2, 0.0])


def scene(**places: Floats) -> WorldState:
    """N worlds with the tool at (0.4, 0, 0.2); positions (3,) or (N, 3) by role, or `tcp`; absent roles are parked."""
    where = {role: np.broadcast_to(places.get(role, np.array([0.0, 0.0, -5.0])), (N, 3)) for role in ROLES}
    tcp = np.broadcast_to(places.get("tcp", np.array([0.4, 0.0, 0.2])), (N, 3))
    return replace(still_life(N), tcp_pos_in_base=tcp, object_pos_in_base=np.stack([where[r] for r in ROLES], axis=1))


def gripped(state: WorldState, opening: float = 0.7) -> WorldState:
    return replace(state, gripper_opening=np.full(N, opening), gripper_command=np.zeros(N))


def step(prev: WorldState, state: WorldState, action: Floats | None = None) -> Transition:
    action = np.zeros((N, 7)) if action is None else action
    return Transition(prev=prev, state=state, action=action, prev_action=np.zeros((N, 7)))


def value(name: str, state: WorldState, **params: float | str) -> Floats:
    term = LIBRARY.term(name)
    return evaluate(term, term.bind(params), step(state, state))


def cost(name: str, happened: Transition, **params: float | str) -> Floats:
    term = LIBRARY.term(name)
    return evaluate(term, term.bind(params), happened)


def away(*distances: float, axis: int = 0) -> Floats:
    """Positions at given distances from the tool of `scene`, one a world."""
    pos = np.tile([0.4, 0.0, 0.2], (N, 1))
    pos[:, axis] += distances
    return pos


def from_goal(*offsets: float, axis: int = 0) -> Floats:
    """Positions at given offsets from GOAL along an axis, one a world."""
    pos = np.tile(GOAL, (N, 1))
    pos[:, axis] += offsets
    return pos


def turned(state: WorldState, role: str, *angles: float, about: int = 0) -> WorldState:
    """The object in `role` is turned by an angle a world about an axis of the base."""
    quats = state.object_quat_xyzw_in_base.copy()
    quats[:, ROLES.index(role)] = quat_from_rotvec(np.array(angles)[:, None] * np.eye(3)[about])
    return replace(state, object_quat_xyzw_in_base=quats)


def tool_turned(*angles: float, about: int = 0) -> WorldState:
    turn = quat_from_rotvec(np.array(angles)[:, None] * np.eye(3)[about])
    return replace(scene(), tcp_quat_xyzw_in_base=quat_multiply(turn, np.tile(DOWN, (N, 1))))


def rises(values: Floats) -> bool:
    return bool((np.diff(values) >= 0).all() and values[-1] > values[0])
