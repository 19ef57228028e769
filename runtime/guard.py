"""The last wall before `send`, for every source: limits what is asked and says what it limited. Called by the loop.

An action is a change of the commanded tool pose, so tool limits are enforced on the command itself: bounds, speed,
acceleration, and the box the tool may be in, both from where the tool is and from where it is being led. Joints are
watched as measured: one that runs towards its limit, too fast, or is accelerated too hard slows the whole command down.
An arm whose kinematics are known is also followed one tick ahead (`runtime.guard_joints`). The guard only ever shortens
a motion or bends it towards the previous one; it never starts one that was not asked.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats
from core.flow import Observation
from core.robots import ActionSpace, RobotSpec
from core.transforms import quat_rotate
from runtime.config import GuardLimits
from runtime.guard_joints import Arms, Foresight, foreseeable

_REST_RAD_S = 0.02
"""A joint slower than this stands still [rad/s]; noise must not pin a joint that rests near its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """What the guard lets through."""

    action: Floats
    """Shape (A,), in the action space's units."""
    clipped_by: tuple[str, ...]
    """Names of the limits that changed it, in the order in which they did."""
    release: bool = False
    """Whether the arm pushes too hard: the commanded pose must become the measured one before the action is sent."""


class Guard:
    """Limits one arm's commands.

    Args:
        robot: Joint and speed limits of the arm.
        space: The action space; dims 0-2 translate [m], 3-5 turn [rad], the last one is the opening.
        limits: The cell's limits.
    """

    def __init__(self, robot: RobotSpec, space: ActionSpace, limits: GuardLimits) -> None:
        self._robot, self._space, self._limits = robot, space, limits
        self._low, self._high = np.array(limits.box_low), np.array(limits.workspace_high)
        self._floor_is_table = bool(self._low[2] > limits.workspace_low[2])
        self._speed = min(limits.tcp_speed_m_s, robot.tcp_speed_max)
        self._foresight = Foresight(robot, space, limits) if foreseeable(robot) else None
        self.reset()

    def reset(self) -> None:
        """Forgets the past: the arm is at rest and led nowhere."""
        self._motion: Floats = np.zeros(6)
        self._goal: Floats | None = None
        self._joint_vel: tuple[int, Floats] | None = None
        if self._foresight is not None:
            self._foresight.reset()

    def limit(self, asked: Floats, obs: Observation, scale: float = 1.0) -> Guarded:
        """Returns the nearest allowed action to what is asked.

        Args:
            asked: Shape (A,), in the action space's units; NaN, infinity or a wrong shape becomes a hold.
            obs: What was measured in this tick.
            scale: Share of the speed limits that may be used, (0, 1].
        """
        if asked.shape != (self._space.size,) or not np.isfinite(asked).all():
            return Guarded(action=self._space.still(obs.gripper_command), clipped_by=("not_finite",))
        action = self._space.clip(asked)
        names = ["action_bounds"] if (action != asked).any() else []
        pushes = self._pushes(obs)
        if pushes:
            self.reset()
            names += self._yielding(action, obs)
        if action[:6].any():
            names += self._accelerations(action)
            names += self._speeds(action, scale)
            names += self._joints(action, obs)
            names += self._box(action, obs)
            names += self._ahead(action, obs)
        names += self._gripper(action, obs)
        self._joint_vel = obs.t_ns, obs.joint_vel
        return Guarded(action=action, clipped_by=tuple(names), release=pushes)

    def sent(self, action: Floats, obs: Observation) -> None:
        """Takes what the robot truly sent, shape (A,): where the tool is led now, and how fast."""
        ahead = (obs.tcp_pos_in_base if self._goal is None else self._goal) + action[:3] - obs.tcp_pos_in_base
        self._goal = obs.tcp_pos_in_base + _shortened(ahead, self._limits.lead_m)
        self._motion = self._space.clip(action)[:6]
        if self._foresight is not None:
            self._foresight.sent(self._motion[None], Arms.of(obs))

    def _pushes(self, obs: Observation) -> bool:
        if obs.wrench_in_tcp is None:
            return False
        force, torque = obs.wrench_in_tcp[:3], obs.wrench_in_tcp[3:]
        return bool(_length(force) > self._limits.force_n or _length(torque) > self._limits.torque_nm)

    def _yielding(self, action: Floats, obs: Observation) -> list[str]:
        """Keeps of the motion only what gives way to force and torque from outside."""
        if obs.wrench_in_tcp is None:
            return []
        asked = action[:6].copy()
        wrench = quat_rotate(obs.tcp_quat_xyzw_in_base, obs.wrench_in_tcp.reshape(2, 3))
        action[:3] = _along(asked[:3], wrench[0]) if _length(wrench[0]) > self._limits.force_n else 0.0
        action[3:6] = _along(asked[3:], wrench[1]) if _length(wrench[1]) > self._limits.torque_nm else 0.0
        return ["wrench"]

    def _ahead(self, action: Floats, obs: Observation) -> list[str]:
        if self._foresight is None or not action[:6].any():
            return []
        share, kept_from = self._foresight.share(action[None, :6], Arms.of(obs))
        action[:6] *= share[0]
        return [name for name, limited in kept_from.items() if limited[0]]

    def _speeds(self, action: Floats, scale: float) -> list[str]:
        reach = scale * self._space.dt_s
        names = _shorten(action[:3], self._speed * reach, "tcp_speed")
        return names + _shorten(action[3:6], self._limits.tool_speed_rad_s * reach, "tool_speed")

    def _accelerations(self, action: Floats) -> list[str]:
        dt2 = self._space.dt_s**2
        names = _approach(action[:3], self._motion[:3], self._limits.tcp_acceleration_m_s2 * dt2, "tcp_acceleration")
        most = self._limits.tool_acceleration_rad_s2 * dt2
        return names + _approach(action[3:6], self._motion[3:], most, "tool_acceleration")

    def _gripper(self, action: Floats, obs: Observation) -> list[str]:
        most = self._limits.gripper_rate_s * self._space.dt_s
        allowed = np.clip(action[-1], obs.gripper_command - most, obs.gripper_command + most)
        changed = bool(allowed != action[-1])
        action[-1] = allowed
        return ["gripper_rate"] if changed else []

    def _joints(self, action: Floats, obs: Observation) -> list[str]:
        shares = {
            "joint_position": self._position_share(obs),
            "joint_velocity": _share(self._robot.joint_vel_max, np.abs(obs.joint_vel)),
            "joint_acceleration": self._acceleration_share(obs),
        }
        action[:6] *= min(shares.values())
        return [name for name, share in shares.items() if share < 1.0]

    def _position_share(self, obs: Observation) -> float:
        """Share of the asked motion that keeps every joint from reaching its margin within the braking time."""
        margin = self._limits.joint_margin_rad
        velocity = np.where(np.abs(obs.joint_vel) > _REST_RAD_S, obs.joint_vel, 0.0)
        room = np.where(velocity > 0, self._robot.joint_high - obs.joint_pos, obs.joint_pos - self._robot.joint_low)
        return _share(np.maximum(room - margin, 0.0), np.abs(velocity) * self._limits.joint_brake_s)

    def _acceleration_share(self, obs: Observation) -> float:
        if self._joint_vel is None or obs.t_ns <= self._joint_vel[0]:
            return 1.0
        gained = np.abs(obs.joint_vel) - np.abs(self._joint_vel[1])
        return _share(self._robot.joint_acc_max * (obs.t_ns - self._joint_vel[0]) * 1e-9, gained)

    def _box(self, action: Floats, obs: Observation) -> list[str]:
        led = obs.tcp_pos_in_base if self._goal is None else self._goal
        down = np.minimum(0.0, self._low - np.minimum(led, obs.tcp_pos_in_base))
        up = np.maximum(0.0, self._high - np.maximum(led, obs.tcp_pos_in_base))
        allowed = np.clip(action[:3], down, up)
        cut: Bools = allowed != action[:3]
        low_z = bool(cut[2] and action[2] < 0.0 and self._floor_is_table)
        walls = bool(cut[:2].any() or (cut[2] and not low_z))
        action[:3] = allowed
        return [name for name, hit in (("min_height", low_z), ("workspace", walls)) if hit]


def _length(vector: Floats) -> float:
    return float(np.sqrt(vector @ vector))


def _along(motion: Floats, push: Floats) -> Floats:
    """Returns the part of `motion` (3,) in the direction of `push` (3,), zero when it goes against it."""
    unit = push / _length(push)
    return np.asarray(unit * max(0.0, float(motion @ unit)))


def _shortened(vector: Floats, length: float) -> Floats:
    norm = _length(vector)
    return vector if norm <= length else vector * (length / norm)


def _shorten(vector: Floats, length: float, name: str) -> list[str]:
    short = _shortened(vector, length)
    if short is vector:
        return []
    vector[:] = short
    return [name]


def _approach(vector: Floats, before: Floats, change: float, name: str) -> list[str]:
    """Moves `vector` towards `before` in place until it differs by `change` at most."""
    difference = vector - before
    short = _shortened(difference, change)
    if short is difference:
        return []
    vector[:] = before + short
    return [name]


def _share(allowed: Floats, wanted: Floats) -> float:
    """Returns the largest share of `wanted` (J,) that stays within `allowed` (J,), at most 1."""
    over = wanted > allowed
    return float((allowed[over] / wanted[over]).min()) if over.any() else 1.0
