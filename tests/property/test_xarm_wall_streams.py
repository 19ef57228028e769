"""Whatever stream of joint targets comes, what leaves the wall keeps every limit: on the stream itself, and measured
on the simulated arm that follows it."""

import numpy as np
import pytest

from bridge.xarm.limits import WallLimits
from bridge.xarm.reach import BODY
from bridge.xarm.wall import JointWall
from core.kinematics import HOME_RAD, chain, tcp_position
from sim.cell import STROKE_M
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld

LIMITS, DT, BEATS = WallLimits(), 0.01, 50
STREAMS, ROWS = 10_000, 250
SEEDED_STREAMS = 2_000
"""Streams from poses all over the place, whose end is checked too; the others start where episodes do."""
OVERSHOOT, WORST_OVERSHOOT, RARE = 1.2, 1.5, 2e-4
"""How much faster than its target a servo may be that catches up, and at worst in a few samples of a run: when the
motors of joints 1, 3 and 5 all give their largest torque against one another."""
SWING_M, SWING_RAD = 0.01, 0.02
"""How far the servos may swing past a target that stops."""
LOW, HIGH = np.array(LIMITS.joint_low), np.array(LIMITS.joint_high)
BOX_LOW, BOX_HIGH = LIMITS.box_low, np.array(LIMITS.workspace_high)
FLOOR = LIMITS.table_height_m + LIMITS.body_clearance_m


def seeds(rng, n):
    """Returns joints (n, 7) around home, inside the joint limits; some tools are outside the box at first."""
    return np.clip(HOME_RAD + rng.normal(0, 0.25, (n, 7)), LOW + 1e-3, HIGH - 1e-3)


def wild_targets(rng, start):
    """Yields targets (n, 7): walks, jumps from tiny to absurd, long pushes in one direction, NaN and infinity."""
    n = len(start)
    size = rng.choice([1e-6, 0.01, 0.1, 1.0, 10.0, 1e6, 1e300], (n, 1))
    drift = rng.normal(0, 1, (n, 7)) * rng.choice([0.0, 0.005, 0.02, 0.1], (n, 1))
    target = start.copy()
    for _ in range(BEATS):
        jumps = rng.random(n) < 0.06
        target = target + drift + rng.normal(0, 0.01, (n, 7))
        target[jumps] = (start + rng.normal(0, 1, (n, 7)) * size)[jumps]
        asked = target.copy()
        broken = np.flatnonzero(rng.random(n) < 0.03)
        asked[broken, rng.integers(0, 7, len(broken))] = rng.choice([np.nan, np.inf, -np.inf], len(broken))
        yield asked


def measure(points):
    """Returns the tool's positions (T, N, 3) and the lowest body height (T, N) along points (T, N, 7)."""
    turn, origin = chain(points.reshape(-1, 7))
    tool = tcp_position(turn, origin).reshape(*points.shape[:2], 3)
    return tool, origin[BODY, :, 2].min(axis=0).reshape(points.shape[:2])


def assert_kept(points):
    """Asserts every limit on the differences of points (T, N, 7), which begin at rest."""
    speed = np.diff(points, axis=0) / DT
    acceleration = np.diff(speed, axis=0) / DT
    jerk = np.diff(acceleration, axis=0) / DT
    tool, height = measure(points)
    tool_speed = np.linalg.norm(np.diff(tool, axis=0), axis=-1) / DT
    assert np.isfinite(points).all()
    assert (points >= LOW - 1e-9).all()
    assert (points <= HIGH + 1e-9).all()
    assert np.abs(speed).max() <= LIMITS.joint_speed + 1e-9
    assert np.abs(acceleration).max() <= LIMITS.joint_acceleration + 1e-6
    assert np.abs(jerk).max() <= LIMITS.joint_jerk + 1e-4
    assert tool_speed.max() <= LIMITS.tcp_speed + 1e-6
    assert (tool >= np.minimum(BOX_LOW, tool[0]) - 1e-6).all()
    assert (tool <= np.maximum(BOX_HIGH, tool[0]) + 1e-6).all()
    assert (height >= np.minimum(FLOOR, height[0]) - 1e-6).all()


@pytest.mark.parametrize("batch", range(SEEDED_STREAMS // ROWS))
def test_thousands_of_wild_streams_never_exceed_a_limit_and_can_always_be_stopped(batch):
    rng, wall = np.random.default_rng(batch), JointWall(LIMITS, DT)
    start = seeds(rng, ROWS)
    wall.seed(start)
    points = [start] * 4 + [wall.follow(asked).target for asked in wild_targets(rng, start)]
    points += [wall.hold().target for _ in range(34)]
    assert wall.at_rest.all()
    assert_kept(np.array(points))


@pytest.fixture(scope="module")
def cells():
    return BatchWorld(FruitOnPlate(), ROWS, threads=2)


@pytest.mark.parametrize("batch", range(STREAMS // ROWS))
def test_ten_thousand_wild_streams_never_lead_the_simulated_arm_over_a_limit(cells, batch):
    cells.reset(np.arange(ROWS), np.arange(ROWS) + batch * ROWS)
    rng, wall, measured = np.random.default_rng(1000 + batch), JointWall(LIMITS, DT), []
    joint_pos, joint_vel = (cells.field(name).reshape(ROWS, -1) for name in ("qpos", "qvel"))
    start, speeds = joint_pos[:, :7].copy(), []
    wall.seed(start)
    points = [start] * 4
    for asked in wild_targets(rng, start):
        points.append(wall.follow(asked).target)
        targets = np.column_stack([points[-1], np.full(ROWS, STROKE_M)])
        cells.drive(np.repeat(targets[:, None], 2, axis=1))
        measured.append(joint_pos[:, :7].copy())
        speeds.append(np.abs(joint_vel[:, :7]).max(axis=1))
    assert_kept(np.array(points))
    measured = np.array(measured)
    tool, height = measure(measured)
    tool_speed = np.linalg.norm(np.diff(tool, axis=0), axis=-1) / DT
    assert np.mean(np.array(speeds) > LIMITS.joint_speed * OVERSHOOT) < RARE
    assert np.max(speeds) <= LIMITS.joint_speed * WORST_OVERSHOOT
    assert tool_speed.max() <= LIMITS.tcp_speed * OVERSHOOT
    assert (measured >= LOW - SWING_RAD).all()
    assert (measured <= HIGH + SWING_RAD).all()
    assert (tool >= np.minimum(BOX_LOW, tool[0]) - SWING_M).all()
    assert (tool <= np.maximum(BOX_HIGH, tool[0]) + SWING_M).all()
    assert (height >= np.minimum(FLOOR, height[0]) - SWING_M).all()


def test_the_streams_are_wild_enough_to_meet_every_limit_of_the_motion():
    rng, wall, met = np.random.default_rng(99), JointWall(LIMITS, DT), set()
    start = seeds(rng, 200)
    wall.seed(start)
    for asked in wild_targets(rng, start):
        walled = wall.follow(asked)
        met |= {name for row in range(len(start)) for name in walled.names(row)}
    wanted = {"not_finite", "joint_position", "joint_velocity", "joint_acceleration", "joint_jerk", "tcp_speed"}
    assert wanted | {"workspace", "table", "singularity"} <= met


def test_an_arm_that_jumps_between_following_and_holding_keeps_the_limits_too():
    rng, wall = np.random.default_rng(5), JointWall(LIMITS, DT)
    start = seeds(rng, 300)
    wall.seed(start)
    points = [start] * 4
    for i, asked in enumerate(wild_targets(rng, start)):
        points.append((wall.hold() if i % 7 > 4 else wall.follow(asked)).target)
    assert_kept(np.array(points))
