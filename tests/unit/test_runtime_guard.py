"""The guard's reactions one by one: force, a wrong tool, singularities, the table under a tilted hand, and replay."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.arrays import Floats
from core.clock import ManualClock
from core.errors import ContractError
from core.fakes import ScriptedPolicy
from core.flow import Observation, Step
from core.kinematics import HOME_RAD, XARM7, forward, ik_step
from core.robots import EE_DELTA
from core.servo import lead
from core.transforms import quat_conjugate, quat_from_rotvec, quat_multiply, quat_rotate
from runtime.config import GuardLimits, RuntimeConfig
from runtime.guard import Guard
from runtime.plan import build_loop
from runtime.record.replay import replay
from runtime.rehearsal import Rehearsal, rehearsal
from sim.robot import SimRobot
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld

LIMITS = GuardLimits()


def seen(joint_pos: Floats = HOME_RAD, **changes: Any) -> Observation:
    """What an arm that rests with these joints measures."""
    pos, quat = forward(joint_pos[None])
    given: dict[str, Any] = {
        "t_ns": 0, "joint_pos": joint_pos, "joint_vel": np.zeros(7), "tcp_pos_in_base": pos[0],
        "tcp_quat_xyzw_in_base": quat[0], "gripper_opening": 1.0, "gripper_command": 1.0,
    }  # fmt: skip
    return Observation(**given | changes)


def posed(pos: tuple[float, float, float], turn: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Floats:
    """Joints (7,) that put the tool there, turned from straight down by a rotation vector in base."""
    joints = HOME_RAD[None]
    start, down = forward(joints)
    quat = quat_multiply(quat_from_rotvec(np.array([turn])), down)
    for k in range(120):
        joints = ik_step(joints, start + (np.array([pos]) - start) * min(1.0, (k + 1) / 60), quat)
    return np.asarray(joints[0])


def motion(*dims: float) -> Floats:
    """An action with these leading dims and the gripper open."""
    return np.array([*dims, *[0.0] * (6 - len(dims)), 1.0])


def pushed(force_in_base: tuple[float, float, float], torque_in_base: tuple[float, float, float]) -> Observation:
    """An arm at home that is pushed from outside."""
    obs = seen()
    into_tool = quat_conjugate(obs.tcp_quat_xyzw_in_base)
    wrench = quat_rotate(into_tool, np.array([force_in_base, torque_in_base]))
    return replace(obs, wrench_in_tcp=wrench.reshape(6))


NO = (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("force", "torque", "asked", "allowed"),
    [
        ((0, 0, 60.0), NO, (0, 0, -0.01, 0, 0, 0), (0, 0, 0, 0, 0, 0)),
        ((0, 0, 60.0), NO, (0, 0, 0.01, 0, 0, 0), (0, 0, 0.01, 0, 0, 0)),
        ((0, 0, 60.0), NO, (0.01, 0, 0.01, 0.05, 0, 0), (0, 0, 0.01, 0, 0, 0)),
        ((-60.0, 0, 0), NO, (0.01, 0.01, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0)),
        (NO, (0, 11.0, 0), (0.01, 0, 0, 0, 0.03, 0), (0, 0, 0, 0, 0.03, 0)),
        (NO, (0, 11.0, 0), (0.01, 0, 0, 0, -0.03, 0), (0, 0, 0, 0, 0, 0)),
    ],
)
def test_above_the_wrench_limit_only_motion_that_yields_is_let_through(
    force: tuple[float, float, float], torque: tuple[float, float, float], asked: tuple[float, ...],
    allowed: tuple[float, ...],
) -> None:  # fmt: skip
    guarded = Guard(XARM7, EE_DELTA, LIMITS).limit(motion(*asked), pushed(force, torque))
    assert guarded.action[:6] == pytest.approx(allowed, abs=1e-9)
    assert guarded.clipped_by == ("wrench",)
    assert guarded.release


def test_below_the_wrench_limit_nothing_is_changed() -> None:
    asked = motion(0.01, 0, -0.01)
    guarded = Guard(XARM7, EE_DELTA, LIMITS).limit(asked, pushed((0, 0, 49.0), (0, 9.0, 0)))
    assert guarded.action.tolist() == asked.tolist()
    assert not guarded.clipped_by
    assert not guarded.release


def test_a_push_that_is_too_hard_also_ends_the_lead_of_the_commanded_pose() -> None:
    stage = driven(ticks=20, force_from=10)
    assert stage.cell.arm.holds == 10 + 1, "one for each push, one on leaving"
    assert all("wrench" in s.clipped_by and not s.commanded[:6].any() for s in stage.steps[10:])


def test_a_tool_that_is_not_where_the_joints_say_stops_all_motion() -> None:
    astray = replace(seen(), tcp_pos_in_base=seen().tcp_pos_in_base + np.array([0, 0, 0.031]))
    guarded = Guard(XARM7, EE_DELTA, LIMITS).limit(motion(0.01), astray)
    assert not guarded.action[:6].any()
    assert "kinematics" in guarded.clipped_by
    near = replace(seen(), tcp_pos_in_base=seen().tcp_pos_in_base + np.array([0, 0, 0.029]))
    guarded = Guard(XARM7, EE_DELTA, LIMITS).limit(motion(0.01), near)
    assert guarded.action[0] > 0.0
    assert "kinematics" not in guarded.clipped_by


def followed(start: Floats, asked: Floats, ticks: int) -> tuple[list[Floats], list[str]]:
    """Returns what a guard lets through of the same command again and again, on an arm that obeys at once, and why."""
    guard, joints, lets, why = Guard(XARM7, EE_DELTA, LIMITS), start[None], list[Floats](), list[str]()
    goal = forward(joints)
    for k in range(ticks):
        obs = seen(joints[0], t_ns=k * 50_000_000)
        guarded = guard.limit(asked, obs)
        guard.sent(guarded.action, obs)
        goal = lead(*goal, guarded.action[None], *forward(joints))
        joints = ik_step(joints, *goal)
        lets.append(guarded.action)
        why += guarded.clipped_by
    return lets, why


def test_the_way_into_a_singularity_is_slowed_and_then_stopped() -> None:
    lets, why = followed(posed((0.45, 0.0, 0.3)), motion(0.01), 40)
    steps = [float(action[0]) for action in lets]
    assert set(why) == {"singularity"}
    assert steps[0] == 0.01
    assert sorted(steps, reverse=True) == steps
    assert len(set(steps)) > 4
    assert steps[-1] == 0.0
    assert 0.60 < 0.45 + sum(steps) < 0.65


@pytest.mark.parametrize("x", [0.60, 0.63, 0.66])
def test_the_way_out_of_a_singularity_is_free(x: float) -> None:
    lets, why = followed(posed((x, 0.0, 0.3)), motion(-0.01), 12)
    assert "singularity" not in why
    assert all(action[0] == -0.01 for action in lets[2:])


def test_an_open_hand_that_is_tilted_is_not_led_into_the_table() -> None:
    flat, tilted = seen(posed((0.4, 0, 0.03))), seen(posed((0.4, 0, 0.03), (0.5, 0, 0)))
    down = motion(0, 0, -0.02)
    assert not Guard(XARM7, EE_DELTA, LIMITS).limit(down, flat).clipped_by
    guarded = Guard(XARM7, EE_DELTA, LIMITS).limit(down, tilted)
    assert "fingertips" in guarded.clipped_by
    assert guarded.action[2] > -0.015
    assert not Guard(XARM7, EE_DELTA, LIMITS).limit(motion(0, 0, 0.02), tilted).clipped_by


def test_an_arm_of_unknown_kinematics_is_guarded_without_foresight() -> None:
    other = replace(XARM7, name="other")
    guarded = Guard(other, EE_DELTA, LIMITS).limit(motion(0.01), seen(posed((0.66, 0.0, 0.3))))
    assert not guarded.clipped_by


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ContractError, match="must ascend"):
        GuardLimits(condition_slow=30.0, condition_stop=17.0)
    with pytest.raises(ContractError, match="joint_speed_share"):
        GuardLimits(joint_speed_share=1.1)


class Pushed:
    """The cell's robot, pushed down from outside from some tick on."""

    def __init__(self, stage: Rehearsal, force_from: int) -> None:
        self._cell, self._force_from, self._ticks = stage.cell, force_from, -1

    def read(self) -> Observation:
        self._ticks += 1
        push = np.array([0, 0, 60.0, 0, 0, 0]) if self._ticks >= self._force_from else np.zeros(6)
        return replace(self._cell.read(), wrench_in_tcp=push)

    def send(self, action: Floats) -> Floats:
        return self._cell.send(action)

    def hold(self) -> None:
        self._cell.hold()


def driven(*, ticks: int, force_from: int) -> Rehearsal:
    """Lives some ticks of a policy that pulls up against a push along tool z, which points down."""
    stage = rehearsal(policy=ScriptedPolicy(lambda _: np.tile(motion(0, 0, 0.004), (20, 1))))
    stage = replace(stage, loop=build_loop(stage.plan, replace(stage.ports, robot=Pushed(stage, force_from))))
    with stage.cell:
        for _ in range(ticks):
            stage.loop.tick()
    return stage


def test_ticks_of_a_pushed_arm_replay_bit_for_bit() -> None:
    assert replay(driven(ticks=30, force_from=10).episode()).mismatch is None


@pytest.mark.parametrize("seed", [0, 1])
def test_a_wild_policy_on_the_simulated_arm_replays_bit_for_bit(seed: int) -> None:
    rng, clock = np.random.default_rng(seed), ManualClock(1_000_000_000)
    way = rng.normal(size=7) * np.array([0.02, 0.02, 0.01, 0.05, 0.05, 0.05, 0.5])
    policy = ScriptedPolicy(lambda _: EE_DELTA.clip(way + rng.normal(size=(20, 7)) * 0.01))
    stage = rehearsal(policy=policy, config=RuntimeConfig())
    plan = replace(stage.plan, robot=XARM7)
    with SimRobot(BatchWorld(FruitOnPlate(), 1), clock) as robot:
        loop = build_loop(plan, replace(stage.ports, robot=robot, clock=clock))
        for _ in range(40):
            loop.tick()
    stage = replace(stage, plan=plan)
    assert names(stage.steps) & {"joint_velocity", "joint_acceleration", "singularity", "workspace", "fingertips"}
    assert replay(stage.episode()).mismatch is None


def names(steps: list[Step]) -> set[str]:
    return {name for step in steps for name in step.clipped_by}
