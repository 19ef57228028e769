"""A sink whose writing is done by the recorder process; the beat's process only copies into memory. Opened by `live`.

A step that `write` took is in memory the recorder shares, so it survives this process's kill -9. When the recorder is
gone, hangs, fails or falls too far behind, `write` raises `DeviceError` and the loop holds the arm: what is not
recorded does not run.
"""

import logging
import select
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from core.arrays import in_range
from core.episodes import EpisodeMeta, Outcome
from core.errors import BadAnswer, ContractError, DeviceError, DeviceFault, DeviceNotConnected, DeviceTimeout
from core.flow import Step
from regrasp.record_ring import RecordRing, Word, new_memory
from regrasp.record_words import LARGEST_BYTES, WAKE, Begin, Closed, Failed, Finish, Opened, Said, decode, encode
from runtime.record.codec import dumps
from runtime.record.writer import OutcomeNote

log = logging.getLogger(__name__)

_DEVICE = "recorder"
_LOOK_S = 0.02
_GONE = "look at the recorder's log, start it again, then start a new episode"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSinkConfig:
    """How far a recorder may fall behind and how long it is waited for, outside the beat."""

    buffer_mb: int = 32
    """Memory for steps that are not on disk yet [MB]; two 192 px images fill it in 7 s."""
    lag_s: float = 3.0
    """A recorder that keeps nothing for so long while steps wait is given up [s]."""
    open_s: float = 5.0
    """Entering waits this long for the file [s]."""
    finish_s: float = 5.0
    """Finishing waits this long until all is on disk [s]."""

    def __post_init__(self) -> None:
        in_range("buffer_mb [MB]", self.buffer_mb, 1, 4096)
        in_range("lag_s [s]", self.lag_s, 0.1, 60.0)
        in_range("open_s [s]", self.open_s, 0.1, 60.0)
        in_range("finish_s [s]", self.finish_s, 0.1, 60.0)


class RemoteSink:
    """A `core.ports.Sink` for one episode. Entering makes the file, leaving finishes it; neither belongs in a beat.

    Args:
        recorder: Path of the recorder's socket.
        path: Where the episode goes; must not exist yet.
        meta: Written first.
        config: Bounds; the usual ones when None.
    """

    def __init__(
        self, recorder: str | Path, path: Path, meta: EpisodeMeta, config: RemoteSinkConfig | None = None
    ) -> None:
        self._recorder, self._path, self._meta = Path(recorder), path.absolute(), meta
        self._config = config or RemoteSinkConfig()
        self._open = ExitStack()
        self._socket: socket.socket | None = None
        self._ring: RecordRing | None = None
        self._problem: DeviceError | None = None
        self._closed: Closed | None = None
        self._finishing = False
        self._moved_ns = self._kept = 0
        self.written = 0
        """Steps it took."""

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            fd = new_memory(self._config.buffer_mb << 20)
            ring = opened.enter_context(RecordRing(fd))
            self._socket = opened.enter_context(self._connected())
            if not ring.put(dumps(self._meta).encode(), {}):
                raise ContractError(f"the episode's meta is larger than the buffer of {self._config.buffer_mb} MB")
            self._ring = ring
            socket.send_fds(self._socket, [encode(Begin(path=self._path))], [fd])
            self._await(Opened, self._config.open_s)
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.close()
        except DeviceError as second:
            if error is None:
                raise
            log.error("the recording ended badly as well: %s", second)

    @property
    def kept(self) -> int:
        """Steps that are on disk."""
        return self._kept if self._ring is None else self._ring.word(Word.KEPT)

    def write(self, step: Step) -> None:
        """Takes one step; never waits. What it took survives this process's kill -9.

        Raises:
            DeviceError: The recorder is gone, failed or too far behind; the step was not taken.
            ContractError: Not entered, or finished.
        """
        ring, link = self._entered()
        while self._hear(link) is not None:
            pass
        self._watch_lag(ring)
        if self._problem is not None:
            raise self._problem
        if not ring.put(dumps(step).encode(), step.observation.images):
            self._problem = DeviceTimeout(
                f"its buffer of {self._config.buffer_mb} MB is full; {self._counts()}", device=_DEVICE, remedy=_GONE
            )
            raise self._problem
        self.written += 1
        ring.advance(Word.PUT, self.written)
        with suppress(BlockingIOError, ConnectionError):  # it has enough to wake up to, or is gone: heard next time
            link.send(WAKE, socket.MSG_DONTWAIT)

    def finish(self, outcome: Outcome, note: str = "", facts: Mapping[str, float] | None = None) -> None:
        """Says how the episode ended, and waits until every step is on disk.

        Args:
            outcome: How it ended.
            note: Why, for people.
            facts: Figures about the end; every key ends in its unit.

        Raises:
            DeviceError: Not every step that was taken is on disk; says how many are.
        """
        self._end(OutcomeNote(outcome=outcome, note=note, facts=facts or {}))

    def close(self) -> None:
        """Ends the recording, without an outcome if none was given; may be called twice.

        Raises:
            DeviceError: Not every step that was taken is on disk, and nobody was told yet.
        """
        if self._ring is None:
            return
        told = self._problem is not None
        try:
            if self._closed is None:
                self._end(None)
        except DeviceError:
            if not told:
                raise
        finally:
            self._kept, self._ring, self._socket = self.kept, None, None
            self._open.close()

    def settle(self, timeout_s: float) -> bool:
        """Waits until every step is on disk, for callers that have the time; returns whether it is.

        Args:
            timeout_s: How long at most [s].
        """
        until = time.monotonic() + timeout_s
        while self.kept < self.written and self._problem is None and time.monotonic() < until:
            _, link = self._entered()
            select.select([link], [], [], _LOOK_S)
            self._hear(link)
        return self.kept == self.written

    def _end(self, outcome: OutcomeNote | None) -> None:
        _, link = self._entered()
        if self._closed is not None:
            raise ContractError(f"{self._path} was finished already")
        self._finishing = True
        if self._problem is None:
            select.select([], [link], [], self._config.finish_s)
            with suppress(BlockingIOError, ConnectionError):  # what it said last, or that it is gone, is heard next
                link.send(encode(Finish(steps=self.written, outcome=outcome)))
            self._await(Closed, self._config.finish_s)
        if self._problem is not None:
            raise self._problem

    def _entered(self) -> tuple[RecordRing, socket.socket]:
        if self._ring is None or self._socket is None:
            raise ContractError(f"{self._path} is not being recorded; enter the sink with `with` before writing")
        return self._ring, self._socket

    def _connected(self) -> socket.socket:
        until = time.monotonic() + self._config.open_s
        while True:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            link.settimeout(self._config.open_s)
            try:
                link.connect(str(self._recorder))
                link.setblocking(False)
                return link
            except OSError as error:
                link.close()
                if time.monotonic() > until:
                    raise DeviceNotConnected(
                        f"no recorder at {self._recorder}: {error}", device=_DEVICE,
                        remedy="start one with `python -m regrasp.nodes.recorder`",
                    ) from error  # fmt: skip
                time.sleep(_LOOK_S)

    def _await(self, wanted: type[Said], timeout_s: float) -> None:
        """Waits for one message; raises the problem that came instead of it."""
        assert self._socket is not None
        until = time.monotonic() + timeout_s
        while self._problem is None and time.monotonic() < until:
            select.select([self._socket], [], [], max(0.0, until - time.monotonic()))
            if self._hear(self._socket) is wanted:
                return
        if self._problem is None:
            self._problem = DeviceTimeout(
                f"no word within {timeout_s} s; {self._counts()}", device=_DEVICE, remedy=_GONE
            )
        raise self._problem

    def _hear(self, link: socket.socket) -> type[Said] | None:
        """Reads one message if there is one; never waits. Returns its kind, and notes a problem it tells of."""
        try:
            data = link.recv(LARGEST_BYTES, socket.MSG_DONTWAIT)
            said = decode(data) if data else None
        except BlockingIOError:
            return None
        except ConnectionError:
            said = None
        except BadAnswer as error:
            said = Failed(why=str(error))
        if isinstance(said, Closed):
            self._closed = said
        if isinstance(said, Failed):
            self._problem = DeviceFault(f"{said.why}; {self._counts()}", device=_DEVICE, remedy=_GONE)
        elif self._problem is None and (said is None or (isinstance(said, Closed) and not self._finishing)):
            self._problem = DeviceNotConnected(f"it ended; {self._counts()}", device=_DEVICE, remedy=_GONE)
        return None if said is None else type(said)

    def _watch_lag(self, ring: RecordRing) -> None:
        now_ns, kept = time.monotonic_ns(), ring.word(Word.KEPT)
        if kept != self._kept or kept == self.written:
            self._kept, self._moved_ns = kept, now_ns
        elif now_ns - self._moved_ns > self._config.lag_s * 1e9:
            self._problem = DeviceTimeout(
                f"it kept nothing for {self._config.lag_s} s; {self._counts()}", device=_DEVICE, remedy=_GONE
            )

    def _counts(self) -> str:
        return f"{self.kept} of {self.written} steps are on disk"
