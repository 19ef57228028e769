"""Reads episodes back, also those whose recorder was killed. Called by `regrasp replay`, `report` and `learn`."""

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.exceptions import EndOfFile, McapError
from mcap.records import Channel, Footer, Header, Message, Statistics
from mcap.stream_reader import StreamReader

from core.episodes import Episode, EpisodeMeta, Outcome
from core.errors import ArtifactError, unknown_name
from core.flow import Step
from runtime.record.codec import loads
from runtime.record.writer import LIBRARY, OutcomeNote, next_digest

_MAGIC = b"\x89MCAP0\r\n"
_LARGEST = 1 << 28
"""No record of ours is larger [bytes]."""
_HEAD = '{"digest":"'
_DIGEST = 32
"""Hexadecimal digits of a digest."""
_MIDDLE = '","value":'
_CAMERA = "/camera/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One recorded camera image, still compressed."""

    camera: str
    t_ns: int
    """Capture time [ns]."""
    format: str
    """E.g. "jpeg"."""
    data: bytes


def read_episode(path: Path) -> Episode:
    """Returns an episode without its images, up to its last committed step.

    Args:
        path: An MCAP file written by `EpisodeWriter`, closed or not.

    Raises:
        ArtifactError: No such file, not ours, or damaged; says where.
    """
    meta: EpisodeMeta | None = None
    steps, outcome, digest = list[Step](), Outcome.OPEN, ""
    for topic, text in _texts(path):
        if topic.startswith(_CAMERA):
            continue
        digest, value = _checked(path, topic, len(steps), digest, text)
        if topic == "/meta":
            meta = loads(EpisodeMeta, value)
        elif topic == "/step":
            steps.append(_indexed(path, len(steps), loads(Step, value)))
        else:
            outcome = loads(OutcomeNote, value).outcome
    if meta is None:
        raise ArtifactError(f"{path} holds no /meta: it is foreign, or its recorder was killed before the first step")
    return Episode(meta=meta, steps=tuple(steps), outcome=outcome)


def read_frames(path: Path, camera: str) -> Iterator[Frame]:
    """Yields the recorded images of one camera, oldest first.

    Raises:
        ArtifactError: No such file, not ours, or damaged.
        ConfigError: That camera was not recorded.
    """
    cameras = set()
    for topic, text in _texts(path):
        if not topic.startswith(_CAMERA):
            continue
        cameras.add(topic.removeprefix(_CAMERA))
        if topic == _CAMERA + camera:
            yield _frame(camera, text)
    if camera not in cameras:
        raise unknown_name("recorded camera", camera, cameras)


def _frame(camera: str, text: str) -> Frame:
    message = json.loads(text)
    taken = message["timestamp"]
    return Frame(
        camera=camera,
        t_ns=taken["sec"] * 10**9 + taken["nsec"],
        format=message["format"],
        data=base64.b64decode(message["data"]),
    )


def _checked(path: Path, topic: str, count: int, before: str, text: str) -> tuple[str, str]:
    """Returns digest and value of a sealed message, or says at which step the record was altered."""
    value_at = len(_HEAD) + _DIGEST + len(_MIDDLE)
    digest, value = text[len(_HEAD) : len(_HEAD) + _DIGEST], text[value_at:-1]
    if next_digest(before, value) != digest:
        where = f"step {count}" if topic == "/step" else f"{topic} after {count} steps"
        raise ArtifactError(
            f"{path}: {where} does not match its digest: it, or what came before it, was changed or taken out"
        )
    return digest, value


def _indexed(path: Path, count: int, step: Step) -> Step:
    if step.index != count:
        raise ArtifactError(f"{path}: step {count} is missing; the next one recorded is {step.index}")
    return step


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """Yields topic and text of every whole message."""
    topics: dict[int, str] = {}
    count = 0
    for record in _records(path):
        if isinstance(record, Header) and record.library != LIBRARY:
            raise ArtifactError(f"{path} was written by {record.library!r}; expected {LIBRARY!r}")
        if isinstance(record, Channel):
            topics[record.id] = record.topic
        elif isinstance(record, Message):
            count += 1
            yield _known(path, topics.get(record.channel_id, "")), _utf8(path, record.data)
        elif isinstance(record, Statistics) and record.message_count != count:
            raise ArtifactError(f"{path} is damaged: it holds {count} messages of {record.message_count} written")


def _known(path: Path, topic: str) -> str:
    if topic not in ("/meta", "/step", "/outcome") and not topic.startswith(_CAMERA):
        raise ArtifactError(f"{path} is foreign or damaged: a message has the topic {topic!r}")
    return topic


def _utf8(path: Path, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path} is damaged: a message is not UTF-8 ({error})") from error


def _records(path: Path) -> Iterator[Any]:
    """Yields records up to the end, or up to a torn last one when the file was never closed."""
    if not path.is_file():
        raise ArtifactError(f"no episode at {path}; record one with `regrasp run --out`")
    size, closed = path.stat().st_size, _is_closed(path)
    with path.open("rb") as stream:
        try:
            for record in StreamReader(stream, record_size_limit=_LARGEST).records:
                yield record
                if isinstance(record, Footer):
                    return
        except (EndOfFile, struct.error) as error:
            if closed or stream.tell() < size:
                raise ArtifactError(f"{path} is damaged near byte {stream.tell()} of {size}") from error
        except (McapError, UnicodeDecodeError, MemoryError) as error:
            raise ArtifactError(f"{path} is damaged near byte {stream.tell()} of {size}: {error}") from error


def _is_closed(path: Path) -> bool:
    """Whether the file ends as a finished one does; raises `ArtifactError` when it does not begin as one."""
    with path.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise ArtifactError(f"{path} is not an MCAP file")
        stream.seek(-len(_MAGIC), 2)
        return stream.tell() > 0 and stream.read() == _MAGIC
