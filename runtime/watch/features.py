"""What the embedded probe looks at: the policy's image features, proprioception over 3.2 s, and the tracked scene.

Called by the probe as detector and as diagnoser, and by `regrasp` when it collects the probe's training set: one code
for both. The layout is fixed and named by `LAYOUT`; any change of it is a new version.
"""

from collections.abc import Sequence

import numpy as np

from core.arrays import Floats
from core.flow import ActionChunk, Observation, Step
from core.robots import EE_DELTA
from core.scene import ROLES, SceneRoles, SceneState
from core.stages import MANNERS
from core.subtasks import Course
from runtime.due import Due, due_in

LAYOUT = "probe-features@3"
"""Version of the layout below."""
LAGS = (2, 4, 8, 16, 32, 64)
"""How far back the arm is compared with itself [ticks]; a shorter past is compared with its oldest step."""
MISS_LAGS = (8, 16)
"""Over how long motion commanded and motion achieved are compared [ticks]."""
SCENE_LAGS = LAGS[-4:]
"""How far back objects are compared with themselves [ticks]: a thing that was lifted and a thing that never was look
alike once they lie on the table."""
WINDOW = LAGS[-1] + 1
"""Steps that are looked at [ticks]."""
AGE_MAX_S = 2.0
"""Ages are cut here; an object never seen has this age [s]."""
PLAN_ROWS = 8
"""Rows of a chunk whose sum is its planned motion."""
_CLOSED, _GAP = 0.5, 0.06
"""A hand told to be narrower than the first and wider than told by the second grips something, dimensionless."""
_XYZ = ("x", "y", "z")

_ARM = (
    *(f"tcp_{a}_m" for a in _XYZ),
    *(f"tilt_{a}" for a in _XYZ),
    "opening",
    "command",
    "opening_over_command",
    "gripping",
    "closed_share_of_window",
    "joint_speed_max_rad_s",
    *(f"commanded_{n}" for n in EE_DELTA.names),
    *(f"base_{n}" for n in EE_DELTA.names),
    "base_known",
)
_PAST = tuple(
    f"{what}_since_{lag}" for lag in LAGS for what in (*(f"moved_{a}_m" for a in _XYZ), "opened", "command_rose")
)
_LAGGING = (*(f"missed_{lag}_{a}_m" for lag in MISS_LAGS for a in _XYZ), "path_m")
_SCENE = tuple(
    f"{role}_{what}"
    for role in ROLES
    for what in (
        "seen",
        *(f"from_tool_{a}_m" for a in _XYZ),
        "distance_m",
        "confidence",
        "age_s",
        *(f"moved_{lag}_{a}_m" for lag in SCENE_LAGS for a in _XYZ),
    )
)
_RELATIONS = (
    *(f"target_to_goal_{a}_m" for a in _XYZ),
    "target_aside_goal_m",
    *(f"distractor_to_goal_{a}_m" for a in _XYZ),
    "distractor_aside_goal_m",
    "target_to_distractor_m",
    "gripping_target_distance_m",
    "gripping_distractor_distance_m",
)
_PLAN = (*(f"planned_{a}_m" for a in _XYZ), "planned_gripper", *(f"planned_to_{r}_cos" for r in ROLES[:3]))
_DUE = (*(f"due_{m}" for m in MANNERS), "subtasks_done", "all_done")
FIXED = _ARM + _PAST + _LAGGING + _SCENE + _RELATIONS + _PLAN + _DUE
"""Names of all features but the policy's own, in order; units in the name, dimensionless without."""


def probe_feature_names(policy_features: int) -> tuple[str, ...]:
    """Returns the names of all F features of a policy with so many image features, in order."""
    return FIXED + tuple(f"policy_{i}" for i in range(policy_features))


def probe_features(steps: Sequence[Step], course: Course) -> Floats | None:
    """Returns the features (F,) of the instant of the last step, None while no chunk arrived in the window.

    Args:
        steps: Oldest first, without gaps, at least one; only the last `WINDOW` are read. Images are not needed.
        course: What the robot was told to do.
    """
    window = list(steps)[-WINDOW:]
    chunk = next((s.arrived.chunk for s in reversed(window) if s.arrived.chunk is not None), None)
    if chunk is None or not np.isfinite(chunk.values).all():
        return None
    past = [window[max(0, len(window) - 1 - lag)] for lag in LAGS]
    now = due_in(course, window[-1].arrived.scene)
    scene = _scene_part(window[-1], past[-len(SCENE_LAGS) :], now.roles)
    gripping = _gripping(window[-1].observation)
    parts = (
        _arm_part(window, gripping),
        _past_part(window[-1].observation, past),
        _lag_part(window),
        scene.ravel(),
        _relation_part(scene, gripping),
        _plan_part(chunk, scene),
        _due_part(now),
        chunk.features,
    )
    return np.concatenate(parts)


def _gripping(obs: Observation) -> float:
    return float(obs.gripper_command < _CLOSED and obs.gripper_opening - obs.gripper_command > _GAP)


def _tilt(quat_xyzw: Floats) -> tuple[float, float, float]:
    """Returns 2 sin(angle / 2) times the axis that turns a tool pointing straight down into this one."""
    x, y, z, w = quat_xyzw.tolist()
    sign = 2.0 if x >= 0 else -2.0
    return -sign * w, -sign * z, sign * y


def _arm_part(window: list[Step], gripping: float) -> Floats:
    step = window[-1]
    obs, base = step.observation, step.base
    closed = sum(s.observation.gripper_command < _CLOSED for s in window) / len(window)
    opening, command = obs.gripper_opening, obs.gripper_command
    row = [*obs.tcp_pos_in_base.tolist(), *_tilt(obs.tcp_quat_xyzw_in_base), opening, command, opening - command]
    row += [gripping, closed, float(np.abs(obs.joint_vel).max()), *step.commanded.tolist()]
    row += [0.0] * EE_DELTA.size + [0.0] if base is None else [*base.tolist(), 1.0]
    return np.array(row)


def _past_part(now: Observation, past: list[Step]) -> Floats:
    then = [s.observation for s in past]
    moved = now.tcp_pos_in_base - np.array([o.tcp_pos_in_base for o in then])
    grip = np.array([(now.gripper_opening - o.gripper_opening, now.gripper_command - o.gripper_command) for o in then])
    return np.concatenate([moved, grip], axis=1).ravel()


def _lag_part(window: list[Step]) -> Floats:
    """Returns motion commanded but not achieved over `MISS_LAGS`, and the commanded length of path."""
    here = window[-1].observation.tcp_pos_in_base
    moves = np.array([s.commanded[:3] for s in window[:-1]]) if len(window) > 1 else np.zeros((1, 3))
    row = []
    for lag in MISS_LAGS:
        then = window[max(0, len(window) - 1 - lag)].observation.tcp_pos_in_base
        row += (moves[-lag:].sum(axis=0) - (here - then)).tolist()
    return np.array([*row, float(np.sqrt((moves * moves).sum(axis=1)).sum())])


def _scene_part(step: Step, past: list[Step], roles: SceneRoles) -> Floats:
    """Returns one row per role; all zero but for the age where nothing is seen."""
    rows = np.zeros((len(ROLES), 7 + 3 * len(past)))
    rows[:, 6] = AGE_MAX_S
    scene = step.arrived.scene
    for row, role in zip(rows, ROLES, strict=True):
        found = None if scene is None else scene.objects.get(roles.of(role))
        if scene is None or found is None:
            continue
        offset = found.pos_in_base - step.observation.tcp_pos_in_base
        row[0], row[1:4], row[4] = 1.0, offset, np.sqrt(offset @ offset)
        row[5], row[6] = found.confidence, min((scene.t_ns - found.t_ns) * 1e-9, AGE_MAX_S)
        for i, then in enumerate(past):
            before = _position(then.arrived.scene, roles.of(role))
            if before is not None:
                row[7 + 3 * i : 10 + 3 * i] = found.pos_in_base - before
    return rows


def _position(scene: SceneState | None, name: str) -> Floats | None:
    return None if scene is None else scene.position(name)


def _relation_part(scene: Floats, gripping: float) -> Floats:
    target, distractor, goal = scene[0], scene[1], scene[2]
    row = [*_to_goal(target, goal), *_to_goal(distractor, goal)]
    between = target[1:4] - distractor[1:4] if target[0] and distractor[0] else np.zeros(3)
    row += [float(np.sqrt(between @ between)), gripping * float(target[4]), gripping * float(distractor[4])]
    return np.array(row)


def _to_goal(thing: Floats, goal: Floats) -> list[float]:
    if not (thing[0] and goal[0]):
        return [0.0] * 4
    offset = (goal[1:4] - thing[1:4]).tolist()
    return [*offset, float(np.hypot(offset[0], offset[1]))]


def _plan_part(chunk: ActionChunk, scene: Floats) -> Floats:
    """Returns the motion the newest chunk plans, and how well it points at target, distractor and goal."""
    motion = chunk.values[:PLAN_ROWS, :3].sum(axis=0)
    length = float(np.sqrt(motion @ motion))
    along = scene[:3, 1:4] @ motion / (scene[:3, 4] * length + 1e-6)
    return np.array([*motion.tolist(), float(chunk.values[min(PLAN_ROWS, len(chunk.values)) - 1, -1]), *along.tolist()])


def _due_part(now: Due) -> Floats:
    return np.array([*(float(now.sub.manner is m) for m in MANNERS), float(now.progress), float(now.finished)])
