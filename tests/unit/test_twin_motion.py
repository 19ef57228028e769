"""How the simulated box moves: every mode keeps to its limits, arrives, and blends; nothing here knows the wire."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import ManualClock
from core.kinematics import XARM7
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.twin.box import SimBox
from sim.twin.face import Motion
from sim.twin.followers import eased
from sim.twin.limits import segment_distance, touches_itself
from sim.twin.plant import STEP_S, Plant
from sim.twin.pose import matrix_pose, pose_matrix
from sim.twin.profile import Profile

NEVER_FASTER = np.pi + 1e-6
PULL = np.array([0.0, 0.15, 0.0, 0.2, 0.0, -0.1, 0.3])
positive = st.floats(0.01, 20.0)


@given(length=st.floats(0.0, 7.0), speed=positive, acceleration=positive, jerk=st.floats(1.0, 500.0))
@settings(max_examples=200, deadline=None)
def test_a_profile_arrives_and_keeps_to_speed_acceleration_and_jerk(length, speed, acceleration, jerk):
    profile = Profile.plan(length, speed, acceleration, jerk)
    t = np.linspace(0.0, profile.duration_s, 400)
    s = np.array([profile.at(x) for x in t])
    assert s[0] == 0.0
    assert profile.at(profile.duration_s) == pytest.approx(length, abs=1e-9)
    if length < 1e-6:
        return
    dt = t[1] - t[0]
    v = np.diff(s) / dt
    a = np.diff(v) / dt
    slack = 1e-6 * length / dt**2
    assert (v > -1e-9).all()
    assert v.max() <= speed * (1 + 1e-6) + 1e-6 * length / dt
    assert np.abs(a).max() <= acceleration * (1 + 1e-6) + slack
    assert np.abs(np.diff(a) / dt).max() <= max(jerk, acceleration / 0.04) * (1 + 1e-6) + slack / dt


@given(left=st.floats(-3, 3), velocity=st.floats(-1, 1), speed=st.floats(0.1, 3), acceleration=st.floats(0.5, 20))
@settings(max_examples=100, deadline=None)
def test_easing_to_a_goal_never_breaks_its_limits_and_comes_to_rest_there(left, velocity, speed, acceleration):
    at, v = np.zeros(1), np.array([velocity])
    fastest = max(speed, abs(velocity)) + 1e-9
    for _ in range(4000):
        now = eased(np.array([left]) - at, v, speed, acceleration)
        assert abs(now - v).max() <= acceleration * STEP_S + 1e-9
        assert abs(now).max() <= fastest
        at, v = at + now * STEP_S, now
    assert at == pytest.approx(np.array([left]), abs=1e-6) or abs(left) / speed > 15


def test_poses_and_matrices_agree_for_any_turn():
    rng = np.random.default_rng(0)
    for _ in range(50):
        pose = np.concatenate([rng.normal(size=3), rng.uniform(-np.pi, np.pi, 3)])
        again = matrix_pose(pose_matrix(pose))
        assert pose_matrix(again) == pytest.approx(pose_matrix(pose))
    straight_up = np.array([0.1, 0.2, 0.3, 0.4, -np.pi / 2, 0.0])
    assert pose_matrix(matrix_pose(pose_matrix(straight_up))) == pytest.approx(pose_matrix(straight_up), abs=1e-9)


def test_distances_between_segments():
    a, b = np.array([[0.0, 0, 0]] * 3), np.array([[1.0, 0, 0]] * 3)
    c = np.array([[0.5, 1.0, -1.0], [2.0, 0.0, 0.0], [0.2, 0.3, 0.0]])
    d = np.array([[0.5, 1.0, 1.0], [3.0, 0.0, 0.0], [0.9, 0.3, 0.0]])
    assert segment_distance(a, b, c, d) == pytest.approx([1.0, 1.0, 0.3])


def test_the_arm_touches_itself_only_when_folded():
    assert not touches_itself(np.array([0, -0.27, 0, 1.1, 0, 1.36, 0]))
    assert touches_itself(np.array([0, -0.97, 0, 3.7, 0, 2.95, 0]))


@pytest.fixture(scope="module")
def plant():
    return Plant(FruitOnPlate())


class Ride:
    """A box in one mode, and where its target went."""

    def __init__(self, plant, mode):
        self.clock = ManualClock(1_000_000_000)
        self.box = SimBox(plant, self.clock)
        self.box.new_episode(3, None)
        self.box.configure(replace(self.box.now().settings, collision_sensitivity=0), resets=True)
        self.events = []
        self.box.on_task(lambda event: self.events.append((event.number, event.kind, event.code)))
        self.box.set_mode(mode)
        self.box.set_state(0)
        self.run(0.2)
        self.targets = [self.box.now().joint_target]

    def run(self, seconds):
        self.targets = getattr(self, "targets", [])
        for _ in range(round(seconds / STEP_S)):
            self.clock.advance(STEP_S)
            self.box.cycle()
            self.targets.append(self.box.now().joint_target)

    def finish(self, limit_s=20.0):
        for _ in range(round(limit_s / STEP_S)):
            self.run(STEP_S)
            if self.box.now().state == 2 and not self.box.now().queued:
                return
        pytest.fail(f"not within {limit_s} s: {self.box.now()}")

    @property
    def speeds(self):
        return np.diff(np.array(self.targets), axis=0) / STEP_S

    @property
    def accelerations(self):
        return np.diff(self.speeds, axis=0) / STEP_S

    @property
    def tools(self):
        return np.array([self.box.forward(q) for q in self.targets])


@pytest.fixture
def ride(plant):
    return lambda mode: Ride(plant, mode)


def test_a_joint_move_keeps_to_its_speed_and_takes_the_time_it_should(ride):
    r = ride(0)
    start = r.box.now().joint_target
    r.box.move_joints(start + PULL, Motion(speed=0.5, acceleration=5.0))
    r.finish()
    assert np.abs(r.speeds).max() == pytest.approx(0.5, abs=1e-6)
    assert np.abs(r.accelerations).max() < 5.0 + 1e-6
    assert len(r.targets) * STEP_S == pytest.approx(0.3 / 0.5 + 0.5 / 5.0 + 0.04, abs=0.02)
    assert r.targets[-1] == pytest.approx(start + PULL)


def test_relative_and_open_angles_mean_what_they_say(ride):
    r = ride(0)
    start = r.box.now().joint_target
    r.box.move_joints(np.array([np.inf, 0.1, np.nan, np.inf, np.inf, np.inf, np.inf]), Motion(speed=1, acceleration=5))
    r.finish()
    assert r.targets[-1] == pytest.approx(np.where([0, 1, 0, 0, 0, 0, 0], 0.1, start))
    r.box.move_joints(PULL, Motion(speed=1, acceleration=5), relative=True)
    r.finish()
    assert r.targets[-1] == pytest.approx(np.where([0, 1, 0, 0, 0, 0, 0], 0.1, start) + PULL)


def test_blended_joint_moves_do_not_stop_in_between_and_keep_to_the_limits(ride):
    r = ride(0)
    start = r.box.now().joint_target
    motion = Motion(speed=1.0, acceleration=6.0, radius=0.5)
    first = r.box.move_joints(start + PULL, motion)
    second = r.box.move_joints(np.add(start + PULL, [0.3, 0, 0, 0, 0, 0, 0.3]), motion)
    r.finish()
    fast = np.abs(r.speeds).max(axis=1)
    middle = fast[20 : len(fast) - 30]
    assert middle.min() > 0.3, "no rest in the middle"
    assert fast.max() < 1.0 + 1e-6
    assert np.abs(r.accelerations).max() < 12.0 + 1e-6
    assert r.events == [(first, 1, 0), (second, 1, 0), (first, 2, 0), (second, 2, 0)]
    assert r.targets[-1] == pytest.approx(np.add(start + PULL, [0.3, 0, 0, 0, 0, 0, 0.3]))


def test_without_a_radius_moves_stop_in_between(ride):
    r = ride(0)
    start = r.box.now().joint_target
    for goal in (start + PULL, start):
        r.box.move_joints(goal, Motion(speed=1.0, acceleration=6.0))
    r.finish()
    fast = np.abs(r.speeds).max(axis=1)
    assert fast[20:-30].min() < 0.05


def test_a_line_is_straight_and_as_fast_as_asked(ride):
    r = ride(0)
    pose = r.box.now().pose
    goal = np.add(pose, [0.05, 0.1, -0.04, 0.0, 0.0, 0.3])
    r.box.move_line(goal, Motion(speed=0.2, acceleration=1.0))
    r.finish()
    tools = r.tools
    way = (goal - pose)[:3] / np.linalg.norm((goal - pose)[:3])
    off = tools[:, :3] - tools[0, :3]
    aside = np.linalg.norm(off - np.outer(off @ way, way), axis=1)
    assert aside.max() < 5e-4
    assert np.linalg.norm(np.diff(tools[:, :3], axis=0), axis=1).max() / STEP_S == pytest.approx(0.2, rel=0.02)
    assert tools[-1, :3] == pytest.approx(goal[:3], abs=1e-4)


def test_a_line_in_the_tool_frame_goes_along_the_tool(ride):
    r = ride(0)
    before = r.box.now().pose
    r.box.move_line(np.array([0, 0, 0.05, 0, 0, 0]), Motion(speed=0.1, acceleration=1.0), in_tool=True)
    r.finish()
    assert r.tools[-1, :3] - before[:3] == pytest.approx(0.05 * pose_matrix(before)[:3, 2], abs=1e-3)


def test_an_arc_passes_through_its_points(ride):
    r = ride(0)
    pose = r.box.now().pose
    through, to = np.add(pose, [0.05, 0.05, 0, 0, 0, 0]), np.add(pose, [0.0, 0.1, 0, 0, 0, 0])
    r.box.move_circle(through, to, 0.5, Motion(speed=0.2, acceleration=1.0))
    r.finish()
    tools = r.tools[:, :3]
    assert np.linalg.norm(tools - through[:3], axis=1).min() < 2e-3
    assert tools[-1] == pytest.approx(to[:3], abs=1e-3)
    middle = (pose + to)[:3] / 2
    assert np.linalg.norm(tools - middle, axis=1) == pytest.approx(np.full(len(tools), 0.05), abs=1e-3)


def test_points_on_a_line_are_no_circle(ride):
    r = ride(0)
    pose = r.box.now().pose
    r.box.move_circle(
        np.add(pose, [0.05, 0, 0, 0, 0, 0]), np.add(pose, [0.1, 0, 0, 0, 0, 0]), 1.0, Motion(speed=0.2, acceleration=1)
    )
    r.run(0.1)
    assert r.box.now().error == 32


def test_in_servo_mode_the_newest_target_wins_at_no_more_than_full_speed(ride):
    r = ride(1)
    start = r.box.now().joint_target
    turn = np.array([0, 0, 0, 0, 0, 0, 1.0])
    r.box.servo_joints(start + turn)
    r.run(0.1)
    r.box.servo_joints(start - turn * 0.2)
    r.run(0.5)
    assert np.abs(r.speeds).max() == pytest.approx(np.pi)
    assert r.targets[-1] == pytest.approx(start - turn * 0.2)


def test_a_tool_that_is_too_fast_in_servo_mode_is_error_60(ride):
    r = ride(1)
    r.box.servo_joints(np.add(r.box.now().joint_target, [2.0, 0.5, 0, 0, 0, 0, 0]))
    r.run(0.3)
    assert r.box.now().error == 60


def test_a_stream_of_servo_targets_at_100_hz_is_not_too_fast(ride):
    r = ride(1)
    start = r.box.now().joint_target
    for k in range(100):
        r.box.servo_joints(np.add(start, [0.02 * k, 0, 0, 0, 0, 0, 0]))
        r.run(0.01)
    assert r.box.now().error == 0


def test_servo_poses_are_followed_and_far_ones_are_error_21(ride):
    r = ride(1)
    pose = r.box.now().pose
    assert r.box.servo_pose(np.add(pose, [0.0, 0.01, 0.0, 0, 0, 0]), in_tool=False)
    r.run(0.1)
    assert r.tools[-1, :3] == pytest.approx(np.add(pose[:3], [0.0, 0.01, 0.0]), abs=1e-4)
    assert not r.box.servo_pose(np.add(pose, [2.0, 0, 0, 0, 0, 0]), in_tool=False)
    assert r.box.now().error == 21


def test_a_joint_velocity_ends_by_itself(ride):
    r = ride(4)
    turn = np.array([0, 0, 0, 0, 0, 0, 0.5])
    assert r.box.joint_velocity(turn, 0.4)
    r.run(1.0)
    assert np.abs(r.speeds).max() == pytest.approx(0.5)
    assert np.abs(r.accelerations).max() < 20.0 + 1e-6
    assert (r.targets[-1] - r.targets[0])[6] == pytest.approx(0.2, abs=0.02)
    assert r.box.now().state == 2


def test_a_joint_velocity_into_the_limit_is_error_23_inside_the_range(ride):
    r = ride(4)
    r.box.configure(replace(r.box.now().settings, self_collision=False), resets=False)
    r.box.joint_velocity(np.array([0, 0, 0, -1.5, 0, 0, 0]), 0.0)
    r.run(2.0)
    assert r.box.now().error == 23
    assert not r.box.over_joint_limit(r.box.now().joint_target)
    assert np.abs(r.accelerations).max() < 20.0 + 1e-6


def test_a_tool_velocity_goes_straight_and_ends_by_itself(ride):
    r = ride(5)
    before = r.tools[-1]
    assert r.box.tcp_velocity(np.array([0, 0.1, 0, 0, 0, 0]), in_tool=False, duration_s=0.5)
    r.run(1.0)
    assert r.tools[-1, :3] - before[:3] == pytest.approx([0, 0.05, 0], abs=3e-3)
    assert r.box.now().error == 0


@pytest.mark.parametrize("mode", [6, 7])
def test_goals_replanned_at_random_arrive_and_keep_to_the_limits(ride, mode):
    r, rng = ride(mode), np.random.default_rng(5)
    start, pose = r.box.now().joint_target, r.box.now().pose
    for _ in range(12):
        if mode == 6:
            r.box.move_joints(start + rng.uniform(-0.3, 0.3, 7), Motion(speed=1.5, acceleration=10.0))
        else:
            shift = np.concatenate([rng.uniform(-0.06, 0.06, 3), rng.uniform(-0.1, 0.1, 3)])
            r.box.move_line(pose + shift, Motion(speed=0.3, acceleration=2.0))
        r.run(0.15)
    number = r.box.move_joints(start, Motion(speed=1, acceleration=10)) if mode == 6 else r.box.move_line(
        pose, Motion(speed=0.3, acceleration=2.0)
    )  # fmt: skip
    r.finish()
    assert (r.box.now().error, r.events[-1]) == (0, (number, 2, 0))
    assert np.abs(r.speeds).max() < NEVER_FASTER
    if mode == 6:
        assert np.abs(r.accelerations).max() < 10.0 + 1e-6
        assert r.targets[-1] == pytest.approx(start, abs=1e-6)
    else:
        assert np.linalg.norm(np.diff(r.tools[:, :3], axis=0), axis=1).max() / STEP_S < 0.55
        assert r.tools[-1, :3] == pytest.approx(pose[:3], abs=1e-4)


def test_whatever_is_commanded_the_target_keeps_to_speed_and_range(ride):
    r, rng = ride(1), np.random.default_rng(6)
    for _ in range(150):
        _anything(r.box, rng)
        r.run(float(rng.choice([0.005, 0.02, 0.1])))
    assert np.abs(r.speeds).max() < NEVER_FASTER
    targets = np.array(r.targets)
    assert (targets >= XARM7.joint_low - 1e-6).all()
    assert (targets <= XARM7.joint_high + 1e-6).all()


def _anything(box, rng):
    match rng.integers(9):
        case 0:
            box.clear_error(), box.enable(8, True), box.set_mode(int(rng.choice([0, 1, 4, 5, 6, 7]))), box.set_state(0)
        case 1 | 2:
            box.servo_joints(box.now().joint_pos + rng.normal(0, 1.0, 7))
        case 3:
            box.joint_velocity(rng.normal(0, 2.0, 7), 0.0)
        case 4:
            box.tcp_velocity(rng.normal(0, 0.5, 6), in_tool=bool(rng.integers(2)), duration_s=0.0)
        case 5:
            box.move_joints(rng.normal(0, 1.0, 7), Motion(speed=5.0, acceleration=50.0, radius=0.2))
        case 6:
            box.move_line(box.now().pose + rng.normal(0, 0.2, 6), Motion(speed=2.0, acceleration=90.0, radius=0.05))
        case 7:
            box.set_state(int(rng.choice([0, 0, 3, 4, 6])))
        case _:
            box.inject(str(rng.choice(["collision", "mode_drop", "servo"])), 0.0)
