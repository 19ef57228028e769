"""The twin's HTTP control from outside, against a real twin in its own process."""

import time

import numpy as np
import pytest

from bridge.twin_control import TwinControl
from core.errors import DeviceError, DeviceNotConnected
from core.kinematics import HOME_RAD
from regrasp.loopback import free_port

COLLISION = 31
CYCLES = 25
"""So many cycles of the box are waited for."""


@pytest.fixture
def twin(twin_process):
    with TwinControl(twin_process.control_port) as control:
        control.reset(7, None)
        yield control


def wait(what, true, seconds=5.0):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"{what} did not happen"
        time.sleep(0.01)


def test_a_scene_is_laid_out_and_its_arm_put_to_the_start(twin):
    scene = twin.reset(11, None)
    truth = twin.truth()
    assert truth.instruction == scene.instruction != ""
    assert truth.joint_pos == pytest.approx(HOME_RAD, abs=0.02)
    assert (truth.success, truth.physics_reset, truth.injected_at_s) == (False, False, None)
    assert 0.0 <= truth.q_score <= 1.0


def test_the_same_seed_is_the_same_scene_and_another_may_not_be(twin):
    told = [twin.reset(seed, None).instruction for seed in (3, 3, 4, 5, 6, 8)]
    assert told[0] == told[1]
    assert len(set(told)) > 1


def test_a_failure_can_be_armed(twin):
    assert twin.reset(11, "drop").instruction
    assert twin.truth().injected_at_s is None, "it strikes when its time has come, and nothing moved yet"


def test_the_truth_is_on_this_machines_clock_and_time_goes_on_in_both(twin):
    first, before_ns = twin.truth(), time.monotonic_ns()
    assert abs(before_ns - first.t_ns) < 1e9
    wait("simulated time", lambda: twin.truth().time_s > first.time_s + 0.2)
    second = twin.truth()
    passed_s = (second.t_ns - first.t_ns) * 1e-9
    assert second.time_s - first.time_s == pytest.approx(passed_s, rel=0.5)


def test_the_trace_has_every_cycle_since_an_instant(twin):
    since_ns = twin.truth().t_ns
    wait("cycles", lambda: len(twin.trace(since_ns).t_ns) > CYCLES)
    trace = twin.trace(since_ns)
    cycles = len(trace.t_ns)
    assert trace.joint_pos.shape == trace.joint_target.shape == (cycles, 7)
    assert trace.state.shape == trace.error.shape == (cycles,)
    assert trace.t_ns.min() > since_ns
    assert (np.diff(trace.t_ns) > 0).all()
    assert trace.t_ns.dtype == np.int64


def test_a_trace_of_the_future_is_empty_but_has_its_shape(twin):
    trace = twin.trace(time.monotonic_ns() + 10**12)
    assert trace.joint_pos.shape == trace.joint_target.shape == (0, 7)
    assert trace.t_ns.shape == trace.state.shape == (0,)


def test_a_fault_shows_in_truth_and_trace(twin):
    since_ns = twin.truth().t_ns
    twin.fault("collision", 0.0)
    wait("the fault", lambda: twin.truth().error == COLLISION)
    wait("its trace", lambda: COLLISION in twin.trace(since_ns).error)


@pytest.mark.parametrize("fault", ["frozen", "black", "late", "none"])
def test_a_camera_is_broken_and_mended(twin, fault):
    twin.camera("front", fault, 0.01)


@pytest.mark.parametrize(
    ("ask", "named"),
    [
        (lambda twin: twin.fault("colision", 0.0), "collision"),
        (lambda twin: twin.camera("front", "blak", 1.0), "black"),
        (lambda twin: twin.camera("left", "black", 1.0), "front"),
        (lambda twin: twin.reset(-1, None), "seed is -1"),
        (lambda twin: twin.reset(1, "dropp"), "drop"),
        (lambda twin: twin.fault("stall", -1.0), "duration_s"),
    ],
)
def test_what_the_twin_refuses_is_told_with_its_reason_and_the_link_goes_on(twin, ask, named):
    with pytest.raises(DeviceError, match=named) as refused:
        ask(twin)
    assert refused.value.code == 400
    assert not isinstance(refused.value, DeviceNotConnected)
    assert twin.truth().error == 0


def test_without_a_twin_it_says_how_to_start_one():
    with TwinControl(free_port()) as nobody:
        for _ in range(2):
            with pytest.raises(DeviceNotConnected, match="regrasp twin"):
                nobody.truth()
