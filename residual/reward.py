"""A compiled reward at work: the potential of a state and the reward of a step, for N worlds.

One attempt serves one sub-task. Who is who is taken from the attempt's first state: when the sub-task is done, the
roles of the state change to those of the next one, and a potential on both sides of that instant would compare two
different things. The environment ends the attempt there and says so as `success`; that step pays the bonus and no
progress.

Called by the recovery environment during training and by the lint; never at run time.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.errors import ConfigError
from core.rewards import Pay, RewardNode, RewardSpec
from core.scene import ROLES
from core.worlds import WorldState
from residual.library import LIBRARY, Library
from residual.penalties import Transition

SUCCESS_BONUS = 5.0
"""Sparse reward of a success, dimensionless. Source: our own feasibility runs."""
PAYS: tuple[Pay, ...] = get_args(Pay)
"""Order of the rows of `RewardMemory.potential`."""


class RewardMemory:
    """What the reward carries from step to step, for N worlds.

    Args:
        n: Worlds.
        action_size: A.
    """

    def __init__(self, n: int, action_size: int) -> None:
        self.potential: Floats = np.zeros((len(PAYS), n))
        """Share of phi that each way of paying has in the state before the step, shape (3, N)."""
        self.roles: Ints = np.full((n, len(ROLES)), -1, dtype=np.int64)
        """Who is who throughout the attempt, as in `WorldState.roles`, shape (N, 4)."""
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
        self._rows = [PAYS.index(s.pays) for s in spec.stages]
        self._costs = [
            (n.weight, library.term(n.term), library.term(n.term).bind(n.params)) for n in spec.costs.children
        ]
        for _, term, _params in self._costs:
            if term.kind != "penalty":
                raise ConfigError(f"reward term {term.name!r} is not a penalty and cannot be a cost")

    def potential(self, state: WorldState) -> Floats:
        """Returns phi of N states, in [0, 1], shape (N,), with the roles that they have."""
        return np.asarray(self._shares(state).sum(axis=0))

    def stages_done(self, state: WorldState) -> Floats:
        """Returns done_z of every stage, in [0, 1], shape (N, Z)."""
        values = self._program.run(state)
        return np.stack([values[done] for *_, done in self._program.stages], axis=1)

    def memory(self, n: int, action_size: int) -> RewardMemory:
        """Returns an empty memory for `n` worlds; call `begin` before the first step."""
        return RewardMemory(n, action_size)

    def begin(self, state: WorldState, memory: RewardMemory, ids: Ints) -> None:
        """Starts attempts in worlds `ids` of the N worlds in `state`."""
        memory.roles[ids] = state.roles[ids]
        memory.potential[:, ids] = self._shares(state.take(ids))
        memory.action[ids] = 0.0

    def evaluate(
        self,
        prev: WorldState,
        state: WorldState,
        action: Floats,
        memory: RewardMemory,
        success: Bools | None = None,
    ) -> Floats:
        """Returns the reward of one step, shape (N,), and moves `memory` on.

        Args:
            prev: N worlds before the step.
            state: The same worlds after it.
            action: Residual taken, dimensionless in [-1, 1], shape (N, A).
            memory: Of these worlds.
            success: Where the attempt reached what it is for, shape (N,); the whole task's success when None.
        """
        won = state.success if success is None else success
        prev, state = replace(prev, roles=memory.roles), replace(state, roles=memory.roles)
        phi = np.where(won, memory.potential, self._shares(state))
        progress, rise, _ = phi - memory.potential
        reward = progress + np.maximum(rise, 0.0) + np.where(won, 0.0, phi[_LEVEL])
        reward = self.spec.scale * reward + SUCCESS_BONUS * won
        reward += self.costs(Transition(prev=prev, state=state, action=action, prev_action=memory.action))
        memory.potential, memory.action = phi, np.array(action)
        return np.asarray(reward, dtype=np.float64)

    def costs(self, step: Transition) -> Floats:
        """Returns the weighted sum of the penalties, shape (N,), never above 0."""
        total = np.zeros(len(step.action))
        for weight, term, params in self._costs:
            total += weight * term.function(step, **params)
        return total

    def _shares(self, state: WorldState) -> Floats:
        """Returns what stages that pay for progress, for a rise and for a level add to phi, shape (3, N)."""
        values = self._program.run(state)
        phi, entered = np.zeros((len(PAYS), len(state.time_s))), np.ones(len(state.time_s))
        for row, (weight, value, gate, done) in zip(self._rows, self._program.stages, strict=True):
            phi[row] += weight * entered * values[gate] * values[value]
            entered = entered * values[done]
        return phi


_LEVEL = PAYS.index("level")
