"""Ten thousand random command streams: the joint targets that the guard lets through keep every limit, and so does the
simulated arm that follows them."""

from dataclasses import dataclass

import numpy as np
import pytest

from core.arrays import Bools, Floats
from core.flow import Observation
from core.kinematics import HOME_RAD, XARM7, chain, forward, ik_step, tcp_position
from core.robots import EE_DELTA
from core.servo import lead
from runtime.config import GuardLimits
from runtime.guard import Guard
from runtime.guard_joints import Arms, Foresight, condition
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld

LIMITS = GuardLimits()
DT, EPS = EE_DELTA.dt_s, 1e-6
LOW, HIGH = XARM7.joint_low + LIMITS.joint_margin_rad, XARM7.joint_high - LIMITS.joint_margin_rad
BOX_LOW, BOX_HIGH = np.array(LIMITS.box_low), np.array(LIMITS.workspace_high)
SPEED = XARM7.joint_vel_max * LIMITS.joint_speed_share

BATCHES, CROWD, TICKS = 20, 500, 20
"""10,000 streams of 20 commands."""
WORLDS, PHYSICAL_TICKS = 250, 30
SERVO_RAD_S = 0.25
"""How much faster than the limit a servo may turn a joint for an instant while it catches up [rad/s]."""
SERVO_RAD = 0.01
"""How far beyond the limit it may swing [rad]."""
SERVO_M = 0.015
"""How far the tool may swing out of the box [m]."""
SERVO_M_S = 0.1
"""How much faster than its limit the tool may be over 50 ms [m/s]."""


def streams(rng: np.random.Generator, n: int, ticks: int) -> Floats:
    """Commands (n, ticks, 7) from fine to absurd that push on in one direction, tremble, or turn round."""
    drift = rng.normal(size=(n, 1, 7)) * np.array([1, 1, 1, 4, 4, 4, 30])
    turns = np.where(rng.random((n, ticks, 1)) < 0.05, -1.0, 1.0).cumprod(axis=1)
    size = rng.choice([0.005, 0.02, 0.1, 10.0], size=(n, 1, 1))
    return np.asarray((drift * turns + 0.3 * rng.normal(size=(n, ticks, 7))) * size)


@dataclass
class Crowd:
    """Kinematic arms whose joints lag behind the targets that the servo law gives them; they know of no guard."""

    joint_pos: Floats
    target: Floats
    goal_pos: Floats
    goal_quat: Floats

    @staticmethod
    def at(joint_pos: Floats) -> "Crowd":
        pos, quat = forward(joint_pos)
        return Crowd(joint_pos.copy(), joint_pos.copy(), pos, quat)

    def arms(self, opening: Floats) -> Arms:
        pos, quat = forward(self.joint_pos)
        return Arms(joint_pos=self.joint_pos, tool_pos=pos, tool_quat_xyzw=quat, opening=opening)

    def follow(self, motion: Floats) -> tuple[Floats, Floats]:
        """Takes motions (N, 6); returns the targets before them and those of standing still instead, each (N, J)."""
        before, (pos, quat) = self.target, forward(self.joint_pos)
        still = ik_step(before, *lead(self.goal_pos, self.goal_quat, 0.0 * motion, pos, quat))
        self.goal_pos, self.goal_quat = lead(self.goal_pos, self.goal_quat, motion, pos, quat)
        self.target = ik_step(before, self.goal_pos, self.goal_quat)
        self.joint_pos = self.joint_pos + 0.6 * (self.target - self.joint_pos)
        return before, still


def starts(rng: np.random.Generator, n: int) -> Floats:
    """Poses (n, 7) all over the joints' range: most near home, some stretched, folded or at their limits."""
    near = HOME_RAD + rng.normal(size=(n, 7)) * rng.choice([0.1, 0.4, 1.0], size=(n, 1))
    return np.asarray(np.clip(near, LOW, HIGH))


def within(value: Floats, before: Floats, change: Floats | float) -> Bools:
    """Whether (N, J) changed by at most `change` since before, or came nearer to rest."""
    low, high = np.minimum(before - change, 0.0) - EPS, np.maximum(before + change, 0.0) + EPS
    return np.asarray(((value >= low) & (value <= high)).all(axis=-1))


def kept(
    crowd: Crowd, opening: Floats, *, before: Floats, still: Floats, moved: Floats, changed: Floats
) -> dict[str, Bools]:
    """Returns by limit whether the targets keep it, all of it computed from the targets alone."""
    velocity, earlier = (crowd.target - before) / DT, moved / DT
    turn, origin = chain(np.concatenate([before, crowd.target, still]))
    (then, now, _), z = tcp_position(turn, origin).reshape(3, -1, 3), turn[-1][:, 2].reshape(3, -1, 3)
    drop = 0.012 * np.abs(z[..., 0]) + (0.042 * opening + 0.012) * np.abs(z[..., 1]) - 0.012 * z[..., 2]
    tips = np.array([then[:, 2], now[:, 2]]) - drop[:2]
    hard = (crowd.target >= np.minimum(LOW, before) - EPS) & (crowd.target <= np.maximum(HIGH, before) + EPS)
    box = (now >= np.minimum(BOX_LOW, then) - 0.0021) & (now <= np.maximum(BOX_HIGH, then) + 0.0021)
    near = condition(turn, origin).reshape(3, -1)
    return {
        "joint_position": hard.all(axis=-1),
        "joint_velocity": (np.abs(velocity) <= SPEED + EPS).all(axis=-1),
        "joint_acceleration": within(velocity, earlier, LIMITS.joint_acceleration_rad_s2 * DT),
        "joint_jerk": within(velocity, earlier + changed / DT, LIMITS.joint_jerk_rad_s3 * DT**2),
        "tcp_speed": np.linalg.norm(now - then, axis=-1) <= LIMITS.tcp_speed_m_s * DT + EPS,
        "workspace": box.all(axis=-1),
        "fingertips": tips[1] >= np.minimum(-LIMITS.tip_press_m, tips[0]) - EPS,
        "singularity": near[1] <= np.maximum(LIMITS.condition_stop, near[2] * 1.001) + EPS,
    }


def test_ten_thousand_streams_lead_no_joint_and_no_tool_beyond_a_limit() -> None:
    moving, still_kept = 0, []
    for batch in range(BATCHES):
        rng = np.random.default_rng(batch)
        crowd, foresight = Crowd.at(starts(rng, CROWD)), Foresight(XARM7, EE_DELTA, LIMITS)
        commands = EE_DELTA.clip(streams(rng, CROWD, TICKS))
        moved = changed = np.zeros((CROWD, 7))
        for k in range(TICKS):
            opening = commands[:, k, 6]
            arms = crowd.arms(opening)
            share, limited = foresight.share(commands[:, k, :6], arms)
            motion = share[:, None] * commands[:, k, :6]
            foresight.sent(motion, arms)
            before, still = crowd.follow(motion)
            checks = kept(crowd, opening, before=before, still=still, moved=moved, changed=changed)
            for name, fine in checks.items():
                assert (fine | (share == 0.0)).all(), f"{name} in batch {batch} tick {k}: {np.flatnonzero(~fine)}"
            assert ((share == 1.0) | np.array(list(limited.values())).any(axis=0)).all()
            assert (crowd.target >= XARM7.joint_low).all()
            assert (crowd.target <= XARM7.joint_high).all()
            assert (np.abs(crowd.target - before) <= XARM7.joint_vel_max * DT + EPS).all()
            moving += int((share > 0.0).sum())
            still_kept.append(np.mean([fine.mean() for fine in checks.values()]))
            moved, changed = crowd.target - before, crowd.target - before - moved
    assert moving > 0.5 * BATCHES * CROWD * TICKS
    assert np.mean(still_kept) > 0.99


def observed(world: BatchWorld, i: int, t_ns: int) -> Observation:
    state = world.state()
    return Observation(
        t_ns=t_ns, joint_pos=state.joint_pos[i], joint_vel=state.joint_vel[i],
        tcp_pos_in_base=state.tcp_pos_in_base[i], tcp_quat_xyzw_in_base=state.tcp_quat_xyzw_in_base[i],
        gripper_opening=float(state.gripper_opening[i]), gripper_command=float(state.gripper_command[i]),
    )  # fmt: skip


def broken_commands(rng: np.random.Generator, commands: Floats) -> Floats:
    """Puts NaN and infinity into 2 % of the commands."""
    hit = rng.random(commands.shape[:2]) < 0.02
    commands[hit, rng.integers(0, 7, hit.sum())] = rng.choice([np.nan, np.inf, -np.inf], hit.sum())
    return commands


@pytest.mark.parametrize("seed", range(2))
def test_the_physical_arm_keeps_its_limits_while_it_touches_nothing(seed: int) -> None:
    rng, world = np.random.default_rng(seed), BatchWorld(FruitOnPlate(), WORLDS, threads=2)
    world.reset(np.arange(WORLDS), np.arange(WORLDS) + 1000 * seed)
    guards = [Guard(XARM7, EE_DELTA, LIMITS) for _ in range(WORLDS)]
    commands = broken_commands(rng, streams(rng, WORLDS, PHYSICAL_TICKS))
    free, before, ticks = np.ones(WORLDS, dtype=bool), world.state().tcp_pos_in_base, 0
    clipped: set[str] = set()
    for k in range(PHYSICAL_TICKS):
        actions = np.empty((WORLDS, 7))
        for i, guard in enumerate(guards):
            obs = observed(world, i, round(k * DT * 1e9))
            guarded = guard.limit(commands[i, k], obs)
            actions[i] = guarded.action
            guard.sent(guarded.action, obs)
            clipped |= set(guarded.clipped_by)
        world.step(actions)
        state = world.state()
        free &= state.contact_force_n < 1.0
        speed = np.linalg.norm(state.tcp_pos_in_base - before, axis=-1)[free] / DT
        before, ticks = state.tcp_pos_in_base, ticks + int(free.sum())
        assert (state.joint_pos[free] >= XARM7.joint_low - SERVO_RAD).all()
        assert (state.joint_pos[free] <= XARM7.joint_high + SERVO_RAD).all()
        assert (np.abs(state.joint_vel[free]) <= XARM7.joint_vel_max + SERVO_RAD_S).all()
        assert (state.tcp_pos_in_base[free] >= BOX_LOW - SERVO_M).all()
        assert (state.tcp_pos_in_base[free] <= BOX_HIGH + SERVO_M).all()
        assert (speed <= LIMITS.tcp_speed_m_s + SERVO_M_S).all()
    assert ticks > 0.6 * WORLDS * PHYSICAL_TICKS
    assert {"not_finite", "workspace", "joint_velocity", "joint_acceleration", "singularity"} <= clipped
