"""Coming to rest and following within velocity, acceleration and jerk, in discrete beats. Called by the wall.

All rates are differences of the stream of points itself: v = (q - q_before) / dt, and so on, so that what is promised
is what can be measured on the stream. Arrays are (..., J).
"""

from dataclasses import dataclass, field

import numpy as np

from core.arrays import Floats

FOLLOW_ACCELERATION = 0.7
"""Share of the acceleration that following a target plans with; the rest is for targets that turn."""
FOLLOW_JERK = 0.2
"""Share of the jerk that following plans with: the smallest mean error on streams with a kink every 50 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The largest rates of every joint, and the beat they are counted in."""

    speed: float
    """[rad/s]."""
    acceleration: float
    """[rad/s^2]."""
    jerk: float
    """[rad/s^3]."""
    beat_s: float
    """Time between two points [s]."""
    gaps: Floats = field(init=False)
    """Velocity gaps, ascending, shape (M,) [rad/s]."""
    slopes: Floats = field(init=False)
    """Largest acceleration that closes each of `gaps` exactly, shape (M,) [rad/s^2]."""

    def __post_init__(self) -> None:
        whole = int(self.acceleration / self.change)
        steps = np.append(np.arange(whole + 1.0), self.acceleration / self.change)
        units = (steps - whole) * (whole + 1.0) + 0.5 * whole * (whole + 1.0)
        units[:-1] = 0.5 * steps[:-1] * (steps[:-1] + 1.0)
        object.__setattr__(self, "gaps", units * self.change * self.beat_s)
        object.__setattr__(self, "slopes", steps * self.change)

    @property
    def change(self) -> float:
        """Largest change of the acceleration in one beat [rad/s^2]."""
        return self.jerk * self.beat_s

    def beats_to_rest(self, vel: Floats, acc: Floats) -> int:
        """Returns after how many beats all of (..., J) have surely come to rest."""
        release = float(np.abs(acc).max(initial=0.0)) / self.change + 1.0
        fastest = float(np.abs(vel).max(initial=0.0)) / (self.change * self.beat_s) + 0.5 * release * (release + 1.0)
        peak = min(self.acceleration / self.change, np.sqrt(fastest))
        return int(release + fastest / peak + peak) + 2


def steepest(gap: Floats, rates: Rates) -> Floats:
    """Returns the largest acceleration that still closes a gap of velocity exactly, without overshoot [rad/s^2].

    Args:
        gap: Distance of the velocity from the wanted one, >= 0 [rad/s].

    Source: Han (2009), From PID to active disturbance rejection control: the discrete time-optimal double integrator,
    whose switching curve is a straight line between the gaps that take whole numbers of beats.
    """
    return np.asarray(np.interp(gap, rates.gaps, rates.slopes))


def brake(vel: Floats, acc: Floats, rates: Rates) -> Floats:
    """Returns the next acceleration of the fastest way to rest [rad/s^2].

    Args:
        vel: [rad/s].
        acc: [rad/s^2].
    """
    want = np.copysign(steepest(np.abs(vel), rates), -vel)
    return np.asarray(np.minimum(np.maximum(want, acc - rates.change), acc + rates.change))


def accelerate(vel: Floats, acc: Floats, wanted: Floats, rates: Rates) -> Floats:
    """Returns the next acceleration towards a wanted velocity that keeps every rate, also in the beats after it.

    Args:
        vel: [rad/s], within the speed limit.
        acc: [rad/s^2].
        wanted: Velocity [rad/s].
    """
    gap = wanted - vel
    want = np.copysign(steepest(np.abs(gap), rates), gap)
    low = np.minimum(np.maximum(-steepest(rates.speed + vel, rates), acc - rates.change), acc + rates.change)
    high = np.maximum(np.minimum(steepest(rates.speed - vel, rates), acc + rates.change), acc - rates.change)
    return np.asarray(np.minimum(np.maximum(want, low), high))


def approach(gap: Floats, drift: Floats, rates: Rates) -> Floats:
    """Returns the velocity that catches a moving target and then keeps pace with it [rad/s].

    Args:
        gap: From the last point to the target [rad].
        drift: Velocity of the target [rad/s].
    """
    acc, jerk = FOLLOW_ACCELERATION * rates.acceleration, FOLLOW_JERK * rates.jerk
    behind = gap - drift * rates.beat_s
    far = np.abs(behind)
    ramp = acc**2 / jerk
    coasted = 0.5 * (np.sqrt(ramp**2 + 8.0 * acc * far) - ramp)
    closing = np.minimum(np.minimum(np.cbrt(far * far * jerk), coasted), far / rates.beat_s)
    return np.asarray(np.clip(drift + np.copysign(closing, behind), -rates.speed, rates.speed))


def rest_path(pos: Floats, vel: Floats, acc: Floats, rates: Rates) -> Floats:
    """Returns the points (K, N, J) [rad] of the fastest way to rest, the present one first.

    Args:
        pos: Shape (N, J) [rad].
        vel: Shape (N, J) [rad/s].
        acc: Shape (N, J) [rad/s^2].
    """
    points = np.empty((rates.beats_to_rest(vel, acc) + 1, *pos.shape))
    points[0] = pos
    for k in range(1, len(points)):
        acc = brake(vel, acc, rates)
        vel = vel + acc * rates.beat_s
        pos = pos + vel * rates.beat_s
        points[k] = pos
    return points
