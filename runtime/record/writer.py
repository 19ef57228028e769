"""A sink that writes an episode as an append-only MCAP file, one flush a step. Opened by `regrasp`.

What it took survives kill -9: nothing is chunked or compressed, and a step counts as committed once its own message,
which follows its images, is whole. Topics: /meta, /step, /outcome and /camera/<name>, all JSON with a schema. The first
three carry a digest chained over everything before them, so what was changed or taken out later is found.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from mcap.writer import CompressionType, Writer

from core.arrays import Image
from core.episodes import EpisodeMeta, Outcome
from core.errors import ArtifactError, ContractError
from core.flow import Step
from runtime.record.codec import dumps
from runtime.record.schema import schema_of

LIBRARY = "regrasp-episode@1"
"""Version of the file's layout, in the MCAP header."""
_IMAGE_SCHEMA = {
    "type": "object",
    "title": "foxglove.CompressedImage",
    "properties": {
        "timestamp": {
            "type": "object",
            "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}},
        },
        "frame_id": {"type": "string"},
        "data": {"type": "string", "contentEncoding": "base64"},
        "format": {"type": "string"},
    },
}
"""Source: Foxglove's CompressedImage message schema, so that its viewer shows the cameras."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeNote:
    """How an episode ended; written last."""

    outcome: Outcome
    note: str = ""
    """Why, for people."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """Figures about the end; every key ends in its unit."""


def next_digest(before: str, text: str) -> str:
    """Returns the digest of a value's text, chained to the one before it, hex; the chain starts with ""."""
    return hashlib.blake2b((before + text).encode(), digest_size=16).hexdigest()


class EpisodeWriter:
    """Writes one episode. Enter it to create the file; leaving closes it.

    Args:
        path: Where; must not exist yet, its folder is made.
        meta: Written first.
        encode: Compresses an image, e.g. to JPEG; None records no images.
        image_format: What `encode` makes, e.g. "jpeg".
        image_every: Images of every so many steps are recorded.
    """

    def __init__(
        self,
        path: Path,
        meta: EpisodeMeta,
        *,
        encode: Callable[[Image], bytes] | None = None,
        image_format: str = "jpeg",
        image_every: int = 1,
    ) -> None:
        if image_every < 1:
            raise ContractError(f"image_every is {image_every} steps; it must be at least 1")
        self._path, self._meta = path, meta
        self._encode, self._format, self._every = encode, image_format, image_every
        self._stream: IO[bytes] | None = None
        self._writer: Writer | None = None
        self._channels: dict[str, int] = {}
        self._digest = ""
        self._last_ns = 0

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._stream = self._path.open("xb")
        except FileExistsError as error:
            raise ArtifactError(f"{self._path} exists already; episodes are never overwritten") from error
        self._writer = Writer(self._stream, use_chunking=False, compression=CompressionType.NONE)
        self._writer.start(profile="", library=LIBRARY)
        for topic, kind in (("/meta", EpisodeMeta), ("/step", Step), ("/outcome", OutcomeNote)):
            self._channels[topic] = self._channel(topic, f"regrasp.{kind.__name__}", _sealed_schema(kind))
        self._seal("/meta", self._meta, 0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def write(self, step: Step) -> None:
        """Takes one step; when this returns the operating system has it.

        Raises:
            ContractError: The writer was not entered, or is closed.
        """
        now_ns = step.arrived.now_ns
        if self._encode is not None and step.index % self._every == 0:
            for camera, image in step.observation.images.items():
                self._add_image(camera, self._encode(image), step.observation.image_t_ns.get(camera, now_ns), now_ns)
        self._seal("/step", step, now_ns)

    def finish(self, outcome: Outcome, note: str = "", facts: Mapping[str, float] | None = None) -> None:
        """Writes how the episode ended; without it the outcome reads back as OPEN.

        Args:
            outcome: How it ended.
            note: Why, for people.
            facts: Figures about the end; every key ends in its unit.
        """
        self._seal("/outcome", OutcomeNote(outcome=outcome, note=note, facts=facts or {}), self._last_ns)

    def close(self) -> None:
        """Writes the index and closes the file; may be called twice."""
        if self._writer is None or self._stream is None:
            return
        writer, stream, self._writer, self._stream = self._writer, self._stream, None, None
        with stream:
            writer.finish()

    def _opened(self) -> tuple[IO[bytes], Writer]:
        if self._stream is None or self._writer is None:
            raise ContractError(f"{self._path} is not open; enter the writer with `with` before writing")
        return self._stream, self._writer

    def _channel(self, topic: str, name: str, schema: bytes) -> int:
        _, writer = self._opened()
        schema_id = writer.register_schema(name=name, encoding="jsonschema", data=schema)
        return int(writer.register_channel(topic=topic, message_encoding="json", schema_id=schema_id))

    def _seal(self, topic: str, value: object, t_ns: int) -> None:
        """Adds a value with its place in the chain of digests, and hands all of it to the operating system."""
        stream, _ = self._opened()
        text = dumps(value)
        self._digest = next_digest(self._digest, text)
        self._add(self._channels[topic], f'{{"digest":"{self._digest}","value":{text}}}', t_ns)
        stream.flush()
        self._last_ns = t_ns

    def _add(self, channel: int, text: str, t_ns: int) -> None:
        _, writer = self._opened()
        writer.add_message(channel_id=channel, log_time=t_ns, publish_time=t_ns, data=text.encode())

    def _add_image(self, camera: str, data: bytes, taken_ns: int, now_ns: int) -> None:
        topic = f"/camera/{camera}"
        if topic not in self._channels:
            schema = json.dumps(_IMAGE_SCHEMA).encode()
            self._channels[topic] = self._channel(topic, "foxglove.CompressedImage", schema)
        message: dict[str, Any] = {
            "timestamp": {"sec": taken_ns // 10**9, "nsec": taken_ns % 10**9},
            "frame_id": camera,
            "format": self._format,
            "data": base64.b64encode(data).decode(),
        }
        self._add(self._channels[topic], json.dumps(message, separators=(",", ":")), now_ns)


def _sealed_schema(kind: type) -> bytes:
    digest = {"type": "string", "description": "blake2b-128 over the digest before and the value's text, hex"}
    properties = {"digest": digest, "value": schema_of(kind)}
    return json.dumps({"type": "object", "title": kind.__name__, "properties": properties}).encode()
