"""Pieces of a queued motion in mode 0: joint moves, straight lines, arcs and pauses, each with its profile of speed.

Made by `sim.twin.box` when a command is queued and planned by `sim.twin.program` when its turn comes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from core.arrays import Floats
from sim.twin.followers import TURN_PER_M, Tripped, tracked
from sim.twin.pace import Pace
from sim.twin.pose import (
    Frames,
    difference,
    flange,
    matrix_pose,
    moved,
    pose_matrix,
    rotation_matrix,
    rotation_vector,
    toward,
)
from sim.twin.profile import Profile

NO_SOLUTION, BAD_CIRCLE = 21, 32
"""Error codes."""


class Leg(Protocol):
    """One planned piece."""

    @property
    def profile(self) -> Profile:
        """Its distance over time."""
        ...

    @property
    def radius(self) -> float:
        """Blend radius with what follows [rad or m]; negative stops."""
        ...

    def blends(self, other: "Leg") -> bool:
        """Whether `other` may begin before this one ends."""
        ...

    def end(self, target: Floats) -> Floats:
        """Returns the joints (7,) [rad] where it ends; `target` is where the arm is now."""
        ...

    def joints(self, share: float, target: Floats, ahead: tuple["Leg", float] | None) -> Floats:
        """Returns the joint target (7,) [rad] at a share of the way.

        Args:
            share: 0 to 1.
            target: The joint target now (7,) [rad].
            ahead: The piece that has begun already, and its share.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JointLeg:
    """A straight line in joints."""

    start: Floats
    goal: Floats
    profile: Profile
    radius: float

    def blends(self, other: Leg) -> bool:
        """Whether `other` is a joint move as well, smoothed alike."""
        return isinstance(other, JointLeg) and other.profile.blur_s == self.profile.blur_s

    def end(self, target: Floats) -> Floats:  # noqa: ARG002
        """Returns the goal."""
        return self.goal

    def joints(self, share: float, target: Floats, ahead: tuple[Leg, float] | None) -> Floats:  # noqa: ARG002
        """Returns the joint target at a share of the way."""
        now = self.start + (self.goal - self.start) * share
        if ahead is not None and isinstance(ahead[0], JointLeg):
            now = now + (ahead[0].goal - ahead[0].start) * ahead[1]
        return np.asarray(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineLeg:
    """A straight line of the tool, turning evenly."""

    frames: Frames
    start: Floats
    """Tool, shape (4, 4)."""
    change: Floats
    """To the goal, shape (6,) [m, rad]."""
    profile: Profile
    radius: float

    def blends(self, other: Leg) -> bool:
        """Whether `other` is a straight line as well, smoothed alike."""
        return isinstance(other, LineLeg) and other.profile.blur_s == self.profile.blur_s

    def end(self, target: Floats) -> Floats:
        """Returns joints at its end."""
        return toward(target, self.frames.flange_of(moved(self.start, self.change)), 60)[0]

    def joints(self, share: float, target: Floats, ahead: tuple[Leg, float] | None) -> Floats:
        """Returns the joint target at a share of the way."""
        pose = moved(self.start, self.change * share)
        if ahead is not None and isinstance(ahead[0], LineLeg):
            pose = moved(pose, ahead[0].change * ahead[1])
        return tracked(target, self.frames.flange_of(pose))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArcLeg:
    """An arc of the tool, turning evenly to the orientation at its end."""

    frames: Frames
    start: Floats
    """Tool, shape (4, 4)."""
    centre: Floats
    axis: Floats
    """Of the circle, unit length, shape (3,)."""
    angle: float
    """[rad]."""
    turn: Floats
    """Of the tool, shape (3,) [rad]."""
    profile: Profile
    radius: float = -1.0

    def blends(self, other: Leg) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def end(self, target: Floats) -> Floats:
        """Returns joints at its end."""
        return self.joints(1.0, target, None)

    def joints(self, share: float, target: Floats, ahead: tuple[Leg, float] | None) -> Floats:  # noqa: ARG002
        """Returns the joint target at a share of the way."""
        pose = moved(self.start, np.concatenate([np.zeros(3), self.turn * share]))
        pose[:3, 3] = self.centre + rotation_matrix(self.axis * self.angle * share) @ (self.start[:3, 3] - self.centre)
        return tracked(target, self.frames.flange_of(pose))


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitLeg:
    """Stays for a time: a way of as many metres as seconds at 1 m/s that leads nowhere."""

    profile: Profile
    radius: float = -1.0

    def blends(self, other: Leg) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def end(self, target: Floats) -> Floats:
        """Returns `target`."""
        return target

    def joints(self, share: float, target: Floats, ahead: tuple[Leg, float] | None) -> Floats:  # noqa: ARG002
        """Returns `target`."""
        return target


Plan = Callable[[Floats], Leg]
"""Makes the piece from the joints (7,) [rad] where it begins; raises `Tripped` when it cannot be done."""


@dataclass(slots=True, kw_only=True)
class Command:
    """A queued command."""

    number: int
    plan: Plan
    began: bool = field(default=False)


def joint_plan(goal: Floats, pace: Pace, *, relative: bool) -> Plan:
    """Returns how to plan a move of the joints to, or by, `goal` (7,) [rad]."""

    def plan(start: Floats) -> Leg:
        end = start + goal if relative else np.where(np.isfinite(goal), goal, start)
        profile = pace.profile(float(np.abs(end - start).max()))
        return JointLeg(start=start, goal=end, profile=profile, radius=pace.radius)

    return plan


def line_plan(goal: Callable[[Floats], Floats], pace: Pace, frames: Frames, solvable: Callable[[Floats], bool]) -> Plan:
    """Returns how to plan a straight line.

    Args:
        goal: Gives the goal's tool matrix (4, 4) from the tool's where it begins.
        pace: Speed and acceleration.
        frames: Tool and world offsets.
        solvable: Whether joints can reach a tool matrix.
    """

    def plan(start: Floats) -> Leg:
        tool = frames.tool_of(flange(start)[0])
        end = goal(tool)
        if not solvable(end):
            raise Tripped(NO_SOLUTION)
        change = difference(end, tool)
        length = max(float(np.linalg.norm(change[:3])), float(np.linalg.norm(change[3:])) / TURN_PER_M)
        return LineLeg(frames=frames, start=tool, change=change, profile=pace.profile(length), radius=pace.radius)

    return plan


def arc_plan(through: Floats, to: Floats, share: float, pace: Pace, frames: Frames) -> Plan:
    """Returns how to plan an arc through two tool poses (6,) [m, rad], for a share of the whole circle."""

    def plan(start: Floats) -> Leg:
        tool = frames.tool_of(flange(start)[0])
        last = pose_matrix(np.where(np.isfinite(to), to, matrix_pose(tool)))
        centre, axis, end = circle(tool[:3, 3], through[:3], last[:3, 3])
        angle = 2 * np.pi * share
        turn = rotation_vector(last[:3, :3] @ tool[:3, :3].T) * min(angle / end, 1.0)
        length = max(float(np.linalg.norm(tool[:3, 3] - centre)) * angle, float(np.linalg.norm(turn)) / TURN_PER_M)
        profile = pace.profile(length)
        return ArcLeg(frames=frames, start=tool, centre=centre, axis=axis, angle=angle, turn=turn, profile=profile)

    return plan


def wait_plan(seconds: float) -> Plan:
    """Returns how to plan standing still for a time [s]."""
    profile = Profile.plan(max(seconds, 0.0), 1.0, 1e6, 1e9)
    return lambda start: WaitLeg(profile=profile)  # noqa: ARG005


def circle(a: Floats, b: Floats, c: Floats) -> tuple[Floats, Floats, float]:
    """Returns centre (3,) [m], axis (3,) and the angle from `a` by `b` to `c` [rad] of the circle through three points.

    Raises:
        Tripped: They lie on a line.
    """
    ab, ac = b - a, c - a
    normal = np.cross(ab, ac)
    size = float(normal @ normal)
    if size < 1e-12:
        raise Tripped(BAD_CIRCLE)
    centre = a + (np.cross(normal, ab) * (ac @ ac) + np.cross(ac, normal) * (ab @ ab)) / (2 * size)
    axis = normal / np.sqrt(size)
    r, s = a - centre, c - centre
    angle = float(np.arctan2(np.cross(r, s) @ axis, r @ s)) % (2 * np.pi)
    return centre, axis, angle
