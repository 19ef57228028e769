"""What every `JointArm` promises: in memory, and on the vendor's SDK at a running twin."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from bridge.twin_control import TwinControl
from core.arm import ArmMode
from core.clock import ManualClock, MonotonicClock
from core.errors import ContractError, DeviceError, DeviceFault, DeviceNotConnected
from core.fake_arm import FakeArm
from core.ports import JointArm

pytestmark = pytest.mark.usefixtures("on_time")
BEAT_S = 0.01


class Rig:
    """An arm, and how its time passes."""

    def __init__(self, arm, clock):
        self.arm, self.clock = arm, clock

    def wait(self, seconds):
        """Lets time pass on the arm's clock."""
        self.clock.sleep_until(self.clock.now_ns() + round(seconds * 1e9))

    def until(self, reached, seconds=3.0):
        """Waits until a condition holds."""
        end = self.clock.now_ns() + round(seconds * 1e9)
        while not reached():
            assert self.clock.now_ns() < end, "the condition was not met in time"
            self.wait(BEAT_S)

    def lead(self, target, seconds, opening=1.0):
        """Streams one target for a time; returns every point that was sent."""
        sent, due = [], self.clock.now_ns()
        for _ in range(round(seconds / BEAT_S)):
            sent.append(self.arm.stream(target, opening))
            due = max(due + round(BEAT_S * 1e9), self.clock.now_ns())
            self.clock.sleep_until(due)
        return np.array(sent)


@pytest.fixture(params=["in_memory", "xarm_at_twin"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    if request.param == "in_memory":
        clock = ManualClock()
        yield Rig(FakeArm(clock), clock)
        return
    twin = request.getfixturevalue("twin_process")
    from bridge.xarm.arm import XArm  # noqa: PLC0415, the SDK reads HOME when it is imported
    from bridge.xarm.config import XArmConfig  # noqa: PLC0415

    with TwinControl(twin.control_port) as control:
        control.reset(3, None)
    yield Rig(XArm(XArmConfig(ip=twin.ip)), MonotonicClock())


def mode(rig: Rig) -> ArmMode:
    return rig.arm.state().status.mode


def test_it_is_a_joint_arm(rig: Rig) -> None:
    assert isinstance(rig.arm, JointArm)


@pytest.mark.parametrize(
    "call",
    [lambda arm: arm.state(), lambda arm: arm.arm(), lambda arm: arm.stream(np.zeros(7), 1.0), lambda arm: arm.stop()],
)
def test_nothing_works_before_it_is_entered(rig: Rig, call: Callable[[JointArm], object]) -> None:
    with pytest.raises(DeviceNotConnected, match="with"):
        call(rig.arm)


def test_entering_links_it_and_moves_nothing_and_following_needs_arming(rig: Rig) -> None:
    with rig.arm as arm:
        before = arm.state()
        assert before.status.mode is ArmMode.IDLE
        with pytest.raises(DeviceFault, match=r"arm it|then arm"):
            arm.stream(before.joint_pos + 0.1, 1.0)
        rig.wait(0.1)
        assert arm.state().joint_pos == pytest.approx(before.joint_pos, abs=2e-3)


def test_arming_moves_nothing_and_the_first_target_is_the_measured_pose(rig: Rig) -> None:
    with rig.arm as arm:
        before = arm.state().joint_pos
        arm.arm()
        assert mode(rig) is ArmMode.READY
        sent = rig.lead(before, 0.1)
        assert sent[0] == pytest.approx(before, abs=2e-3)
        assert arm.state().joint_pos == pytest.approx(before, abs=5e-3)


def test_it_goes_where_it_is_told_and_says_what_it_sent(rig: Rig) -> None:
    with rig.arm as arm:
        arm.arm()
        target = arm.state().joint_pos.copy()
        target[0] += 0.2
        sent = rig.lead(target, 1.0)
        assert sent.shape == (100, 7)
        assert sent[-1] == pytest.approx(target, abs=1e-6)
        rig.until(lambda: np.abs(arm.state().joint_pos - target).max() < 0.01)
        tcp = arm.state()
        assert tcp.tcp_pos_in_base.shape == (3,)
        assert tcp.joint_vel.shape == tcp.joint_effort.shape == (7,)


def test_the_gripper_obeys_and_keeps_when_asked_for_nothing(rig: Rig) -> None:
    with rig.arm as arm:
        arm.arm()
        here = arm.state().joint_pos
        rig.lead(here, 0.3, opening=0.5)
        rig.until(lambda: abs(arm.state().gripper_opening - 0.5) < 0.05)
        rig.lead(here, 0.2, opening=float("nan"))
        assert arm.state().gripper_opening == pytest.approx(0.5, abs=0.05)


def test_a_target_that_is_not_finite_moves_nothing(rig: Rig) -> None:
    with rig.arm as arm:
        arm.arm()
        before = arm.state().joint_pos
        sent = rig.lead(np.full(7, np.nan), 0.1)
        assert np.isfinite(sent).all()
        assert sent[-1] == pytest.approx(before, abs=5e-3)


def test_a_target_of_the_wrong_size_is_refused(rig: Rig) -> None:
    with rig.arm as arm:
        arm.arm()
        with pytest.raises(ContractError, match="shape"):
            arm.stream(np.zeros(3), 1.0)
        assert mode(rig) is ArmMode.READY


def test_holding_is_allowed_at_any_time_and_brings_it_to_rest(rig: Rig) -> None:
    rig.arm.hold()
    with rig.arm as arm:
        arm.hold()
        arm.arm()
        target = arm.state().joint_pos.copy()
        target[0] += 0.5
        rig.lead(target, 0.2)
        arm.hold()
        arm.hold()
        rig.wait(0.5)
        rested = arm.state().joint_pos
        rig.wait(0.2)
        assert arm.state().joint_pos == pytest.approx(rested, abs=2e-3)
        assert mode(rig) is ArmMode.READY


def test_a_stop_is_latched_until_it_cooled_down_and_was_reset_and_then_it_is_only_idle(rig: Rig) -> None:
    with rig.arm as arm:
        arm.arm()
        target = arm.state().joint_pos.copy()
        target[0] += 0.5
        rig.lead(target, 0.15)
        arm.stop()
        assert mode(rig) is ArmMode.STOPPED
        with pytest.raises(DeviceError):
            arm.stream(target, 1.0)
        with pytest.raises(DeviceError):
            arm.arm()
        with pytest.raises(DeviceError):
            arm.reset_stop()
        rig.wait(0.6)
        assert mode(rig) is ArmMode.STOPPED
        arm.reset_stop()
        assert mode(rig) is ArmMode.IDLE
        rested = arm.state().joint_pos
        arm.arm()
        assert rig.lead(rested, 0.05)[0] == pytest.approx(rested, abs=5e-3)


def test_clearing_without_a_fault_changes_nothing(rig: Rig) -> None:
    with rig.arm as arm:
        arm.clear_fault(by_person=True)
        assert mode(rig) is ArmMode.IDLE


def test_leaving_holds_it_where_it_is_and_it_may_be_entered_again(rig: Rig) -> None:
    with rig.arm as arm:
        arm.arm()
        target = arm.state().joint_pos.copy()
        target[0] += 0.3
        rig.lead(target, 0.25, opening=0.4)
        left = arm.state().joint_pos
    with pytest.raises(DeviceNotConnected):
        rig.arm.state()
    with rig.arm as arm:
        again = arm.state()
        assert np.abs(again.joint_pos - left).max() < 0.15
        assert again.status.mode is ArmMode.IDLE
        assert again.gripper_opening == pytest.approx(0.4, abs=0.1)
