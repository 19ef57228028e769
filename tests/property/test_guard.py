"""Whatever is asked, the guard never lets a limit be exceeded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.arrays import Floats
from core.clock import ManualClock
from core.fakes import FakeRobot
from core.flow import Observation
from core.robots import EE_DELTA
from runtime.config import GuardLimits
from runtime.guard import Guard
from runtime.rehearsal import FAKE_ARM

LIMITS = GuardLimits(
    workspace_low=(0.2, -0.3, -0.02), workspace_high=(0.6, 0.3, 0.5), min_height_m=0.01, tcp_speed_m_s=0.4,
    tcp_acceleration_m_s2=4.0, tool_speed_rad_s=2.0, tool_acceleration_rad_s2=30.0, gripper_rate_s=6.0,
)  # fmt: skip
DT = EE_DELTA.dt_s
EPS = 1e-9


def wild_commands(rng: np.random.Generator, n: int) -> Floats:
    """Commands from sensible to absurd, some with NaN and infinity, many pushing on in one direction."""
    size = rng.choice([0.01, 0.02, 0.1, 10.0, 1e6, 1e300], size=(n, 1))
    drift = np.repeat(rng.normal(size=(n // 50 + 1, 7)), 50, axis=0)[:n]
    commands = (drift + 0.3 * rng.normal(size=(n, 7))) * size
    broken = rng.random(n) < 0.05
    commands[broken, rng.integers(0, 7, broken.sum())] = rng.choice([np.nan, np.inf, -np.inf], broken.sum())
    return np.asarray(commands)


@pytest.mark.parametrize("seed", range(10))
def test_thousands_of_wild_commands_never_exceed_a_limit(seed: int) -> None:
    rng, clock = np.random.default_rng(seed), ManualClock()
    guard, robot = Guard(FAKE_ARM, EE_DELTA, LIMITS), FakeRobot(clock)
    before = np.zeros(7)
    with robot:
        for asked in wild_commands(rng, 1500):
            obs = robot.read()
            guarded = guard.limit(asked, obs)
            action = guarded.action
            speed, turn = np.linalg.norm(action[:3]) / DT, np.linalg.norm(action[3:6]) / DT
            assert np.isfinite(action).all()
            assert (action >= EE_DELTA.low - EPS).all()
            assert (action <= EE_DELTA.high + EPS).all()
            assert speed <= LIMITS.tcp_speed_m_s + EPS
            assert turn <= LIMITS.tool_speed_rad_s + EPS
            assert speed - np.linalg.norm(before[:3]) / DT <= LIMITS.tcp_acceleration_m_s2 * DT + EPS
            assert turn - np.linalg.norm(before[3:6]) / DT <= LIMITS.tool_acceleration_rad_s2 * DT + EPS
            if action[:3].any() and not {"workspace", "min_height"} & set(guarded.clipped_by):
                change = np.linalg.norm(action[:3] - before[:3]) / DT**2
                assert change <= LIMITS.tcp_acceleration_m_s2 + 1e-6
            assert abs(action[6] - obs.gripper_command) <= LIMITS.gripper_rate_s * DT + EPS
            before = robot.send(action)
            guard.sent(before, obs)
            tool = robot.read().tcp_pos_in_base
            assert (tool >= np.array([0.2, -0.3, 0.01]) - EPS).all()
            assert (tool <= np.array([0.6, 0.3, 0.5]) + EPS).all()


class LaggingArm:
    """Follows its commanded position with a lag and cuts it 6 cm ahead, as the arm's controller does."""

    def __init__(self) -> None:
        self.tool, self.goal = np.array([0.4, 0.0, 0.2]), np.array([0.4, 0.0, 0.2])

    def observation(self, t_ns: int) -> Observation:
        return Observation(
            t_ns=t_ns, joint_pos=np.zeros(7), joint_vel=np.zeros(7), tcp_pos_in_base=self.tool,
            tcp_quat_xyzw_in_base=np.array([1.0, 0, 0, 0]), gripper_opening=1.0, gripper_command=1.0,
        )  # fmt: skip

    def send(self, action: Floats) -> None:
        ahead = self.goal + action[:3] - self.tool
        self.goal = self.tool + ahead * min(1.0, 0.06 / max(float(np.linalg.norm(ahead)), 1e-12))
        self.tool = self.tool + 0.4 * (self.goal - self.tool)


@pytest.mark.parametrize("seed", range(5))
def test_an_arm_that_lags_is_never_led_out_of_the_workspace(seed: int) -> None:
    rng, guard, arm = np.random.default_rng(seed), Guard(FAKE_ARM, EE_DELTA, LIMITS), LaggingArm()
    for i, asked in enumerate(wild_commands(rng, 1000)):
        obs = arm.observation(i * 50_000_000)
        action = guard.limit(asked, obs).action
        arm.send(action)
        guard.sent(action, obs)
        assert (arm.goal >= np.array([0.2, -0.3, 0.01]) - 1e-6).all()
        assert (arm.goal <= np.array([0.6, 0.3, 0.5]) + 1e-6).all()


finite = st.floats(-1e3, 1e3, allow_nan=False)
joints = st.lists(st.floats(-3.2, 3.2), min_size=7, max_size=7).map(np.array)
speeds = st.lists(st.floats(-6.0, 6.0), min_size=7, max_size=7).map(np.array)
actions = st.lists(finite, min_size=7, max_size=7).map(np.array)


def observed(joint_pos: Floats, joint_vel: Floats, t_ns: int = 0) -> Observation:
    return Observation(
        t_ns=t_ns, joint_pos=joint_pos, joint_vel=joint_vel, tcp_pos_in_base=np.array([0.4, 0.0, 0.3]),
        tcp_quat_xyzw_in_base=np.array([1.0, 0, 0, 0]), gripper_opening=1.0, gripper_command=1.0,
    )  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(asked=actions, joint_pos=joints, joint_vel=speeds)
def test_joints_that_run_away_slow_the_command_in_proportion(
    asked: Floats, joint_pos: Floats, joint_vel: Floats
) -> None:
    calm = Guard(FAKE_ARM, EE_DELTA, LIMITS).limit(asked, observed(joint_pos, np.zeros(7))).action
    guarded = Guard(FAKE_ARM, EE_DELTA, LIMITS).limit(asked, observed(joint_pos, joint_vel))
    fastest = np.abs(joint_vel).max() / 3.0
    room = np.where(joint_vel > 0, 3.0 - joint_pos, joint_pos + 3.0) - LIMITS.joint_margin_rad
    hits = (np.abs(joint_vel) > 0.02) & (room < np.abs(joint_vel) * LIMITS.joint_brake_s)
    share = np.linalg.norm(guarded.action[:6]) / max(float(np.linalg.norm(calm[:6])), 1e-12)
    if calm[:6].any() and fastest > 1.0:
        assert "joint_velocity" in guarded.clipped_by
        assert share <= 1.0 / fastest + 1e-6
    if calm[:6].any() and hits.any():
        assert "joint_position" in guarded.clipped_by
    if (room[np.abs(joint_vel) > 0.02] <= 0).any():
        assert not guarded.action[:6].any()


@settings(max_examples=300, deadline=None)
@given(asked=actions, joint_vel=speeds)
def test_a_changed_command_always_names_what_changed_it_and_an_unchanged_one_nothing(
    asked: Floats, joint_vel: Floats
) -> None:
    guarded = Guard(FAKE_ARM, EE_DELTA, LIMITS).limit(asked, observed(np.zeros(7), joint_vel))
    moved = bool(asked[:6].any())
    assert bool(guarded.clipped_by) or bool((guarded.action == asked).all())
    assert not guarded.clipped_by or bool((guarded.action != asked).any()) or not moved


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dim", range(7))
def test_a_command_that_is_not_finite_becomes_a_hold(bad: float, dim: int) -> None:
    asked = np.full(7, 0.01)
    asked[dim] = bad
    guarded = Guard(FAKE_ARM, EE_DELTA, LIMITS).limit(asked, observed(np.zeros(7), np.zeros(7)))
    assert guarded.action.tolist() == EE_DELTA.still(1.0).tolist()
    assert guarded.clipped_by == ("not_finite",)


def test_a_command_of_the_wrong_size_becomes_a_hold() -> None:
    guarded = Guard(FAKE_ARM, EE_DELTA, LIMITS).limit(np.zeros(3), observed(np.zeros(7), np.zeros(7)))
    assert guarded.action.tolist() == EE_DELTA.still(1.0).tolist()


def test_a_joint_that_is_accelerated_too_hard_slows_the_command() -> None:
    guard, asked = Guard(FAKE_ARM, EE_DELTA, LIMITS), np.array([0.005, 0, 0, 0, 0, 0, 1.0])
    assert not guard.limit(asked, observed(np.zeros(7), np.zeros(7), 0)).clipped_by
    guarded = guard.limit(asked, observed(np.zeros(7), np.full(7, 2.0), 50_000_000))
    assert guarded.clipped_by == ("joint_acceleration",)
    assert guarded.action[0] == pytest.approx(0.0025)


def test_a_joint_that_brakes_hard_is_left_alone() -> None:
    guard, asked = Guard(FAKE_ARM, EE_DELTA, LIMITS), np.array([0.005, 0, 0, 0, 0, 0, 1.0])
    guard.limit(asked, observed(np.zeros(7), np.full(7, 2.9), 0))
    assert not guard.limit(asked, observed(np.zeros(7), np.zeros(7), 50_000_000)).clipped_by


def test_coming_to_rest_is_never_limited() -> None:
    guard, obs = Guard(FAKE_ARM, EE_DELTA, LIMITS), observed(np.zeros(7), np.zeros(7))
    guard.sent(np.array([0.02, 0, 0, 0.1, 0, 0, 1.0]), obs)
    still = EE_DELTA.still(1.0)
    guarded = guard.limit(still, obs)
    assert guarded.action.tolist() == still.tolist()
    assert not guarded.clipped_by


def test_a_tool_outside_the_workspace_may_come_back_but_not_go_on() -> None:
    guard = Guard(FAKE_ARM, EE_DELTA, GuardLimits(workspace_high=(0.3, 0.45, 0.6)))
    obs = observed(np.zeros(7), np.zeros(7))
    out = guard.limit(np.array([0.01, 0, 0, 0, 0, 0, 1.0]), obs)
    back = guard.limit(np.array([-0.01, 0, 0, 0, 0, 0, 1.0]), obs)
    assert out.action[0] == 0.0
    assert out.clipped_by == ("workspace",)
    assert back.action[0] == -0.01


def test_reduced_speed_halves_the_speed_limit() -> None:
    guard = Guard(FAKE_ARM, EE_DELTA, GuardLimits(tcp_speed_m_s=0.4))
    guarded = guard.limit(np.array([0.02, 0, 0, 0, 0, 0, 1.0]), observed(np.zeros(7), np.zeros(7)), 0.5)
    assert guarded.action[0] == pytest.approx(0.4 * 0.5 * DT)
    assert guarded.clipped_by == ("tcp_speed",)
