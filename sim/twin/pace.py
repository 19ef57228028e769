"""How fast a queued move may be: what was asked for, inside what the arm and the settings in force allow.

Called by `sim.twin.box` for every move it queues.
"""

from dataclasses import dataclass

from sim.twin.face import Motion, Settings
from sim.twin.followers import JOINT_ACCELERATION, TCP_ACCELERATION
from sim.twin.limits import Bounds
from sim.twin.profile import Profile

_LEAST = 1e-3
"""Slowest speed and acceleration that are taken seriously; zero would never arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast one move may be."""

    speed: float
    """[rad/s] or [m/s]."""
    acceleration: float
    """[rad/s^2] or [m/s^2]."""
    jerk: float
    """[rad/s^3] or [m/s^3]."""
    radius: float
    """Blend radius [rad or m]; negative stops at the end."""

    def profile(self, length: float) -> Profile:
        """Returns the profile of a way [rad or m]."""
        return Profile.plan(length, self.speed, self.acceleration, self.jerk)


def joint_pace(motion: Motion, settings: Settings) -> Pace:
    """Returns the pace of a joint move [rad]."""
    most = min(settings.joint_acceleration, JOINT_ACCELERATION)
    return _pace(motion, Bounds.of(settings).joint_speed, most, settings.joint_jerk)


def tcp_pace(motion: Motion, settings: Settings) -> Pace:
    """Returns the pace of a straight move [m]."""
    most = min(settings.tcp_acceleration, TCP_ACCELERATION)
    return _pace(motion, Bounds.of(settings).tcp_speed, most, settings.tcp_jerk)


def _pace(motion: Motion, speed: float, acceleration: float, jerk: float) -> Pace:
    """Two blended moves speed up and slow down at once, so each has half of the largest acceleration."""
    most = acceleration if motion.radius < 0 else acceleration / 2
    return Pace(
        speed=max(min(motion.speed, speed), _LEAST),
        acceleration=max(min(motion.acceleration, most), _LEAST),
        jerk=max(jerk, _LEAST),
        radius=motion.radius,
    )
