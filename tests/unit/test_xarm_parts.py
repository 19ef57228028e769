"""The parts of the xArm adapter that need no arm: units, faults, budget, settings, configuration, braking."""

import numpy as np
import pytest

from bridge.xarm import units
from bridge.xarm.braking import Rates, accelerate, approach, brake, rest_path
from bridge.xarm.config import BoxSafety, XArmConfig
from bridge.xarm.faults import fault, known_faults
from bridge.xarm.limits import WallLimits
from bridge.xarm.recovery import Budget, require_allowed
from bridge.xarm.safety import describe_safety
from core.arm import Clearing
from core.errors import ContractError, DeviceFault
from core.transforms import quat_from_rotvec, quat_multiply

S = 10**9


def test_lengths_survive_the_way_to_millimetres_and_back():
    there = np.array([0.001, -0.5, 0.172])
    assert units.metres(units.millimetres(there)) == pytest.approx(there)
    assert units.millimetres([0.172]) == pytest.approx([172.0])


@pytest.mark.parametrize(("opening", "count"), [(0.0, 0), (1.0, 850), (0.5, 425), (-3.0, 0), (7.0, 850)])
def test_openings_are_counts_from_0_to_850(opening, count):
    assert units.counts(opening) == count
    assert units.opening(count) == pytest.approx(min(1.0, max(0.0, opening)), abs=1e-3)


def test_a_register_past_its_end_is_still_an_opening():
    assert units.opening(-10) == 0.0
    assert units.opening(853) == 1.0


@pytest.mark.parametrize("rpy", [(np.pi, 0.0, 0.0), (0.3, -0.7, 2.1), (-3.0, 1.2, -0.4)])
def test_roll_pitch_yaw_turn_about_fixed_axes(rpy):
    axes = np.eye(3) * np.array(rpy)
    one_by_one = quat_multiply(
        quat_from_rotvec(axes[2]), quat_multiply(quat_from_rotvec(axes[1]), quat_from_rotvec(axes[0]))
    )
    got = units.quat_from_rpy(rpy)
    assert min(np.abs(got - one_by_one).max(), np.abs(got + one_by_one).max()) < 1e-12


def test_every_fault_has_a_meaning_a_remedy_and_a_reason_for_its_class():
    for known in known_faults():
        assert known.meaning, known
        assert known.remedy, known
        assert known.why, known
    assert len({known.code for known in known_faults()}) == len(known_faults())


@pytest.mark.parametrize(
    ("codes", "clearing"),
    [
        ((21, 22, 23, 24, 25, 31, 35, 60), Clearing.AUTOMATIC),
        ((1, 2, 3, *range(10, 18), 18, 19, 26, 27, 28, 30, 50, 53), Clearing.OPERATOR),
        ((38, 39, 110, 111), Clearing.NEVER),
        ((77, 4, 255), Clearing.OPERATOR),
    ],
)
def test_who_may_clear_a_fault_depends_on_its_code_and_unknown_ones_are_for_a_person(codes, clearing):
    assert {fault(code).clearing for code in codes} == {clearing}


def test_a_budget_is_spent_refilled_slowly_and_filled_by_a_person():
    budget = Budget(2, refill_s=10.0)
    assert [budget.spend(0), budget.spend(1 * S), budget.spend(2 * S)] == [True, True, False]
    assert budget.left(9 * S) == 0
    assert budget.left(10 * S) == 1
    assert budget.left(1000 * S) == 2
    budget.spend(1000 * S)
    budget.refill()
    assert budget.left(1000 * S) == 2


def test_a_budget_left_alone_for_long_does_not_fill_beyond_its_size_or_give_time_in_advance():
    budget = Budget(1, refill_s=10.0)
    assert budget.spend(1000 * S)
    assert budget.left(1009 * S) == 0
    assert budget.left(1010 * S) == 1


def test_nobody_clears_what_only_the_vendor_may_and_no_rule_what_a_person_must():
    budget = Budget(3, refill_s=10.0)
    with pytest.raises(DeviceFault, match="never"):
        require_allowed(38, budget, by_person=True, now_ns=0, device="xarm")
    with pytest.raises(DeviceFault, match="operator"):
        require_allowed(1, budget, by_person=False, now_ns=0, device="xarm")
    require_allowed(1, budget, by_person=True, now_ns=0, device="xarm")
    assert budget.left(0) == 3


def test_a_rule_may_clear_until_its_budget_is_spent():
    budget = Budget(2, refill_s=100.0)
    for _ in range(2):
        require_allowed(31, budget, by_person=False, now_ns=0, device="xarm")
    with pytest.raises(DeviceFault, match=r"budget.*spent"):
        require_allowed(31, budget, by_person=False, now_ns=0, device="xarm")
    require_allowed(31, budget, by_person=True, now_ns=0, device="xarm")
    assert budget.left(0) == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"reduced": False}, {"tcp_speed": 0.5}, {"joint_speed": 2.0}, {"fence": False}, {"collision_sensitivity": 1},
        {"fence_low": (0.1, -0.55, -0.03)}, {"load_kg": 0.0}, {"load_com": (0.0, 0.0, 0.0)},
        {"tcp_offset": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)},
    ],
)  # fmt: skip
def test_every_safety_setting_that_differs_is_named(changed):
    (difference,) = BoxSafety().differences(BoxSafety(**changed))
    assert next(iter(changed)) in difference


def test_equal_safety_settings_have_no_differences_and_are_described_under_one_prefix():
    assert BoxSafety().differences(BoxSafety()) == ()
    assert all(name.startswith("safety ") for name in describe_safety(BoxSafety()))


@pytest.mark.parametrize(
    "wrong",
    [{"rate_hz": 500.0}, {"box": BoxSafety(collision_sensitivity=0)}, {"stall_s": 1.0}, {"gripper_rpm": 9000.0}],
)
def test_a_dangerous_configuration_is_refused(wrong):
    with pytest.raises(ContractError):
        XArmConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"joint_speed": 0.0}, {"tcp_speed": np.inf}, {"workspace_low": (1.0, 0.0, 0.0)}])
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ContractError):
        WallLimits(**wrong)


def test_a_box_on_the_loopback_network_is_a_simulated_one():
    assert XArmConfig(ip="127.0.0.2").simulated
    assert not XArmConfig(ip="192.168.1.213").simulated


RATES = Rates(speed=2.8, acceleration=18.0, jerk=450.0, beat_s=0.01)


@pytest.mark.parametrize("rates", [RATES, Rates(speed=1.0, acceleration=7.3, jerk=100.0, beat_s=0.004)])
def test_braking_ends_at_rest_exactly_and_keeps_acceleration_and_jerk(rates):
    rng = np.random.default_rng(0)
    vel, acc = np.zeros((100, 7)), np.zeros((100, 7))
    for _ in range(60):
        acc = accelerate(vel, acc, rng.uniform(-9, 9, vel.shape), rates)
        vel = vel + acc * rates.beat_s
        assert np.abs(vel).max() <= rates.speed + 1e-9
        path = rest_path(np.zeros_like(vel), vel, acc, rates)
        speeds = np.concatenate([vel[None], np.diff(path, axis=0) / rates.beat_s])
        changes = np.concatenate([acc[None], np.diff(speeds, axis=0) / rates.beat_s])
        assert np.abs(speeds[-1]).max() < 1e-9
        assert np.abs(changes[-1]).max() < 1e-6
        assert np.abs(changes).max() <= rates.acceleration + 1e-6
        assert np.abs(np.diff(changes, axis=0)).max() <= rates.change + 1e-6


def test_braking_never_swings_back():
    path = rest_path(np.zeros((1, 1)), np.array([[2.0]]), np.array([[0.0]]), RATES)[:, 0, 0]
    assert (np.diff(path) >= -1e-12).all()
    assert brake(np.zeros(1), np.zeros(1), RATES) == 0.0


def follow(targets):
    """Returns where one joint is led by a list of targets."""
    pos, vel, acc, before, points = np.array([targets[0]]), np.zeros(1), np.zeros(1), targets[0], []
    for target in targets:
        wanted = approach(target - pos, np.array([(target - before) / RATES.beat_s]), RATES)
        acc = accelerate(vel, acc, wanted, RATES)
        vel = vel + acc * RATES.beat_s
        pos, before = pos + vel * RATES.beat_s, target
        points.append(pos[0])
    return np.array(points)


def test_a_smooth_target_is_followed_closely_and_a_ramp_without_lag():
    t = np.arange(0, 4, 0.01)
    smooth = 0.3 * (1 - np.cos(2 * np.pi * 0.5 * t))
    assert np.abs(follow(smooth) - smooth).max() < 0.005
    ramp = np.maximum(t - 0.5, 0.0)
    assert np.abs(follow(ramp) - ramp)[-100:].max() < 1e-9


def test_targets_with_a_kink_every_50_ms_are_followed_within_a_degree():
    rng, speed, knots = np.random.default_rng(0), 0.0, [0.0]
    for _ in range(200):
        speed = 0.9 * speed + rng.normal(0, 0.15)
        knots.append(knots[-1] + 0.05 * speed)
    targets = np.interp(np.arange(0, 10, 0.01), np.arange(201) * 0.05, knots)
    error = follow(targets) - targets
    assert np.sqrt(np.mean(error**2)) < np.radians(0.3)
    assert np.abs(error).max() < np.radians(1.5)


def test_a_step_is_taken_without_overshoot():
    reached = follow([0.0] * 5 + [0.5] * 200)
    assert reached.max() <= 0.5 + 1e-9
    assert reached[-1] == pytest.approx(0.5, abs=1e-6)
