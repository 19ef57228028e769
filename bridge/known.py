"""What is remembered of an object, and what may have become of it. Used by `bridge.tracker`, `bridge.explanations`."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from bridge.silhouette import Fit
from core.arrays import Floats
from core.transforms import Pose, quat_conjugate, quat_multiply, quat_rotate


class State(Enum):
    """What a thing is doing."""

    RESTING = "resting"
    """On the table or on something fixed, or joined to it."""
    HELD = "held"
    """Moves with the tool."""
    LOOSE = "loose"
    """Was let go and has not been seen to rest since."""
    GONE = "gone"
    """Has vanished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is remembered of one object."""

    pos: Floats
    """In the frame of the grip (`gripped`) when held, else in base, shape (3,) [m]."""
    state: State
    size_m: Floats
    """Half extents as it lies, the last one upright, shape (3,) [m]."""
    yaw_rad: float
    """Heading in the frame of `pos`."""
    t_ns: int
    """When it was last seen."""
    confidence: float
    tilt_rad: float = 0.0
    """How far it is turned in the hand, about the line from finger to finger."""
    bare: int = 0
    """Pictures since then that show nothing where it was."""

    def in_base(self, tool: Pose, points: Floats) -> Floats:
        """Returns points (..., 3) [m] that are given as `pos` is, in base."""
        return gripped(tool, self.tilt_rad).apply(points) if self.state is State.HELD else points


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What may have become of a thing, and how well that fits."""

    state: State
    size_m: Floats
    """Half extents as it lies, shape (3,) [m]."""
    fit: Fit
    tilt_rad: float = 0.0
    """How far it is turned in the hand [rad]."""

    @property
    def cost(self) -> float:
        """How badly it fits, with what is more likely before one looks made cheaper."""
        return self.fit.cost - _BONUS[self.state]


_BONUS = {State.HELD: 2.0, State.RESTING: 0.0, State.LOOSE: -2.0}
"""At even odds, fingers that are stopped hold the thing, and a thing that was let go lies [squared deviations]."""


def gripped(tool: Pose, tilt_rad: float) -> Pose:
    """Returns the frame of a thing in the hand: the tool's, turned about the line from finger to finger."""
    turn = np.array([0.0, np.sin(0.5 * tilt_rad), 0.0, np.cos(0.5 * tilt_rad)])
    return Pose(pos=tool.pos, quat_xyzw=quat_multiply(tool.quat_xyzw, turn)) if tilt_rad else tool


def heading_in(frame: Pose, yaw_rad: float) -> float:
    """Returns a heading about z of base, as one about z of `frame`, whose z must be upright or upside down."""
    x, y, _ = quat_rotate(quat_conjugate(frame.quat_xyzw), np.array([np.cos(yaw_rad), np.sin(yaw_rad), 0.0]))
    return float(np.arctan2(y, x))


def heading_out(frame: Pose, yaw_rad: float) -> float:
    """Returns a heading about z of `frame`, as one about z of base; the inverse of `heading_in`."""
    x, y, _ = quat_rotate(frame.quat_xyzw, np.array([np.cos(yaw_rad), np.sin(yaw_rad), 0.0]))
    return float(np.arctan2(y, x))
