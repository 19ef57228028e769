"""Modes, states, errors and servos of the simulated control box: what is allowed now, and what ends motion.

Used by `sim.twin.box`. What the real box does exactly after each change is not verified; where in doubt it stops, and
every way on ends with an explicit `set_state(0)`.
"""

from collections.abc import Callable

from core.arrays import Floats
from sim.twin.face import Settings
from sim.twin.factory import factory_settings
from sim.twin.faults import Faults
from sim.twin.followers import JOINT_ACCELERATION, Tripped
from sim.twin.legs import Command, Plan
from sim.twin.limits import COLLISION
from sim.twin.motion import MODES, QUEUE, Mover
from sim.twin.program import BEGAN, DISCARDED, DONE, ENDED, FAILED, Program

MOVING, READY, PAUSED, STOPPED, CHANGED, DECELERATING = 1, 2, 3, 4, 5, 6
"""States as reported."""
QUEUE_FULL, BAD_PARAMETER = 11, 12
"""Warnings."""
POWER_CUT = (1, 2, *range(10, 18))
"""Errors that take the power from the servos."""
SOFT_STOP = 5.0
"""Deceleration of a pause and of a decelerated stop [rad/s^2]."""

Tell = Callable[[int, int, int], None]
"""Called with a command's number, what happened to it and how."""


class Cabinet:
    """The box without its wire and its physics; switched on with servos off.

    Args:
        measured: Tells where the arm is (7,) [rad].
        faults: What is wrong at the moment.
        tell: Hears what happens to commands.
    """

    def __init__(self, measured: Callable[[], Floats], faults: Faults, tell: Tell) -> None:
        self._faults, self._tell = faults, tell
        self._program = Program(tell)
        self._number, self._goal = 0, 0
        self.settings = factory_settings()
        self.mover = Mover(self._program, measured, self.settings)
        self.mode, self._state, self.error, self.warning = QUEUE, STOPPED, 0, 0
        self.enabled = [False] * 7

    @property
    def state(self) -> int:
        """As reported."""
        if self._state == READY and (self.mover.moving or len(self._program)):
            return MOVING
        return self._state

    @property
    def watching(self) -> bool:
        """Whether force from outside is an error now."""
        return self._state in (READY, PAUSED, DECELERATING)

    @property
    def queued(self) -> int:
        """Commands waiting or running."""
        return len(self._program) + bool(self._goal)

    def switch_on(self) -> None:
        """Comes back without power on the servos, all forgotten."""
        self._forget()
        self.mode, self._state, self.error, self.warning = QUEUE, STOPPED, 0, 0
        self.enabled = [False] * 7
        self.take(factory_settings())
        self.mover.place()

    def start_over(self) -> None:
        """Is ready and still where the arm is now, in the mode it was in, without error."""
        self._forget()
        self._state, self.error, self.enabled = READY, 0, [True] * 7
        self.mover.place()
        self.mover.ready(self.mode)

    def lose_mode(self) -> None:
        """Falls back to mode 0 by itself, without an error."""
        self._forget()
        self.mode = QUEUE
        if self._state in (READY, PAUSED):
            self.mover.ready(QUEUE)

    def take(self, settings: Settings) -> None:
        """Puts settings in force."""
        self.settings = settings
        self.mover.take(settings)

    def abort(self) -> None:
        """Ends motion and queue; whoever was ready has to get ready again."""
        self._forget()
        self.mover.brake()
        self._state = STOPPED if self._state in (STOPPED, DECELERATING) else CHANGED

    def trip(self, code: int) -> None:
        """Stops with an error, falls back to mode 0, and cuts the servos' power where the error does."""
        if self.error:
            return
        self.error, self._state, self.mode = code, STOPPED, QUEUE
        self._forget(FAILED)
        if code in POWER_CUT:
            self.enabled = [False] * 7
        if code == COLLISION:
            self.mover.relax()
        else:
            self.mover.brake()

    def enable(self, joint: int, on: bool) -> None:
        """Servo of joint 1 to 7, or 8 for all, on or off; motion is aborted."""
        if not 1 <= joint <= 8:
            self.warning = BAD_PARAMETER
        elif not (on and self.error in POWER_CUT):
            for i in range(7) if joint == 8 else [joint - 1]:
                self.enabled[i] = on
            self.abort()

    def set_mode(self, mode: int) -> bool:
        """Changes the mode, unless there is an error; motion is aborted."""
        if mode not in MODES:
            self.warning = BAD_PARAMETER
            return False
        if self.error:
            return False
        self.abort()
        self.mode = mode
        return True

    def set_state(self, state: int) -> bool:
        """Asks for a state: 0 ready, 3 pause, 4 stop, 6 decelerated stop."""
        match state:
            case 0:
                return self._get_ready()
            case 3:
                return self._pause()
            case 4:
                self._stop(STOPPED, JOINT_ACCELERATION)
            case 6 if self._state in (READY, PAUSED):
                self._stop(DECELERATING, SOFT_STOP)
            case _:
                self.warning = BAD_PARAMETER
                return False
        return True

    def clear_error(self) -> bool:
        """Clears the error if its cause is gone; servos that lost their power stay off."""
        if self._faults.lasts(self.error):
            return False
        self.error = 0
        return True

    def may(self, mode: int) -> bool:
        """Returns whether commands of a mode are taken now."""
        return self.mode == mode and self._state == READY

    def queue(self, plan: Plan) -> int:
        """Queues a command and returns its number, or 0 when it is refused."""
        if self.mode != QUEUE or self._state not in (READY, PAUSED):
            return 0
        number = self._next_number()
        if not self._program.put(Command(number=number, plan=plan)):
            self.warning = QUEUE_FULL
            return 0
        return number

    def new_goal(self) -> int:
        """Counts a goal that replaces the one before, and returns its number."""
        if self._goal:
            self._tell(self._goal, ENDED, DISCARDED)
        self._goal = self._next_number()
        self._tell(self._goal, BEGAN, DONE)
        return self._goal

    def move(self) -> Floats:
        """Moves the joint target by one cycle and returns it (7,) [rad]; a broken limit stops it with an error."""
        try:
            target = self.mover.cycle()
        except Tripped as tripped:
            self.trip(tripped.code)
            target = self.mover.cycle()
        if self._state == DECELERATING and not self.mover.moving:
            self._state = STOPPED
        if self._goal and not self.mover.moving:
            self._tell(self._goal, ENDED, DONE)
            self._goal = 0
        return target

    def _get_ready(self) -> bool:
        if self.error or not all(self.enabled):
            return False
        if self._state == PAUSED:
            self.mover.resume(self.mode)
        elif self._state != READY:
            self.mover.ready(self.mode)
        self._state = READY
        return True

    def _pause(self) -> bool:
        if self._state != READY:
            return self._state == PAUSED
        self._drop_goal()
        self.mover.brake(SOFT_STOP)
        self._state = PAUSED
        return True

    def _stop(self, state: int, deceleration: float) -> None:
        if self._state != STOPPED:
            self._forget()
            self.mover.brake(deceleration)
            self._state = state

    def _forget(self, code: int = DISCARDED) -> None:
        self._program.discard(code)
        self._drop_goal(code)

    def _drop_goal(self, code: int = DISCARDED) -> None:
        if self._goal:
            self._tell(self._goal, ENDED, code)
            self._goal = 0

    def _next_number(self) -> int:
        self._number = self._number % 0xFFFF + 1
        return self._number
