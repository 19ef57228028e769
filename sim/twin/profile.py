"""How fast along a path: trapezoids of speed, smoothed so that the acceleration is bounded in its change too.

Called by `sim.twin.legs` and `sim.twin.program`.
"""

from dataclasses import dataclass

import numpy as np

SMOOTHING_S = 0.04
"""Shortest time in which the acceleration builds up [s]: 20 rad/s^2 at the arm's 500 rad/s^3."""

_NOTHING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Distance over time from rest to rest; a trapezoid of speed averaged over `blur_s`, which is an S-curve."""

    length: float
    """How far [m or rad]."""
    cruise: float
    """Speed reached [1/s of that]."""
    acceleration: float
    """[1/s^2 of that]."""
    blur_s: float
    """Time in which the acceleration builds up [s]."""

    @staticmethod
    def plan(length: float, speed: float, acceleration: float, jerk: float) -> "Profile":
        """Returns a profile that keeps to speed, acceleration and jerk; it cruises for `blur_s` at least.

        Args:
            length: How far, 0 or more [m or rad].
            speed: Largest speed, above 0.
            acceleration: Largest acceleration, above 0.
            jerk: Largest change of acceleration, above 0.
        """
        blur = max(SMOOTHING_S, acceleration / jerk)
        length = length if length > _NOTHING else 0.0
        level = acceleration * blur
        short = 2 * length * acceleration / (level + float(np.sqrt(level**2 + 4 * length * acceleration)))
        cruise = min(speed, short)
        return Profile(length=length, cruise=cruise, acceleration=acceleration, blur_s=blur)

    @property
    def ramp_s(self) -> float:
        """Time in which the trapezoid speeds up, and slows down [s]."""
        return self.cruise / self.acceleration

    @property
    def duration_s(self) -> float:
        """Time from rest to rest [s]."""
        return self._end_s() + self.blur_s if self.length > 0 else 0.0

    def at(self, t_s: float) -> float:
        """Returns the distance at a time since the beginning [s]."""
        if t_s <= 0 or self.length <= 0:
            return 0.0
        if t_s >= self.duration_s:
            return self.length
        return (self._area(t_s) - self._area(t_s - self.blur_s)) / self.blur_s

    def _end_s(self) -> float:
        return self.length / self.cruise + self.ramp_s

    def _area(self, t: float) -> float:
        """Returns the integral of the trapezoid's distance from 0 to `t`."""
        if t <= 0:
            return 0.0
        ramp, flat, a, v = self.ramp_s, self.length / self.cruise - self.ramp_s, self.acceleration, self.cruise
        up = min(t, ramp)
        area = a * up**3 / 6
        if t > ramp:
            level = min(t - ramp, flat)
            area += a * ramp**2 / 2 * level + v * level**2 / 2
        if t > ramp + flat:
            down = min(t - ramp - flat, ramp)
            area += (a * ramp**2 / 2 + v * flat) * down + v * down**2 / 2 - a * down**3 / 6
        return area + self.length * max(0.0, t - self._end_s())
