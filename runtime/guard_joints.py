"""Where the joints will go when a command is followed, and how much of it they may follow. Called by the guard.

The arm turns an action into a joint target by `core.servo.lead` and `core.kinematics.ik_step`; the same is done here,
ahead of it, for nine shares of the action at once, and the largest share whose target keeps every limit is let through.
Standing still is always among them. Shares are few on purpose: rounding that differs between machines then changes
nothing, and a replay gives the same command to the bit.

All is for N arms at a time: one in the guard, crowds in its tests. Letters: N arms, J joints, S shares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from core.arrays import Bools, Floats
from core.flow import Observation
from core.kinematics import XARM7, chain, ik_step, jacobian, tcp_position
from core.robots import ActionSpace, RobotSpec
from core.servo import lead
from runtime.config import GuardLimits

SHARES = np.linspace(0.0, 1.0, 9)
"""Shares of an action that are tried, shape (S,)."""
_COLUMN = SHARES[:, None]
_NOW, _STILL, _WHOLE = 1, 2, -1
"""Rows of the frames: the target now, after standing still, after the whole action; row 0 is the measured arm."""
_SLACK = 1e-9
"""Rounding that counts as keeping a limit, in the limit's unit."""
_BOX_SLACK_M = 0.002
"""Joints miss a commanded pose by about this much; the commanded pose itself is kept inside the box exactly [m]."""
_WORSE = 1.001
"""A condition number that grows by less than this factor is not growing."""


def foreseeable(robot: RobotSpec) -> bool:
    """Whether the kinematics of `core.kinematics` are those of this robot."""
    return robot.name == XARM7.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """What N arms measure."""

    joint_pos: Floats
    """Shape (N, J) [rad]."""
    tool_pos: Floats
    """In base, shape (N, 3) [m]."""
    tool_quat_xyzw: Floats
    """In base, shape (N, 4)."""
    opening: Floats
    """The wider of measured and commanded, shape (N,), 0 closed, 1 open."""

    @classmethod
    def of(cls, obs: Observation) -> Self:
        """Returns the one arm of an observation."""
        return cls(
            joint_pos=obs.joint_pos[None],
            tool_pos=obs.tcp_pos_in_base[None],
            tool_quat_xyzw=obs.tcp_quat_xyzw_in_base[None],
            opening=np.array([max(obs.gripper_opening, obs.gripper_command)]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Led:
    """Where arms are led after an action."""

    motion: Floats
    """The action's motion, shape (N, 6)."""
    pos: Floats
    """Commanded tool position, shape (N, 3) [m]."""
    quat_xyzw: Floats
    """Shape (N, 4)."""
    target: Floats
    """Joint target, shape (N, J) [rad]."""


class Foresight:
    """Follows what arms are told as the arms do, one tick ahead.

    Args:
        robot: Limits of the joints.
        space: The action space; dims 0-2 translate [m], 3-5 turn [rad].
        limits: The cell's limits.
    """

    def __init__(self, robot: RobotSpec, space: ActionSpace, limits: GuardLimits) -> None:
        self._limits = limits
        self._low, self._high = robot.joint_low + limits.joint_margin_rad, robot.joint_high - limits.joint_margin_rad
        self._step = robot.joint_vel_max * limits.joint_speed_share * space.dt_s + _SLACK
        self._gain = limits.joint_acceleration_rad_s2 * space.dt_s**2 + _SLACK
        self._jolt = limits.joint_jerk_rad_s3 * space.dt_s**3 + _SLACK
        self._box_low, self._box_high = (
            np.array(limits.box_low) - _BOX_SLACK_M,
            np.array(limits.workspace_high) + _BOX_SLACK_M,
        )
        self._reach2 = (min(limits.tcp_speed_m_s, robot.tcp_speed_max) * space.dt_s + _SLACK) ** 2
        self.reset()

    def reset(self) -> None:
        """Forgets the past: the arms are at rest and led nowhere."""
        self._led: _Led | None = None
        self._next: _Led | None = None
        self._move, self._change = np.zeros_like(self._low), np.zeros_like(self._low)

    def share(self, motion: Floats, arms: Arms) -> tuple[Floats, Mapping[str, Bools]]:
        """Returns the largest share of each motion that may be followed (N,), and by limit whom it kept from more (N,).

        Args:
            motion: Dims 0-5 of the actions, shape (N, 6).
            arms: What is measured now.
        """
        led = self._start(arms)
        motions = _COLUMN[..., None] * motion
        pos, quat, targets = _followed(led, motions, arms, self._limits.lead_m)
        kept = self._joint_checks(led.target, targets) | self._tool_checks(led.target, targets, arms)
        best = _last(np.logical_and.reduce(list(kept.values())))
        rows = best, np.arange(len(motion))
        self._next = _Led(motion=motions[rows], pos=pos[rows], quat_xyzw=quat[rows], target=targets[rows])
        return SHARES[best], {name: ~keeps[_WHOLE] for name, keeps in kept.items()}

    def sent(self, motion: Floats, arms: Arms) -> None:
        """Takes the motions (N, 6) that were truly sent.

        Args:
            motion: Dims 0-5 of what the robots sent.
            arms: What was measured when they were.
        """
        led, known = self._start(arms), self._next
        if known is None or not np.array_equal(known.motion, motion):
            pos, quat, targets = _followed(led, motion[None], arms, self._limits.lead_m)
            known = _Led(motion=motion, pos=pos[0], quat_xyzw=quat[0], target=targets[0])
        move = known.target - led.target
        self._change, self._move = move - self._move, move
        self._led, self._next = known, None

    def _start(self, arms: Arms) -> _Led:
        if self._led is None:
            self._led = _Led(
                motion=np.zeros((len(arms.joint_pos), 6)),
                pos=arms.tool_pos,
                quat_xyzw=arms.tool_quat_xyzw,
                target=arms.joint_pos,
            )
        return self._led

    def _joint_checks(self, here: Floats, targets: Floats) -> dict[str, Bools]:
        move, before = targets - here, self._move
        onward = before + self._change
        inside = (targets >= np.minimum(self._low, here) - _SLACK) & (targets <= np.maximum(self._high, here) + _SLACK)
        return {
            "joint_position": _all(inside),
            "joint_velocity": _all(np.abs(move) <= self._step),
            "joint_acceleration": _between(move, before - self._gain, before + self._gain),
            "joint_jerk": _between(move, onward - self._jolt, onward + self._jolt),
        }

    def _tool_checks(self, here: Floats, targets: Floats, arms: Arms) -> dict[str, Bools]:
        poses = np.concatenate([arms.joint_pos[None], here[None], targets])
        turn, origin = chain(poses.reshape(-1, poses.shape[-1]))
        tool = tcp_position(turn, origin).reshape(*poses.shape[:2], 3)
        tip = self._tips(turn[-1][:, 2].reshape(tool.shape), tool[..., 2], arms)
        away, astray = tool[_STILL:] - tool[_NOW], tool[0] - arms.tool_pos
        known = (astray * astray).sum(axis=-1) <= self._limits.kinematics_error_m**2
        floor = self._limits.table_height_m - self._limits.tip_press_m
        least, most = np.minimum(self._box_low, tool[_NOW]), np.maximum(self._box_high, tool[_NOW])
        return {
            "tcp_speed": (away * away).sum(axis=-1) <= self._reach2,
            "workspace": _all((tool[_STILL:] >= least) & (tool[_STILL:] <= most)),
            "fingertips": tip[_STILL:] >= np.minimum(floor, tip[_NOW]) - _SLACK,
            "singularity": self._calm(condition(turn, origin).reshape(poses.shape[:2])),
            "kinematics": known | (_COLUMN == 0.0),
        }

    def _tips(self, tool_z: Floats, height: Floats, arms: Arms) -> Floats:
        """Returns the height of the lowest point of the fingertips in base, shape (..., N) [m].

        Args:
            tool_z: Heights of the tool's axes' unit vectors, shape (..., N, 3).
            height: Height of the tool, shape (..., N) [m].
            arms: How far the fingers are apart.
        """
        shape = self._limits.fingers
        apart = arms.opening * (0.5 * shape.stroke_m) + shape.half_width_m
        sideways = shape.half_depth_m * np.abs(tool_z[..., 0]) + apart * np.abs(tool_z[..., 1])
        return np.asarray(height + shape.beyond_tcp_m * tool_z[..., 2] - sideways)

    def _calm(self, conditions: Floats) -> Bools:
        """Returns which shares are slow enough this near to a singularity, (S, N); of a way out of it, all are."""
        slow, stop = self._limits.condition_slow, self._limits.condition_stop
        near, after = np.maximum(conditions[_NOW], conditions[_STILL]), conditions[_STILL:]
        calm = _COLUMN * (stop - slow) <= np.maximum(stop - near, 0.0)
        return np.asarray((after <= conditions[_STILL] * _WORSE) | (calm & (after <= stop)))


def condition(turn: Floats, origin: Floats) -> Floats:
    """Returns the condition number of the Jacobian, metres over radians, for frames that `chain` gave, shape (N,)."""
    jac = jacobian(turn, origin)
    squares = np.linalg.eigvalsh(jac @ np.swapaxes(jac, -1, -2))
    return np.asarray(np.sqrt(squares[:, -1] / np.maximum(squares[:, 0], 1e-12)))


def _followed(led: _Led, motions: Floats, arms: Arms, reach_m: float) -> tuple[Floats, Floats, Floats]:
    """Returns commanded positions (S, N, 3), orientations (S, N, 4) and joint targets (S, N, J) after (S, N, 6)."""
    pos, quat = lead(led.pos, led.quat_xyzw, motions, arms.tool_pos, arms.tool_quat_xyzw, reach_m=reach_m)
    return pos, quat, ik_step(led.target, pos, quat)


def _between(move: Floats, low: Floats, high: Floats) -> Bools:
    """Whether every joint's move (S, N, J) is within [low, high] or nearer to rest than that, shape (S, N)."""
    return _all((move >= np.minimum(low, 0.0)) & (move <= np.maximum(high, 0.0)))


def _all(kept: Bools) -> Bools:
    return np.asarray(kept.all(axis=-1))


def _last(kept: Bools) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """Returns the largest index that is kept along axis 0, 0 where none is, shape (N,)."""
    return np.where(kept.any(axis=0), len(kept) - 1 - kept[::-1].argmax(axis=0), 0)
