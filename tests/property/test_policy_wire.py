"""What is said between policy server and client: exact where it must be, refused where it is not understood."""

from contextlib import suppress

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bridge.policy_terms import PolicyIdentity
from bridge.policy_wire import (
    LARGEST_BYTES,
    VERSION,
    Answer,
    Ask,
    Beat,
    Bye,
    Hello,
    Introduction,
    Pulse,
    Refusal,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from core.clock import ManualClock
from core.errors import BadAnswer
from core.fakes import FakeRobot
from core.flow import ActionChunk, Observation
from core.robots import EE_DELTA

finite = st.floats(allow_nan=False, allow_infinity=False)
times = st.integers(min_value=0, max_value=2**62)


def seen(t_ns: int = 7, px: int = 24) -> Observation:
    rows = np.linspace(0, 255, px * px * 3).reshape(px, px, 3).astype(np.uint8)
    images = {"front": rows, "wrist": 255 - rows}
    with FakeRobot(ManualClock(t_ns), instruction="put the äpple on the plate", images=images) as robot:
        return robot.read()


def ask(obs: Observation) -> Ask:
    return Ask(session="s", number=3, epoch=2, observation=obs)


@given(
    joints=arrays(np.float64, 7, elements=finite),
    wrench=st.none() | arrays(np.float64, 6, elements=finite),
    t_ns=times,
    words=st.text(max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_an_observation_arrives_bit_for_bit(joints, wrench, t_ns, words):
    obs = Observation(
        t_ns=t_ns, joint_pos=joints, joint_vel=-joints, tcp_pos_in_base=joints[:3], gripper_opening=0.3,
        tcp_quat_xyzw_in_base=np.array([0.0, 0.6, 0.0, 0.8]), gripper_command=1.0, wrench_in_tcp=wrench,
        images=seen().images, image_t_ns={"front": t_ns}, instruction=words, fault=words,
    )  # fmt: skip
    got = decode_request(encode_request(ask(obs)))
    assert (got.session, got.number, got.epoch) == ("s", 3, 2)
    for name in Observation.__slots__:
        was, now = getattr(obs, name), getattr(got.observation, name)
        if name == "images":
            assert all((was[c] == now[c]).all() for c in was)
            assert was.keys() == now.keys()
        elif isinstance(was, np.ndarray):
            assert was.tobytes() == now.tobytes()
        else:
            assert was == now


@given(values=arrays(np.float64, st.tuples(st.integers(0, 9), st.integers(0, 9))), t_ns=times)
@settings(max_examples=60, deadline=None)
def test_a_chunk_arrives_bit_for_bit_whatever_it_holds(values, t_ns):
    chunk = ActionChunk(obs_t_ns=t_ns, values=values, dt_s=0.05, policy_id="p@1", features=np.arange(5.0))
    got = decode_reply(encode_reply(Answer(session="s", number=1, chunk=chunk, compute_s=0.01)))
    assert got.chunk.values.shape == values.shape
    assert got.chunk.values.tobytes() == values.tobytes()
    assert (got.chunk.obs_t_ns, got.chunk.features.tolist()) == (t_ns, [0, 1, 2, 3, 4])


def test_jpeg_is_smaller_and_nearly_the_same():
    obs = seen(px=96)
    raw, small = encode_request(ask(obs)), encode_request(ask(obs), "jpeg")
    assert len(small) < len(raw) / 3
    got = decode_request(small).observation
    for camera, image in obs.images.items():
        assert np.abs(got.images[camera].astype(int) - image.astype(int)).mean() < 4.0


IDENTITY = PolicyIdentity(policy_id="p@1", space=EE_DELTA, dt_s=0.05, cameras={"front": (192, 192), "wrist": (0, 0)})
REPLIES = [Introduction(session="a", identity=IDENTITY), Refusal(session="a", number=0, why="no"),
           Pulse(session="a", computing_s=0.5)]  # fmt: skip
REQUESTS = [Hello(), Beat(session="a"), Bye(session="a"), ask(seen())]


def test_small_words_arrive_as_they_were():
    for request in REQUESTS[:3]:
        assert decode_request(encode_request(request)) == request
    for reply in REPLIES[1:]:
        assert decode_reply(encode_reply(reply)) == reply
    assert IDENTITY.difference(decode_reply(encode_reply(REPLIES[0])).identity) == ""


@pytest.mark.parametrize(("field", "value"), [("v", VERSION + 1), ("kind", "dance"), ("surplus", 1), ("session", None)])
def test_what_is_not_understood_is_refused_by_name(field, value):
    changed = msgpack.unpackb(encode_request(REQUESTS[1])) | {field: value}
    with pytest.raises(BadAnswer, match="version 2" if field == "v" else field if value != "dance" else "dance"):
        decode_request(msgpack.packb(changed))


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("observation", "images", "front", "height"), 25, "'front'"),
        (("observation", "joint_pos", "shape"), [8], "joint_pos has shape"),
        (("observation", "gripper_opening"), float("nan"), "finite"),
        (("observation", "gripper_opening"), 7.0, "gripper_opening"),
        (("observation", "tcp_quat_xyzw_in_base"), {"shape": [4], "f64": bytes(32)}, "tcp_quat"),
        (("observation", "t_ns"), 1.5, "expected a int"),
        (("number",), "3", "expected a int"),
    ],
)
def test_a_damaged_request_is_refused_naming_the_field(place, value, words):
    message = msgpack.unpackb(encode_request(ask(seen())))
    inner = message
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    with pytest.raises(BadAnswer, match=words):
        decode_request(msgpack.packb(message))


@given(data=st.binary(max_size=200), cut=st.floats(0.0, 1.0), which=st.integers(0, 6))
@settings(max_examples=300, deadline=None)
def test_noise_and_torn_messages_raise_bad_answer_and_nothing_else(data, cut, which):
    whole = [encode_request(r) for r in REQUESTS] + [encode_reply(r) for r in REPLIES]
    torn = whole[which][: int(cut * (len(whole[which]) - 1))]
    for decode in (decode_request, decode_reply):
        for message in (data, torn):
            with pytest.raises(BadAnswer):
                decode(message)
        with suppress(BadAnswer):  # by chance it may be whole again
            decode(torn + data)


def test_what_is_too_large_is_refused_on_both_sides():
    image = np.zeros((2400, 2400, 3), dtype=np.uint8)
    with FakeRobot(ManualClock(), images={"front": image}) as robot, pytest.raises(BadAnswer, match="allowed are"):
        encode_request(ask(robot.read()))
    with pytest.raises(BadAnswer, match="allowed are"):
        decode_request(bytes(LARGEST_BYTES + 1))
