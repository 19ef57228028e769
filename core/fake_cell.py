"""A cell without physics: a fake robot, objects that closed fingers take along, and a tracker that knows. Product.

Enough for a whole pick-and-place episode in milliseconds, in this project's tests and in users' own:

    clock = ManualClock()
    cell = FakeCell(clock, {"apple": (0.45, 0.1, 0.03), "plate": (0.5, -0.15, 0.01)}, instruction="apple on plate")
    policy = ScriptedPolicy(lambda obs: pick_and_place(obs, cell.where("apple"), cell.where("plate")))
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np

from core.arrays import Floats, Image
from core.clock import ManualClock
from core.fakes import FakeRobot
from core.flow import Observation
from core.robots import EE_DELTA
from core.scene import SceneState, TrackedObject

GRIP_WIDTH = 0.4
"""Opening at which fingers touch an object, [0, 1]."""
GRASP_M = 0.02
"""Fingers that close this near to an object's centre take it along [m]."""
_ABOVE_M = 0.12
"""Height at which `pick_and_place` travels [m]."""
_NEAR_M = 0.005
"""Close enough for the next leg of `pick_and_place` [m]."""


class FakeCell:
    """A robot and a tracker over one small world.

    Args:
        clock: Moved forward by one control period at each `send`.
        objects: Centre of each object in base, shape (3,) [m]; its height is its height of rest.
        instruction: Put into every observation.
        images: Put into every observation, by camera, uint8 (H, W, 3).
    """

    def __init__(
        self,
        clock: ManualClock,
        objects: Mapping[str, Sequence[float]],
        *,
        instruction: str = "do nothing",
        images: dict[str, Image] | None = None,
    ) -> None:
        self.arm = FakeRobot(clock, instruction=instruction, images=images)
        """The robot inside: what it was sent, how often it was held."""
        self._objects = {name: np.array(pos, dtype=float) for name, pos in objects.items()}
        self._rest = {name: float(pos[2]) for name, pos in self._objects.items()}
        self._gripped = ""

    def __enter__(self) -> Self:
        self.arm.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.arm.__exit__(kind, error, tb)

    def read(self) -> Observation:
        """Returns what is measured: the fake arm, with fingers that stop at what they grip."""
        obs = self.arm.read()
        return replace(obs, gripper_opening=max(obs.gripper_command, GRIP_WIDTH)) if self._gripped else obs

    def send(self, action: Floats) -> Floats:
        """Moves the arm and what it grips, and returns what was sent, shape (A,)."""
        sent = self.arm.send(action)
        self._grip(self.arm.read())
        return sent

    def hold(self) -> None:
        """Holds the arm."""
        self.arm.hold()

    def track(self, obs: Observation) -> SceneState:
        """Returns where every object is, as of the observation."""
        objects = {
            name: TrackedObject(pos_in_base=pos, t_ns=obs.t_ns, confidence=1.0) for name, pos in self._objects.items()
        }
        return SceneState(t_ns=obs.t_ns, objects=objects, source="truth")

    def reset(self) -> None:
        """Forgets nothing: the world goes on."""

    def where(self, name: str) -> Floats:
        """Returns the centre of an object in base, shape (3,) [m]."""
        return self._objects[name].copy()

    @property
    def gripped(self) -> str:
        """Name of what the fingers hold, "" when nothing."""
        return self._gripped

    def put(self, name: str, pos_in_base: Sequence[float]) -> None:
        """Puts an object somewhere else, out of the fingers if need be; shape (3,) [m]."""
        self._objects[name] = np.array(pos_in_base, dtype=float)
        if self._gripped == name:
            self._gripped = ""

    def drop(self) -> None:
        """Lets what is gripped fall to its height of rest."""
        if self._gripped:
            self._objects[self._gripped][2] = self._rest[self._gripped]
            self._gripped = ""

    def _grip(self, obs: Observation) -> None:
        closed = obs.gripper_command < GRIP_WIDTH
        if not closed:
            self.drop()
        elif not self._gripped:
            near = [n for n, pos in self._objects.items() if np.linalg.norm(pos - obs.tcp_pos_in_base) <= GRASP_M]
            self._gripped = near[0] if near else ""
        if self._gripped:
            self._objects[self._gripped] = obs.tcp_pos_in_base.copy()


def pick_and_place(obs: Observation, target: Floats, goal: Floats, rows: int = 8) -> Floats:
    """Returns a chunk (rows, A) in `EE_DELTA` units that puts `target` on `goal` from wherever things are.

    Args:
        obs: What is measured.
        target: Centre of the object, shape (3,) [m].
        goal: Centre of the place it belongs, shape (3,) [m].
        rows: Length of the chunk.
    """
    held = obs.gripper_command < GRIP_WIDTH and obs.gripper_opening > obs.gripper_command + 0.05
    done = bool(np.linalg.norm((target - goal)[:2]) < GRASP_M) and not held
    pos, chunk = obs.tcp_pos_in_base.copy(), np.zeros((rows, EE_DELTA.size))
    for row in chunk:
        point, opening = _next_point(pos, target, goal, held, done)
        step = point - pos
        row[:3] = step * min(1.0, 0.02 / max(float(np.linalg.norm(step)), 1e-9))
        row[-1] = opening
        pos = pos + row[:3]
    return chunk


def _next_point(pos: Floats, target: Floats, goal: Floats, held: bool, done: bool) -> tuple[Floats, float]:
    """Returns where the tool should go next (3,) [m], and the opening on the way."""
    if done:
        return np.array([pos[0], pos[1], 0.2]), 1.0
    aim = goal + np.array([0.0, 0.0, 0.03]) if held else target
    away = float(np.linalg.norm((aim - pos)[:2]))
    if away > _NEAR_M and pos[2] < _ABOVE_M - _NEAR_M and away > GRASP_M:
        return np.array([pos[0], pos[1], _ABOVE_M]), 0.0 if held else 1.0
    if away > _NEAR_M:
        return np.array([aim[0], aim[1], max(_ABOVE_M, float(pos[2]))]), 0.0 if held else 1.0
    arrived = pos[2] - aim[2] < _NEAR_M
    return aim, 1.0 if held == arrived else 0.0
