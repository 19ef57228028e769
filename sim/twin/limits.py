"""What the box refuses to do by itself: joint range, speeds, fence, self-collision, and force from outside.

Called by `sim.twin.box` once a cycle with the next joint target, before anything moves.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from core.arrays import Floats
from core.kinematics import XARM7, chain
from sim.arm_parts import EFFORT_NM
from sim.twin.face import Settings
from sim.twin.followers import JOINT_ACCELERATION, JOINT_SPEED, SPEED, TCP_SPEED, Tripped
from sim.twin.plant import STEP_S
from sim.twin.pose import Frames, flange

JOINT_LIMIT, SELF_COLLISION, COLLISION, FENCE, SERVO_SPEED = 23, 22, 31, 35, 60
"""Error codes, with `SPEED` 24."""
SERVO_SPEED_FACTOR = 1.2
"""The tool may be this much faster than its limit while servo targets are followed."""
SERVO_WINDOW = 20
"""Cycles over which that speed is taken: servo targets come in steps, and late ones make up for lost time."""
SENSITIVE = np.array([np.inf, 0.90, 0.70, 0.50, 0.35, 0.20])
"""Share of a joint's largest effort that may come from outside, by collision sensitivity 0 (off) to 5; our choice."""
_SLACK = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The limits in force: those of the arm, or the reduced ones."""

    joint_low: Floats
    joint_high: Floats
    joint_speed: float
    tcp_speed: float

    @staticmethod
    def of(settings: Settings) -> "Bounds":
        """Returns the limits that settings put in force."""
        if not settings.reduced:
            return Bounds(
                joint_low=XARM7.joint_low, joint_high=XARM7.joint_high, joint_speed=JOINT_SPEED, tcp_speed=TCP_SPEED
            )
        return Bounds(
            joint_low=np.maximum(XARM7.joint_low, settings.reduced_joint_range[:, 0]),
            joint_high=np.minimum(XARM7.joint_high, settings.reduced_joint_range[:, 1]),
            joint_speed=min(JOINT_SPEED, max(settings.reduced_joint_speed, 1e-3)),
            tcp_speed=min(TCP_SPEED, max(settings.reduced_tcp_speed, 1e-3)),
        )

    def over(self, joint_pos: Floats) -> bool:
        """Whether joint positions (7,) [rad] are out of range, or not numbers."""
        return not bool(((joint_pos >= self.joint_low - _SLACK) & (joint_pos <= self.joint_high + _SLACK)).all())


class Limits:
    """Checks each next joint target against the settings in force."""

    def __init__(self) -> None:
        self._tcp: deque[Floats] = deque(maxlen=SERVO_WINDOW + 1)
        self._cycle = 0

    def forget(self) -> None:
        """Forgets how fast the tool was."""
        self._tcp.clear()

    def check(
        self, target: Floats, following: Floats, settings: Settings, frames: Frames, *, servo: bool, rates: bool
    ) -> Floats:
        """Returns the joint target that is allowed: `following`, or less of it where the tool's speed is reduced.

        Args:
            target: Joint target now, shape (7,) [rad].
            following: Wanted next, shape (7,) [rad].
            settings: Of the box.
            frames: Tool and world offsets.
            servo: Whether servo targets are followed.
            rates: Whether velocities are kept up, which nothing but a limit ends.

        Raises:
            Tripped: It breaks a limit.
        """
        bounds = Bounds.of(settings)
        change = following - target
        ahead = following + change * np.abs(change) / (2 * JOINT_ACCELERATION * STEP_S**2) if rates else following
        outward = np.maximum(bounds.joint_low - ahead, ahead - bounds.joint_high)
        before = np.maximum(bounds.joint_low - target, target - bounds.joint_high)
        if (outward > np.maximum(before, 0.0) + _SLACK).any():
            raise Tripped(JOINT_LIMIT)
        if np.abs(change).max() > JOINT_SPEED * STEP_S * (1 + 1e-6):
            raise Tripped(SPEED)
        now, there = frames.tool_position(flange(target)[0]), frames.tool_position(flange(following)[0])
        share = self._slower(there - now, bounds) if servo and settings.reduced else 1.0
        self._check_tool(now, now + share * (there - now), settings, bounds, servo=servo)
        self._cycle += 1
        if settings.self_collision and self._cycle % 2 and touches_itself(following):
            raise Tripped(SELF_COLLISION)
        return target + share * change

    def _slower(self, change: Floats, bounds: Bounds) -> float:
        length = float(np.linalg.norm(change))
        return min(1.0, bounds.tcp_speed * STEP_S / max(length, 1e-12))

    def _check_tool(self, now: Floats, there: Floats, settings: Settings, bounds: Bounds, *, servo: bool) -> None:
        if settings.fence and fence_depth(there, settings) > max(fence_depth(now, settings), 0.0) + _SLACK:
            raise Tripped(FENCE)
        self._tcp.append(there)
        if servo and len(self._tcp) > SERVO_WINDOW:
            way = float(np.linalg.norm(self._tcp[-1] - self._tcp[0]))
            if way > SERVO_SPEED_FACTOR * bounds.tcp_speed * SERVO_WINDOW * STEP_S:
                raise Tripped(SERVO_SPEED)


def fence_depth(tool: Floats, settings: Settings) -> float:
    """Returns how far a tool centre point (3,) is outside the fence [m]; negative inside."""
    return float(np.maximum(settings.fence_low - tool, tool - settings.fence_high).max())


def collides(strain: Floats, sensitivity: int) -> bool:
    """Whether torque from outside (7,) [N m] is more than a collision sensitivity allows."""
    return bool((np.abs(strain) > SENSITIVE[sensitivity] * EFFORT_NM).any())


_CAPSULES = (
    (-1, (0, 0, 0.0), (0, 0, 0.16), 0.065),
    (0, (0, 0, -0.05), (0, 0, 0.0), 0.055),
    (1, (0, 0, 0), (0, -0.20, 0), 0.052),
    (2, (0, 0, 0), (0.0525, 0, 0), 0.052),
    (3, (0, 0, 0), (0.0775, -0.20, 0), 0.048),
    (4, (0, -0.14, 0), (0, 0, 0), 0.045),
    (5, (0, 0, 0), (0.076, 0.03, 0), 0.044),
    (6, (0, 0, -0.02), (0, 0, 0.15), 0.05),
)
"""Link (-1 is the base), two points in its frame and a radius [m]; the last is the hand."""
_PAIRS = np.array([(i, j) for i in range(8) for j in range(i + 3, 8)])
_LINK = np.array([c[0] for c in _CAPSULES])
_FROM, _TO = np.array([c[1] for c in _CAPSULES], float), np.array([c[2] for c in _CAPSULES], float)
_RADIUS = np.array([c[3] for c in _CAPSULES])


def touches_itself(joint_pos: Floats) -> bool:
    """Whether parts of the arm that are three or more apart overlap, as capsules, at joint positions (7,) [rad]."""
    turn, origin = chain(joint_pos[None])
    turn = np.concatenate([turn[:, 0], np.eye(3)[None]])[_LINK]
    origin = np.concatenate([origin[:, 0], np.zeros((1, 3))])[_LINK]
    a = origin + np.einsum("nij,nj->ni", turn, _FROM)
    b = origin + np.einsum("nij,nj->ni", turn, _TO)
    i, j = _PAIRS.T
    gap = segment_distance(a[i], b[i], a[j], b[j])
    return bool((gap < _RADIUS[i] + _RADIUS[j]).any())


def segment_distance(a: Floats, b: Floats, c: Floats, d: Floats) -> Floats:
    """Returns the distances (P,) [m] between segments a-b and c-d, each (P, 3).

    Source: Ericson (2005), Real-Time Collision Detection, section 5.1.9, vectorised.
    """
    u, v, w = b - a, d - c, a - c
    uu, vv, uv = (u * u).sum(1), (v * v).sum(1), (u * v).sum(1)
    uw, vw = (u * w).sum(1), (v * w).sum(1)
    det = uu * vv - uv * uv
    s = np.clip(np.where(det > 1e-12, (uv * vw - vv * uw) / np.maximum(det, 1e-12), 0.0), 0.0, 1.0)
    t = np.clip((uv * s + vw) / np.maximum(vv, 1e-12), 0.0, 1.0)
    s = np.clip((uv * t - uw) / np.maximum(uu, 1e-12), 0.0, 1.0)
    return np.asarray(np.linalg.norm(w + s[:, None] * u - t[:, None] * v, axis=1))
