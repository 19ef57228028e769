"""A compiled reward at work: the potential of a state, the reward of a step, and the lint that keeps it honest.

Called by the recovery environment during training; never at run time.
"""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.errors import ConfigError
from core.rewards import RewardNode, RewardSpec
from core.worlds import WorldState
from residual.library import LIBRARY, Library
from residual.penalties import Transition

SUCCESS_BONUS = 5.0
"""Sparse reward of the task's own success predicate, dimensionless. Source: our own feasibility runs."""


class RewardMemory:
    """What the reward carries from step to step, for N worlds.

    Args:
        n: Worlds.
        action_size: A.
    """

    def __init__(self, n: int, action_size: int) -> None:
        self.potential: Floats = np.zeros(n)
        """phi of the state before the step, shape (N,)."""
        self.action: Floats = np.zeros((n, action_size))
        """Residual of the step before, shape (N, A)."""


class _Program:
    """The trees of one spec as a list of distinct operations, so that each is computed once a state."""

    def __init__(self, spec: RewardSpec, library: Library) -> None:
        self._library = library
        self._known: dict[str, int] = {}
        self._operations: list[Callable[[WorldState, list[Floats]], Floats]] = []
        self.stages = [
            (s.value.weight, self._slot(s.value), self._slot(s.gate), self._slot(s.done)) for s in spec.stages
        ]

    def run(self, state: WorldState) -> list[Floats]:
        """Returns the value (N,) of every operation."""
        values: list[Floats] = []
        for operation in self._operations:
            values.append(operation(state, values))
        return values

    def _slot(self, node: RewardNode) -> int:
        key = json.dumps({**node.canonical(), "weight": 1.0}, sort_keys=True)
        if key not in self._known:
            operation = self._operation(node)
            self._known[key] = len(self._operations)
            self._operations.append(operation)
        return self._known[key]

    def _operation(self, node: RewardNode) -> Callable[[WorldState, list[Floats]], Floats]:
        if node.kind == "term":
            return self._leaf(node)
        slots = [self._slot(c) for c in node.children]
        if node.kind == "and":
            weights = [c.weight for c in node.children]
            return lambda _, v: np.asarray(sum(w * v[k] for w, k in zip(weights, slots, strict=True)))
        if node.kind == "if":
            return lambda _, v: v[slots[0]] * v[slots[1]]
        return lambda _, v: functools.reduce(np.maximum, [v[k] for k in slots])

    def _leaf(self, node: RewardNode) -> Callable[[WorldState, list[Floats]], Floats]:
        term = self._library.term(node.term)
        if term.kind != "value":
            raise ConfigError(f"reward term {node.term!r} is a penalty and cannot drive a stage; use it as a cost")
        params = term.bind(node.params)
        return lambda state, _: term.function(state, **params)


class CompiledReward:
    """Evaluates a `RewardSpec` on N worlds at once.

    Args:
        spec: From the compiler, or read from a file.
        library: Terms it was compiled against.

    Raises:
        ConfigError: Compiled against another library, or a leaf that is not in it.
    """

    def __init__(self, spec: RewardSpec, library: Library = LIBRARY) -> None:
        library.require(spec.library)
        self.spec = spec
        self._program = _Program(spec, library)
        self._costs = [(n.weight, library.term(n.term), dict(n.params)) for n in spec.costs.children]
        for _, term, _params in self._costs:
            if term.kind != "penalty":
                raise ConfigError(f"reward term {term.name!r} is not a penalty and cannot be a cost")

    def potential(self, state: WorldState) -> Floats:
        """Returns phi of N states, in [0, 1], shape (N,)."""
        values = self._program.run(state)
        phi, entered = np.zeros(len(state.time_s)), np.ones(len(state.time_s))
        for weight, value, gate, done in self._program.stages:
            phi += weight * entered * values[gate] * values[value]
            entered = entered * values[done]
        return phi

    def stages_done(self, state: WorldState) -> Floats:
        """Returns done_z of every stage, in [0, 1], shape (N, Z)."""
        values = self._program.run(state)
        return np.stack([values[done] for *_, done in self._program.stages], axis=1)

    def memory(self, n: int, action_size: int) -> RewardMemory:
        """Returns an empty memory for `n` worlds; call `begin` before the first step."""
        return RewardMemory(n, action_size)

    def begin(self, state: WorldState, memory: RewardMemory, ids: Ints) -> None:
        """Starts attempts in worlds `ids` of the N worlds in `state`."""
        memory.potential[ids] = self.potential(state.take(ids))
        memory.action[ids] = 0.0

    def evaluate(self, prev: WorldState, state: WorldState, action: Floats, memory: RewardMemory) -> Floats:
        """Returns the reward of one step, shape (N,), and moves `memory` on.

        Args:
            prev: N worlds before the step.
            state: The same worlds after it.
            action: Residual taken, dimensionless in [-1, 1], shape (N, A).
            memory: Of these worlds.
        """
        phi = self.potential(state)
        reward = self.spec.scale * (phi - memory.potential) + SUCCESS_BONUS * state.success
        reward += self.costs(Transition(prev=prev, state=state, action=action, prev_action=memory.action))
        memory.potential, memory.action = phi, np.array(action)
        return np.asarray(reward, dtype=np.float64)

    def costs(self, step: Transition) -> Floats:
        """Returns the weighted sum of the penalties, shape (N,), never above 0."""
        total = np.zeros(len(step.action))
        for weight, term, params in self._costs:
            total += weight * term.function(step, **params)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Lint:
    """What probing a reward along scripted successes found."""

    rising: float
    """Share of steps on which phi did not fall by more than one part in a hundred, [0, 1]."""
    gain: float
    """Mean rise of phi from the first to the last state, [0, 1]."""
    margin: float
    """Smallest amount by which a success outscored all of its truncations and standing still, reward units."""

    @property
    def ok(self) -> bool:
        """Whether the reward may be trained on."""
        return self.rising >= 0.9 and self.gain > 0.2 and self.margin > 0.0


def rises_along(reward: CompiledReward, states: Sequence[WorldState], action_size: int = 7) -> Lint:
    """Probes a reward along trajectories that a demonstrator brought to success.

    Args:
        reward: Under test.
        states: The same N worlds at successive control steps, at least 2; worlds never successful are left out.
        action_size: A.

    Raises:
        ConfigError: No world succeeded, so nothing can be said.
    """
    success = np.stack([s.success for s in states])
    won = np.asarray(success.any(axis=0))
    if len(states) < 2 or not won.any():
        raise ConfigError(f"none of the {success.shape[1]} scripted trajectories succeeded; the lint needs successes")
    last = success.argmax(axis=0)
    phi = np.stack([reward.potential(s) for s in states])
    ends = phi[last, np.arange(len(won))]
    counted = (np.arange(1, len(states))[:, None] <= last) & won
    rising = float((np.diff(phi, axis=0) > -0.01)[counted].mean())
    totals, waiting = _returns(reward, states, counted, action_size)
    return Lint(rising=rising, gain=float((ends - phi[0])[won].mean()), margin=_margin(totals, waiting, last, won))


def _returns(
    reward: CompiledReward, states: Sequence[WorldState], counted: Bools, action_size: int
) -> tuple[Floats, Floats]:
    n = len(states[0].time_s)
    still = np.zeros((n, action_size))
    moving, waiting = reward.memory(n, action_size), reward.memory(n, action_size)
    for memory in (moving, waiting):
        reward.begin(states[0], memory, np.arange(n))
    totals, idle = [np.zeros(n)], [np.zeros(n)]
    for prev, state, on in zip(states, states[1:], counted, strict=False):
        totals.append(totals[-1] + on * reward.evaluate(prev, state, still, moving))
        idle.append(idle[-1] + on * reward.evaluate(states[0], states[0], still, waiting))
    return np.stack(totals), np.stack(idle)


def _margin(totals: Floats, waiting: Floats, last: Ints, won: Bools) -> float:
    margins = []
    for i in np.flatnonzero(won):
        if last[i]:
            rivals = np.concatenate([totals[: last[i], i], waiting[1 : last[i] + 1, i]])
            margins.append(float(totals[last[i], i] - rivals.max()))
    return min(margins, default=0.0)
