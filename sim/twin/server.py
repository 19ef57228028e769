"""The sockets of the twin: control on port 502, reports on 30001 to 30003, several clients on each.

Called by `sim.twin.process`, in whose event loop the simulated box lives too. While the box does not answer (a stall,
an unplugged cable) nothing is sent and what arrives waits, as it does in TCP; new connections are refused.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from itertools import islice
from types import TracebackType
from typing import Self

from core.errors import ConfigError
from sim.twin import reports
from sim.twin.desk import Desk, Drawer, status
from sim.twin.face import Box, BoxState, TaskEvent
from sim.twin.feedback import DONE, TRIGGERED, Feedback, Ticket
from sim.twin.identity import Identity
from sim.twin.registers import answer
from sim.twin.wire import KEEP_ALIVE, MODBUS, Frame, OutOfStep, frames, modbus_refusal, reply

CONTROL, NORMAL, RICH, REAL = 502, 30001, 30002, 30003
"""Ports."""
TICK_S = 0.01
SLOW_EVERY = 20
"""Ticks between two reports of the 5 Hz ports."""
UNREAD_MAX = 65536
"""Bytes that a client may leave unread, or send ahead of the answers, before reports to it are skipped or it is cut."""
AT_ONCE = 16
"""Requests of one client that are answered in one turn of the loop; the SDK sends one and waits."""
SET_LOAD, IS_IDLE, SET_KINDS = 36, 253, 254
"""Functions that have to do with feedback."""

Report = Callable[[Desk, BoxState], bytes]


class TwinServer:
    """Answers clients of one box; an async context manager that listens while it is entered.

    Args:
        box: The simulated control box.
        identity: Which box it claims to be.
        ip: Loopback address to listen on, e.g. 127.0.0.2.
    """

    def __init__(self, box: Box, identity: Identity, ip: str) -> None:
        self.desk = Desk(box=box, identity=identity, factory=box.now().settings)
        self.feedback = Feedback(box)
        self._ip = ip
        self._servers: list[asyncio.Server] = []
        self._control: set[_Control] = set()
        self._readers: dict[int, set[asyncio.Transport]] = {port: set() for port in (NORMAL, RICH, REAL)}
        self._timer: asyncio.TimerHandle | None = None
        self._next, self._ticks = 0.0, 0

    async def __aenter__(self) -> Self:
        """Listens on all ports.

        Raises:
            ConfigError: A port is taken, or this user may not have it.
        """
        loop = asyncio.get_running_loop()
        try:
            self._servers.append(await self._listen(lambda: _Control(self), CONTROL))
            for port, make in ((NORMAL, reports.normal), (RICH, reports.rich), (REAL, reports.real)):
                self._servers.append(await self._listen(self._reader(port, make), port))
        except BaseException:
            await self._close()
            raise
        self._next = loop.time() + TICK_S
        self._timer = loop.call_at(self._next, self._tick)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes all ports and connections."""
        await self._close()

    def drop_clients(self, *, forget: bool = False) -> None:
        """Cuts all connections, as a box does that loses power.

        Args:
            forget: Whether what only the wire remembers (counters, outputs, parameters) is lost too.
        """
        for control in tuple(self._control):
            control.abort()
        for transports in self._readers.values():
            for transport in tuple(transports):
                transport.abort()
        if forget:
            self.desk.drawer = Drawer()

    @property
    def clients(self) -> int:
        """Control connections that are open."""
        return len(self._control)

    def joined(self, control: "_Control") -> None:
        """Counts a control connection in."""
        self._control.add(control)

    def left(self, control: "_Control") -> None:
        """Counts a control connection out."""
        self._control.discard(control)
        self.feedback.forget(control.send)

    async def _listen(self, factory: Callable[[], asyncio.Protocol], port: int) -> asyncio.Server:
        try:
            return await asyncio.get_running_loop().create_server(factory, self._ip, port, reuse_address=True)
        except PermissionError as error:
            raise ConfigError(
                f"port {port} of {self._ip} needs a privilege; run as root, or "
                f"`sysctl net.ipv4.ip_unprivileged_port_start={CONTROL}`"
            ) from error
        except OSError as error:
            hint = "choose another --ip of 127.x.x.x" if error.errno == errno.EADDRINUSE else "give a local address"
            raise ConfigError(f"cannot listen on {self._ip}:{port} ({error.strerror}); {hint}") from error

    def _reader(self, port: int, make: Report) -> Callable[[], asyncio.Protocol]:
        def first() -> bytes | None:
            box = self.desk.box
            return make(self.desk, box.now()) if box.answering() else None

        return lambda: _Reader(self._readers[port], first)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._next = max(self._next + TICK_S, loop.time() - 5 * TICK_S)
        self._timer = loop.call_at(self._next, self._tick)
        if not self.desk.box.answering():
            return
        self._ticks += 1
        for control in tuple(self._control):
            control.go_on()
        self.feedback.poll()
        self._report(REAL, reports.real)
        if self._ticks % SLOW_EVERY == 0:
            self._report(NORMAL, reports.normal)
            self._report(RICH, reports.rich)

    def _report(self, port: int, make: Report) -> None:
        readers = self._readers[port]
        if not readers:
            return
        data = make(self.desk, self.desk.box.now())
        for transport in readers:
            if transport.get_write_buffer_size() < UNREAD_MAX:
                transport.write(data)

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for server in self._servers:
            server.close()
        self.drop_clients()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()


class _Control(asyncio.Protocol):
    """One control connection."""

    def __init__(self, server: TwinServer) -> None:
        self._server = server
        self._desk, self._feedback = server.desk, server.feedback
        self._buffer = bytearray()
        self._kinds, self._has_turn = 0, False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if not self._desk.box.answering():
            transport.abort()
            return
        _no_delay(transport)
        self._transport = transport
        self._server.joined(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._server.left(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > UNREAD_MAX:
            self.abort()
        self.go_on()

    def send(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > UNREAD_MAX:
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def go_on(self) -> None:
        """Answers what has arrived, a few requests at a time: physics and other clients get their turn in between."""
        if self._transport is None or self._transport.is_closing() or not self._desk.box.answering():
            return
        answered = 0
        try:
            for frame in islice(frames(self._buffer), AT_ONCE):
                self._answer(frame)
                answered += 1
        except OutOfStep:
            self.abort()
        if answered == AT_ONCE and not self._has_turn:
            self._has_turn = True
            asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._has_turn = False
        self.go_on()

    def _answer(self, frame: Frame) -> None:
        if frame.prot == KEEP_ALIVE:
            return
        if frame.prot == MODBUS:
            self.send(modbus_refusal(frame))
            return
        ticket = Ticket(frame=frame, kinds=self._kinds, send=self.send)
        if frame.fun in (IS_IDLE, SET_KINDS) and self._desk.identity.knows(frame.fun):
            self._about_feedback(ticket)
            return
        self._feedback.hold_back()
        try:
            code, result = answer(self._desk, frame.fun, frame.params)
            self.send(reply(frame, code, result.payload))
            self._feedback.queued(result.task, ticket)
        finally:
            self._feedback.release()
        if frame.fun == SET_LOAD:
            self._feedback.tell(ticket, TaskEvent(number=0, kind=TRIGGERED, code=DONE, t_ns=self._desk.box.now().t_ns))

    def _about_feedback(self, ticket: Ticket) -> None:
        self.send(reply(ticket.frame, status(self._desk.box), b""))
        if ticket.frame.fun == SET_KINDS:
            self._kinds = ticket.frame.params[0] if ticket.frame.params else 0
        else:
            self._feedback.when_idle(ticket)


class _Reader(asyncio.Protocol):
    """One report connection."""

    def __init__(self, readers: set[asyncio.Transport], first: Callable[[], bytes | None]) -> None:
        self._readers, self._first = readers, first
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        data = self._first()
        if data is None:
            transport.abort()
            return
        _no_delay(transport)
        transport.write(data)
        self._transport = transport
        self._readers.add(transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._transport is not None:
            self._readers.discard(self._transport)


def _no_delay(transport: asyncio.Transport) -> None:
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
