"""Where the joints will go when a command is followed, and how much of it they may follow. Called by the guard.

The arm turns an action into a joint target by `core.servo.lead` and `core.kinematics.ik_step`; the same is done here,
ahead of it, for nine shares of the action at once, and the largest share whose target keeps every limit is let through.
Standing still is always among them. Shares are few on purpose: rounding that differs between machines then changes
nothing, and a replay gives the same command to the bit.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats
from core.flow import Observation
from core.kinematics import XARM7, chain, ik_step, jacobian, tcp_position
from core.robots import ActionSpace, RobotSpec
from core.servo import lead
from runtime.config import GuardLimits

SHARES = np.linspace(0.0, 1.0, 9)
"""Shares of an action that are tried."""
_HERE, _STILL, _ALL = 1, 2, -1
"""Rows of the frames: the target now, after standing still, after the whole action; row 0 is the measured arm."""
_STANDING = SHARES == 0.0
_SLACK = 1e-9
"""Rounding that counts as keeping a limit, in the limit's unit."""
_WORSE = 1.001
"""A condition number that grows by less than this factor is not growing."""


def foreseeable(robot: RobotSpec) -> bool:
    """Whether the kinematics of `core.kinematics` are those of this robot."""
    return robot.name == XARM7.name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Foreseen:
    """What was last let through, so that it need not be computed twice."""

    action: Floats
    """Shape (6,)."""
    goal_pos: Floats
    goal_quat: Floats
    target: Floats


class Foresight:
    """Follows what the arm is told as the arm does, one tick ahead.

    Args:
        robot: Limits of the joints.
        space: The action space; dims 0-2 translate [m], 3-5 turn [rad].
        limits: The cell's limits.
    """

    def __init__(self, robot: RobotSpec, space: ActionSpace, limits: GuardLimits) -> None:
        self._limits, self._dt_s = limits, space.dt_s
        self._low, self._high = robot.joint_low + limits.joint_margin_rad, robot.joint_high - limits.joint_margin_rad
        self._step = robot.joint_vel_max * limits.joint_speed_share * space.dt_s
        self._gain = limits.joint_acceleration_rad_s2 * space.dt_s**2
        self._jolt = limits.joint_jerk_rad_s3 * space.dt_s**3
        self._reach = min(limits.tcp_speed_m_s, robot.tcp_speed_max) * space.dt_s
        self.reset()

    def reset(self) -> None:
        """Forgets the past: the arm is at rest and led nowhere."""
        self._target: Floats | None = None
        self._goal_pos, self._goal_quat = np.zeros(3), np.zeros(4)
        self._move, self._change = np.zeros(len(self._low)), np.zeros(len(self._low))
        self._foreseen: _Foreseen | None = None

    def share(self, action: Floats, obs: Observation) -> tuple[float, list[str]]:
        """Returns the largest share of the motion of `action` (A,) that may be followed, and what limits it."""
        here = self._start(obs)
        rows = SHARES[:, None] * action[:6]
        pos, quat, targets = self._followed(rows, obs)
        turn, origin = chain(np.concatenate([obs.joint_pos[None], here[None], targets]))
        checks = self._joint_checks(here, targets) | self._tool_checks(turn, origin, obs)
        kept = np.array(list(checks.values())).all(axis=0)
        best = int(np.flatnonzero(kept)[-1]) if kept.any() else 0
        self._foreseen = _Foreseen(action=rows[best], goal_pos=pos[best], goal_quat=quat[best], target=targets[best])
        return float(SHARES[best]), [name for name, kept in checks.items() if not kept[_ALL]]

    def sent(self, action: Floats, obs: Observation) -> None:
        """Takes what the robot truly sent, shape (A,)."""
        here, known = self._start(obs), self._foreseen
        if known is not None and np.array_equal(known.action, action[:6]):
            self._goal_pos, self._goal_quat, target = known.goal_pos, known.goal_quat, known.target
        else:
            pos, quat, targets = self._followed(action[None, :6], obs)
            self._goal_pos, self._goal_quat, target = pos[0], quat[0], targets[0]
        move = target - here
        self._change, self._move = move - self._move, move
        self._target, self._foreseen = target, None

    def _start(self, obs: Observation) -> Floats:
        if self._target is None:
            self._target = np.array(obs.joint_pos)
            self._goal_pos, self._goal_quat = obs.tcp_pos_in_base, obs.tcp_quat_xyzw_in_base
        return self._target

    def _followed(self, rows: Floats, obs: Observation) -> tuple[Floats, Floats, Floats]:
        """Returns commanded positions (S, 3) and orientations (S, 4), and joint targets (S, J) after `rows` (S, 6)."""
        here, tool, turned = self._start(obs), obs.tcp_pos_in_base, obs.tcp_quat_xyzw_in_base
        pos, quat = lead(self._goal_pos[None], self._goal_quat[None], rows, tool[None], turned[None])
        return pos, quat, ik_step(here[None], pos, quat)

    def _joint_checks(self, here: Floats, targets: Floats) -> dict[str, Bools]:
        move, before = targets - here, self._move
        least, most = np.minimum(self._low, here) - _SLACK, np.maximum(self._high, here) + _SLACK
        return {
            "joint_position": _all((targets >= least) & (targets <= most)),
            "joint_velocity": _all(np.abs(move) <= self._step + _SLACK),
            "joint_acceleration": _between(move, before - self._gain, before + self._gain),
            "joint_jerk": _between(
                move, before + self._change - self._jolt, before + self._change + self._jolt
            ),
        }  # fmt: skip

    def _tool_checks(self, turn: Floats, origin: Floats, obs: Observation) -> dict[str, Bools]:
        tool = tcp_position(turn, origin)
        tip = self._tips(turn, tool, obs)
        away = tool[_STILL:] - tool[_HERE]
        floor = self._limits.table_height_m - self._limits.tip_press_m
        astray = tool[0] - obs.tcp_pos_in_base
        agrees = bool(astray @ astray <= self._limits.kinematics_error_m**2)
        return {
            "tcp_speed": (away * away).sum(axis=-1) <= (self._reach + _SLACK) ** 2,
            "fingertips": tip[_STILL:] >= min(floor, tip[_HERE]) - _SLACK,
            "singularity": self._calm(turn, origin) >= SHARES,
            "kinematics": agrees | _STANDING,
        }

    def _tips(self, turn: Floats, tool: Floats, obs: Observation) -> Floats:
        """Returns the height of the lowest point of the fingertips in base, shape (N,) [m]."""
        shape = self._limits.fingers
        tool_z = turn[-1][:, 2, :]
        apart = max(obs.gripper_opening, obs.gripper_command) * shape.stroke_m / 2 + shape.half_width_m
        height = tool[:, 2] + shape.beyond_tcp_m * tool_z[:, 2]
        return np.asarray(height - shape.half_depth_m * np.abs(tool_z[:, 0]) - apart * np.abs(tool_z[:, 1]))

    def _calm(self, turn: Floats, origin: Floats) -> float:
        """Returns the share of the motion that is allowed this near to a singularity; away from it all of it is."""
        rows = [_HERE, _STILL, _ALL]
        now, still, then = condition(turn[:, rows], origin[:, rows])
        if then <= still * _WORSE:
            return 1.0
        slow, stop = self._limits.condition_slow, self._limits.condition_stop
        return min(1.0, max(0.0, float(stop - max(now, still)) / (stop - slow)))


def condition(turn: Floats, origin: Floats) -> Floats:
    """Returns the condition number of the Jacobian, metres over radians, for frames that `chain` gave, shape (N,)."""
    jac = jacobian(turn, origin)
    squares = np.linalg.eigvalsh(jac @ np.swapaxes(jac, -1, -2))
    return np.asarray(np.sqrt(squares[:, -1] / np.maximum(squares[:, 0], 1e-12)))


def _between(move: Floats, low: Floats, high: Floats) -> Bools:
    """Whether every joint's move (S, J) is within [low, high] or nearer to rest than that, shape (S,)."""
    return _all((move >= np.minimum(low, 0.0) - _SLACK) & (move <= np.maximum(high, 0.0) + _SLACK))


def _all(kept: Bools) -> Bools:
    return np.asarray(kept.all(axis=-1))
