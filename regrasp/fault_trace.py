"""What the twin's trace says about a stop: how soon the arm was at rest, and whether a joint jumped. For the bench."""

from dataclasses import dataclass

import numpy as np

from bridge.twin_control import TwinTrace
from core.arrays import Bools, Floats

STILL_RAD_S = 0.01
"""A joint slower than this is at rest [rad/s]."""
REST_S = 0.2
"""At rest means so long without motion [s]."""
WINDOW_S = 0.01
"""Time over which a jump is looked for: one beat [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """How an arm reacted to what happened at one instant."""

    hold_s: float | None
    """From that instant until the arm was at rest [s]; None when it never came to rest."""
    target_held_s: float | None
    """From that instant until the commanded joints stayed [s]; None when they never did."""
    jump_deg: float
    """Largest change of one joint, commanded or measured, in one beat, beyond what it was moving before [degrees]."""
    resumed_s: float | None
    """From that instant until it moved again after the rest [s]; None when it did not."""


def reaction(trace: TwinTrace, t_ns: int) -> Stop:
    """Returns how the arm reacted.

    Args:
        trace: Cycles from shortly before the instant on.
        t_ns: The instant [ns].
    """
    after = trace.t_ns >= t_ns
    t_s = np.asarray((trace.t_ns - t_ns) * 1e-9, dtype=np.float64)
    moving = _moving(t_s, trace.joint_pos)
    commanded = _moving(t_s, trace.joint_target)
    rest = _rest_begins(t_s, moving, after)
    return Stop(
        hold_s=rest,
        target_held_s=_rest_begins(t_s, commanded, after),
        jump_deg=max(jump_deg(t_s, trace.joint_pos), jump_deg(t_s, trace.joint_target)),
        resumed_s=None if rest is None else _next_motion(t_s, moving, rest),
    )


def jump_deg(t_s: Floats, joints: Floats) -> float:
    """Returns the largest change of any joint within one beat [degrees].

    Args:
        t_s: Shape (T,) [s].
        joints: Shape (T, J) [rad].
    """
    if len(joints) < 3:
        return 0.0
    step = max(1, round(WINDOW_S / float(np.median(np.diff(t_s)))))
    return float(np.degrees(np.abs(joints[step:] - joints[:-step]).max()))


def _moving(t_s: Floats, joints: Floats) -> Bools:
    """Returns in which cycles any joint moves, over about 20 ms."""
    span = 4
    if len(t_s) <= span:
        return np.zeros(len(t_s), dtype=bool)
    speed = np.abs(joints[span:] - joints[:-span]).max(axis=1) / np.maximum(t_s[span:] - t_s[:-span], 1e-6)
    moving = np.zeros(len(t_s), dtype=bool)
    moving[span:] = speed > STILL_RAD_S
    return moving


def _rest_begins(t_s: Floats, moving: Bools, after: Bools) -> float | None:
    """Returns when the first rest of `REST_S` begins at or after the instant [s]."""
    begun: float | None = None
    for t, moves, later in zip(t_s, moving, after, strict=True):
        if not later:
            continue
        if moves:
            begun = None
        elif begun is None:
            begun = float(t)
        elif t - begun >= REST_S:
            return begun
    return None


def _next_motion(t_s: Floats, moving: Bools, rest_s: float) -> float | None:
    later = t_s[(t_s > rest_s + REST_S) & moving]
    return float(later[0]) if len(later) else None
