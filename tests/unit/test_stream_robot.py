"""Actions become joint points, one a beat: never beyond the reach, never a jump, nothing to an arm that waits."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from bridge.sight import Frame
from bridge.stream_robot import StreamRobot
from core.arm import Clearing
from core.clock import ManualClock
from core.errors import ContractError, DeviceNotConnected
from core.fake_arm import FakeArm
from core.kinematics import forward
from core.robots import EE_DELTA
from core.servo import follow

BEAT_S = 0.01
BEATS = 5
DEGREE = np.pi / 180


class LaggingArm(FakeArm):
    """An arm that follows as the trained-on one does, and remembers what it was asked."""

    def __init__(self, clock):
        super().__init__(clock)
        self.asked = []
        self.blocked = False

    def stream(self, joint_target, gripper_opening):
        self.asked.append(np.array(joint_target))
        here = self.state().joint_pos
        there = here if self.blocked else follow(here, joint_target, BEAT_S)
        return super().stream(there, gripper_opening)

    @property
    def tool(self):
        return self.state().tcp_pos_in_base


@dataclass
class Pictures:
    """A source that says what it was given."""

    frames: dict = field(default_factory=dict)

    def newest(self):
        return self.frames


@dataclass
class Cell:
    """An arm, its robot and the beat around them."""

    clock: ManualClock
    arm: LaggingArm
    robot: StreamRobot

    def beat(self, *, late=False):
        self.clock.advance(BEAT_S)
        self.robot.emit(late=late)

    def act(self, action, beats=BEATS):
        """One tick and its beats; returns what the robot says was sent."""
        self.robot.read()
        sent = self.robot.send(action)
        for _ in range(beats):
            self.beat()
        return sent


@pytest.fixture
def make():
    opened = []

    def build(arm_type=LaggingArm, images=None, **given):
        clock = ManualClock(1_000_000_000)
        arm = arm_type(clock).__enter__()
        robot = StreamRobot(arm, images, clock, instruction="sway", beats=BEATS, **given)
        opened.append(robot.__enter__())
        return Cell(clock, arm, robot)

    yield build
    for robot in opened:
        robot.__exit__(None, None, None)


@pytest.fixture
def cell(make):
    return make()


def moving(x=0.0, y=0.0, z=0.0, gripper=1.0):
    action = EE_DELTA.still(gripper)
    action[:3] = x, y, z
    return action


def test_entering_arms_an_arm_that_is_idle_and_moves_nothing(cell):
    assert cell.arm.state().status.mode == "ready"
    assert cell.arm.asked == []


def test_before_the_first_action_nothing_is_streamed(cell):
    for _ in range(3):
        cell.beat()
    assert cell.arm.asked == []


def test_the_way_of_an_action_is_cut_into_equal_points_one_a_beat(cell):
    start = cell.arm.state().joint_pos
    cell.act(moving(y=0.01))
    steps = np.diff([start, *cell.arm.asked], axis=0)
    assert len(steps) == BEATS
    assert np.allclose(steps, steps[0], atol=1e-12)
    assert np.abs(steps).max() > 1e-3
    reached = forward(cell.arm.asked[-1][None])[0][0] - forward(start[None])[0][0]
    assert reached == pytest.approx([0.0, 0.01, 0.0], abs=1e-3)


def test_at_the_end_of_its_way_the_point_stays(cell):
    cell.act(moving(y=0.01), beats=12)
    assert all(np.allclose(point, cell.arm.asked[BEATS - 1], atol=1e-12) for point in cell.arm.asked[BEATS:])


def test_a_late_beat_sends_the_same_point_again_and_the_way_goes_on_after_it(make):
    on_time, late = make(), make()
    on_time.act(moving(y=0.01))
    late.robot.read()
    late.robot.send(moving(y=0.01))
    for is_late in (False, True, False, True, True, False, False, False):
        late.beat(late=is_late)
    first, second, third, fourth, fifth = on_time.arm.asked
    assert np.allclose(late.arm.asked, [first, first, second, second, second, third, fourth, fifth])


def test_a_new_action_begins_at_the_point_sent_last_however_few_were_sent(cell):
    cell.act(moving(y=0.02), beats=2)
    before = cell.arm.asked[-1]
    cell.act(moving(y=0.02), beats=1)
    assert np.abs(cell.arm.asked[-1] - before).max() < 1.0 * DEGREE


def test_an_arm_that_is_not_ready_is_told_nothing(cell):
    cell.act(moving(y=0.01))
    cell.arm.fail(Clearing.OPERATOR)
    told = len(cell.arm.asked)
    for _ in range(3):
        cell.beat()
        assert cell.act(moving(y=0.02, gripper=0.0)).tolist() == EE_DELTA.still(1.0).tolist()
    assert len(cell.arm.asked) == told
    assert "made by a test" in cell.robot.read().fault


def test_a_fault_between_tick_and_beat_is_seen_by_the_beat(cell):
    cell.robot.read()
    cell.robot.send(moving(y=0.02))
    cell.arm.fail(Clearing.AUTOMATIC)
    cell.beat()
    assert cell.arm.asked == []


def recover_from_fault(cell):
    cell.arm.fail(Clearing.AUTOMATIC)
    cell.beat()
    cell.arm.clear_fault(by_person=False)
    cell.arm.arm()


def recover_from_stop(cell):
    cell.arm.stop()
    cell.beat()
    cell.clock.advance(1.0)
    cell.arm.reset_stop()
    cell.arm.arm()


@pytest.mark.parametrize(
    "interrupt", [lambda cell: cell.robot.hold(), recover_from_fault, recover_from_stop], ids=["hold", "fault", "stop"]
)
def test_after_an_interruption_it_starts_at_the_measured_pose(cell, interrupt):
    for _ in range(10):
        cell.act(moving(y=0.02, z=-0.01))
    ahead = np.abs(cell.arm.asked[-1] - cell.arm.state().joint_pos).max()
    assert ahead > 1.0 * DEGREE, "the arm does not lag, this test would prove nothing"
    interrupt(cell)
    told, measured = len(cell.arm.asked), cell.arm.state().joint_pos
    for _ in range(3):
        cell.beat()
    assert len(cell.arm.asked) == told, "it moved before a new action came"
    cell.act(moving(y=0.02, z=-0.01))
    points = np.array([measured, *cell.arm.asked[told:]])
    assert len(points) == 1 + BEATS
    assert np.abs(np.diff(points, axis=0)).max() < 1.0 * DEGREE


@pytest.mark.parametrize("reach_m", [0.06, 0.11])
def test_a_blocked_arm_is_never_led_farther_than_the_reach(make, reach_m):
    cell = make(reach_m=reach_m)
    cell.arm.blocked = True
    for _ in range(40):
        cell.act(moving(z=-0.02))
    led, _ = forward(np.array(cell.arm.asked))
    ahead = np.linalg.norm(led - cell.arm.tool, axis=1)
    assert 0.75 * min(reach_m, 0.06) < ahead.max() < reach_m + 0.005


def tool_path(cell, ticks, pace):
    path = []
    for _ in range(ticks):
        cell.robot.read()
        cell.robot.send(moving(*(pace * np.array([0.006, 0.012, -0.005]))))
        for _ in range(BEATS):
            cell.beat()
            path.append(cell.arm.tool)
    return np.array(path)


def test_half_the_pace_is_the_same_way_in_twice_the_time(make):
    full = tool_path(make(), 12, 1.0)
    half = tool_path(make(pace=0.5, reach_m=0.11), 24, 0.5)
    assert np.linalg.norm(full[-1] - full[0]) > 0.1
    apart = np.linalg.norm(half[1::2] - full, axis=1)
    assert apart.max() < 0.003


def test_without_the_pace_the_slow_arm_would_take_another_way(make):
    """What the test above can see: a slow arm that is led as a fast one follows sooner."""
    full = tool_path(make(), 12, 1.0)
    other = tool_path(make(pace=1.0), 24, 0.5)
    assert np.linalg.norm(other[1::2] - full, axis=1).max() > 0.005


def test_an_action_out_of_bounds_is_clipped_and_nonsense_moves_nothing(cell):
    assert cell.act(moving(x=9.0))[0] == EE_DELTA.high[0]
    told = len(cell.arm.asked)
    with pytest.raises(ContractError):
        cell.robot.send(moving(x=np.nan))
    with pytest.raises(ContractError):
        cell.robot.send(np.zeros(3))
    assert len(cell.arm.asked) == told


def test_the_gripper_is_commanded_with_every_point_and_kept_by_a_hold(cell):
    cell.act(moving(gripper=0.25))
    assert cell.arm.state().gripper_opening == 0.25
    cell.robot.hold()
    assert cell.robot.read().gripper_command == 0.25


def test_leaving_holds_the_arm(cell):
    cell.act(moving(y=0.01))
    holds = cell.arm.holds
    cell.robot.__exit__(None, None, None)
    assert cell.arm.holds == holds + 1
    with pytest.raises(DeviceNotConnected):
        cell.robot.read()


def grey(t_ns):
    return Frame(image=np.random.default_rng(t_ns % 97).integers(50, 90, (8, 8, 3), dtype=np.uint8), t_ns=t_ns)


def test_pictures_from_before_it_was_entered_are_not_used(make):
    pictures = Pictures({"front": grey(999_999_999), "wrist": grey(1_000_000_000)})
    cell = make(images=pictures)
    seen = cell.robot.read()
    assert set(seen.images) == set(seen.image_t_ns) == {"wrist"}
    pictures.frames["front"] = grey(1_020_000_000)
    assert cell.robot.read().image_t_ns == {"front": 1_020_000_000, "wrist": 1_000_000_000}


def test_a_robot_that_is_entered_again_forgets_what_it_saw(make):
    pictures = Pictures({"front": grey(1_000_000_000)})
    cell = make(images=pictures)
    assert set(cell.robot.read().images) == {"front"}
    cell.robot.__exit__(None, None, None)
    cell.clock.advance(1.0)
    with cell.robot as robot:
        assert robot.read().images == {}


def test_what_is_read_is_what_the_arm_measured(cell):
    seen, state = cell.robot.read(), cell.arm.state()
    assert (seen.t_ns, seen.fault, seen.instruction) == (state.t_ns, "", "sway")
    assert np.array_equal(seen.joint_pos, state.joint_pos)
    assert np.array_equal(seen.tcp_pos_in_base, state.tcp_pos_in_base)
