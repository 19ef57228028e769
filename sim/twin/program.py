"""The command queue of mode 0: pieces one after the other, blended where they ask for it.

Used by `sim.twin.box`. A pause breaks the piece off; going on plans it again from where the arm stands.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

from core.arrays import Floats
from sim.twin.legs import Command, Leg
from sim.twin.plant import STEP_S

CAPACITY = 1024
"""Commands that may wait."""
DONE, FAILED, DISCARDED = 0, 1, 2
"""How a command ended."""
BEGAN, ENDED = 1, 2
"""What happened to a command."""


class Program:
    """Commands waiting and running; a follower.

    Args:
        tell: Called with a command's number, what happened (`BEGAN`, `ENDED`) and how.
    """

    def __init__(self, tell: Callable[[int, int, int], None]) -> None:
        self._tell = tell
        self._commands: deque[Command] = deque()
        self._legs: deque[Leg] = deque()
        self._t_s = 0.0

    @property
    def moving(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self._commands)

    def __len__(self) -> int:
        return len(self._commands)

    def put(self, command: Command) -> bool:
        """Queues a command, or returns False when the queue is full."""
        if len(self._commands) >= CAPACITY:
            return False
        self._commands.append(command)
        return True

    def interrupt(self) -> None:
        """Forgets what was planned, not what is queued: the next step plans from where the arm is then."""
        self._legs.clear()

    def discard(self, code: int = DISCARDED) -> None:
        """Ends every command; those that had begun end with `code`."""
        self._legs.clear()
        while self._commands:
            command = self._commands.popleft()
            self._tell(command.number, ENDED, code if command.began else DISCARDED)

    def step(self, target: Floats, velocity: Floats) -> Floats:  # noqa: ARG002
        """Returns the next joint target; raises `Tripped` when a command cannot be done."""
        if not self._commands:
            return target
        if not self._legs:
            self._t_s = 0.0
            self._begin(target)
        self._t_s += STEP_S
        late_s = self._t_s - self._next_at(target)
        leg, ahead = self._legs[0], self._legs[1] if len(self._legs) > 1 else None
        led = None if ahead is None else (ahead, _share(ahead, late_s))
        now = leg.joints(_share(leg, self._t_s), target, led)
        if self._t_s >= leg.profile.duration_s:
            self._end(late_s)
        return now

    def _begin(self, start: Floats) -> None:
        command = self._commands[len(self._legs)]
        self._legs.append(command.plan(start))
        if not command.began:
            command.began = True
            self._tell(command.number, BEGAN, DONE)

    def _next_at(self, target: Floats) -> float:
        """Returns when the next piece begins [s since this one did]; plans it then."""
        leg = self._legs[0]
        if leg.radius < 0 or len(self._commands) < 2:
            return np.inf
        slow_s = leg.profile.duration_s - leg.profile.blur_s
        if len(self._legs) == 1:
            if self._t_s < slow_s - leg.profile.ramp_s:
                return np.inf
            self._begin(leg.end(target))
        ahead = self._legs[1]
        if not leg.blends(ahead):
            return np.inf
        return slow_s - min(_overlap_s(leg), ahead.profile.ramp_s)

    def _end(self, late_s: float) -> None:
        done = self._legs.popleft()
        self._tell(self._commands.popleft().number, ENDED, DONE)
        if self._legs and np.isfinite(late_s) and done.blends(self._legs[0]):
            self._t_s = late_s
        else:
            self.interrupt()


def _share(leg: Leg, t_s: float) -> float:
    return leg.profile.at(t_s) / leg.profile.length if leg.profile.length > 0 else 1.0


def _overlap_s(leg: Leg) -> float:
    """Returns how long before its end a piece is so slow that what is left of it is inside its blend radius [s]."""
    return min(leg.profile.ramp_s, float(np.sqrt(2 * leg.radius / leg.profile.acceleration)))
