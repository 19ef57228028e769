"""The one transition table: which phase follows which, given what happened this tick. Pure; called by `recover`."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from core.flow import Phase


class Input(StrEnum):
    """What happened in a tick, as far as phases care; one a tick, listed from most to least pressing."""

    STOP = "stop"
    """A person or a report of severity STOP says stop."""
    RESET = "reset"
    """A person lifts a stop."""
    HOLD = "hold"
    """A person says hold."""
    TAKE_OVER = "take_over"
    """A person wants to drive."""
    RESUME = "resume"
    """A person gives the arm to the policy."""
    BLIND = "blind"
    """Sensing, the controller or the policy's answers are lost: nothing to diagnose with."""
    EXHAUSTED = "exhausted"
    """Something failed and no attempt or diagnosis is left."""
    FAILURE = "failure"
    """A report asks for a hold, or an attempt failed."""
    UNKNOWN = "unknown"
    """The diagnosis is unknown, unsure, or names what no skill helps against."""
    CLEARED = "cleared"
    """The diagnosis says that nothing is wrong."""
    DIAGNOSED = "diagnosed"
    """The diagnosis names a failure that a skill helps against."""
    RECOVERED = "recovered"
    """The attempt reached its verified end."""
    TIMEOUT = "timeout"
    """The phase lasted longer than it may."""
    NOTHING = "nothing"
    """None of these."""


_TABLE: Mapping[Phase, Mapping[Input, Phase]] = MappingProxyType(
    {
        Phase.RUNNING: {
            Input.HOLD: Phase.HOLDING,
            Input.TAKE_OVER: Phase.OPERATOR,
            Input.BLIND: Phase.HOLDING,
            Input.EXHAUSTED: Phase.HOLDING,
            Input.FAILURE: Phase.DIAGNOSING,
        },
        Phase.DIAGNOSING: {
            Input.HOLD: Phase.HOLDING,
            Input.TAKE_OVER: Phase.OPERATOR,
            Input.RESUME: Phase.RUNNING,
            Input.BLIND: Phase.HOLDING,
            Input.EXHAUSTED: Phase.HOLDING,
            Input.UNKNOWN: Phase.HOLDING,
            Input.CLEARED: Phase.RUNNING,
            Input.DIAGNOSED: Phase.RECOVERING,
            Input.TIMEOUT: Phase.HOLDING,
        },
        Phase.RECOVERING: {
            Input.HOLD: Phase.HOLDING,
            Input.TAKE_OVER: Phase.OPERATOR,
            Input.RESUME: Phase.RUNNING,
            Input.BLIND: Phase.HOLDING,
            Input.EXHAUSTED: Phase.HOLDING,
            Input.FAILURE: Phase.DIAGNOSING,
            Input.RECOVERED: Phase.RUNNING,
            Input.TIMEOUT: Phase.HOLDING,
        },
        Phase.HOLDING: {Input.TAKE_OVER: Phase.OPERATOR, Input.RESUME: Phase.RUNNING},
        Phase.OPERATOR: {
            Input.HOLD: Phase.HOLDING,
            Input.RESUME: Phase.RUNNING,
            Input.BLIND: Phase.HOLDING,
            Input.TIMEOUT: Phase.HOLDING,
        },
        Phase.STOPPED: {Input.RESET: Phase.HOLDING},
    }
)
"""What leads out of each phase; any other input changes nothing, and STOP leads to STOPPED from anywhere."""

HOLDS = frozenset({Phase.DIAGNOSING, Phase.HOLDING, Phase.STOPPED})
"""Phases in which the arm holds."""
PLANS = frozenset({Phase.RUNNING, Phase.DIAGNOSING, Phase.RECOVERING})
"""Phases in which the policy is asked for chunks; while diagnosing, so that it is ready to resume."""


def next_phase(phase: Phase, event: Input) -> Phase:
    """Returns the phase of the next tick."""
    return Phase.STOPPED if event is Input.STOP else _TABLE[phase].get(event, phase)
