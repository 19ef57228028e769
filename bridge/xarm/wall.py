"""The second wall: whatever joint targets are asked for, the stream of points that leaves here can always be stopped.

Used by `bridge.xarm.arm` for one arm and by tests for thousands at once: everything is (N, J). Each beat it plans one
point nearer to the target and, from there, the fastest way to rest. Only if that whole way keeps every limit is the
point taken; otherwise a point between it and the braking one is, and the braking one always may: its way to rest is the
rest of the way that was checked before. Limits that the arm already breaks when it is seeded may not be broken further.
"""

from dataclasses import dataclass

import numpy as np

from bridge.xarm.braking import Rates, accelerate, approach, brake, rest_path
from bridge.xarm.limits import NAMES, WallLimits
from bridge.xarm.reach import tool_and_body
from core.arrays import Bools, Floats, floats
from core.errors import ContractError
from core.kinematics import chain, jacobian

BLENDS = np.array([0.6, 0.25])
"""Shares of the wanted acceleration that are tried when the whole breaks a limit, before only braking is left."""
NOT_FINITE, WRENCH, LEAD, POSITION, VELOCITY, ACCELERATION, JERK, TCP_SPEED, SINGULARITY, WORKSPACE, TABLE = range(11)
"""Columns of `Walled.clipped`, in the order of `NAMES`."""
CHECKED = np.array([POSITION, TCP_SPEED, WORKSPACE, TABLE])
"""Limits that the whole way to rest is checked against."""
SLACK = 1e-9
"""Rounding that counts as keeping a limit, in the limit's unit."""
HEADROOM = 0.97
"""Share of the tool's speed limit that is aimed at; the check itself is against the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walled:
    """One beat's points, and which limits changed them."""

    target: Floats
    """Shape (N, J) [rad]."""
    clipped: Bools
    """Shape (N, len(NAMES)), by the order of `bridge.xarm.limits.NAMES`."""

    def names(self, row: int = 0) -> tuple[str, ...]:
        """Returns the limits that changed the target of `row`."""
        return tuple(name for name, hit in zip(NAMES, self.clipped[row], strict=True) if hit)


class JointWall:
    """Streams of joint targets for N arms, kept within limits. `seed` it before use.

    Args:
        limits: What may not be exceeded.
        beat_s: Time between two calls [s]; each call of `follow` or `hold` is one beat.
    """

    def __init__(self, limits: WallLimits, beat_s: float) -> None:
        self._limits = limits
        self._rates = Rates(
            speed=limits.joint_speed, acceleration=limits.joint_acceleration, jerk=limits.joint_jerk, beat_s=beat_s
        )
        self._low, self._high = np.array(limits.joint_low), np.array(limits.joint_high)
        self._box = limits.box_low, np.array(limits.workspace_high)
        self._floor = limits.table_height_m + limits.body_clearance_m
        self._pos = self._vel = self._acc = self._drift = np.zeros((0, len(self._low)))
        self._asked = np.zeros((0, len(self._low)))

    @property
    def position(self) -> Floats:
        """The last points, shape (N, J) [rad]."""
        return self._pos.copy()

    @property
    def at_rest(self) -> Bools:
        """Which rows do not move, shape (N,)."""
        return np.asarray((np.abs(self._vel).max(axis=-1) < 1e-6) & (np.abs(self._acc).max(axis=-1) < 1e-4))

    def seed(self, joint_pos: Floats) -> None:
        """Starts at rest from where the arms are, shape (N, J) [rad]: the next points go on from there.

        Raises:
            ContractError: Wrong shape or not finite.
        """
        self._pos = floats("joint_pos [rad]", joint_pos, (None, len(self._low))).copy()
        self._vel, self._acc = np.zeros_like(self._pos), np.zeros_like(self._pos)
        self._asked = np.full_like(self._pos, np.nan)

    def follow(self, target: Floats, *, wrench: Floats | None = None, measured: Floats | None = None) -> Walled:
        """Returns the next points on the way to `target`.

        Args:
            target: Shape (N, J) [rad]; rows that are not finite hold.
            wrench: External force [N] and torque [N m] at the tools, shape (N, 6); rows over the limit hold.
            measured: Where the joints are, shape (N, J) [rad]; rows that lead them too far hold.

        Raises:
            ContractError: `target` has another shape than the seed.
        """
        if target.shape != self._pos.shape:
            raise ContractError(f"target {target.shape} [rad]; the wall was seeded with {self._pos.shape}")
        clipped = np.zeros((len(target), len(NAMES)), dtype=bool)
        stays = self._must_hold(target, wrench, measured, clipped)
        goal = np.clip(np.where(stays[:, None], self._pos, target), self._low, self._high)
        wanted = self._wanted_velocity(goal, clipped)
        if not stays.all():
            clipped[~stays, POSITION] = (goal != target)[~stays].any(axis=-1)
        self._asked = np.where(stays[:, None], np.nan, goal)
        stop = brake(self._vel, self._acc, self._rates)
        acc = accelerate(self._vel, self._acc, wanted, self._rates)
        acc = np.where(stays[:, None], stop, acc)
        self._name_rates(acc, goal, stays, clipped)
        self._step(self._allowed(acc, stop, clipped))
        return Walled(target=self._pos.copy(), clipped=clipped)

    def hold(self) -> Walled:
        """Returns the next points of the fastest way to rest; at rest it returns the same points again."""
        self._asked = np.full_like(self._pos, np.nan)
        self._step(brake(self._vel, self._acc, self._rates))
        return Walled(target=self._pos.copy(), clipped=np.zeros((len(self._pos), len(NAMES)), dtype=bool))

    def _must_hold(self, target: Floats, wrench: Floats | None, measured: Floats | None, clipped: Bools) -> Bools:
        clipped[:, NOT_FINITE] = ~np.isfinite(target).all(axis=-1)
        if wrench is not None:
            force, torque = np.linalg.norm(wrench[:, :3], axis=-1), np.linalg.norm(wrench[:, 3:], axis=-1)
            clipped[:, WRENCH] = ~((force <= self._limits.force_n) & (torque <= self._limits.torque_nm))
        if measured is not None:
            clipped[:, LEAD] = ~(np.abs(self._pos - measured).max(axis=-1) <= self._limits.lead_rad)
        return np.asarray(clipped[:, : LEAD + 1].any(axis=-1))

    def _wanted_velocity(self, goal: Floats, clipped: Bools) -> Floats:
        """Returns joint velocities towards `goal` (N, J), slowed for the tool's speed and near singularities."""
        drift = (goal - self._asked) / self._rates.beat_s
        drift = np.where(np.abs(drift) <= self._rates.speed, drift, 0.0)
        wanted = approach(goal - self._pos, drift, self._rates)
        jac = jacobian(*chain(self._pos))
        tool = np.linalg.norm(np.einsum("nij,nj->ni", jac[:, :3], wanted), axis=-1)
        slower = np.minimum(1.0, HEADROOM * self._limits.tcp_speed / np.maximum(tool, 1e-9))
        calmer = self._calm(jac)
        top = calmer * self._rates.speed
        calmer = np.minimum(1.0, top / np.maximum(np.abs(wanted).max(axis=-1), 1e-9))
        clipped[:, TCP_SPEED], clipped[:, SINGULARITY] = slower < 1.0, calmer < np.minimum(1.0, slower)
        return np.asarray(wanted * np.minimum(slower, calmer)[:, None])

    def _calm(self, jac: Floats) -> Floats:
        """Returns the share of the speed that is allowed this near to a singularity, shape (N,).

        Source: MoveIt Servo slows by the condition number of the Jacobian in the same way.
        """
        values = np.linalg.svd(jac, compute_uv=False)
        condition = values[:, 0] / np.maximum(values[:, -1], 1e-9)
        limits = self._limits
        near = (condition - limits.condition_slow) / (limits.condition_floor - limits.condition_slow)
        return np.asarray(1.0 - (1.0 - limits.floor_share) * np.clip(near, 0.0, 1.0))

    def _name_rates(self, acc: Floats, goal: Floats, stays: Bools, clipped: Bools) -> None:
        rates = self._rates
        vel = self._vel + acc * rates.beat_s
        short = ~stays & (np.abs(self._pos + vel * rates.beat_s - goal).max(axis=-1) > 1e-6)
        at_speed = np.abs(vel).max(axis=-1) >= rates.speed * (1.0 - 1e-6)
        at_acceleration = np.abs(acc).max(axis=-1) >= rates.acceleration * (1.0 - 1e-6)
        at_jerk = np.abs(acc - self._acc).max(axis=-1) >= rates.change * (1.0 - 1e-6)
        clipped[:, VELOCITY], clipped[:, ACCELERATION] = short & at_speed, short & at_acceleration
        clipped[:, JERK] = short & at_jerk

    def _allowed(self, acc: Floats, stop: Floats, clipped: Bools) -> Floats:
        """Returns accelerations (N, J) whose way to rest keeps every limit, as near to `acc` as was found."""
        broken = self._broken(self._pos, self._vel, acc)
        bad = np.flatnonzero(broken.any(axis=-1))
        if not len(bad):
            return acc
        clipped[bad[:, None], CHECKED] |= broken[bad]
        trials = stop[bad] + BLENDS[:, None, None] * (acc - stop)[bad]
        pos, vel = np.tile(self._pos[bad], (len(BLENDS), 1)), np.tile(self._vel[bad], (len(BLENDS), 1))
        worse = np.asarray(self._broken(pos, vel, trials.reshape(-1, acc.shape[1])).any(axis=-1))
        fits = ~np.atleast_2d(worse.reshape(len(BLENDS), len(bad)))
        chosen = acc.copy()
        chosen[bad] = stop[bad]
        for trial, fit in zip(trials[::-1], fits[::-1], strict=True):
            chosen[bad[fit]] = trial[fit]
        return chosen

    def _broken(self, here: Floats, vel: Floats, acc: Floats) -> Bools:
        """Returns which of `CHECKED` would be broken after `acc` on the way to rest, shape (N, len(CHECKED))."""
        dt = self._rates.beat_s
        vel = vel + acc * dt
        path = np.concatenate([here[None], rest_path(here + vel * dt, vel, acc, self._rates)])
        tool, height = tool_and_body(path.reshape(-1, path.shape[-1]))
        tool, height = tool.T.reshape(*path.shape[:2], 3), height.reshape(path.shape[:2])
        speed = np.linalg.norm(np.diff(tool, axis=0), axis=-1).max(axis=0) / dt
        (low, high), now = self._box, tool[0]
        outside = _beyond(tool[1:], np.minimum(low, now), np.maximum(high, now))
        return np.stack(
            [
                _beyond(path[1:], np.minimum(self._low, here), np.maximum(self._high, here)).any(axis=-1),
                speed > self._limits.tcp_speed + SLACK,
                outside[:, :2].any(axis=-1) | (tool[1:, :, 2] > np.maximum(high[2], now[:, 2]) + SLACK).any(axis=0),
                outside[:, 2] | (height[1:] < np.minimum(self._floor, height[0]) - SLACK).any(axis=0),
            ],
            axis=-1,
        )

    def _step(self, acc: Floats) -> None:
        vel = self._vel + acc * self._rates.beat_s
        self._acc, self._vel = acc, vel
        self._pos = self._pos + vel * self._rates.beat_s


def _beyond(points: Floats, low: Floats, high: Floats) -> Bools:
    """Returns which columns of (K, N, C) leave [low, high] anywhere along K, shape (N, C)."""
    return np.asarray(((points < low - SLACK) | (points > high + SLACK)).any(axis=0))
