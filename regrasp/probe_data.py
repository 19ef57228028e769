"""What the failure probe learns from: the frozen policy alone in the loop, with and without injected failures.

Every label comes from the simulator, which knows what was injected and when; every feature comes from the recorded
steps, by the same code that the probe runs on. Called by `regrasp learn probe`.
"""

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.arrays import Floats, Ints
from core.failures import FailureMode
from core.flow import Step
from core.probe import NOMINAL
from core.subtasks import Course, Manner
from core.worlds import Injection
from regrasp.lanes import Lane, Lanes
from runtime.watch.features import WINDOW, probe_features

MURKY_S = 0.15
"""So long after an injection nothing can be seen of it yet; these ticks are left out [s]."""
LATE_S = 5.0
"""An episode is followed for so long after its injection [s]."""
AFTER_TICKS = 12
"""An episode is followed for so long after its success: the loop needs some ticks to see it, and they are nominal."""
MENDED_M = 0.10
"""A policy that lifted the right target this high again has mended the loss of it by itself [m]."""
EMPTY_TICKS = 12
"""A closed hand without the target in it for so long has failed by itself: neither nominal nor what was injected."""
_MENDED_BY_HOLDING = frozenset({FailureMode.MISSED_GRASP, FailureMode.SLIP, FailureMode.DROP, FailureMode.WRONG_OBJECT})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRows:
    """M labelled instants of one episode, in the order of time; M may be 0."""

    features: Floats
    """Shape (M, F), in their own units."""
    labels: tuple[str, ...]
    """M labels: `NOMINAL` or a failure mode."""
    episode: Ints
    """Seed of each row's episode, shape (M,)."""


@dataclass(slots=True, kw_only=True)
class _Labeller:
    """Collects the rows of one episode while it is lived through."""

    lane: Lane
    course: Course
    mode: FailureMode | None
    window: deque[Step] = field(default_factory=lambda: deque(maxlen=WINDOW))
    features: list[Floats] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    struck_in: int = -1
    """Sub-tasks done when the failure struck, -1 before."""
    mended: bool = False
    after: int = 0
    """Ticks since success."""
    empty: int = 0
    """Ticks in a row in which the hand was closed without the target, before anything was injected."""
    sound: int = 0
    """Rows of the time before those ticks."""

    def see(self, step: Step) -> bool:
        """Takes a step; returns whether the episode is over."""
        self.window.append(step)
        self.empty = self.empty + 1 if self._closed_in_vain() else 0
        self.sound = self.sound if self.empty else len(self.labels)
        label = self._label()
        if label is not None:
            row = probe_features(list(self.window), self.course)
            if row is not None:
                self.features.append(row)
                self.labels.append(label)
        state = self.lane.world.state()
        self.after += bool(state.success[self.lane.i])
        void = bool(state.physics_reset[self.lane.i])
        return self.after > AFTER_TICKS or self.mended or self._age_s() > LATE_S or void or self.strayed

    @property
    def strayed(self) -> bool:
        """Whether the policy failed by itself."""
        return self.empty >= EMPTY_TICKS

    def rows(self, seed: int) -> ProbeRows:
        """Returns what is worth learning: of an episode that failed by itself, only the time before it did."""
        state, i = self.lane.world.state(), self.lane.i
        spoiled = not state.success[i] if self.mode is None else self.struck_in < 0
        keep = self.sound if self.strayed else 0 if spoiled or state.physics_reset[i] else len(self.labels)
        size = len(self.features[0]) if self.features else 0
        return ProbeRows(
            features=np.array(self.features[:keep]).reshape(keep, size),
            labels=tuple(self.labels[:keep]),
            episode=np.full(keep, seed, dtype=np.int64),
        )

    def _label(self) -> str | None:
        """Returns the label of this instant, None when it is murky."""
        age_s = self._age_s()
        if self.mode is None or age_s < 0:
            return NOMINAL
        self.mended |= self._is_mended(age_s)
        return None if age_s <= MURKY_S or self.mended or self.after else str(self.mode)

    def _closed_in_vain(self) -> bool:
        """Whether the hand is closed and should hold the target, but does not; asked before an injection only."""
        state, i = self.lane.world.state(), self.lane.i
        due = self.course.at(int(state.subtask[i]))
        idle = self._age_s() >= 0 or bool(state.success[i]) or due.manner is Manner.PUSH
        return not idle and state.gripper_command[i] < 0.5 and not self.lane.world.facts().held()[i]

    def _is_mended(self, age_s: float) -> bool:
        """Whether the policy got over the failure: the sub-task it struck is done, or what was lost is held again."""
        state, i = self.lane.world.state(), self.lane.i
        if self.struck_in < 0:
            self.struck_in = int(state.subtask[i])
        if int(state.subtask[i]) > self.struck_in:
            return True
        high = float(state.of("target")[i, 2]) > MENDED_M
        return self.mode in _MENDED_BY_HOLDING and age_s > MURKY_S and high and bool(self.lane.world.facts().held()[i])

    def _age_s(self) -> float:
        """Returns the time since the injection [s], negative before it."""
        struck_s = self.lane.world.injected_at(self.lane.i)
        return -1.0 if np.isnan(struck_s) else float(self.lane.world.state().time_s[self.lane.i]) - struck_s


def collect(lanes: Lanes, seed: int, mode: FailureMode | None) -> Generator[None, Lane, ProbeRows]:
    """Lives through one episode of the frozen policy alone and returns its labelled instants; see `Lanes.live`.

    Args:
        lanes: Where it is lived.
        seed: Episode seed.
        mode: Failure to inject, None for a nominal episode.
    """
    lane = yield
    lane.begin(seed, None if mode is None else Injection(mode=mode))
    course = lanes.info.course(lane.world.instruction(lane.i))
    labeller, loop = _Labeller(lane=lane, course=course, mode=mode), lanes.loop(lane)
    loop.reset()
    for _ in range(lanes.info.episode_steps):
        step = loop.tick()
        yield
        if labeller.see(step):
            break
    loop.hold()
    return labeller.rows(seed)


def stacked(parts: Sequence[ProbeRows]) -> ProbeRows:
    """Returns the rows of all parts, in order; at least one part must have some."""
    full = [p for p in parts if p.labels]
    return ProbeRows(
        features=np.concatenate([p.features for p in full]),
        labels=tuple(label for p in full for label in p.labels),
        episode=np.concatenate([p.episode for p in full]),
    )
