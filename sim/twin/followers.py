"""What moves the joint target from cycle to cycle when nothing is queued: stops, servo targets, velocities, goals.

Made by `sim.twin.box`; each is asked once a cycle for the next joint target. What cannot be followed raises `Tripped`.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from core.arrays import Floats
from sim.twin.plant import STEP_S
from sim.twin.pose import Frames, difference, flange, moved, toward

JOINT_SPEED, JOINT_ACCELERATION = float(np.pi), 20.0
"""Most that a joint target ever does [rad/s], [rad/s^2]."""
TCP_SPEED, TCP_ACCELERATION = 1.0, 50.0
"""Most that is asked of the tool [m/s], [m/s^2]."""
TURN_PER_M = float(np.pi)
"""Speed of turning that stands for a straight speed of 1 m/s [rad/m]."""
SPEED = 24
"""Error: a joint would have to be too fast."""


class Tripped(Exception):
    """Motion that the box refuses; it stops with an error.

    Args:
        code: The box's error code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"error {code}")
        self.code = code


class Follower(Protocol):
    """Moves the joint target."""

    @property
    def moving(self) -> bool:
        """Whether it still has somewhere to go."""
        ...

    def step(self, target: Floats, velocity: Floats) -> Floats:
        """Returns the joint target (7,) [rad] one cycle after `target`, which moved at `velocity` [rad/s]."""
        ...


class Still:
    """Stays."""

    moving = False

    def step(self, target: Floats, velocity: Floats) -> Floats:  # noqa: ARG002
        """Returns `target`."""
        return target


class Braking:
    """Comes to rest along the present direction.

    Args:
        deceleration: Of the fastest joint [rad/s^2].
    """

    def __init__(self, deceleration: float = JOINT_ACCELERATION) -> None:
        self._deceleration = deceleration
        self.moving = True

    def step(self, target: Floats, velocity: Floats) -> Floats:
        """Returns the next target on the way to rest."""
        fastest = float(np.abs(velocity).max())
        slower = fastest - self._deceleration * STEP_S
        self.moving = slower > 0
        return target + velocity * (slower / fastest) * STEP_S if self.moving else target


class Relaxing:
    """Lets the target come to where the arm is, so that it stops pushing; gently, within half a second.

    Args:
        measured: Tells where the arm is (7,) [rad].
    """

    CYCLES, NEAR_RAD = 100, 5e-4

    def __init__(self, measured: Callable[[], Floats]) -> None:
        self._measured, self._left = measured, self.CYCLES

    @property
    def moving(self) -> bool:
        """Whether it is not done."""
        return self._left > 0

    def step(self, target: Floats, velocity: Floats) -> Floats:
        """Returns a target nearer to the arm."""
        off = self._measured() - target
        near = max(float(np.abs(off).max()), float(np.abs(velocity).max()) * STEP_S) < self.NEAR_RAD
        self._left = 0 if near else self._left - 1
        return target + eased(off, velocity, JOINT_SPEED / 2, JOINT_ACCELERATION) * STEP_S


class Streaming:
    """Servo mode: the newest target wins, at full speed and without smoothing, as on the real box.

    Args:
        start: Where it begins (7,) [rad].
        speed: Largest joint speed [rad/s].
    """

    def __init__(self, start: Floats, speed: float) -> None:
        self._newest, self._speed = start, speed
        self.moving = False

    def put(self, target: Floats) -> None:
        """Takes a new target (7,) [rad]."""
        self._newest = target

    def step(self, target: Floats, velocity: Floats) -> Floats:  # noqa: ARG002
        """Returns the newest target, or what is reached on the way to it."""
        change = self._newest - target
        largest = float(np.abs(change).max())
        self.moving = largest > 1e-9
        return target + change * min(1.0, self._speed * STEP_S / max(largest, 1e-12))


class JointVelocity:
    """Keeps joint velocities, reached at bounded acceleration; for a time or for ever.

    Args:
        acceleration: Of each joint [rad/s^2].
    """

    def __init__(self, acceleration: float) -> None:
        self._wanted, self._left_s, self._acceleration = np.zeros(7), np.inf, acceleration
        self.moving = False

    def put(self, velocity: Floats, duration_s: float) -> None:
        """Takes velocities (7,) [rad/s] for a time [s]; 0 is for ever."""
        self._wanted, self._left_s = velocity, duration_s or np.inf

    def step(self, target: Floats, velocity: Floats) -> Floats:
        """Returns the next target."""
        wanted = self._wanted if self._left_s > 0 else np.zeros(7)
        self._left_s -= STEP_S
        most = self._acceleration * STEP_S
        now = velocity + np.clip(wanted - velocity, -most, most)
        self.moving = bool(now.any())
        return target + now * STEP_S


class TcpVelocity:
    """Keeps a velocity of the tool, reached at bounded acceleration; for a time or for ever.

    Args:
        frames: Tool and world offsets.
        acceleration: Of the tool [m/s^2].
        start: Joints where it begins (7,) [rad].
        velocity: Their velocity then (7,) [rad/s].
    """

    def __init__(self, frames: Frames, acceleration: float, start: Floats, velocity: Floats) -> None:
        self._frames, self._in_tool = frames, False
        self._wanted, self._now, self._left_s = np.zeros(6), tool_twist(frames, start, velocity), np.inf
        self._most = np.repeat([1.0, TURN_PER_M], 3) * min(acceleration, 4.0) * STEP_S
        self.moving = False

    def put(self, velocity: Floats, duration_s: float, *, in_tool: bool) -> None:
        """Takes a velocity (6,) [m/s, rad/s] for a time [s]; 0 is for ever."""
        self._wanted, self._left_s, self._in_tool = velocity, duration_s or np.inf, in_tool

    def step(self, target: Floats, velocity: Floats) -> Floats:  # noqa: ARG002
        """Returns the next target; raises `Tripped` where a joint would have to be too fast."""
        wanted = self._wanted if self._left_s > 0 else np.zeros(6)
        self._left_s -= STEP_S
        matrix, jac = flange(target)
        turn = self._frames.tool_of(matrix)[:3, :3] if self._in_tool else self._frames.world[:3, :3]
        base = self._frames.world[:3, :3].T @ turn
        wanted = np.concatenate([base @ wanted[:3], base @ wanted[3:]])
        self._now = self._now + np.clip(wanted - self._now, -self._most, self._most)
        self.moving = bool(self._now.any())
        arm = matrix[:3, :3] @ self._frames.tool[:3, 3]
        linear = self._now[:3] - np.cross(self._now[3:], arm)
        return target + joint_rates(jac, np.concatenate([linear, self._now[3:]])) * STEP_S


class JointGoal:
    """Online replanning in joints (mode 6): goes to the newest goal from whatever it is doing.

    Args:
        start: Where it begins (7,) [rad].
    """

    def __init__(self, start: Floats) -> None:
        self._goal, self._speed, self._acceleration = start, JOINT_SPEED, JOINT_ACCELERATION
        self.moving = False

    def put(self, goal: Floats, speed: float, acceleration: float) -> None:
        """Takes a goal (7,) [rad] with largest speed [rad/s] and acceleration [rad/s^2]."""
        self._goal, self._speed, self._acceleration = goal, speed, acceleration

    def step(self, target: Floats, velocity: Floats) -> Floats:
        """Returns the next target."""
        now = eased(self._goal - target, velocity, self._speed, self._acceleration)
        self.moving = bool(np.abs(self._goal - target).max() > 1e-9)
        return target + now * STEP_S


class LineGoal:
    """Online replanning of the tool (mode 7): goes to the newest pose from whatever it is doing.

    Args:
        frames: Tool and world offsets.
        start: Joints where it begins (7,) [rad].
        velocity: Their velocity then (7,) [rad/s].
    """

    def __init__(self, frames: Frames, start: Floats, velocity: Floats) -> None:
        self._frames = frames
        self._pose = self._goal = frames.tool_of(flange(start)[0])
        twist, turn = tool_twist(frames, start, velocity), frames.world[:3, :3]
        self._velocity = np.concatenate([turn @ twist[:3], turn @ twist[3:]])
        self._speed, self._acceleration = TCP_SPEED, TCP_ACCELERATION
        self.moving = False

    def put(self, goal: Floats, speed: float, acceleration: float) -> None:
        """Takes a tool pose (4, 4) with largest speed [m/s] and acceleration [m/s^2]."""
        self._goal, self._speed, self._acceleration = goal, speed, min(acceleration, 4.0)

    def step(self, target: Floats, velocity: Floats) -> Floats:  # noqa: ARG002
        """Returns the next target; raises `Tripped` where a joint would have to be too fast."""
        left = difference(self._goal, self._pose)
        unit = np.repeat([1.0, TURN_PER_M], 3)
        now = unit * eased(left / unit, self._velocity / unit, self._speed, self._acceleration)
        self._velocity, self._pose = now, moved(self._pose, now * STEP_S)
        self.moving = bool(np.abs(left).max() > 1e-7)
        if not self.moving:
            return target
        return tracked(target, self._frames.flange_of(self._pose))


def eased(left: Floats, velocity: Floats, speed: float, acceleration: float) -> Floats:
    """Returns the velocity of the next cycle that goes `left` and comes to rest there; all dims arrive together.

    Args:
        left: Way to go, shape (D,).
        velocity: Of the cycle before, shape (D,).
        speed: Largest speed.
        acceleration: Largest acceleration.
    """
    share = np.abs(left) / max(float(np.linalg.norm(left) if left.size == 6 else np.abs(left).max()), 1e-12)
    half = STEP_S / 2
    stoppable = acceleration * (np.sqrt(half**2 + 2 * np.abs(left) / acceleration) - half)
    wanted = np.sign(left) * np.minimum(np.minimum(speed * share, stoppable), np.abs(left) / STEP_S)
    most = acceleration * STEP_S
    return np.asarray(velocity + np.clip(wanted - velocity, -most, most))


def tool_twist(frames: Frames, joint_pos: Floats, joint_vel: Floats) -> Floats:
    """Returns the velocity (6,) [m/s, rad/s] of the tool centre point in base axes, of joints (7,) [rad], [rad/s]."""
    matrix, jac = flange(joint_pos)
    twist = jac @ joint_vel
    return np.concatenate([twist[:3] + np.cross(twist[3:], matrix[:3, :3] @ frames.tool[:3, 3]), twist[3:]])


def joint_rates(jac: Floats, twist: Floats) -> Floats:
    """Returns joint velocities (7,) [rad/s] of a flange twist (6,), damped a little against singularities."""
    return np.asarray(jac.T @ np.linalg.solve(jac @ jac.T + 1e-6 * np.eye(6), twist))


def tracked(target: Floats, goal: Floats) -> Floats:
    """Returns joints (7,) [rad] that put the flange at `goal` (4, 4), from `target` close by.

    Raises:
        Tripped: The arm cannot follow there, e.g. it is stretched out.
    """
    q, off = toward(target, goal, 3)
    if off > 100:
        raise Tripped(SPEED)
    return q
