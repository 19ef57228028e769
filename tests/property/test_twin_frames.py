"""Frames survive any way of being cut into pieces, poses survive the wire, and no bytes break the register table."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_box import FakeBox
from sim.twin import reports
from sim.twin.attitude import on, rotvec_from_rpy, rpy_from_rotvec, seen_from
from sim.twin.desk import Desk
from sim.twin.gripper_bus import count_from_opening, opening_from_count
from sim.twin.identity import IDENTITIES
from sim.twin.registers import REGISTERS, answer
from sim.twin.wire import Frame, OutOfStep, frames, pose_from_wire, pose_to_wire, reply

FRAMES = st.lists(
    st.builds(Frame, st.integers(0, 65535), st.integers(0, 3), st.integers(0, 255), st.binary(max_size=60)), max_size=8
)
ANGLE = st.floats(-3.1, 3.1)
PITCH = st.floats(-1.5, 1.5)
POSE = st.tuples(*[st.floats(-1.0, 1.0)] * 3, ANGLE, PITCH, ANGLE).map(np.array)


def written(frame):
    return struct.pack(">HHHB", frame.tid, frame.prot, 1 + len(frame.params), frame.fun) + frame.params


@settings(deadline=None)
@given(sent=FRAMES, cuts=st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_requests_come_out_as_they_went_in_however_they_are_cut(sent, cuts):
    data, buffer, got, i = b"".join(map(written, sent)), bytearray(), [], 0
    while data:
        size = cuts[i % len(cuts)]
        buffer += data[:size]
        data, i = data[size:], i + 1
        got += frames(buffer)
    assert got == sent
    assert not buffer


@settings(deadline=None)
@given(data=st.binary(max_size=400))
def test_random_bytes_are_frames_or_out_of_step(data):
    buffer = bytearray(data)
    try:
        taken = list(frames(buffer))
    except OutOfStep:
        return
    assert sum(7 + len(f.params) for f in taken) + len(buffer) <= len(data)


@settings(deadline=None)
@given(frame=st.sampled_from([Frame(1, 2, 42, b""), Frame(65535, 3, 255, b"x")]), payload=st.binary(max_size=300))
def test_a_reply_is_as_long_as_it_says(frame, payload):
    data = reply(frame, 0, payload)
    assert struct.unpack(">HHH", data[:6]) == (frame.tid, frame.prot, len(data) - 6)
    assert data[8:] == payload


@settings(deadline=None)
@given(pose=POSE)
def test_a_pose_survives_the_wire(pose):
    assert np.allclose(pose_from_wire(struct.unpack("<6f", pose_to_wire(pose))), pose, atol=1e-6)


@settings(deadline=None)
@given(rpy=st.tuples(ANGLE, PITCH, ANGLE).map(np.array))
def test_attitudes_survive_being_written_as_a_rotation_vector(rpy):
    again = rotvec_from_rpy(rpy_from_rotvec(rotvec_from_rpy(rpy)))
    difference = np.abs(again - rotvec_from_rpy(rpy)).max()
    assert difference < 1e-6 or np.linalg.norm(again) == pytest.approx(np.pi, abs=1e-3)


@settings(deadline=None)
@given(base=POSE, pose=POSE)
def test_a_pose_seen_from_a_frame_and_put_on_it_is_itself(base, pose):
    again = on(base, seen_from(base, pose))
    assert np.allclose(again[:3], pose[:3], atol=1e-9)
    assert np.allclose(np.cos(again[3:] - pose[3:]), 1.0, atol=1e-6)


@settings(deadline=None)
@given(count=st.integers(0, 850))
def test_gripper_counts_survive_being_an_opening(count):
    assert count_from_opening(opening_from_count(count)) == count


@settings(max_examples=200, deadline=None)
@given(
    firmware=st.sampled_from(sorted(IDENTITIES)),
    calls=st.lists(st.tuples(st.sampled_from(sorted(REGISTERS)), st.binary(max_size=100)), max_size=6),
)
def test_no_parameters_break_a_register_or_a_report(firmware, calls):
    box = FakeBox()
    box.on, box.state = [True] * 7, 2
    desk = Desk(box=box, identity=IDENTITIES[firmware], factory=box.now().settings)
    for fun, params in calls:
        status, result = answer(desk, fun, params)
        assert 0 <= status <= 0xFF
        assert isinstance(result.payload, bytes)
    for report in (reports.real, reports.normal, reports.rich):
        data = report(desk, box.now())
        assert int.from_bytes(data[:4], "big") == len(data)
