"""The simulated gripper: enable, speed, target, and what it says of itself. Used by `sim.twin.box`."""

from sim.cell import STROKE_M
from sim.twin.plant import STEP_S

FULL_RPM = 5000.0
"""Register speed at which the cell's gripper is as fast as it can be [r/min]."""
STROKE_S = 0.25
"""Time of a full stroke at that speed [s]."""
TELLS_MOVING_S = 0.2
"""It says that it moves for at least this long after every new target [s]; clients wait to see it."""
STILL_M_S, THERE_M = 0.003, 0.0015
"""Slower than this it stands [m/s]; nearer than this it has arrived [m]."""


class Gripper:
    """Opening between the pads over time."""

    def __init__(self) -> None:
        self.enabled, self.error = True, 0
        self.rpm = FULL_RPM
        self._target = self._asked = STROKE_M
        self._told_s = 0.0
        self._speed = 0.0
        self._opening = STROKE_M

    def place(self, opening_m: float) -> None:
        """Takes an opening [m] as where it is and wants to be."""
        self._target = self._asked = self._opening = opening_m
        self._told_s, self._speed, self.error = 0.0, 0.0, 0

    def move(self, opening_m: float) -> None:
        """Takes a target [m]; ignored while it is off or in error."""
        if self.enabled and not self.error:
            self._target = min(max(opening_m, 0.0), STROKE_M)
            self._told_s = TELLS_MOVING_S

    def step(self, opening_m: float, speed: float) -> float:
        """Returns where the drive is to be after one cycle [m].

        Args:
            opening_m: Measured [m].
            speed: Measured [m/s].
        """
        self._opening, self._speed = opening_m, speed
        self._told_s -= STEP_S
        if self.rpm >= FULL_RPM:
            self._asked = self._target
        else:
            most = STROKE_M / STROKE_S * self.rpm / FULL_RPM * STEP_S
            self._asked += min(max(self._target - self._asked, -most), most)
        return self._asked

    @property
    def opening_m(self) -> float:
        """Measured [m]."""
        return self._opening

    @property
    def moving(self) -> bool:
        """Whether it moves, or was told to an instant ago."""
        return self._told_s > 0 or self._asked != self._target or abs(self._speed) > STILL_M_S

    @property
    def holds(self) -> bool:
        """Whether the pads met something before they were where they wanted to be."""
        return not self.moving and self._opening > self._target + THERE_M
