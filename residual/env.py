"""The recovery environment for stable-baselines3: a `VecEnv` over `RecoveryBatch` with the compiled reward.

Every episode begins in a failure state of the bank, in the sub-task that failed. It ends when that is recovered, when
what it is about falls from the table, when the time is up (a truncation: PPO bootstraps it), or when the physics was
reset (void: reward 0). Called by `ppo`.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from core.arrays import Bools, Floats, Ints
from core.errors import ConfigError
from core.rewards import RewardSpec
from core.robots import EE_DELTA
from core.worlds import FailureState, WorldState
from residual.batch import RecoveryBatch, RecoverySetup
from residual.curriculum import EASED_SHARE, SceneEdit
from residual.reward import CompiledReward

_Vec = NDArray[np.float32]
DONE_ABOVE = 0.5
"""A stage whose exit predicate is above this counts as done."""


class RecoveryVecEnv(VecEnv):  # type: ignore[misc]  # stable-baselines3 is seen as untyped
    """N recoveries with rewards.

    Args:
        setup: World, base, composition, noise; the N worlds are the environments.
        bank: Failure states to begin in.
        spec: Compiled reward.
        seed: Of all randomness in here.
    """

    def __init__(self, setup: RecoverySetup, bank: Sequence[FailureState], spec: RewardSpec, *, seed: int = 0) -> None:
        if not bank:
            raise ConfigError("the bank of failure states is empty; capture some from the base policy first")
        self.render_mode = None
        n, dims = setup.world.n, len(setup.space.dims)
        self.batch = RecoveryBatch(setup, np.random.default_rng([seed, 0]))
        self._bank, self._rng = list(bank), np.random.default_rng([seed, 1])
        self._reward = CompiledReward(spec)
        self._memory = self._reward.memory(n, EE_DELTA.size)
        self._actions: Floats = np.zeros((n, dims))
        self._returns: Floats = np.zeros(n)
        self._edits: tuple[SceneEdit, ...] = ()
        box = gymnasium.spaces.Box
        size = setup.features
        super().__init__(n, box(-np.inf, np.inf, (size,), np.float32), box(-1.0, 1.0, (dims,), np.float32))

    def reset(self) -> _Vec:
        """Begins a recovery in every world and returns the observations, shape (N, F)."""
        self._begin(np.arange(self.num_envs))
        return self._observations()

    def step_async(self, actions: _Vec) -> None:
        """Takes the residuals (N, D) for the coming step."""
        self._actions = np.asarray(actions, dtype=np.float64)

    def step_wait(self) -> tuple[_Vec, _Vec, Bools, list[dict[str, Any]]]:
        """Runs the step; returns observations, rewards, dones and infos; worlds that are done begin anew."""
        prev, residual = self.batch.state, self.batch.spread(self._actions)
        self.batch.step(residual)
        state = self.batch.judged()
        reward = np.where(state.physics_reset, 0.0, self._reward.evaluate(prev, state, residual, self._memory))
        self._returns += reward
        over = self.batch.over()
        done = over | self.batch.timed_out()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = np.flatnonzero(done)
        if len(ended):
            stuck = self._stuck(state)
            for i in ended:
                infos[i] = self._ending(int(i), bool(over[i]), bool(state.success[i]), stuck[i])
            self._begin(ended)
        return self._observations(), reward.astype(np.float32), done, infos

    def change_reward(self, spec: RewardSpec) -> None:
        """Judges from now on by another reward; recoveries that are under way go on."""
        self._reward = CompiledReward(spec)
        self._reward.begin(self.batch.judged(), self._memory, np.arange(self.num_envs))

    def ease(self, edits: Sequence[SceneEdit]) -> None:
        """Makes a share of the recoveries that begin from now on easier; as they are without edits."""
        self._edits = tuple(edits)

    def close(self) -> None:
        """Nothing to close: the world belongs to the caller."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Returns an attribute once per environment."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:  # noqa: ARG002  # their signature
        """Refuses: the environments of one batch share their settings."""
        raise ConfigError(f"{attr_name!r} cannot be set in one of {self.num_envs} batched environments")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:  # noqa: ARG002
        """Refuses: the environments of one batch have no methods of their own."""
        raise ConfigError(f"{method_name!r} cannot be called in one of {self.num_envs} batched environments")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:  # noqa: ARG002  # their signature
        """Returns False once per environment."""
        return [False] * len(list(self._get_indices(indices)))

    def _begin(self, ids: Ints) -> None:
        chosen = self._rng.integers(0, len(self._bank), len(ids))
        eased = self._rng.random(len(ids)) < EASED_SHARE if self._edits else None
        self.batch.start(ids, [self._bank[k] for k in chosen], self._edits, eased)
        self._reward.begin(self.batch.judged(), self._memory, ids)
        self._returns[ids] = 0.0

    def _stuck(self, state: WorldState) -> list[str]:
        """Returns the first stage of every recovery that is not done, "" where it succeeded."""
        done = self._reward.stages_done(state) > DONE_ABOVE
        first = np.where(done.all(axis=1), done.shape[1] - 1, (~done).argmax(axis=1))
        names = [s.stage for s in self._reward.spec.stages]
        return ["" if won else names[k] for won, k in zip(state.success, first, strict=True)]

    def _ending(self, i: int, over: bool, success: bool, stuck: str) -> dict[str, Any]:
        return {
            "stuck": stuck,
            "eased": bool(self.batch.eased[i]),
            "terminal_observation": self.batch.features[i].astype(np.float32),
            "TimeLimit.truncated": not over,
            "is_success": success,
            "episode": {"r": float(self._returns[i]), "l": int(self.batch.steps[i]), "t": 0.0},
        }

    def _observations(self) -> _Vec:
        return self.batch.features.astype(np.float32)
