"""Clearing a fault: in the documented order, if the fault's class and the budget allow it. Called by the arm.

Order: diagnose, clean error and warning, enable, mode, ready, start again at the measured pose, confirm. Source:
UFACTORY xArm developer manual.
"""

import time
from collections.abc import Callable

from bridge.xarm.config import XArmConfig
from bridge.xarm.faults import fault
from bridge.xarm.link import Line
from core.arm import Clearing
from core.errors import DeviceFault

_SETTLE_S = 0.15
"""How long a cleared fault is watched for before it counts as cleared [s]."""
_ANY = (0, 1, 2, 9)
"""Codes of calls during clearing that say only that the fault is still pending; the reading at the end decides."""


class Budget:
    """How many faults may still be cleared without a person.

    Args:
        attempts: When full.
        refill_s: One attempt comes back after each such time [s].
    """

    def __init__(self, attempts: int, refill_s: float) -> None:
        self._full, self._refill_ns = attempts, round(refill_s * 1e9)
        self._left, self._since_ns = attempts, 0

    def left(self, now_ns: int) -> int:
        """Returns how many attempts are left at `now_ns` [ns]."""
        if self._left < self._full:
            back = min((now_ns - self._since_ns) // self._refill_ns, self._full - self._left)
            self._left += back
            self._since_ns += back * self._refill_ns
        return self._left

    def spend(self, now_ns: int) -> bool:
        """Takes one attempt; returns False when there is none."""
        if self.left(now_ns) == 0:
            return False
        if self._left == self._full:
            self._since_ns = now_ns
        self._left -= 1
        return True

    def refill(self) -> None:
        """Fills it: a person looked."""
        self._left = self._full


def require_allowed(code: int, budget: Budget, *, by_person: bool, now_ns: int, device: str) -> None:
    """Spends an attempt on fault `code`, or raises `DeviceFault` when who asks may not clear it.

    Args:
        code: The controller's error code, 0 when only its readiness was lost.
        budget: Of attempts without a person; a person fills it.
        by_person: Whether a person asks.
        now_ns: Now [ns].
        device: What errors call the arm.
    """
    known = fault(code) if code else None
    if known is not None and known.clearing is Clearing.NEVER:
        raise known.as_error(device)
    if by_person:
        budget.refill()
        return
    if known is not None and known.clearing is not Clearing.AUTOMATIC:
        raise known.as_error(device)
    if not budget.spend(now_ns):
        raise DeviceFault(
            f"the budget of automatic clearings is spent; the fault is {known.meaning if known else 'unknown'}",
            device=device,
            code=code,
            remedy="look at the cell, then clear it by hand",
        )


def clear(line: Line, config: XArmConfig, restart: Callable[[], None]) -> None:
    """Clears the present fault and confirms it; the controller is ready afterwards, and follows nothing.

    Args:
        line: To the box.
        config: How the arm is moved.
        restart: Starts the stream of points again at the measured pose.

    Raises:
        DeviceFault: It came back.
        DeviceError: The box did not answer.
    """
    api = line.api
    line.told("clean the error", lambda: int(api.clean_error()), fine=_ANY)
    line.told("clean the warning", lambda: int(api.clean_warn()), fine=_ANY)
    make_ready(line, config)
    restart()
    time.sleep(_SETTLE_S)
    code = line.error_code()
    if code:
        raise fault(code).as_error(config.device)


def make_ready(line: Line, config: XArmConfig) -> None:
    """Enables the servos, sets mode and state; nothing moves by it. Raises `DeviceError`."""
    api = line.api
    line.told("enable the servos", lambda: int(api.motion_enable(True)))
    line.told("set the mode", lambda: int(api.set_mode(config.mode)))
    line.told("make ready", lambda: int(api.set_state(0)))
