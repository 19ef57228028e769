"""What a policy server and its client say to one another: versioned msgpack maps, one a ZeroMQ message.

A client says Hello and hears the Identity; then it sends an Ask for each observation and a Beat now and then, and hears
an Answer, a Refusal or a Pulse. Every reply carries the server's session, drawn anew at each start, so that a restarted
server is noticed at its first word. Called by `bridge.policy_server` and `bridge.remote_policy`; nothing is pickled.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np

from bridge.policy_terms import Packing, PolicyIdentity
from bridge.wire_fields import Fields, array_fields, pack, unpack
from core.arrays import Image
from core.errors import BadAnswer, ContractError
from core.flow import ActionChunk, Observation
from core.robots import ActionSpace

M = TypeVar("M")

VERSION = 1
"""Of everything below; another one is refused, never guessed at."""
LARGEST_BYTES = 16 << 20
"""Largest message either side takes: eight cameras of 640 x 480 fit."""
JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Client: who are you?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Client: a chunk for this observation, please."""

    session: str
    number: int
    """Grows with each request; only the answer to the newest counts."""
    epoch: int
    """Grows with each reset of the client; the server resets its policy before it computes for a new one."""
    observation: Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """Client: are you there?"""

    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """Client: another may have my place."""

    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """Server: this is what I serve."""

    session: str
    identity: PolicyIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Server: the chunk."""

    session: str
    number: int
    chunk: ActionChunk
    compute_s: float
    """How long the policy took [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Server: not this, and why."""

    session: str
    number: int
    """Of the request, 0 when it is not about one."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """Server: I am here."""

    session: str
    computing_s: float
    """How long it has been computing the present request [s], 0 when it is idle."""


Request = Hello | Ask | Beat | Bye
Reply = Introduction | Answer | Refusal | Pulse


def encode_request(request: Request, packing: Packing = "raw") -> bytes:
    """Returns a client's message; raises `BadAnswer` when it would be too large."""
    match request:
        case Hello():
            return _sealed("hello", {})
        case Beat():
            return _sealed("beat", {"session": request.session})
        case Bye():
            return _sealed("bye", {"session": request.session})
        case Ask():
            packed = _observation_fields(request.observation, packing)
            head = {"session": request.session, "number": request.number, "epoch": request.epoch}
            return _sealed("ask", head | {"observation": packed})


def encode_reply(reply: Reply) -> bytes:
    """Returns a server's message; raises `BadAnswer` when it would be too large."""
    head: dict[str, object] = {"session": reply.session}
    match reply:
        case Introduction():
            return _sealed("identity", head | _identity_fields(reply.identity))
        case Answer():
            rest = {"number": reply.number, "compute_s": reply.compute_s, "chunk": _chunk_fields(reply.chunk)}
            return _sealed("answer", head | rest)
        case Refusal():
            return _sealed("refusal", head | {"number": reply.number, "why": reply.why[:2000]})
        case Pulse():
            return _sealed("pulse", head | {"computing_s": reply.computing_s})


def decode_request(data: bytes) -> Request:
    """Returns what a client said; raises `BadAnswer` naming what is wrong with it."""
    return _decoded(data, _REQUESTS)


def decode_reply(data: bytes) -> Reply:
    """Returns what a server said; raises `BadAnswer` naming what is wrong with it."""
    return _decoded(data, _REPLIES)


def _sealed(kind: str, body: Mapping[str, object]) -> bytes:
    return pack({"v": VERSION, "kind": kind, **body}, LARGEST_BYTES)


def _decoded(data: bytes, kinds: Mapping[str, Callable[[Fields], M]]) -> M:
    fields = unpack(data, LARGEST_BYTES)
    version = fields.whole("v")
    if version != VERSION:
        raise BadAnswer(f"protocol version {version}; this side speaks {VERSION}; run the same release on both")
    kind = fields.text("kind")
    if kind not in kinds:
        raise BadAnswer(f"message kind {kind[:40]!r}; allowed: {', '.join(kinds)}")
    try:
        message = kinds[kind](fields)
    except ContractError as error:
        raise BadAnswer(f"{kind}: {error}") from error
    fields.end()
    return message


def _identity_fields(identity: PolicyIdentity) -> dict[str, object]:
    space = identity.space
    return {
        "policy_id": identity.policy_id, "names": list(space.names), "units": list(space.units),
        "low": array_fields(space.low), "high": array_fields(space.high), "period_s": space.dt_s,
        "dt_s": identity.dt_s, "cameras": {name: list(size) for name, size in identity.cameras.items()},
    }  # fmt: skip


def _introduction(fields: Fields) -> Introduction:
    space = ActionSpace(
        names=fields.texts("names"), units=fields.texts("units"), low=fields.array("low"), high=fields.array("high"),
        dt_s=fields.number("period_s"),
    )  # fmt: skip
    cameras = fields.inside("cameras")
    identity = PolicyIdentity(
        policy_id=fields.text("policy_id"), space=space, dt_s=fields.number("dt_s"),
        cameras={name: _size(name, cameras.wholes(name)) for name in cameras.names()},
    )  # fmt: skip
    return Introduction(session=fields.text("session"), identity=identity)


def _size(camera: str, size: tuple[int, ...]) -> tuple[int, int]:
    if len(size) != 2 or min(size) < 0:
        raise BadAnswer(f"size of camera {camera!r} is {size}; expected height and width [px]")
    return size[0], size[1]


def _chunk_fields(chunk: ActionChunk) -> dict[str, object]:
    return {
        "obs_t_ns": chunk.obs_t_ns, "values": array_fields(chunk.values), "dt_s": chunk.dt_s,
        "policy_id": chunk.policy_id, "features": array_fields(chunk.features),
    }  # fmt: skip


def _answer(fields: Fields) -> Answer:
    packed = fields.inside("chunk")
    chunk = ActionChunk(
        obs_t_ns=packed.whole("obs_t_ns"), values=packed.array("values"), dt_s=packed.number("dt_s"),
        policy_id=packed.text("policy_id"), features=packed.array("features"),
    )  # fmt: skip
    packed.end()
    return Answer(
        session=fields.text("session"), number=fields.whole("number"), chunk=chunk, compute_s=fields.number("compute_s")
    )


def _observation_fields(obs: Observation, packing: Packing) -> dict[str, object]:
    return {
        "t_ns": obs.t_ns,
        "joint_pos": array_fields(obs.joint_pos),
        "joint_vel": array_fields(obs.joint_vel),
        "tcp_pos_in_base": array_fields(obs.tcp_pos_in_base),
        "tcp_quat_xyzw_in_base": array_fields(obs.tcp_quat_xyzw_in_base),
        "gripper_opening": obs.gripper_opening,
        "gripper_command": obs.gripper_command,
        "wrench_in_tcp": None if obs.wrench_in_tcp is None else array_fields(obs.wrench_in_tcp),
        "images": {camera: _image_fields(image, packing) for camera, image in obs.images.items()},
        "image_t_ns": dict(obs.image_t_ns),
        "instruction": obs.instruction,
        "fault": obs.fault,
    }


def _ask(fields: Fields) -> Ask:
    packed = fields.inside("observation")
    images, times = packed.inside("images"), packed.inside("image_t_ns")
    obs = Observation(
        t_ns=packed.whole("t_ns"),
        joint_pos=packed.array("joint_pos"),
        joint_vel=packed.array("joint_vel"),
        tcp_pos_in_base=packed.array("tcp_pos_in_base"),
        tcp_quat_xyzw_in_base=packed.array("tcp_quat_xyzw_in_base"),
        gripper_opening=packed.number("gripper_opening"),
        gripper_command=packed.number("gripper_command"),
        wrench_in_tcp=None if packed.empty("wrench_in_tcp") else packed.array("wrench_in_tcp"),
        images={camera: _image(images.inside(camera), camera) for camera in images.names()},
        image_t_ns={camera: times.whole(camera) for camera in times.names()},
        instruction=packed.text("instruction"),
        fault=packed.text("fault"),
    )
    packed.end()
    return Ask(
        session=fields.text("session"), number=fields.whole("number"), epoch=fields.whole("epoch"), observation=obs
    )


def _image_fields(image: Image, packing: Packing) -> dict[str, object]:
    height, width = image.shape[:2]
    if packing == "raw":
        return {
            "height": height,
            "width": width,
            "format": packing,
            "data": np.ascontiguousarray(image).data.cast("B"),
        }
    sound, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not sound:
        raise BadAnswer(f"image {image.dtype} {image.shape} cannot be encoded as JPEG; send uint8 (H, W, 3)")
    return {"height": height, "width": width, "format": packing, "data": data.tobytes()}


def _image(fields: Fields, camera: str) -> Image:
    shape = (fields.whole("height"), fields.whole("width"), 3)
    kind, data = fields.text("format"), fields.blob("data")
    fields.end()
    if kind == "raw" and min(shape) > 0 and len(data) == shape[0] * shape[1] * 3:
        return np.frombuffer(data, dtype=np.uint8).reshape(shape)
    if kind == "jpeg":
        found = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR) if data else None
        if found is not None and found.shape == shape:
            return np.ascontiguousarray(found[..., ::-1], dtype=np.uint8)
    raise BadAnswer(
        f"image of {camera!r}: {len(data)} bytes of {kind[:20]!r} are not {shape[0]} x {shape[1]} px of RGB"
    )


_REQUESTS: Mapping[str, Callable[[Fields], Request]] = {
    "hello": lambda _: Hello(),
    "ask": _ask,
    "beat": lambda f: Beat(session=f.text("session")),
    "bye": lambda f: Bye(session=f.text("session")),
}
_REPLIES: Mapping[str, Callable[[Fields], Reply]] = {
    "identity": _introduction,
    "answer": _answer,
    "refusal": lambda f: Refusal(session=f.text("session"), number=f.whole("number"), why=f.text("why")),
    "pulse": lambda f: Pulse(session=f.text("session"), computing_s=f.number("computing_s")),
}
