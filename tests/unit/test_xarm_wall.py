"""The second wall: each limit by itself, and how it lets go again."""

import time

import numpy as np
import pytest

from bridge.xarm.limits import NAMES, WallLimits
from bridge.xarm.reach import BODY, tool_and_body
from bridge.xarm.wall import JointWall
from core.errors import ContractError
from core.kinematics import HOME_RAD, XARM7, chain, forward, ik_step, tcp_position

DT = 0.01
LIMITS = WallLimits()


def wall_at(joint_pos, limits=LIMITS):
    wall = JointWall(limits, DT)
    wall.seed(np.atleast_2d(joint_pos))
    return wall


def led(wall, target, beats=200, **given):
    """Returns all points (beats, 7) and the names of all limits that were met on the way to one target."""
    points, names = [], set()
    for _ in range(beats):
        walled = wall.follow(np.atleast_2d(target), **given)
        points.append(walled.target[0])
        names |= set(walled.names())
    return np.array(points), names


def tool_goal(pos, beats=80):
    """Returns joints whose tool is at `pos`, turned as at home."""
    _, quat = forward(HOME_RAD[None])
    joints = HOME_RAD[None]
    for _ in range(beats):
        joints = ik_step(joints, np.atleast_2d(np.array(pos)), quat)
    return joints[0]


def test_a_target_in_reach_is_reached_exactly():
    target = HOME_RAD + 0.2
    points, _ = led(wall_at(HOME_RAD), target)
    assert points[-1] == pytest.approx(target, abs=1e-9)


def test_the_first_point_to_where_it_is_moves_nothing_and_meets_no_limit():
    walled = wall_at(HOME_RAD).follow(HOME_RAD[None])
    assert walled.target[0].tolist() == HOME_RAD.tolist()
    assert walled.names() == ()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_target_that_is_not_finite_brakes_and_the_stream_goes_on_afterwards(bad):
    wall = wall_at(HOME_RAD)
    led(wall, HOME_RAD + 0.5, beats=15)
    asked = HOME_RAD.copy()
    asked[3] = bad
    points, names = led(wall, asked, beats=40)
    assert names == {"not_finite"}
    assert np.isfinite(points).all()
    assert points[-1].tolist() == points[-2].tolist()
    assert led(wall, HOME_RAD)[0][-1] == pytest.approx(HOME_RAD, abs=1e-9)


def test_a_joint_beyond_its_limit_stops_at_it():
    target = HOME_RAD.copy()
    target[3] = 9.0
    points, names = led(wall_at(HOME_RAD), target, beats=400)
    assert points[:, 3].max() <= LIMITS.joint_high[3]
    assert "joint_position" in names


def test_the_tool_stops_above_the_table_and_may_go_up_again():
    wall = wall_at(tool_goal((0.4, 0.0, 0.15)))
    down, names = led(wall, tool_goal((0.4, 0.0, -0.15)), beats=300)
    height = forward(down)[0][:, 2]
    assert "table" in names
    assert height.min() >= LIMITS.tcp_clearance_m - 1e-9
    assert height[-1] < 0.05
    up, _ = led(wall, tool_goal((0.4, 0.0, 0.2)), beats=300)
    assert forward(up[-1:])[0][0, 2] == pytest.approx(0.2, abs=0.005)


def test_the_tool_stays_in_its_box():
    limits = WallLimits(workspace_high=(0.5, 0.2, 0.6))
    points, names = led(wall_at(HOME_RAD, limits), tool_goal((0.45, 0.4, 0.3)), beats=300)
    assert "workspace" in names
    assert forward(points)[0][:, 1].max() <= 0.2 + 1e-9


def test_an_arm_seeded_outside_the_box_may_come_back_but_not_go_on():
    limits = WallLimits(workspace_low=(0.10, -0.5, 0.25))
    start = tool_goal((0.4, 0.0, 0.15))
    lower, _ = led(wall_at(start, limits), tool_goal((0.4, 0.0, 0.10)), beats=200)
    assert forward(lower)[0][:, 2].min() >= forward(start[None])[0][0, 2] - 1e-6
    back, _ = led(wall_at(start, limits), tool_goal((0.4, 0.0, 0.35)), beats=300)
    assert forward(back[-1:])[0][0, 2] == pytest.approx(0.35, abs=0.005)


def test_the_tool_is_never_too_fast():
    limits = WallLimits(tcp_speed=0.25)
    target = HOME_RAD.copy()
    target[0] = 1.5
    points, names = led(wall_at(HOME_RAD, limits), target, beats=400)
    speed = np.linalg.norm(np.diff(forward(points)[0], axis=0), axis=-1) / DT
    assert "tcp_speed" in names
    assert 0.2 < speed.max() <= 0.25 + 1e-6
    assert points[-1, 0] == pytest.approx(1.1, abs=0.6)


def test_a_force_over_the_limit_brakes_until_it_is_gone():
    wall, free = wall_at(HOME_RAD), np.zeros((1, 6))
    pushed = np.array([[0.0, 0.0, 80.0, 0.0, 0.0, 0.0]])
    led(wall, HOME_RAD + 0.5, beats=15, wrench=free)
    points, names = led(wall, HOME_RAD + 0.5, beats=40, wrench=pushed)
    assert names == {"wrench"}
    assert points[-1].tolist() == points[-2].tolist()
    assert led(wall, HOME_RAD + 0.5, wrench=free)[0][-1] == pytest.approx(HOME_RAD + 0.5, abs=1e-9)


def test_a_torque_or_a_wrench_that_is_not_finite_brakes_too():
    for wrench in (np.array([[0, 0, 0, 0, 13.0, 0]]), np.full((1, 6), np.nan)):
        walled = wall_at(HOME_RAD).follow(HOME_RAD[None] + 0.1, wrench=wrench)
        assert walled.names() == ("wrench",)


def test_a_target_far_ahead_of_the_measured_joints_brakes():
    walled = wall_at(HOME_RAD).follow(HOME_RAD[None], measured=HOME_RAD[None] + 0.4)
    assert walled.names() == ("lead",)


def test_near_a_singularity_it_is_slower_but_never_stuck():
    singular = np.array([0.088, 0.399, -0.581, 2.741, 0.062, 2.06, -0.815])
    points, names = led(wall_at(singular), HOME_RAD, beats=600)
    assert "singularity" in names
    fastest = np.abs(np.diff(points[:20], axis=0)).max() / DT
    assert fastest <= LIMITS.floor_share * LIMITS.joint_speed * 1.01
    assert points[-1] == pytest.approx(HOME_RAD, abs=1e-6)


def test_hold_comes_to_rest_within_a_third_of_a_second_and_stays():
    wall = wall_at(HOME_RAD)
    led(wall, HOME_RAD + 2.0, beats=30)
    points = np.array([wall.hold().target[0] for _ in range(34)])
    assert wall.at_rest.all()
    assert points[-1].tolist() == wall.hold().target[0].tolist()


def test_rows_do_not_know_of_each_other():
    pair, alone = JointWall(LIMITS, DT), wall_at(HOME_RAD)
    pair.seed(np.array([HOME_RAD, HOME_RAD]))
    for beat in range(50):
        target = HOME_RAD + 0.01 * beat
        both = pair.follow(np.array([target, np.full(7, np.nan)]))
        assert both.target[0] == pytest.approx(alone.follow(target[None]).target[0], abs=1e-12)
    assert both.target[1].tolist() == HOME_RAD.tolist()
    assert both.names(1) == ("not_finite",)


def test_a_wrong_shape_or_seed_is_refused():
    wall = wall_at(HOME_RAD)
    with pytest.raises(ContractError, match="seeded"):
        wall.follow(np.zeros((2, 7)))
    with pytest.raises(ContractError, match="NaN"):
        wall.seed(np.full((1, 7), np.nan))


def test_every_limit_has_a_name_of_its_own():
    assert len(set(NAMES)) == len(NAMES) == wall_at(HOME_RAD).follow(HOME_RAD[None]).clipped.shape[1]


def test_one_beat_costs_a_small_part_of_it():
    wall, rng, took = wall_at(HOME_RAD), np.random.default_rng(0), []
    target = HOME_RAD.copy()
    for _ in range(400):
        target = target + rng.normal(0, 0.004, 7)
        began = time.perf_counter()
        wall.follow(target[None])
        took.append(time.perf_counter() - began)
    assert np.median(took) < 0.002


def test_the_fast_chain_is_the_house_chain():
    joints = np.random.default_rng(0).uniform(XARM7.joint_low, XARM7.joint_high, (500, 7))
    turn, origin = chain(joints)
    tool, lowest = tool_and_body(joints)
    assert pytest.approx(tcp_position(turn, origin), abs=1e-12) == tool.T
    assert lowest == pytest.approx(origin[BODY, :, 2].min(axis=0), abs=1e-12)
