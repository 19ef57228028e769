"""Serves a blocking policy to one arm over ZeroMQ: the socket in this thread, the computing in another.

The newest request wins, one is computed at a time, and heartbeats are answered while it computes, so that a client can
tell slow from dead. Only this machine can reach it. Called by `regrasp.nodes.policy_server`.
"""

import logging
import os
import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from bridge.policy_terms import PolicyIdentity
from bridge.policy_wire import (
    LARGEST_BYTES,
    Answer,
    Ask,
    Beat,
    Bye,
    Hello,
    Introduction,
    Pulse,
    Refusal,
    Reply,
    decode_request,
    encode_reply,
)  # fmt: skip
from bridge.sole import sole_owner
from bridge.worker import BlockingPolicy, Threaded
from core.errors import BadAnswer, ConfigError, RegraspError
from core.flow import ActionChunk

log = logging.getLogger(__name__)

_IPC = "ipc://"
_QUEUE = 4
"""Messages kept for a client that does not read; more are dropped, never waited for."""


def checked_endpoint(endpoint: str) -> str:
    """Returns an endpoint that only this machine can reach.

    Raises:
        ConfigError: It is neither an ipc:// path nor tcp on a loopback address with a port.
    """
    way, _, place = endpoint.partition("://")
    host, _, port = place.rpartition(":")
    if way == "ipc" and place:
        return endpoint
    if way == "tcp" and port.isdigit() and _is_loopback(host):
        return endpoint
    raise ConfigError(
        f"endpoint {endpoint!r}; allowed: ipc:///path/to/socket or tcp://127.0.0.1:PORT. There is no password on it: "
        "reach another machine through a tunnel such as `ssh -L`"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One request under way, and whose it is."""

    client: bytes
    ask: Ask


class PolicyServer:
    """One policy behind one endpoint, while it is open as a context manager.

    The policy remembers its episode, so one client at a time may ask: the first, until it was silent for `lease_s`.

    Args:
        base: The policy; used by the computing thread alone from now on.
        identity: What it serves.
        endpoint: ipc:// or tcp:// on loopback, see `checked_endpoint`.
        lease_s: A silent client loses its place after this long [s].
    """

    def __init__(self, base: BlockingPolicy, identity: PolicyIdentity, endpoint: str, *, lease_s: float = 1.0) -> None:
        self._base, self._identity, self._endpoint = base, identity, checked_endpoint(endpoint)
        self._lease_ns = round(lease_s * 1e9)
        self._session = secrets.token_hex(8)
        self._open = ExitStack()
        self._client, self._heard_ns = b"", 0
        self._job: _Job | None = None
        self._since_ns = 0
        self._episode: tuple[bytes, int] | None = None
        self.answered = 0
        """Requests that were answered with a chunk."""
        self.refused = 0
        """Messages that were refused."""

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            if self._endpoint.startswith(_IPC):
                opened.enter_context(sole_owner(Path(self._endpoint.removeprefix(_IPC)), "policy server"))
            self._socket = _listening(self._endpoint, opened)
            self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            opened.callback(os.close, self._wake)
            self._worker = opened.enter_context(
                Threaded[_Job, tuple[ActionChunk, float]](
                    self._compute, f"policy {self._base.policy_id}", told=lambda: os.eventfd_write(self._wake, 1)
                )
            )
            self._poller = zmq.Poller()
            self._poller.register(self._socket, zmq.POLLIN)
            self._poller.register(self._wake, zmq.POLLIN)
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._open.close()

    def turn(self, timeout_s: float) -> None:
        """Does what there is to do, after waiting for it at most `timeout_s` [s]; call it for ever."""
        ready = dict(self._poller.poll(round(timeout_s * 1e3)))
        if self._wake in ready:
            os.eventfd_read(self._wake)
            self._hand_out()
        if self._socket in ready:
            self._hear()

    def _hear(self) -> None:
        try:
            client, *parts = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        try:
            request = decode_request(b"".join(parts))
        except BadAnswer as error:
            self._refuse(client, 0, str(error))
            return
        match request:
            case Hello():
                self._say(client, Introduction(session=self._session, identity=self._identity))
            case Beat():
                self._stay(client)
                self._say(client, Pulse(session=self._session, computing_s=self._computing_s()))
            case Bye():
                self._client = b"" if client == self._client else self._client
            case Ask():
                self._take(_Job(client=client, ask=request))

    def _take(self, job: _Job) -> None:
        if job.ask.session != self._session:
            self._refuse(job.client, job.ask.number, "session of an earlier server; say hello first")
        elif not self._stay(job.client):
            self._refuse(
                job.client, job.ask.number, "another client is being served; stop it, or start a second server"
            )
        else:
            self._job, self._since_ns = job, time.monotonic_ns()
            self._worker.submit(job)

    def _stay(self, client: bytes) -> bool:
        """Renews a client's place, gives it a free one, or returns False when another client has it."""
        now_ns = time.monotonic_ns()
        if client != self._client and self._client and now_ns - self._heard_ns < self._lease_ns:
            return False
        self._client, self._heard_ns = client, now_ns
        return True

    def _compute(self, job: _Job) -> tuple[ActionChunk, float]:
        episode = (job.client, job.ask.epoch)
        if episode != self._episode:
            self._base.reset()
            self._episode = episode
        start = time.perf_counter()
        chunk = self._base.infer(job.ask.observation)
        return chunk, time.perf_counter() - start

    def _hand_out(self) -> None:
        job = self._job
        try:
            done = self._worker.poll()
        except RegraspError as error:
            self._job = None
            if job is not None:
                self._refuse(job.client, job.ask.number, str(error))
            return
        if done is None or job is None:
            return
        self._job, (chunk, compute_s) = None, done
        self.answered += 1
        self._say(job.client, Answer(session=self._session, number=job.ask.number, chunk=chunk, compute_s=compute_s))

    def _computing_s(self) -> float:
        return 0.0 if self._job is None else (time.monotonic_ns() - self._since_ns) * 1e-9

    def _refuse(self, client: bytes, number: int, why: str) -> None:
        self.refused += 1
        log.warning("refused a message of client %s: %s", client.hex(), why)
        self._say(client, Refusal(session=self._session, number=number, why=why))

    def _say(self, client: bytes, reply: Reply) -> None:
        try:
            self._socket.send_multipart([client, encode_reply(reply)], zmq.NOBLOCK)
        except zmq.Again:
            log.warning("client %s does not read; a %s was dropped", client.hex(), type(reply).__name__)


def _listening(endpoint: str, opened: ExitStack) -> "zmq.Socket[bytes]":
    context = zmq.Context()
    opened.callback(context.destroy, linger=0)
    socket = context.socket(zmq.ROUTER)
    handover = (zmq.ROUTER_HANDOVER, 1)  # a client that calls again keeps its name, so its old connection must yield
    for option, value in (handover, (zmq.MAXMSGSIZE, LARGEST_BYTES), (zmq.SNDHWM, _QUEUE), (zmq.RCVHWM, _QUEUE)):
        socket.setsockopt(option, value)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise ConfigError(f"cannot serve at {endpoint}: {error}; choose a free endpoint") from error
    if endpoint.startswith(_IPC):
        Path(endpoint.removeprefix(_IPC)).chmod(0o600)
    return socket
