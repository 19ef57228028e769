"""When an arm follows commands, when it is told to hold, and when a fault is cleared by rule. Called by the arm node.

No ROS and no device here. Commands are followed only from rest at the measured pose, and only while they keep coming;
whatever ended the following must be followed by a command near the measured pose before anything moves again.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from core.arm import ArmState, ArmStatus, Clearing
from core.arrays import Floats

RESUME_WINDOW_RAD = float(np.radians(1.0))
"""Farthest from the measured pose that the first command after a rest may be, in every joint [rad]."""
_NEW_FAULT_NS = 200_000_000
"""A fault that was not asked about for so long is another one [ns]."""
STALE_NS = 300_000_000
"""A measured pose older than this says nothing of where the arm is [ns]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCommand:
    """What a topic asked of the arm."""

    t_ns: int
    """When it arrived, on the receiver's monotonic clock [ns]."""
    joint_target: Floats | None
    """Shape (J,) [rad]; None: hold."""
    opening: float = 0.0
    """Wanted gripper opening, 0 closed, 1 open."""


class Duty(StrEnum):
    """What the arm does this beat."""

    FOLLOW = "follow"
    """Stream the newest command."""
    HOLD = "hold"
    """Come to rest now; said once."""
    REST = "rest"
    """Nothing: it is at rest."""


class Follower:
    """Decides beat by beat.

    Args:
        watchdog_s: Longest silence of the commands [s].
    """

    def __init__(self, watchdog_s: float) -> None:
        self._watchdog_ns = round(watchdog_s * 1e9)
        self._command: ArmCommand | None = None
        self._following = False
        self._blocked = False
        self.reason = "not told to follow yet"
        """Why it rests, "" while it follows."""

    @property
    def following(self) -> bool:
        """Whether commands are followed at present."""
        return self._following

    @property
    def blocked(self) -> bool:
        """Whether commands are ignored until `release`."""
        return self._blocked

    @property
    def command(self) -> ArmCommand | None:
        """The newest command, None when there is none to follow."""
        return self._command

    def take(self, command: ArmCommand) -> None:
        """Notes the newest command."""
        self._command = command

    def rest(self, reason: str, *, until_released: bool = False) -> None:
        """Ends the following; the arm was stopped by something else, or is about to be.

        Args:
            reason: Why, for the status.
            until_released: Whether commands are ignored until `release`, whatever they say.
        """
        self._following, self._command, self.reason = False, None, reason
        self._blocked = self._blocked or until_released

    def release(self) -> None:
        """Lets commands be followed again, from the measured pose."""
        self._blocked, self._command, self._following = False, None, False
        self.reason = "ready: follows commands that start at the measured pose"

    def decide(self, t_ns: int, state: ArmState) -> Duty:
        """Returns what to do at `t_ns` [ns] with the arm in `state`."""
        command = self._command
        if self._blocked or command is None:
            self._command = None
            return Duty.REST
        age_ns = t_ns - command.t_ns
        if age_ns > self._watchdog_ns:
            return self._end(f"watchdog: no command for {age_ns / 1e6:.0f} ms")
        if command.joint_target is None:
            return self._end("told to hold")
        if not self._following and not self._may_begin(t_ns, command.joint_target, state):
            self._command = None
            return Duty.REST
        self._following, self.reason = True, ""
        return Duty.FOLLOW

    def _end(self, reason: str) -> Duty:
        was, self._following = self._following, False
        self._command = None
        self.reason = reason if was else self.reason
        return Duty.HOLD if was else Duty.REST

    def _may_begin(self, t_ns: int, target: Floats, state: ArmState) -> bool:
        away = float(np.abs(target - state.joint_pos).max())
        if t_ns - state.t_ns > STALE_NS:
            self.reason = f"refused: the measured pose is older than {STALE_NS / 1e6:.0f} ms"
        elif away > RESUME_WINDOW_RAD:
            self.reason = f"refused: commands must start within {RESUME_WINDOW_RAD:.4f} rad of the measured pose"
        else:
            return True
        return False


class ClearingRule:
    """The written rule by which a fault is cleared without a person: its class allows it, and so does the budget.

    Args:
        allowed: Whether the rule is in force at all.
        pause_s: Time between a fault and an attempt, and between attempts [s].
    """

    def __init__(self, *, allowed: bool, pause_s: float) -> None:
        self._allowed, self._pause_ns = allowed, round(pause_s * 1e9)
        self._not_before_ns: int | None = None
        self._asked_ns = 0

    def due(self, t_ns: int, status: ArmStatus) -> bool:
        """Returns whether an attempt is due at `t_ns` [ns]; says so once a pause. Asked every beat of a fault."""
        if t_ns - self._asked_ns > _NEW_FAULT_NS:
            self._not_before_ns = None
        self._asked_ns = t_ns
        if not self._allowed or status.clearing is not Clearing.AUTOMATIC or status.attempts_left <= 0:
            self._not_before_ns = None
            return False
        if self._not_before_ns is None:
            self._not_before_ns = t_ns + self._pause_ns
        if t_ns < self._not_before_ns:
            return False
        self._not_before_ns = t_ns + self._pause_ns
        return True


class Backoff:
    """Times of attempts that come ever more rarely: each pause twice the one before, up to a longest.

    Args:
        first_s: First pause [s].
        longest_s: Longest pause [s].
    """

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_ns, self._longest_ns = round(first_s * 1e9), round(longest_s * 1e9)
        self.reset()

    def reset(self) -> None:
        """Begins anew: it worked."""
        self._pause_ns, self._not_before_ns = self._first_ns, 0

    def due(self, t_ns: int) -> bool:
        """Returns whether an attempt is due at `t_ns` [ns]; the next one is due after the next pause."""
        if t_ns < self._not_before_ns:
            return False
        self._not_before_ns = t_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, self._longest_ns)
        return True
