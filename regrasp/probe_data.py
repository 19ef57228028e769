"""What the failure probe learns from: the frozen policy alone in the loop, with and without injected failures.

Every label comes from the simulator, which knows what was injected and when; every feature comes from the recorded
steps, by the same code that the probe runs on. Called by `regrasp learn probe`.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from core.arrays import Floats, Ints
from core.failures import FailureMode
from core.flow import Step
from core.probe import NOMINAL
from core.worlds import Injection
from regrasp.evaluation import ArmName
from regrasp.stack import CellStack
from runtime.episode import run_episode
from runtime.watch.features import WINDOW, probe_features

MURKY_S = 0.15
"""So long after an injection nothing can be seen of it yet; these ticks are left out [s]."""
LATE_S = 5.0
"""An episode is followed for so long after its injection [s]."""
AFTER_TICKS = 12
"""An episode is followed for so long after its success: the loop needs some ticks to see it, and they are nominal."""
MENDED_M = 0.10
"""A policy that lifted the right target this high again has mended the failure by itself [m]."""
_MENDED_BY_HOLDING = frozenset({FailureMode.MISSED_GRASP, FailureMode.DROP, FailureMode.WRONG_OBJECT})


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

    stack: CellStack
    mode: FailureMode | None
    window: deque[Step] = field(default_factory=lambda: deque(maxlen=WINDOW))
    features: list[Floats] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    mended: bool = False
    after: int = 0
    """Ticks since success."""

    def see(self, step: Step) -> bool:
        """Takes a step; returns whether the episode is over."""
        self.window.append(step)
        label = self._label()
        if label is not None:
            row = probe_features(list(self.window), self.stack.course())
            if row is not None:
                self.features.append(row)
                self.labels.append(label)
        self.after += bool(self.stack.world.state().success[0])
        return self.after > AFTER_TICKS or self.mended or self._age_s() > LATE_S

    def _label(self) -> str | None:
        """Returns the label of this instant, None when it is murky."""
        age_s = self._age_s()
        if self.mode is None or age_s < 0:
            return NOMINAL
        if self.mode in _MENDED_BY_HOLDING and age_s > MURKY_S:
            height = float(self.stack.world.state().of("target")[0, 2])
            self.mended |= bool(self.stack.world.facts().held()[0]) and height > MENDED_M
        return None if age_s <= MURKY_S or self.mended or self.after else str(self.mode)

    def _age_s(self) -> float:
        """Returns the time since the injection [s], negative before it."""
        struck_s = self.stack.world.injected_at(0)
        return -1.0 if np.isnan(struck_s) else float(self.stack.world.state().time_s[0]) - struck_s


def collect(stack: CellStack, seed: int, mode: FailureMode | None) -> ProbeRows:
    """Lives through one episode of the frozen policy alone and returns its labelled instants.

    An uninjected episode that fails gives no rows: nobody can say when it stopped being nominal.

    Args:
        stack: An open cell.
        seed: Episode seed.
        mode: Failure to inject, None for a nominal episode.
    """
    stack.start(seed, None if mode is None else Injection(mode=mode))
    labeller = _Labeller(stack=stack, mode=mode)
    with stack.robot() as robot:
        run_episode(stack.loop(robot, (), ArmName.BASE), stack.info.episode_steps, labeller.see)
    spoiled = mode is None and not stack.world.state().success[0]
    keep = 0 if spoiled or stack.void() else len(labeller.labels)
    size = len(labeller.features[0]) if labeller.features else 0
    return ProbeRows(
        features=np.array(labeller.features[:keep]).reshape(keep, size),
        labels=tuple(labeller.labels[:keep]),
        episode=np.full(keep, seed, dtype=np.int64),
    )


def stacked(parts: Sequence[ProbeRows]) -> ProbeRows:
    """Returns the rows of all parts, in order."""
    full = [p for p in parts if p.labels]
    return ProbeRows(
        features=np.concatenate([p.features for p in full]),
        labels=tuple(label for p in full for label in p.labels),
        episode=np.concatenate([p.episode for p in full]),
    )
