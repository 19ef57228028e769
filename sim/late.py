"""What an arm with slow sensing says: the state of a moment ago, between two control steps if need be.

Used by `sim.robot`. Whatever is reported carries the time at which it was so.
"""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from core.arrays import Floats, in_range
from core.kinematics import forward
from core.robots import EE_DELTA
from sim.cell import Bodies

LONGEST_S = 0.25
"""Longest latency [s]."""
JUMP = 0.05
"""A coordinate that changes by more than this in one step was moved by somebody; half-way places were never taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What sensors would say at one instant."""

    t_ns: int
    joint_pos: Floats
    """By the encoders, shape (7,) [rad]."""
    joint_vel: Floats
    """Shape (7,) [rad/s]."""
    tcp_pos_in_base: Floats
    """By the encoders, shape (3,) [m]."""
    tcp_quat_xyzw_in_base: Floats
    """Shape (4,)."""
    opening: float
    """Of the gripper, [0, 1]."""
    bodies: Bodies
    """What a camera would see."""


class Past:
    """The last few moments of one arm.

    Args:
        latency_s: How long sensing takes [s].
    """

    def __init__(self, latency_s: float) -> None:
        in_range("latency_s [s]", latency_s, 0.0, LONGEST_S)
        self._latency_ns = round(latency_s * 1e9)
        self._moments: deque[Moment] = deque(maxlen=2 + int(LONGEST_S / EE_DELTA.dt_s))

    def note(self, moment: Moment) -> None:
        """Takes the present; noted twice at the same time, the later word counts."""
        if self._moments and self._moments[-1].t_ns == moment.t_ns:
            self._moments.pop()
        self._moments.append(moment)

    def known(self) -> Moment:
        """Returns what is known at the newest moment: it as it was one latency ago, the oldest one at the start."""
        t_ns = self._moments[-1].t_ns - self._latency_ns
        after = next(i for i, m in enumerate(self._moments) if m.t_ns >= t_ns)
        later = self._moments[after]
        if later.t_ns == t_ns or after == 0:
            return later
        return _between(self._moments[after - 1], later, t_ns)


def _between(a: Moment, b: Moment, t_ns: int) -> Moment:
    share = (t_ns - a.t_ns) / (b.t_ns - a.t_ns)
    joints = a.joint_pos + share * (b.joint_pos - a.joint_pos)
    pos, quat = forward(joints[None])
    moved = np.abs(b.bodies.qpos - a.bodies.qpos) < JUMP
    qpos = np.where(moved, a.bodies.qpos + share * (b.bodies.qpos - a.bodies.qpos), a.bodies.qpos)
    return Moment(
        t_ns=t_ns,
        joint_pos=joints,
        joint_vel=a.joint_vel + share * (b.joint_vel - a.joint_vel),
        tcp_pos_in_base=pos[0],
        tcp_quat_xyzw_in_base=quat[0],
        opening=a.opening + share * (b.opening - a.opening),
        bodies=replace(a.bodies, qpos=qpos),
    )
