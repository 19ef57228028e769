"""What the xArm adapter does when the control box fails: measured in the twin's own trace, 200 times a second."""

import threading
import time

import numpy as np
import pytest

from bridge.twin_control import TwinControl
from core.arm import ArmMode, Clearing
from core.errors import DeviceError, DeviceFault

pytestmark = [
    pytest.mark.usefixtures("on_time"),
    # The SDK tells of a mode that changed under a call by a method that Python warns of.
    pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning"),
]
BEAT_S = 0.01
JUMP_RAD = np.radians(1.0)
"""Largest jump that counts as none: target against measured, or target against the target before."""


@pytest.fixture
def control(twin_process):
    with TwinControl(twin_process.control_port) as control:
        control.reset(3, None)
        yield control


@pytest.fixture
def build(twin_process, control):
    """Makes arms on the twin; keyword arguments are the configuration's."""
    from bridge.xarm.arm import XArm  # noqa: PLC0415, the SDK reads HOME when it is imported
    from bridge.xarm.config import XArmConfig  # noqa: PLC0415

    return lambda **changed: XArm(XArmConfig(ip=twin_process.ip, **changed))


@pytest.fixture
def arm(build):
    with build() as arm:
        yield arm


@pytest.fixture
def stranger(twin_process):
    """Another client of the same box."""
    from xarm.wrapper import XArmAPI  # noqa: PLC0415

    other = XArmAPI(twin_process.ip, is_radian=True, forbid_uds=True, check_is_pause=False)
    yield other
    other.disconnect()


def until(reached, seconds=5.0):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.005)


def mode(arm):
    return arm.state().status.mode


def swing(arm, seconds, speed=0.8, at=None):
    """Streams joint 1 to and fro at 100 Hz; calls `at` after a third of the time; returns what ended it, or None."""
    start, due, called = arm.state().joint_pos.copy(), time.monotonic(), at is None
    for i in range(round(seconds / BEAT_S)):
        target = start.copy()
        target[0] += 0.25 * np.sin(speed / 0.25 * i * BEAT_S)
        if not called and i * BEAT_S > seconds / 3:
            called = True
            at()
        try:
            arm.stream(target, 1.0)
        except DeviceError as error:
            return error
        due = max(due + BEAT_S, time.monotonic() - BEAT_S)
        time.sleep(max(0.0, due - time.monotonic()))
    return None


def assert_no_jump(trace):
    """Asserts that neither the box's target nor the arm made a step, beyond what the limits allow in 10 ms."""
    moved = np.abs(trace.joint_pos[2:] - trace.joint_pos[:-2]).max()
    led = np.abs(trace.joint_target[1:] - trace.joint_target[:-1])
    assert moved < np.radians(2.0), f"the arm moved {np.degrees(moved):.2f} degrees in 10 ms"
    assert np.percentile(led, 99.9) < 0.035


def assert_seeded_at_the_measured_pose(trace, since_ns):
    """Asserts that the target never was far from the arm in the 60 ms after it followed again."""
    rows = trace.t_ns >= since_ns
    away = np.abs(trace.joint_target - trace.joint_pos)[rows][:12]
    assert away.max() < JUMP_RAD, f"{np.degrees(away.max()):.2f} degrees between target and arm"


def cleared_by_a_person(arm):
    """Whether a fault could be cleared, which it cannot while its cause lasts."""
    try:
        arm.clear_fault(by_person=True)
    except DeviceFault:
        return False
    return True


def rearm(arm, control):
    """Arms again, streams the measured pose, and asserts that nothing jumped."""
    since = control.truth().t_ns
    arm.arm()
    armed = control.truth().t_ns
    here = arm.state().joint_pos
    assert arm.stream(here, 1.0) == pytest.approx(here, abs=JUMP_RAD / 4)
    time.sleep(0.1)
    trace = control.trace(since)
    assert_seeded_at_the_measured_pose(trace, armed)
    assert_no_jump(trace)
    assert mode(arm) is ArmMode.READY


@pytest.mark.parametrize(("kind", "code"), [("collision", 31), ("self_collision", 22), ("joint_limit", 23)])
def test_a_fault_of_the_automatic_class_stops_it_is_cleared_by_rule_and_it_goes_on_where_it_is(
    arm, control, kind, code
):
    arm.arm()
    began = control.truth().t_ns
    error = swing(arm, 1.5, at=lambda: control.fault(kind, 0.0))
    assert isinstance(error, DeviceFault)
    until(lambda: mode(arm) is ArmMode.FAULT)
    status = arm.state().status
    assert (status.fault_code, status.clearing, status.attempts_left) == (code, Clearing.AUTOMATIC, 3)
    assert_no_jump(control.trace(began))
    arm.clear_fault(by_person=False)
    assert (mode(arm), arm.state().status.attempts_left) == (ArmMode.IDLE, 2)
    rearm(arm, control)


@pytest.mark.parametrize(("kind", "code"), [("estop_button", 1), ("servo", 12), ("end_effector", 19)])
def test_a_fault_that_needs_a_person_is_cleared_by_no_rule(arm, control, kind, code):
    arm.arm()
    assert isinstance(swing(arm, 1.0, at=lambda: control.fault(kind, 0.3)), DeviceFault)
    until(lambda: arm.state().status.fault_code == code)
    with pytest.raises(DeviceFault, match="operator"):
        arm.clear_fault(by_person=False)
    with pytest.raises(DeviceFault):
        arm.arm()
    assert mode(arm) is ArmMode.FAULT
    until(lambda: cleared_by_a_person(arm))
    rearm(arm, control)


def test_a_cause_that_lasts_comes_back_and_the_clearing_says_so(arm, control):
    arm.arm()
    control.fault("collision", 30.0)
    until(lambda: mode(arm) is ArmMode.FAULT)
    with pytest.raises(DeviceFault, match="collision"):
        arm.clear_fault(by_person=False)
    until(lambda: mode(arm) is ArmMode.FAULT)


def test_after_the_budget_only_a_person_clears(build, control):
    with build(clearings=2) as arm:
        for left in (1, 0):
            arm.arm()
            control.fault("collision", 0.0)
            until(lambda: mode(arm) is ArmMode.FAULT)
            arm.clear_fault(by_person=False)
            assert arm.state().status.attempts_left == left
        arm.arm()
        control.fault("collision", 0.0)
        until(lambda: mode(arm) is ArmMode.FAULT)
        with pytest.raises(DeviceFault, match=r"budget.*spent"):
            arm.clear_fault(by_person=False)
        arm.clear_fault(by_person=True)
        assert arm.state().status.attempts_left == 2
        rearm(arm, control)


def test_a_mode_that_drops_without_an_error_ends_the_following_until_it_is_armed_again(arm, control):
    arm.arm()
    error = swing(arm, 1.5, at=lambda: control.fault("mode_drop", 0.0))
    assert error is not None
    until(lambda: mode(arm) is ArmMode.IDLE)
    rearm(arm, control)


def test_a_stall_of_190_ms_is_counted_and_the_stream_goes_on_without_a_burst(arm, control):
    arm.arm()
    began = control.truth().t_ns
    assert swing(arm, 2.0, at=lambda: control.fault("stall", 0.19)) is None
    status = arm.state().status
    assert 1 <= status.stalls <= 2
    assert status.mode is ArmMode.READY
    assert_no_jump(control.trace(began))


def test_an_emergency_stop_reaches_the_controller_on_its_own_line_while_the_stream_goes_on(arm, control):
    arm.arm()
    began, stopped = control.truth().t_ns, []

    def press():
        at = time.perf_counter()
        arm.stop()
        stopped.append(time.perf_counter() - at)

    presser = threading.Timer(0.5, press)
    presser.start()
    assert isinstance(swing(arm, 2.0), DeviceError)
    presser.join()
    assert control.truth().state == 4
    assert stopped[0] < 0.25
    assert mode(arm) is ArmMode.STOPPED
    time.sleep(0.3)
    trace = control.trace(began)
    assert_no_jump(trace)
    assert np.abs(trace.joint_pos[-1] - trace.joint_pos[-20]).max() < 1e-3
    time.sleep(0.3)
    arm.reset_stop()
    rearm(arm, control)


def test_a_stop_during_arming_wins(arm, control):
    presser = threading.Timer(0.15, arm.stop)
    presser.start()
    with pytest.raises(DeviceFault, match="stop"):
        arm.arm()
    presser.join()
    assert mode(arm) is ArmMode.STOPPED
    until(lambda: control.truth().state == 4)


def test_hold_brakes_within_the_limits_and_keeps_the_arm_there(arm, control):
    arm.arm()
    began = control.truth().t_ns
    assert swing(arm, 0.3, speed=1.2) is None
    arm.hold()
    time.sleep(0.6)
    trace = control.trace(began)
    assert_no_jump(trace)
    assert np.abs(trace.joint_pos[-1] - trace.joint_pos[-40]).max() < 2e-3
    assert np.abs(trace.joint_target[-1] - trace.joint_pos[-1]).max() < JUMP_RAD
    assert mode(arm) is ArmMode.READY


@pytest.mark.parametrize("kind", ["unplug", "power_cycle"])
def test_a_lost_link_is_offline_holds_and_after_linking_again_it_needs_to_be_armed(build, control, kind):
    arm = build()
    with arm:
        arm.arm()
        began = control.truth().t_ns
        error = swing(arm, 3.0, at=lambda: control.fault(kind, 1.0))
        assert isinstance(error, DeviceError)
        until(lambda: mode(arm) is ArmMode.OFFLINE)
        with pytest.raises(DeviceError):
            arm.stream(arm.state().joint_pos, 1.0)
        assert_no_jump(control.trace(began))
        resting = control.truth().joint_pos
        time.sleep(0.2)
        assert control.truth().joint_pos == pytest.approx(resting, abs=2e-3)

    def linked():
        try:
            arm.__enter__()
        except DeviceError:
            return False
        return True

    until(linked, seconds=20.0)
    try:
        assert mode(arm) is ArmMode.IDLE
        rearm(arm, control)
    finally:
        arm.__exit__(None, None, None)


def test_a_box_whose_safety_somebody_changed_does_not_move(arm, control, stranger):
    assert stranger.set_collision_sensitivity(1) == 0
    with pytest.raises(DeviceFault, match="collision_sensitivity is 1, wanted 3"):
        arm.arm()
    assert mode(arm) is ArmMode.IDLE
    assert stranger.set_collision_sensitivity(3) == 0
    assert stranger.set_reduced_mode(False) == 0
    with pytest.raises(DeviceFault, match="reduced is False"):
        arm.arm()
    assert stranger.set_reduced_mode(True) == 0
    rearm(arm, control)


def test_linking_sets_every_safety_setting_and_says_what_was_read_back(arm, stranger):
    details = arm.state().status.details
    assert details["safety collision sensitivity"] == "3"
    assert details["safety fence"] == details["safety reduced mode"] == "on"
    reduced = stranger.get_reduced_states()[1]
    assert reduced[0] == 1
    assert reduced[1] == [860, 60, 550, -550, 820, -30]
    assert reduced[2] == pytest.approx(1000.0)
    assert reduced[5] == 1


def test_a_read_only_arm_measures_and_touches_nothing(build, control, stranger):
    assert stranger.set_collision_sensitivity(5) == 0
    until(lambda: control.truth().state != 1)
    before = control.truth()
    with build(readonly=True) as arm:
        assert arm.state().status.details["safety collision sensitivity"] == "5"
        for call in (arm.arm, lambda: arm.clear_fault(by_person=True)):
            with pytest.raises(DeviceFault, match="read-only"):
                call()
        with pytest.raises(DeviceFault):
            arm.stream(arm.state().joint_pos, 1.0)
        arm.hold()
    after = control.truth()
    assert (after.state, after.mode) == (before.state, before.mode)
    assert after.joint_pos == pytest.approx(before.joint_pos, abs=2e-3)


def test_the_online_mode_follows_too(build, control):
    with build(motion="online") as arm:
        arm.arm()
        target = arm.state().joint_pos.copy()
        target[0] += 0.2
        for _ in range(120):
            arm.stream(target, 1.0)
            time.sleep(BEAT_S)
        until(lambda: np.abs(arm.state().joint_pos - target).max() < 0.01)
        assert control.truth().mode == 6


def test_nobody_there_is_said_within_bounds(build):
    from bridge.xarm.arm import XArm  # noqa: PLC0415
    from bridge.xarm.config import XArmConfig  # noqa: PLC0415

    began = time.monotonic()
    with pytest.raises(DeviceError, match="reached"), XArm(XArmConfig(ip="127.9.9.9", connect_attempts=2)):
        pass
    assert time.monotonic() - began < 10.0
