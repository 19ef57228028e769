"""Faults injected from outside: errors whose cause lasts, a wire that is silent, a cable that is out.

Kept by `sim.twin.box`; asked for by `sim.twin.control`.
"""

from core.clock import Clock

ERRORS = {
    "collision": 31,
    "end_effector": 19,
    "joint_limit": 23,
    "self_collision": 22,
    "servo": 12,
    "estop_button": 1,
}
"""Error code by kind of fault; a servo error is that of joint 2."""
KINDS = (*ERRORS, "mode_drop", "stall", "unplug", "power_cycle")
"""Every kind of fault."""
STALL_S, BOOT_S = 0.19, 2.0
"""How long the wire is silent at a stall [s], and how long a box takes to come back [s]."""


class Faults:
    """What is wrong at the moment.

    Args:
        clock: The machine's monotonic clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._causes: dict[int, int] = {}
        self._silent_until_ns = 0

    def cause(self, code: int, duration_s: float) -> None:
        """Makes the cause of an error last, so that it cannot be cleared before."""
        self._causes[code] = self._clock.now_ns() + round(duration_s * 1e9)

    def lasts(self, code: int) -> bool:
        """Returns whether the cause of an error is still there."""
        return self._clock.now_ns() < self._causes.get(code, 0)

    def silence(self, duration_s: float) -> None:
        """Makes the wire say nothing for a time [s]."""
        self._silent_until_ns = max(self._silent_until_ns, self._clock.now_ns() + round(duration_s * 1e9))

    def silent(self) -> bool:
        """Returns whether the wire says nothing now."""
        return self._clock.now_ns() < self._silent_until_ns

    def clear(self) -> None:
        """Removes every cause and ends a silence."""
        self._causes.clear()
        self._silent_until_ns = 0
