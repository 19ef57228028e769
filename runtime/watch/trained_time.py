"""Steps of an arm that moves at a share of the trained speed, as they would look at the whole of it.

The probe was trained on ticks in which the arm goes its full way. At half the pace two ticks make one of those. Called
by the probe as detector and as diagnoser.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from core.flow import Step


def ticks_per_trained(pace: float) -> int:
    """Returns how many ticks at `pace`, (0, 1], make one of the trained ones."""
    return max(1, round(1.0 / pace))


def in_trained_time(steps: Sequence[Step], pace: float) -> Sequence[Step]:
    """Returns the steps joined to trained ticks, oldest first; the last one ends with the last step.

    Args:
        steps: Oldest first, without gaps.
        pace: Share of the trained speed, (0, 1]; 1 changes nothing.
    """
    size = ticks_per_trained(pace)
    if size == 1:
        return steps
    many = list(steps)
    first = len(many) % size
    groups = ([many[:first]] if first else []) + [many[i : i + size] for i in range(first, len(many), size)]
    return [_joined(group, size) for group in groups]


def _joined(group: list[Step], size: int) -> Step:
    """Returns one step for a group: seen at its end, commanded as all of it, with the newest chunk of it."""
    last = group[-1]
    motion = np.sum([step.commanded[:-1] for step in group], axis=0)
    chunk = next((s.arrived.chunk for s in reversed(group) if s.arrived.chunk is not None), None)
    return replace(
        last,
        observation=replace(last.observation, joint_vel=last.observation.joint_vel * size),
        commanded=np.append(motion, last.commanded[-1]),
        arrived=replace(last.arrived, chunk=chunk),
    )
