"""What people ask of the loop, kept until its next tick. Filled by services of the runtime node and by consoles."""

from collections import deque

from core.arrays import Floats
from core.flow import OperatorCommand, OperatorInput

_MOST = 16
"""Requests kept; a person does not ask more in one tick, and a stop is never lost (it is kept apart)."""


class OperatorDesk:
    """Takes requests at any time and hands them to the loop one a tick; implements `core.ports.Operator`.

    A stop goes before everything that was asked earlier. Used from one thread.
    """

    def __init__(self) -> None:
        self._asked: deque[OperatorCommand] = deque(maxlen=_MOST)
        self._stop = False
        self._action: Floats | None = None

    def ask(self, command: OperatorCommand) -> None:
        """Keeps a request for the next tick; a stop drops whatever else was asked."""
        if command is OperatorCommand.STOP:
            self._stop = True
            self._asked.clear()
        else:
            self._asked.append(command)

    def drive(self, action: Floats) -> None:
        """Keeps a teleoperated action (A,), in the action space's units; the newest wins."""
        self._action = action

    def poll(self) -> OperatorInput | None:
        """Returns what was asked, one command at a time; None when nothing."""
        command = OperatorCommand.STOP if self._stop else self._asked.popleft() if self._asked else None
        action, self._action, self._stop = self._action, None, False
        return None if command is None and action is None else OperatorInput(command=command, action=action)

    def clear(self) -> None:
        """Forgets what was asked: a new episode starts."""
        self._asked.clear()
        self._stop, self._action = False, None
