"""The simulated control box: states, modes, errors, stops, settings. Time is simulated; nothing sleeps."""

from dataclasses import replace

import numpy as np
import pytest

from core.clock import ManualClock
from core.kinematics import XARM7
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.twin.box import SimBox
from sim.twin.face import Motion
from sim.twin.faults import ERRORS
from sim.twin.plant import STEP_S, Plant

CALM = Motion(speed=1.0, acceleration=8.0)
AHEAD = np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0])
PULL = np.array([0.0, 0.15, 0.0, 0.2, 0.0, -0.1, 0.3])


@pytest.fixture(scope="module")
def plant():
    return Plant(FruitOnPlate())


class Bench:
    """A box whose time is moved by hand."""

    def __init__(self, plant, mode):
        self.clock = ManualClock(1_000_000_000)
        self.box = SimBox(plant, self.clock)
        self.events = []
        self.box.on_task(lambda event: self.events.append((event.number, event.kind, event.code)))
        self.box.new_episode(3, None)
        self.targets = []
        self.run(0.2)
        self.arm(mode)

    def arm(self, mode):
        self.box.set_mode(mode)
        assert self.box.set_state(0)
        self.run(0.2)
        self.targets.clear()

    def run(self, seconds):
        for _ in range(round(seconds / STEP_S)):
            self.clock.advance(STEP_S)
            self.box.cycle()
            self.targets.append(self.box.now().joint_target)

    def until(self, done, limit_s=20.0):
        for _ in range(round(limit_s / STEP_S)):
            if done(self.box.now()):
                return
            self.run(STEP_S)
        pytest.fail(f"not within {limit_s} s: {self.box.now()}")

    @property
    def speeds(self):
        return np.diff(np.array(self.targets), axis=0) / STEP_S

    @property
    def accelerations(self):
        return np.diff(self.speeds, axis=0) / STEP_S


@pytest.fixture
def bench(plant):
    return lambda mode=0: Bench(plant, mode)


def test_a_box_that_was_switched_on_does_nothing_until_it_is_enabled_and_made_ready(plant):
    clock = ManualClock(1)
    plant.reset(1, None)
    box = SimBox(plant, clock)
    assert (box.now().state, box.now().enabled, box.now().error) == (4, (False,) * 7, 0)
    assert box.move_joints(np.zeros(7), CALM) == 0
    assert not box.set_state(0)
    box.enable(8, True)
    assert box.now().state == 4, "enabling alone leaves a stopped box stopped"
    assert box.set_mode(0)
    assert box.set_state(0)
    assert box.now().state in (1, 2)


def test_a_new_mode_leads_from_ready_to_changed_and_needs_a_new_go(bench):
    b = bench(0)
    assert b.box.set_mode(1)
    assert b.box.now().state == 5
    assert not b.box.servo_joints(b.box.now().joint_pos)
    assert b.box.set_state(0)
    assert b.box.servo_joints(b.box.now().joint_pos)


def test_manual_and_unknown_modes_are_refused_with_a_warning(bench):
    b = bench(0)
    assert not b.box.set_mode(2)
    assert b.box.now().warning == 12
    b.box.clear_warning()
    assert (b.box.now().warning, b.box.now().mode, b.box.now().state) == (0, 0, 2)


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_stops_discards_the_queue_and_locks_until_it_is_recovered_in_order(bench, kind):
    b = bench(0)
    numbers = [b.box.move_joints(b.box.now().joint_pos + PULL, CALM), b.box.pause(0.1)]
    b.run(0.3)
    b.box.inject(kind, 0.0)
    assert (b.box.now().state, b.box.now().error, b.box.now().queued) == (4, ERRORS[kind], 0)
    assert b.events == [(numbers[0], 1, 0), (numbers[0], 2, 1), (numbers[1], 2, 2)]
    assert not b.box.set_state(0)
    assert not b.box.set_mode(0)
    b.run(0.5)
    at_rest = b.box.now().joint_target
    b.run(0.2)
    assert (b.box.now().joint_target == at_rest).all()
    assert np.abs(b.accelerations).max() < 20.0 + 1e-6
    assert b.box.clear_error()
    b.box.enable(8, True)
    assert b.box.set_mode(0)
    assert b.box.set_state(0)
    assert b.box.move_joints(at_rest, CALM) > 0


def test_power_errors_take_the_servos_off_and_others_do_not(bench):
    b = bench(0)
    b.box.inject("collision", 0.0)
    assert all(b.box.now().enabled)
    b.box.clear_error()
    b.box.inject("estop_button", 0.0)
    assert not any(b.box.now().enabled)
    b.box.enable(8, True)
    assert not any(b.box.now().enabled), "the button is still the reason"
    assert b.box.clear_error()
    assert not b.box.set_state(0)


def test_an_error_cannot_be_cleared_while_its_cause_lasts(bench):
    b = bench(0)
    b.box.inject("estop_button", 1.0)
    b.run(0.5)
    assert not b.box.clear_error()
    b.run(0.6)
    assert b.box.now().error == 1, "it does not go away by itself"
    assert b.box.clear_error()


def test_after_an_error_the_box_is_in_mode_0(bench):
    b = bench(1)
    b.box.inject("end_effector", 0.0)
    b.box.clear_error()
    b.box.set_state(0)
    assert not b.box.servo_joints(b.box.now().joint_pos)


def test_losing_the_mode_is_silent_and_servo_targets_are_ignored(bench):
    b = bench(1)
    b.box.servo_joints(b.box.now().joint_pos + PULL)
    b.run(0.05)
    b.box.inject("mode_drop", 0.0)
    assert not b.box.servo_joints(b.box.now().joint_pos + PULL)
    b.run(0.5)
    assert (b.box.now().mode, b.box.now().error, b.box.now().state) == (0, 0, 2)
    assert np.abs(b.accelerations[-60:]).max() < 20.0 + 1e-6
    assert np.abs(b.speeds[-1]).max() == 0.0
    assert b.box.now().joint_pos == pytest.approx(b.box.now().joint_target, abs=1e-3)


def test_a_stall_is_silence_of_the_given_length(bench):
    b = bench(0)
    b.box.inject("stall", 0.0)
    b.run(0.18)
    assert not b.box.answering()
    b.run(0.02)
    assert b.box.answering()


def test_pause_keeps_the_queue_and_going_on_reaches_the_same_goal(bench):
    b = bench(0)
    start = b.box.now().joint_target
    goal = start + PULL
    number = b.box.move_joints(goal, CALM)
    b.run(0.2)
    assert b.box.set_state(3)
    b.run(0.6)
    still = b.box.now().joint_target
    b.run(0.2)
    assert (b.box.now().state, b.box.now().queued) == (3, 1)
    assert (b.box.now().joint_target == still).all()
    away = (still - start) / (goal - start + 1e-12)
    assert np.ptp(away[np.abs(PULL) > 0]) < 1e-9, "it stays on its straight line while it slows down"
    assert b.box.set_state(0)
    b.until(lambda now: now.queued == 0)
    assert b.box.now().joint_target == pytest.approx(goal)
    assert b.events == [(number, 1, 0), (number, 2, 0)]
    assert np.abs(b.accelerations).max() < 20.0


def test_commands_wait_while_paused(bench):
    b = bench(0)
    b.box.set_state(3)
    number = b.box.move_joints(b.box.now().joint_target + PULL, CALM)
    b.run(0.3)
    assert (b.box.now().queued, b.events) == (1, [])
    b.box.set_state(0)
    b.until(lambda now: now.queued == 0)
    assert b.events == [(number, 1, 0), (number, 2, 0)]


def test_stop_is_at_once_in_state_and_bounded_in_deceleration(bench):
    b = bench(0)
    b.box.move_joints(b.box.now().joint_target + 3 * PULL, Motion(speed=3.0, acceleration=20.0))
    b.run(0.25)
    assert np.abs(b.speeds[-1]).max() > 1.0
    assert b.box.set_state(4)
    assert (b.box.now().state, b.box.now().queued) == (4, 0)
    b.run(0.3)
    assert np.abs(b.speeds[-1]).max() == 0.0
    assert np.abs(b.accelerations).max() < 20.0 + 1e-6


def test_a_decelerated_stop_is_softer_and_ends_stopped(bench):
    b = bench(0)
    b.box.move_joints(b.box.now().joint_target + 3 * PULL, CALM)
    b.run(0.3)
    assert b.box.set_state(6)
    assert b.box.now().state == 6
    b.run(0.05)
    assert np.abs(b.accelerations[-5:]).max() < 5.0 + 1e-6
    b.until(lambda now: now.state == 4, 1.0)


def test_getting_ready_while_still_stopping_never_jumps(bench):
    b = bench(0)
    b.box.move_joints(b.box.now().joint_target + 3 * PULL, Motion(speed=3.0, acceleration=20.0))
    b.run(0.25)
    b.box.set_state(4)
    b.run(0.01)
    assert b.box.set_state(0)
    b.run(0.6)
    assert np.abs(b.accelerations).max() < 20.0 + 1e-6
    assert b.box.now().state == 2


def test_the_fence_stops_a_line_and_lets_the_arm_back_in(bench):
    b = bench(0)
    pose = b.box.now().pose
    low, high = pose[:3] - 0.05, pose[:3] + 0.05
    b.box.configure(replace(b.box.now().settings, fence=True, fence_low=low, fence_high=high), resets=False)
    assert b.box.over_tcp_limit(pose + AHEAD)
    b.box.move_line(pose + AHEAD, Motion(speed=0.1, acceleration=1.0))
    b.until(lambda now: now.error == 35, 3.0)
    b.run(0.5)
    assert b.box.now().pose[0] < high[0] + 0.002
    b.box.clear_error()
    b.box.set_state(0)
    b.run(0.2)
    b.box.move_line(pose, Motion(speed=0.1, acceleration=1.0))
    b.until(lambda now: now.queued == 0)
    assert b.box.now().error == 0


def test_reduced_mode_slows_queued_moves_and_servo_targets(bench):
    b = bench(0)
    reduced = replace(b.box.now().settings, reduced=True, reduced_joint_speed=0.3, reduced_tcp_speed=0.05)
    b.box.configure(reduced, resets=False)
    b.box.move_joints(b.box.now().joint_target + PULL, Motion(speed=3.0, acceleration=10.0))
    b.until(lambda now: now.queued == 0)
    assert np.abs(b.speeds).max() < 0.3 + 1e-9
    b.arm(1)
    before = b.box.now().pose
    b.box.servo_joints(b.box.now().joint_target - [0.3, 0, 0, 0, 0, 0, 0])
    b.run(1.0)
    assert b.box.now().error == 0
    assert np.linalg.norm(b.box.now().pose[:3] - before[:3]) < 0.055


def test_a_smaller_joint_range_is_an_error_to_leave(bench):
    b = bench(1)
    span = np.stack([b.box.now().joint_pos - 0.1, b.box.now().joint_pos + 0.1], axis=1)
    b.box.configure(replace(b.box.now().settings, reduced=True, reduced_joint_range=span), resets=False)
    assert not b.box.servo_joints(b.box.now().joint_pos + 0.2)
    assert b.box.now().error == 23


def test_the_arm_does_not_fold_into_itself(bench):
    b = bench(0)
    folded = b.box.now().joint_target.copy()
    folded[[1, 3, 5]] = -0.97, 3.7, 2.95
    b.box.move_joints(folded, CALM)
    b.until(lambda now: now.error != 0, 10.0)
    assert b.box.now().error == 22


def test_settings_are_kept_and_reset_by_a_power_cycle(bench):
    b = bench(0)
    tool = np.array([0, 0, 0.172, 0, 0, 0])
    flange = b.box.now().pose
    b.box.configure(replace(b.box.now().settings, tcp_offset=tool, load_kg=0.82), resets=True)
    assert b.box.now().state == 5
    assert np.linalg.norm(b.box.now().pose[:3] - flange[:3]) == pytest.approx(0.172)
    b.box.power_cycle()
    now = b.box.now()
    assert (now.state, now.settings.load_kg, now.enabled) == (4, 0.0, (False,) * 7)
    assert now.pose == pytest.approx(flange, abs=1e-6)


def test_inverse_and_forward_agree_and_far_poses_have_no_solution(bench):
    b = bench(0)
    rng = np.random.default_rng(4)
    for _ in range(10):
        q = b.box.now().joint_pos + rng.uniform(-0.4, 0.4, 7)
        pose = b.box.forward(q)
        solved = b.box.inverse(pose)
        assert solved is not None
        assert not b.box.over_joint_limit(solved)
        assert b.box.forward(solved)[:3] == pytest.approx(pose[:3], abs=1e-4)
    assert b.box.inverse(np.array([1.5, 0, 0.3, np.pi, 0, 0])) is None


def test_a_line_to_where_the_arm_does_not_reach_is_an_error(bench):
    b = bench(0)
    b.box.move_line(np.array([1.5, 0, 0.3, np.pi, 0, 0]), CALM)
    b.until(lambda now: now.error != 0, 1.0)
    assert b.box.now().error == 21


def test_a_full_queue_warns(bench):
    b = bench(0)
    b.box.set_state(3)
    assert all(b.box.pause(1.0) for _ in range(1024))
    assert b.box.pause(1.0) == 0
    assert b.box.now().warning == 11


def test_servo_targets_of_the_episode_before_do_not_move_the_arm_of_the_new_one(bench):
    b = bench(1)
    old = b.box.now().joint_pos + 0.5
    b.box.new_episode(4, None)
    start = b.box.now().joint_pos
    assert not b.box.servo_joints(old)
    b.run(0.2)
    assert b.box.now().joint_pos == pytest.approx(start, abs=2e-3)
    assert b.box.servo_joints(start + 0.01)
    assert b.box.servo_joints(start + 0.15), "from then on it follows"


def test_the_range_is_that_of_the_arm(bench):
    box = bench(0).box
    assert not box.over_joint_limit(XARM7.joint_low)
    assert box.over_joint_limit(XARM7.joint_high + 0.001)
    assert box.over_joint_limit(np.full(7, np.nan))
