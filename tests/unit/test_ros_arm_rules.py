"""When the arm node follows, holds, clears and links again."""

import numpy as np
import pytest

from bridge.ros.arm_rules import RESUME_WINDOW_RAD, ArmCommand, Backoff, ClearingRule, Duty, Follower
from core.arm import ArmMode, ArmStatus, Clearing
from core.clock import ManualClock
from core.fake_arm import FakeArm

MS = 1_000_000


@pytest.fixture
def clock():
    return ManualClock(1_000 * MS)


@pytest.fixture
def arm(clock):
    with FakeArm(clock) as arm:
        arm.arm()
        yield arm


@pytest.fixture
def follower():
    follower = Follower(0.1)
    follower.release()
    return follower


def ask(follower, clock, target):
    follower.take(ArmCommand(t_ns=clock.now_ns(), joint_target=target, opening=1.0))


def decide(follower, clock, arm):
    return follower.decide(clock.now_ns(), arm.state())


def test_it_rests_until_it_is_told_something(follower, clock, arm):
    assert decide(follower, clock, arm) is Duty.REST


def test_it_follows_from_the_measured_pose(follower, clock, arm):
    ask(follower, clock, arm.state().joint_pos + 0.9 * RESUME_WINDOW_RAD)
    assert decide(follower, clock, arm) is Duty.FOLLOW
    assert follower.reason == ""


def test_it_refuses_to_begin_far_from_the_measured_pose(follower, clock, arm):
    ask(follower, clock, arm.state().joint_pos + 1.1 * RESUME_WINDOW_RAD)
    assert decide(follower, clock, arm) is Duty.REST
    assert "measured pose" in follower.reason


def test_once_it_follows_targets_may_be_farther_away(follower, clock, arm):
    ask(follower, clock, arm.state().joint_pos)
    decide(follower, clock, arm)
    ask(follower, clock, arm.state().joint_pos + 0.2)
    assert decide(follower, clock, arm) is Duty.FOLLOW


def test_silence_ends_in_one_hold_and_only_near_commands_lead_on(follower, clock, arm):
    ask(follower, clock, arm.state().joint_pos)
    decide(follower, clock, arm)
    clock.advance(0.099)
    assert decide(follower, clock, arm) is Duty.FOLLOW
    clock.advance(0.002)
    assert decide(follower, clock, arm) is Duty.HOLD
    assert "watchdog" in follower.reason
    assert decide(follower, clock, arm) is Duty.REST
    ask(follower, clock, arm.state().joint_pos + 0.1)
    assert decide(follower, clock, arm) is Duty.REST
    ask(follower, clock, arm.state().joint_pos + 0.01)
    assert decide(follower, clock, arm) is Duty.FOLLOW


def test_a_command_that_comes_late_is_not_followed(follower, clock, arm):
    ask(follower, clock, arm.state().joint_pos)
    clock.advance(0.15)
    assert decide(follower, clock, arm) is Duty.REST


def test_told_to_hold_it_holds_once(follower, clock, arm):
    ask(follower, clock, arm.state().joint_pos)
    decide(follower, clock, arm)
    ask(follower, clock, None)
    assert decide(follower, clock, arm) is Duty.HOLD
    ask(follower, clock, None)
    assert decide(follower, clock, arm) is Duty.REST


def test_blocked_it_ignores_commands_until_released(follower, clock, arm):
    follower.rest("a person said so", until_released=True)
    ask(follower, clock, arm.state().joint_pos)
    assert decide(follower, clock, arm) is Duty.REST
    assert follower.reason == "a person said so"
    follower.release()
    ask(follower, clock, arm.state().joint_pos)
    assert decide(follower, clock, arm) is Duty.FOLLOW


def test_commands_from_before_the_release_are_forgotten(follower, clock, arm):
    follower.rest("stop", until_released=True)
    ask(follower, clock, arm.state().joint_pos)
    follower.release()
    assert decide(follower, clock, arm) is Duty.REST


def test_an_old_measurement_is_no_place_to_begin_from(follower, clock, arm):
    state = arm.state()
    clock.advance(0.4)
    ask(follower, clock, state.joint_pos)
    assert follower.decide(clock.now_ns(), state) is Duty.REST


def faulty(clearing=Clearing.AUTOMATIC, attempts=2):
    return ArmStatus(mode=ArmMode.FAULT, fault_code=31, clearing=clearing, attempts_left=attempts)


def test_the_rule_waits_before_it_clears():
    rule = ClearingRule(allowed=True, pause_s=0.5)
    due = [t for t in range(0, 1001, 100) if rule.due(t * MS, faulty())]
    assert due == [500, 1000]


def test_another_fault_is_waited_for_anew():
    rule = ClearingRule(allowed=True, pause_s=0.5)
    first = [t for t in range(0, 501, 100) if rule.due(t * MS, faulty())]
    second = [t for t in range(900, 1501, 100) if rule.due(t * MS, faulty())]
    assert (first, second) == ([500], [1400])


@pytest.mark.parametrize(
    ("allowed", "status"),
    [(False, faulty()), (True, faulty(Clearing.OPERATOR)), (True, faulty(Clearing.NEVER)), (True, faulty(attempts=0))],
)
def test_the_rule_clears_nothing_it_may_not(allowed, status):
    rule = ClearingRule(allowed=allowed, pause_s=0.1)
    assert not any(rule.due(t * MS, status) for t in range(0, 2000, 100))


def test_pauses_grow_to_the_longest_and_start_again():
    pauses = Backoff(0.1, 0.3)
    times = [t for t in range(0, 1500, 50) if pauses.due(t * MS)]
    assert np.diff(times).tolist() == [100, 200, 300, 300, 300]
    pauses.reset()
    assert pauses.due(1500 * MS)
    assert not pauses.due(1550 * MS)
