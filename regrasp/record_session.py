"""One episode at the recorder: takes records out of the shared memory and writes them. Used by `nodes.recorder`.

However the other side ends, the file is finished properly: with the outcome it gave, or as ABORTED when it died.
"""

import logging
import os
import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from core.arrays import Image
from core.episodes import EpisodeMeta, Outcome
from core.errors import ArtifactError, BadAnswer, RegraspError
from core.flow import Step
from regrasp.record_ring import RecordRing, Word
from regrasp.record_words import LARGEST_BYTES, WAKE, Begin, Closed, Failed, Finish, Opened, Said, decode, encode
from runtime.record.codec import loads
from runtime.record.writer import EpisodeWriter, OutcomeNote

log = logging.getLogger(__name__)

_AT_ONCE = 8
"""Records written before other sessions have their turn."""
_MB = 1 << 20


class RecordSession:
    """One connection of a sink.

    Args:
        link: The connected socket; closed with the session.
        encode_image: Compresses an image, to JPEG.
        free_mb: An episode is not begun with less room on the disk [MB].
    """

    def __init__(self, link: socket.socket, encode_image: Callable[[Image], bytes], *, free_mb: int) -> None:
        self._link, self._encode_image, self._free_mb = link, encode_image, free_mb
        self._file = ExitStack()
        self._ring: RecordRing | None = None
        self._writer: EpisodeWriter | None = None
        self._path = Path()
        self._kept = 0
        self.over = False
        """Whether nothing more can come; `close` it then."""

    def hear(self) -> None:
        """Takes in what the sink says; call it when its socket is readable."""
        while not self.over:
            try:
                data, fds, _, _ = socket.recv_fds(self._link, LARGEST_BYTES, 1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionError:
                data, fds = b"", []
            if data == WAKE:
                continue
            self._guard(partial(self._heed, data, fds))

    def work(self) -> bool:
        """Writes some of what waits; returns whether more does."""
        ring = self._ring
        if ring is None:
            return False
        self._guard(partial(self._write_some, ring))
        return self._ring is not None and ring.word(Word.PUT_BYTES) > ring.word(Word.TAKEN_BYTES)

    def abort(self, why: str) -> None:
        """Writes all that waits and finishes the episode as ABORTED, if one is open.

        Args:
            why: For people.
        """
        while self.work():
            pass
        if self._writer is not None:
            note = OutcomeNote(outcome=Outcome.ABORTED, note=why)
            self._guard(partial(self._complete, Finish(steps=self._kept, outcome=note)))
            log.warning("episode %s aborted after %d steps: %s", self._path, self._kept, why)

    def close(self) -> None:
        """Closes file, memory and socket."""
        self._shut()
        self._link.close()
        self.over = True

    def _heed(self, data: bytes, fds: list[int]) -> None:
        if not data:
            self.over = True
            self.abort("the process that wrote it ended without a word")
            return
        with ExitStack() as unused:
            for fd in fds:
                unused.callback(os.close, fd)
            said = decode(data)
            if isinstance(said, Begin) and self._ring is None and len(fds) == 1:
                ring = RecordRing(fds[0])
                unused.pop_all()
                self._ring = self._file.enter_context(ring)
                self._begin(said.path)
            elif isinstance(said, Finish) and self._writer is not None:
                while self.work():
                    pass
                self._complete(said)
            else:
                raise BadAnswer(f"{type(said).__name__} was not expected now")

    def _begin(self, path: Path) -> None:
        self._path = path
        self._path.parent.mkdir(parents=True, exist_ok=True)
        free_mb = shutil.disk_usage(self._path.parent).free // _MB
        if free_mb < self._free_mb:
            raise ArtifactError(f"only {free_mb} MB are free at {self._path.parent}; {self._free_mb} MB are wanted")
        assert self._ring is not None
        record = self._ring.peek()
        if record is None:
            raise BadAnswer("the episode's meta is not in the memory")
        self._writer = EpisodeWriter(self._path, loads(EpisodeMeta, record[0]), encode=self._encode_image)
        self._writer.__enter__()
        self._ring.take()
        self._say(Opened())
        log.info("episode %s begins", self._path)

    def _write_some(self, ring: RecordRing) -> None:
        for _ in range(_AT_ONCE):
            record = ring.peek()
            if record is None or self._writer is None:
                return
            text, images = record
            step = loads(Step, text)
            self._writer.write(replace(step, observation=replace(step.observation, images=images)))
            ring.take()
            self._kept += 1
            ring.advance(Word.KEPT, self._kept)

    def _complete(self, finish: Finish) -> None:
        writer, note = self._writer, finish.outcome
        if writer is None:
            return
        lost = finish.steps - self._kept
        if note is not None:
            counts = {"written_steps": float(finish.steps), "recorded_steps": float(self._kept)}
            writer.finish(note.outcome, note.note, {**note.facts, **counts})
        writer.close()
        self._writer = None
        _to_disk(self._path)
        if lost:
            raise ArtifactError(f"{lost} of {finish.steps} steps never arrived")
        self._say(Closed(steps=self._kept))
        log.info("episode %s is on disk with %d steps", self._path, self._kept)

    def _guard(self, act: Callable[[], None]) -> None:
        """Does something; whatever goes wrong ends this episode, is told to the sink, and harms no other."""
        try:
            act()
        except (RegraspError, OSError, ValueError) as error:
            log.error("episode %s failed after %d steps: %s", self._path, self._kept, error)
            self._say(Failed(why=f"{self._path} could not be written: {error}"))
            self._shut()

    def _shut(self) -> None:
        """Closes file and memory; what cannot be written any more is left out, what was kept stays readable."""
        writer, self._writer, self._ring = self._writer, None, None
        if writer is not None:
            self._file.callback(writer.close)
        try:
            self._file.close()
        except OSError as error:
            log.error("episode %s could not be closed: %s", self._path, error)

    def _say(self, said: Said) -> None:
        try:
            self._link.send(encode(said), socket.MSG_DONTWAIT)
        except (BlockingIOError, ConnectionError) as error:
            log.warning("the sink of %s does not listen: %r", self._path, error)


def _to_disk(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
