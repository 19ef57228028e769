"""Feedback frames: the box tells the connection that queued a command when it begins and when it ends.

Called by `sim.twin.server`. The kinds that a connection asked for when the command was queued count.
Source: UFACTORY private protocol, functions 253 and 254.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sim.twin.desk import status
from sim.twin.face import Box, TaskEvent
from sim.twin.wire import FEEDBACK, FEEDBACK_FRAME, Frame

BEGAN, ENDED, TRIGGERED = 1, 2, 4
DONE = 0
_LENGTH = FEEDBACK_FRAME.size - 6

Send = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """Who queued a command and what they want to hear of it."""

    frame: Frame
    kinds: int
    """Bits of `BEGAN`, `ENDED`, `TRIGGERED`."""
    send: Send


class Feedback:
    """Remembers who queued what.

    Args:
        box: Whose commands they are.
    """

    def __init__(self, box: Box) -> None:
        self._box = box
        self._tickets: dict[int, Ticket] = {}
        self._waiting: list[Ticket] = []
        self._early: list[TaskEvent] | None = None
        box.on_task(self._on_task)

    def hold_back(self) -> None:
        """Keeps events back until `release`: a command may begin or end before its reply is sent."""
        self._early = []

    def release(self) -> None:
        """Tells what happened since `hold_back`."""
        events, self._early = self._early or [], None
        for event in events:
            self._on_task(event)

    def queued(self, number: int, ticket: Ticket) -> None:
        """Remembers who queued command `number`."""
        if number > 0 and ticket.kinds:
            self._tickets[number] = ticket

    def when_idle(self, ticket: Ticket) -> None:
        """Tells `ticket` when no command is left; at once when there is none now."""
        self._waiting.append(ticket)
        self.poll()

    def poll(self) -> None:
        """Tells those who wait for the last command to end; called at 100 Hz."""
        now = self._box.now() if self._waiting else None
        if now is None or now.queued or now.state == 1:
            return
        waiting, self._waiting = self._waiting, []
        for ticket in waiting:
            self.tell(ticket, TaskEvent(number=0, kind=ENDED, code=DONE, t_ns=now.t_ns))

    def tell(self, ticket: Ticket, event: TaskEvent) -> None:
        """Sends one frame, if the ticket asks for this kind of event."""
        if not ticket.kinds & event.kind:
            return
        f = ticket.frame
        ticket.send(
            FEEDBACK_FRAME.pack(
                f.tid, f.prot, _LENGTH, FEEDBACK, status(self._box), event.kind, f.fun, event.number & 0xFFFF,
                event.code, event.t_ns // 1000,
            )
        )  # fmt: skip

    def forget(self, send: Send) -> None:
        """Drops what a closed connection waited for."""
        self._tickets = {n: t for n, t in self._tickets.items() if t.send != send}
        self._waiting = [t for t in self._waiting if t.send != send]

    def _on_task(self, event: TaskEvent) -> None:
        if self._early is not None:
            self._early.append(event)
            return
        ticket = self._tickets.get(event.number)
        if ticket is None:
            return
        if event.kind == ENDED:
            del self._tickets[event.number]
        self.tell(ticket, event)
