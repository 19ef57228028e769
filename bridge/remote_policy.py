"""A policy in another process: `core.ports.Policy` over ZeroMQ, without a thread and without ever waiting in a tick.

Whatever happens to the server, `poll` answers None and `health` says why; the loop's chunk grows stale and the arm
holds. Answers are checked here for what only the asker can know (session, number, time, identity); NaN and bounds are
left to the loop, which records what it refuses. Opened by `regrasp`'s runtime node.
"""

import logging
import secrets
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import zmq

from bridge.policy_terms import PolicyHealth, PolicyIdentity, PolicyLink, RemotePolicyConfig
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
    Request,
    decode_reply,
    encode_request,
)  # fmt: skip
from core.errors import BadAnswer, ContractError, ServiceTimeout
from core.flow import ActionChunk, Observation

log = logging.getLogger(__name__)

_QUEUE = 4
_MOST_HEARD = 16
"""Messages read in one call: an honest server sends two, a lying one cannot keep the tick."""
_WAIT_STEP_S = 0.02
_BYE_MS = 100
"""Leaving waits at most this long for the last word to go out [ms]."""


@dataclass(slots=True, kw_only=True)
class _Asked:
    """The newest request, until it is answered or given up."""

    number: int
    observation: Observation
    at_ns: int
    sent: bool = False


class RemotePolicy:
    """A `core.ports.Policy` served by another process; entering waits for it, nothing later waits.

    Call it from one thread. Between episodes call `tend` a few times a second, or the server forgets its client.

    Args:
        config: Where, and how long.
        expected: What must be served; None takes what introduces itself first and holds it to that.
    """

    def __init__(self, config: RemotePolicyConfig, expected: PolicyIdentity | None = None) -> None:
        self._config, self._identity = config, expected
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._name = secrets.token_bytes(8)
        self._session = ""
        self._link, self._detail = PolicyLink.CONNECTING, "nobody was called yet"
        self._heard_ns = self._tended_ns = self._beat_ns = self._call_ns = 0
        self._pause_s = config.retry_s
        self._number = self._epoch = 0
        self._asked: _Asked | None = None
        self._ready: ActionChunk | None = None
        self._computing_s = self._latency_s = 0.0
        self._asks = self._answers = self._timeouts = self._refusals = self._losses = 0

    def __enter__(self) -> Self:
        self._context = zmq.Context()
        self._tended_ns = time.monotonic_ns()
        until = time.monotonic() + self._config.connect_s
        try:
            while self._link is not PolicyLink.READY:
                self.tend()
                if self._link is PolicyLink.REFUSED:
                    raise BadAnswer(f"policy server at {self._config.endpoint}: {self._detail}")
                if time.monotonic() > until:
                    raise ServiceTimeout(
                        f"no policy server answered at {self._config.endpoint} within {self._config.connect_s} s "
                        f"({self._detail}); start one with `python -m regrasp.nodes.policy_server`"
                    )
                self._sleep(_WAIT_STEP_S)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._leave()

    @property
    def identity(self) -> PolicyIdentity:
        """Who is served; raises `ContractError` before anybody has introduced itself."""
        if self._identity is None:
            raise ContractError("the policy server was not met yet; enter the RemotePolicy with `with`")
        return self._identity

    @property
    def policy_id(self) -> str:
        """name@hash of the checkpoint."""
        return self.identity.policy_id

    @property
    def health(self) -> PolicyHealth:
        """How the server is, as of the last call of any method."""
        return PolicyHealth(
            link=self._link, detail=self._detail, silence_s=(time.monotonic_ns() - self._heard_ns) * 1e-9,
            computing_s=self._computing_s, latency_s=self._latency_s, asked=self._asks, answered=self._answers,
            timeouts=self._timeouts, refused=self._refusals, losses=self._losses,
        )  # fmt: skip

    def submit(self, obs: Observation) -> None:
        """Asks for a chunk and forgets whatever was asked before; returns at once, also when nobody is there."""
        self.tend()
        self._number += 1
        self._asks += 1
        self._asked = self._ready = None
        unfit = self.identity.unfit(obs)
        if unfit:
            self._note_refusal(unfit, self._link)
            return
        self._asked = _Asked(number=self._number, observation=obs, at_ns=time.monotonic_ns())
        self._send_asked()

    def poll(self) -> ActionChunk | None:
        """Returns a finished chunk once, else None; returns at once and never raises for what a server does."""
        self.tend()
        ready, self._ready = self._ready, None
        return ready

    def reset(self) -> None:
        """Forgets requests; the server resets its policy before it computes again."""
        self._epoch += 1
        self._asked = self._ready = None
        self.tend()

    def wait(self, timeout_s: float) -> bool:
        """Waits for a chunk, for callers that have the time; returns whether `poll` will give one.

        Args:
            timeout_s: How long at most [s].
        """
        until = time.monotonic() + timeout_s
        while self._ready is None and time.monotonic() < until:
            self._sleep(_WAIT_STEP_S)
            self.tend()
        return self._ready is not None

    def tend(self) -> None:
        """Reads what has arrived, shows signs of life, calls a lost server again; returns at once."""
        if self._context is None:
            raise ContractError("the RemotePolicy is not open; enter it with `with`")
        now_ns = time.monotonic_ns()
        self._forgive(now_ns)
        self._hear(now_ns)
        self._expire(now_ns)
        if self._socket is None:
            if now_ns >= self._call_ns:
                self._call(now_ns)
        elif now_ns - self._heard_ns > self._config.silence_s * 1e9:
            self._lose(now_ns)
        elif now_ns >= self._beat_ns:
            self._beat_ns = now_ns + round(self._config.heartbeat_s * 1e9)
            self._send(Beat(session=self._session) if self._session else Hello())
        self._send_asked()

    def _send_asked(self) -> None:
        """Sends the newest request as soon as somebody takes it: at once, or after a server has come back."""
        asked = self._asked
        if asked is not None and not asked.sent and self._session:
            asked.sent = self._send(
                Ask(session=self._session, number=asked.number, epoch=self._epoch, observation=asked.observation)
            )

    def _forgive(self, now_ns: int) -> None:
        """Silence counts only while somebody listened: a caller that was away starts it anew."""
        if now_ns - self._tended_ns > 0.5 * self._config.silence_s * 1e9:
            self._heard_ns = max(self._heard_ns, now_ns)
        self._tended_ns = now_ns

    def _call(self, now_ns: int) -> None:
        assert self._context is not None
        socket = self._context.socket(zmq.DEALER)
        options = (
            (zmq.ROUTING_ID, b"arm-" + self._name), (zmq.LINGER, 0), (zmq.IMMEDIATE, 1), (zmq.SNDHWM, _QUEUE),
            (zmq.RCVHWM, _MOST_HEARD), (zmq.MAXMSGSIZE, LARGEST_BYTES), (zmq.RECONNECT_IVL, 50),
        )  # fmt: skip
        for option, value in options:
            socket.setsockopt(option, value)
        socket.connect(self._config.endpoint)
        self._socket, self._heard_ns, self._beat_ns = socket, now_ns, now_ns
        self._pause_s = min(2.0 * self._pause_s, self._config.retry_most_s)

    def _lose(self, now_ns: int) -> None:
        if self._session:
            self._losses += 1
            log.warning("policy server at %s is lost", self._config.endpoint)
        self._timeouts += self._asked is not None
        self._asked, self._session, self._computing_s = None, "", 0.0
        self._hang_up()
        self._call_ns = now_ns + round(self._pause_s * 1e9)
        self._turn(PolicyLink.LOST, f"nothing heard for {self._config.silence_s} s")

    def _expire(self, now_ns: int) -> None:
        if self._asked is not None and now_ns - self._asked.at_ns > self._config.deadline_s * 1e9:
            self._asked = None
            self._timeouts += 1
            if self._session:
                self._turn(PolicyLink.LATE, f"no answer within {self._config.deadline_s} s")

    def _hear(self, now_ns: int) -> None:
        for _ in range(_MOST_HEARD):
            if self._socket is None:
                return
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                reply = decode_reply(b"".join(parts))
            except BadAnswer as error:
                self._note_refusal(str(error))
                continue
            self._heard_ns = now_ns
            self._take(reply, now_ns)

    def _take(self, reply: Reply, now_ns: int) -> None:
        if isinstance(reply, Introduction):
            self._meet(reply)
        elif reply.session != self._session:
            self._session, self._beat_ns = "", now_ns
            if self._asked is not None:
                self._asked.sent = False
        elif isinstance(reply, Pulse):
            self._computing_s = reply.computing_s
        elif isinstance(reply, Refusal):
            self._refused_there(reply)
        elif self._asked is not None and reply.number == self._asked.number:
            self._accept(reply, self._asked, now_ns)

    def _meet(self, reply: Introduction) -> None:
        difference = "" if self._identity is None else self._identity.difference(reply.identity)
        if difference:
            self._session = ""
            if self._link is not PolicyLink.REFUSED:
                self._refusals += 1
            self._turn(PolicyLink.REFUSED, f"another policy is served: {difference}")
            return
        if self._identity is None:
            self._identity = reply.identity
        self._session, self._pause_s = reply.session, self._config.retry_s
        self._turn(PolicyLink.READY, "")

    def _refused_there(self, reply: Refusal) -> None:
        if reply.number not in (0, self._number):
            return
        self._asked = None
        self._note_refusal(f"refused by the server: {reply.why}")

    def _accept(self, answer: Answer, asked: _Asked, now_ns: int) -> None:
        self._asked = None
        chunk = answer.chunk
        problem = self.identity.untrue(chunk, asked.observation.t_ns)
        if problem:
            self._note_refusal(f"answer refused: {problem}")
            return
        self._answers += 1
        self._latency_s, self._computing_s = (now_ns - asked.at_ns) * 1e-9, 0.0
        self._ready = chunk
        self._turn(PolicyLink.READY, "")

    def _note_refusal(self, why: str, strange: PolicyLink = PolicyLink.REFUSED) -> None:
        """Notes that something was refused; `strange` is the link when nobody who was agreed on is there."""
        self._refusals += 1
        self._turn(PolicyLink.LATE if self._session else strange, why)

    def _turn(self, link: PolicyLink, detail: str) -> None:
        if link is not self._link:
            log.info("policy link %s -> %s %s", self._link, link, detail)
        self._link, self._detail = link, detail

    def _send(self, request: Request) -> bool:
        """Hands a message over, or returns False: nobody is connected, or nobody reads."""
        if self._socket is None or not int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLOUT:
            return False
        try:
            self._socket.send(encode_request(request, self._config.images), zmq.NOBLOCK)
        except zmq.Again:
            return False
        except BadAnswer as error:
            self._note_refusal(str(error))
            return False
        return True

    def _sleep(self, most_s: float) -> None:
        if self._socket is None:
            time.sleep(most_s)
        else:
            self._socket.poll(round(most_s * 1e3))

    def _hang_up(self, linger_ms: int = 0) -> None:
        if self._socket is not None:
            self._socket.close(linger=linger_ms)
            self._socket = None

    def _leave(self) -> None:
        if self._session:
            self._send(Bye(session=self._session))
        self._hang_up(_BYE_MS)
        self._session, self._asked, self._ready = "", None, None
        if self._context is not None:
            self._context.term()
            self._context = None
