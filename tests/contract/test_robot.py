"""What every `Robot` promises."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np
import pytest

from bridge.stream_robot import StreamRobot
from core.arrays import Floats
from core.clock import ManualClock
from core.errors import ContractError, DeviceNotConnected
from core.fake_arm import FakeArm
from core.fakes import FakeRobot
from core.flow import Observation
from core.ports import Robot, Stream
from core.robots import EE_DELTA
from runtime.shadow import ShadowRobot
from sim.robot import SimRobot
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld

BEATS = 5
"""Beats of a streamed robot in one control period."""


class BeatenRobot:
    """A streamed robot and the beat around it: an action takes a control period, as for robots that beat themselves."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock, self._arm = clock, FakeArm(clock)
        self._robot = StreamRobot(self._arm, None, clock, instruction="put the apple on the plate", beats=BEATS)

    def __enter__(self) -> Self:
        self._arm.__enter__()
        self._robot.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._robot.__exit__(kind, error, tb)
        self._arm.__exit__(kind, error, tb)

    def read(self) -> Observation:
        return self._robot.read()

    def send(self, action: Floats) -> Floats:
        sent = self._robot.send(action)
        for _ in range(BEATS):
            self._clock.advance(EE_DELTA.dt_s / BEATS)
            self._robot.emit(late=False)
        return sent

    def hold(self) -> None:
        self._robot.hold()


Build = Callable[[ManualClock], FakeRobot | SimRobot | BeatenRobot]


@pytest.fixture(params=["fake", "simulated", "streamed"])
def build(request: pytest.FixtureRequest) -> Build:
    if request.param == "fake":
        return lambda clock: FakeRobot(clock, instruction="put the apple on the plate")
    if request.param == "streamed":
        return BeatenRobot
    return lambda clock: SimRobot(BatchWorld(FruitOnPlate(), 1), clock)


def test_it_is_a_robot(build: Build) -> None:
    assert isinstance(build(ManualClock()), Robot)


def test_it_refuses_to_move_or_read_before_it_is_entered(build: Build) -> None:
    robot = build(ManualClock())
    with pytest.raises(DeviceNotConnected, match="with"):
        robot.read()
    with pytest.raises(DeviceNotConnected, match="with"):
        robot.send(EE_DELTA.still(1.0))


def test_it_refuses_again_after_leaving(build: Build) -> None:
    with build(ManualClock()) as robot:
        robot.read()
    with pytest.raises(DeviceNotConnected):
        robot.read()


def test_observations_carry_the_clock_and_the_instruction(build: Build) -> None:
    clock = ManualClock(5_000)
    with build(clock) as robot:
        seen = robot.read()
    assert seen.t_ns == 5_000
    assert seen.instruction
    assert seen.joint_pos.shape == (7,)


def test_one_send_takes_one_control_period(build: Build) -> None:
    clock = ManualClock()
    with build(clock) as robot:
        robot.send(EE_DELTA.still(1.0))
        assert clock.now_ns() == round(EE_DELTA.dt_s * 1e9)
        assert robot.read().t_ns == clock.now_ns()


def test_it_goes_where_it_is_told(build: Build) -> None:
    action = EE_DELTA.still(1.0)
    action[1] = 0.02
    with build(ManualClock()) as robot:
        start = robot.read().tcp_pos_in_base
        for _ in range(5):
            robot.send(action)
        for _ in range(10):
            robot.send(EE_DELTA.still(1.0))
        moved = robot.read().tcp_pos_in_base - start
    assert moved == pytest.approx([0.0, 0.1, 0.0], abs=0.004)


def test_it_says_what_it_truly_sent(build: Build) -> None:
    action = np.array([1.0, -1.0, 0.0, 0.0, 0.0, 9.0, 2.0])
    with build(ManualClock()) as robot:
        sent = robot.send(action)
        assert sent == pytest.approx([0.025, -0.025, 0.0, 0.0, 0.0, 0.12, 1.0])
        assert robot.read().gripper_command == 1.0


def test_the_gripper_obeys(build: Build) -> None:
    with build(ManualClock()) as robot:
        for _ in range(15):
            robot.send(EE_DELTA.still(0.5))
        seen = robot.read()
    assert seen.gripper_command == 0.5
    assert seen.gripper_opening == pytest.approx(0.5, abs=0.03)


def test_holding_is_allowed_at_any_time_and_stops_the_arm(build: Build) -> None:
    robot = build(ManualClock())
    robot.hold()
    fast = EE_DELTA.still(1.0)
    fast[2] = -0.02
    with robot:
        robot.send(fast)
        robot.hold()
        robot.hold()
        start = robot.read().tcp_pos_in_base
        for _ in range(10):
            robot.send(EE_DELTA.still(1.0))
        assert np.linalg.norm(robot.read().tcp_pos_in_base - start) < 0.01


def test_a_simulated_robot_needs_exactly_one_world() -> None:
    with pytest.raises(ContractError, match="n = 2"):
        SimRobot(BatchWorld(FruitOnPlate(), 2), ManualClock())


def test_a_shadow_reads_as_its_robot_does_and_never_sends(build: Build) -> None:
    clock = ManualClock(5_000)
    robot = build(clock)
    shadow, rush = ShadowRobot(robot), np.array([0.02, 0.02, 0.0, 0.0, 0.0, 0.1, 0.0])
    assert isinstance(shadow, Robot)
    assert isinstance(shadow, Stream)
    with pytest.raises(DeviceNotConnected):
        shadow.read()
    with shadow:
        start = robot.read()
        for _ in range(5):
            assert shadow.send(rush).tolist() == EE_DELTA.still(1.0).tolist()
            shadow.emit(late=False)
            shadow.hold()
        seen = shadow.read()
    assert clock.now_ns() == 5_000
    assert seen.tcp_pos_in_base.tolist() == start.tcp_pos_in_base.tolist()
    assert (seen.gripper_command, seen.instruction) == (1.0, start.instruction)
    with pytest.raises(DeviceNotConnected):
        shadow.read()
