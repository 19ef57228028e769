"""The joint target over time: which follower moves it, how it stops, what it may not do. Used by `sim.twin.box`.

Between two cycles no joint target moves faster than pi rad/s; only a new episode or a power cycle sets it elsewhere.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from core.arrays import Floats
from sim.twin.face import Settings
from sim.twin.followers import (
    JOINT_ACCELERATION,
    Braking,
    Follower,
    JointGoal,
    JointVelocity,
    LineGoal,
    Relaxing,
    Still,
    Streaming,
    TcpVelocity,
)
from sim.twin.limits import Bounds, Limits
from sim.twin.plant import STEP_S
from sim.twin.pose import Frames
from sim.twin.program import Program

QUEUE, SERVO, JOINT_RATES, TCP_RATES, JOINT_GOALS, TCP_GOALS = 0, 1, 4, 5, 6, 7
"""Modes."""
MODES = (QUEUE, SERVO, JOINT_RATES, TCP_RATES, JOINT_GOALS, TCP_GOALS)
"""Modes that this box knows; manual ones (2, 3) need a hand on the arm."""


class Mover:
    """Joint target, its velocity and what moves it.

    Args:
        program: The queue of mode 0.
        measured: Tells where the arm is (7,) [rad].
        settings: Of the box.
    """

    def __init__(self, program: Program, measured: Callable[[], Floats], settings: Settings) -> None:
        self.program = program
        self._measured = measured
        self._limits = Limits()
        self._follower: Follower = Still()
        self._then: list[Callable[[], Follower]] = []
        self.target, self.velocity = measured(), np.zeros(7)
        self.settings = settings
        self.frames = Frames.of(settings.tcp_offset, settings.world_offset)

    def take(self, settings: Settings) -> None:
        """Puts new settings in force."""
        self.settings = settings
        self.frames = Frames.of(settings.tcp_offset, settings.world_offset)

    @property
    def moving(self) -> bool:
        """Whether the target moves or has somewhere to go."""
        return self._follower.moving or bool(np.abs(self.velocity).max() > 1e-9)

    @property
    def stopping(self) -> bool:
        """Whether it is coming to rest."""
        return isinstance(self._follower, Braking | Relaxing)

    def place(self) -> None:
        """Sets the target to where the arm is, at rest, and stays there."""
        self.target, self.velocity = self._measured(), np.zeros(7)
        self._follower, self._then = Still(), []
        self._limits.forget()

    def brake(self, deceleration: float = JOINT_ACCELERATION) -> None:
        """Comes to rest at a deceleration of the fastest joint [rad/s^2] and stays there."""
        self._follower, self._then = Braking(deceleration), [Still]
        self._limits.forget()

    def relax(self) -> None:
        """Stops pushing: comes to rest where the arm is, and stays there."""
        self._follower, self._then = Relaxing(self._measured), [Still]
        self._limits.forget()

    def ready(self, mode: int) -> None:
        """Comes to rest, stops pushing, and is then ready for a mode."""
        if not self.stopping:
            self._follower = Braking()
        self._then = [partial(Relaxing, self._measured), partial(self.start, mode)]

    def resume(self, mode: int) -> None:
        """Gets on with a mode after a pause, once the arm has come to rest."""
        self._then = [partial(self.start, mode)]
        if not self.stopping:
            self._follower = self._then.pop(0)()

    def start(self, mode: int) -> Follower:
        """Returns a new follower for a mode, from the target and velocity of now."""
        bounds = Bounds.of(self.settings)
        match mode:
            case 0:
                self.program.interrupt()
                return self.program
            case 1:
                return Streaming(self.target, bounds.joint_speed)
            case 4:
                return JointVelocity(self.settings.joint_acceleration)
            case 5:
                return TcpVelocity(self.frames, self.settings.tcp_acceleration, self.target, self.velocity)
            case 6:
                return JointGoal(self.target)
            case _:
                return LineGoal(self.frames, self.target, self.velocity)

    def engage(self, mode: int) -> Follower:
        """Returns the follower of a mode at once, also while the arm is still coming to rest."""
        if self.stopping or isinstance(self._follower, Still):
            self._follower, self._then = self.start(mode), []
        return self._follower

    def cycle(self) -> Floats:
        """Moves the target by one cycle and returns it (7,) [rad].

        Raises:
            Tripped: It may not; the target stays, stop before the next cycle.
        """
        if self.stopping and not self._follower.moving and self._then:
            self._follower = self._then.pop(0)()
        follower = self._follower
        following = follower.step(self.target, self.velocity)
        if self.stopping:
            bounds = Bounds.of(self.settings)
            low, high = np.minimum(bounds.joint_low, self.target), np.maximum(bounds.joint_high, self.target)
            following = np.clip(following, low, high)
        elif following is not self.target:
            following = self._limits.check(
                self.target, following, self.settings, self.frames,
                servo=isinstance(follower, Streaming), rates=isinstance(follower, JointVelocity | TcpVelocity),
            )  # fmt: skip
        self.velocity = (following - self.target) / STEP_S
        self.target = following
        return following
