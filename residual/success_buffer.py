"""The success-driven path of training: the best successful recoveries, imitated beside reinforcement learning.

    Q = w_reward * sum of the shaped reward - w_steps * T        P(drawn) ~ rank-shifted Q^alpha
    L = L_PPO + lambda * L_SFT                                   L_SFT on 16 rows of drawn recoveries

Called by `ppo`. Source: Reflective Self-Adaptation: 50 recoveries, the lowest Q goes first, alpha 0.6, lambda 0.1,
w_reward 1.0, w_steps 0.01.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from residual.reward import SUCCESS_BONUS

Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessConfig:
    """How successes are kept and imitated."""

    size: int = 50
    """Recoveries kept; 0 keeps none."""
    alpha: float = 0.6
    """How much better recoveries are preferred, 0 not at all."""
    weight: float = 0.1
    """lambda, weight of the imitation loss beside PPO's."""
    batch: int = 16
    """Rows a gradient step."""
    per_step: float = 0.01
    """w_steps, reward units a control step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """One successful recovery."""

    features: Numbers
    """What the actor saw, shape (T, F)."""
    residuals: Numbers
    """What it did, shape (T, D), clipped to [-1, 1]."""
    quality: float
    """Q, reward units."""


class SuccessBuffer:
    """The best recoveries so far.

    Args:
        config: How many, how preferred.
    """

    def __init__(self, config: SuccessConfig) -> None:
        self._config = config
        self.kept: list[Success] = []
        """Best first."""

    def add(self, success: Success) -> None:
        """Keeps a recovery if it is among the best."""
        self.kept.append(success)
        self.kept.sort(key=lambda s: -s.quality)
        del self.kept[self._config.size :]

    def draw(self, rng: np.random.Generator) -> tuple[Numbers, Numbers] | None:
        """Returns rows (B, F) and (B, D) of recoveries drawn by quality, None while there is none."""
        if not self.kept:
            return None
        chosen = rng.choice(len(self.kept), self._config.batch, p=self._chances())
        rows = [(self.kept[k], rng.integers(len(self.kept[k].features))) for k in chosen]
        return np.stack([s.features[t] for s, t in rows]), np.stack([s.residuals[t] for s, t in rows])

    def _chances(self) -> NDArray[np.float64]:
        """Returns how likely each is drawn; Q may be negative and is shifted so that the worst keeps a small chance."""
        quality = np.array([s.quality for s in self.kept])
        spread = max(float(np.ptp(quality)), 1e-6)
        weight = ((quality - quality.min()) / spread + 0.05) ** self._config.alpha
        return np.asarray(weight / weight.sum())


class SuccessRecorder(VecEnvWrapper):  # type: ignore[misc]  # stable-baselines3 is seen as untyped
    """Watches N recoveries and puts the successful ones into a buffer.

    Args:
        env: The recoveries; its infos say "is_success", "eased" and "episode".
        buffers: Where successes go: of the scenes as they are, and of the eased ones.
        config: What quality is.
        longest: Control steps of the longest recovery.
    """

    def __init__(
        self, env: VecEnv, buffers: tuple[SuccessBuffer, SuccessBuffer], config: SuccessConfig, longest: int
    ) -> None:
        super().__init__(env)
        self._buffers, self._config = buffers, config
        self._past: deque[tuple[Numbers, Numbers]] = deque(maxlen=longest)
        self._now: Numbers = np.zeros((env.num_envs, 1), dtype=np.float32)
        self._did: Numbers = np.zeros((env.num_envs, 1), dtype=np.float32)

    def reset(self) -> Numbers:
        """Begins a recovery in every world and returns the observations, shape (N, F)."""
        self._past.clear()
        self._now = np.asarray(self.venv.reset())
        return self._now

    def step_async(self, actions: Numbers) -> None:
        """Takes the residuals (N, D) for the coming step."""
        self._did = np.clip(actions, -1.0, 1.0)
        self.venv.step_async(actions)

    def step_wait(self) -> tuple[Numbers, Numbers, NDArray[np.bool_], list[dict[str, Any]]]:
        """Runs the step; what the recoveries answer is passed on as it is."""
        self._past.append((self._now, self._did))
        self._now, rewards, dones, infos = self.venv.step_wait()
        for i in np.flatnonzero(dones):
            if infos[i]["is_success"]:
                self._keep(int(i), infos[i]["episode"], self._buffers[bool(infos[i]["eased"])])
        return self._now, rewards, dones, infos

    def _keep(self, i: int, episode: dict[str, float], buffer: SuccessBuffer) -> None:
        steps = min(int(episode["l"]), len(self._past))
        path = list(self._past)[len(self._past) - steps :]
        quality = episode["r"] - SUCCESS_BONUS - self._config.per_step * episode["l"]
        buffer.add(
            Success(
                features=np.stack([seen[i] for seen, _ in path]),
                residuals=np.stack([did[i] for _, did in path]),
                quality=float(quality),
            )
        )


class ImitatingAdam(torch.optim.Adam):
    """Adam that adds the gradient of a second loss just before each step: PPO's own loss stays as the library has it.

    Args:
        params: As Adam's.
        lr: Learning rate.
        eps: As Adam's.
    """

    def __init__(self, params: Any, lr: float = 1e-3, eps: float = 1e-5) -> None:
        super().__init__(params, lr=lr, eps=eps)
        self.second_loss: Callable[[], torch.Tensor | None] = _none
        """Asked before each step; its gradient is added, weighted as it is."""

    def step(self, closure: Any = None) -> Any:
        """Takes one step along both gradients."""
        with torch.enable_grad():
            loss = self.second_loss()
            if loss is not None and loss.requires_grad:
                torch.autograd.backward(loss)
        return super().step(closure)


def _none() -> None:
    return None


def imitation_loss(
    actor: torch.nn.Module, buffers: Sequence[SuccessBuffer], config: SuccessConfig, rng: np.random.Generator
) -> torch.Tensor | None:
    """Returns lambda * L_SFT on freshly drawn rows, None while nothing succeeded.

    Args:
        actor: Maps features (B, F) to residuals (B, D).
        buffers: Successes; each that holds any gives a batch.
        config: Batch and weight.
        rng: Of the draw.
    """
    drawn = [rows for b in buffers if (rows := b.draw(rng)) is not None] if config.weight > 0 else []
    if not drawn:
        return None
    features, residuals = (torch.as_tensor(np.concatenate(part)) for part in zip(*drawn, strict=True))
    error: torch.Tensor = actor(features) - residuals
    return config.weight * error.square().mean()
