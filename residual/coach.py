"""What happens between the rounds of reinforcement learning: imitation, evaluation, reflection, curriculum, saving.

Called by stable-baselines3 as a callback, made by `ppo`. A round is one rollout of all worlds and the update after it.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from core.failures import FailureMode
from core.manner import Manner
from core.recovery import Rate
from core.rewards import RewardMask, RewardSpec
from core.worlds import FailureState
from residual.batch import RecoveryBatch, RecoverySetup
from residual.checkpoint import Progressed, put_weights, save_progress, weights_of
from residual.curriculum import Curriculum
from residual.env import RecoveryVecEnv
from residual.evaluate import network_actor, recovered
from residual.imitation import Imitated, imitation_step
from residual.mlp import Mlp
from residual.networks import network_of
from residual.ppo_config import PpoConfig
from residual.reflection import Digest, Ending, Reflector, recent
from residual.success_buffer import SuccessBuffer


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPoint:
    """How far a training is."""

    steps: int
    """Environment steps so far."""
    total_steps: int
    train_success: float
    """Share of successes among the last hundred training episodes in scenes as they are, exploring; NaN before the
    first."""
    evaluation: Rate | None
    """Of the actor without exploration, None when not evaluated here."""


Progress = Callable[[TrainingPoint], None]
_RECENT = 100
"""Training episodes whose share of successes counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reflection:
    """Who reflects, and how a changed mask becomes a reward."""

    mode: FailureMode
    manner: Manner
    mask: RewardMask
    """At the start."""
    reflector: Reflector
    recompile: Callable[[RewardMask], RewardSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diary:
    """Where a run is kept."""

    folder: Path
    name: str


class Judge:
    """Evaluates actors on the validation states, in the training world.

    Args:
        setup: As trained in; the nominal cell and a base that is wrong throughout are used.
        states: Validation states.
        seed: Of tracker noise.
    """

    def __init__(self, setup: RecoverySetup, states: Sequence[FailureState], seed: int) -> None:
        self._setup, self._states, self._seed = setup.hard(), states, seed

    def __call__(self, actor: Mlp) -> Rate:
        """Returns how many validation states the actor recovers."""
        batch = RecoveryBatch(self._setup, np.random.default_rng([self._seed, 3]))
        won = recovered(batch, self._states, network_actor(actor))
        return Rate(k=int(won.sum()), n=len(won))


def actor_of(model: PPO) -> torch.nn.Module:
    """Returns the mean action as a module that shares the model's parameters."""
    return torch.nn.Sequential(model.policy.mlp_extractor.policy_net, model.policy.action_net)


def actor_network(model: PPO) -> Mlp:
    """Returns the numpy twin of a PPO model's mean action."""
    return network_of(actor_of(model), "tanh")


class Coach(BaseCallback):  # type: ignore[misc]  # stable-baselines3 is seen as untyped
    """Everything between rounds.

    Args:
        env: The recoveries.
        judge: Evaluates.
        shown: What a scripted expert showed, None without a warm start.
        config: Rates and rhythms.
        buffers: Successes of the scenes as they are, and of the eased ones.
        curriculum: When scenes are eased.
        reflection: Who reflects; None: nobody.
        diary: Where the run is kept; None: nowhere.
        progress: Called after every round.
    """

    def __init__(
        self,
        env: RecoveryVecEnv,
        judge: Judge,
        shown: Imitated | None,
        config: PpoConfig,
        *,
        buffers: tuple[SuccessBuffer, SuccessBuffer],
        curriculum: Curriculum,
        reflection: Reflection | None,
        diary: Diary | None,
        progress: Progress | None,
    ) -> None:
        super().__init__()
        self._env, self._judge, self._shown, self._config, self._progress = env, judge, shown, config, progress
        self._buffers, self._curriculum, self._reflection, self._diary = buffers, curriculum, reflection, diary
        self._mask = None if reflection is None else reflection.mask
        self._rounds, self._good, self._stop = 0, 0, False
        self._next_eval = 0 if shown is not None else config.eval_every
        self._best = Rate(k=0, n=1)
        self._endings: list[Ending] = []
        self._recent: deque[bool] = deque(maxlen=_RECENT)
        self._resumed = False
        self._begun = time.monotonic()
        self.best: Mlp
        """Best actor that an evaluation saw."""
        self.history: list[TrainingPoint] = []
        self.changes: list[str] = []
        """What reflection and curriculum changed, in plain words."""
        self.over = False
        """Whether there is nothing left to do."""

    def resume(self, model: PPO, found: Progressed) -> None:
        """Goes on where a run stood: with the rollout that was under way, which begins anew."""
        put_weights(model, found)
        notes: Mapping[str, Any] = found.notes
        self._rounds, self._good, self._next_eval = found.rounds, int(notes["good"]), int(notes["next_eval"])
        self._best, self.best = Rate(**notes["best"]), found.best
        self.history = [_point(p) for p in notes["history"]]
        self.changes = list(notes["changes"])
        self._curriculum.eased, self._curriculum.poor = bool(notes["eased"]), int(notes["poor"])
        self._recent.extend(notes["recent"])
        self._endings = [Ending(success=bool(success), stuck=str(stuck)) for success, stuck in notes["endings"]]
        self._resumed = True
        done = bool(notes["over"]) and found.steps >= self._config.total_steps
        self.over = done or self._good >= self._config.stop_times
        for buffer, kept in zip(self._buffers, found.successes, strict=True):
            buffer.kept = list(kept)
        if self._reflection is not None and notes["mask"] is not None:
            self._mask = replace(self._reflection.mask, active=frozenset(notes["mask"]))
            self._env.change_reward(self._reflection.recompile(self._mask))
        self._env.ease(self._curriculum.edits if self._curriculum.eased else ())

    def _on_step(self) -> bool:
        for info in self.locals.get("infos", ()):
            if "is_success" in info:
                self._endings.append(Ending(success=bool(info["is_success"]), stuck=str(info["stuck"])))
                self._recent.extend([] if info["eased"] else [bool(info["is_success"])])
        return not self._stop

    def _on_rollout_start(self) -> None:
        if self._resumed:
            self._resumed = False
            self._train_critic_only(self._shown is not None and self._rounds <= self._config.critic_first)
            return
        if self._rounds == 0:
            self.best = actor_network(self.model)
        success = self._success()
        self._train_critic_only(self._shown is not None and self._rounds < self._config.critic_first)
        if self._shown is not None:
            self._imitate(self._shown)
        if self._rounds:
            self._reflect()
            self._ease(success)
        due = self.num_timesteps >= self._next_eval
        skip = self._rounds > 0 and not success >= self._config.eval_from
        self._note(success, self._evaluate() if due and not skip else None)
        self._rounds += 1
        self._stop = self._stop or time.monotonic() - self._begun > self._config.most_s
        self._save()

    def finish(self) -> None:
        """Evaluates the last actor unless training stopped on a good one."""
        if self._good < self._config.stop_times and self._config.judge_last:
            self._note(self._success(), self._evaluate())
        self.over = True
        self._save()

    def _success(self) -> float:
        return float(np.mean(self._recent)) if self._recent else float("nan")

    def _train_critic_only(self, only: bool) -> None:
        for parameter in (*actor_of(self.model).parameters(), self.model.policy.log_std):
            parameter.requires_grad_(not only)

    def _imitate(self, shown: Imitated) -> None:
        if self._rounds < self._config.critic_first:
            return
        rng = np.random.default_rng([self._config.seed, 5, self._rounds])
        for _ in range(round(self._config.imitation_steps * self._config.fade**self._rounds)):
            rows = torch.as_tensor(rng.integers(0, len(shown.features), 512))
            imitation_step(actor_of(self.model), self.model.policy.optimizer, shown, rows)

    def _reflect(self) -> None:
        if self._reflection is None or self._mask is None or self._rounds % self._config.reflect_every:
            return
        digest = Digest(
            mode=self._reflection.mode,
            manner=self._reflection.manner,
            mask=self._mask,
            default=self._reflection.mask,
            endings=recent(self._endings),
        )
        revision = self._reflection.reflector.reflect(digest)
        self._endings = []
        if revision is not None:
            self._mask = revision.mask
            self._env.change_reward(self._reflection.recompile(revision.mask))
            self.changes.append(f"round {self._rounds}: {revision.why}")

    def _ease(self, success: float) -> None:
        if self._curriculum.note(self._rounds, success):
            self._env.ease(self._curriculum.edits if self._curriculum.eased else ())
            self.changes.append(self._curriculum.changes[-1])

    def _evaluate(self) -> Rate:
        self._next_eval = self.num_timesteps + self._config.eval_every
        actor = actor_network(self.model)
        rate = self._judge(actor)
        if rate.rate >= self._best.rate:
            self._best, self.best = rate, actor
        self._good = self._good + 1 if rate.rate >= self._config.stop_rate else 0
        self._stop = self._good >= self._config.stop_times
        self.model._last_obs = self.model.env.reset()
        self.model._last_episode_starts = np.ones(self._env.num_envs, dtype=bool)
        return rate

    def _note(self, success: float, evaluation: Rate | None) -> None:
        point = TrainingPoint(
            steps=int(self.num_timesteps),
            total_steps=self._config.total_steps,
            train_success=success,
            evaluation=evaluation,
        )
        self.history.append(point)
        self.logger.record("recovery/train_success", success)
        self.logger.record("recovery/eased", float(self._curriculum.eased))
        self.logger.record("recovery/successes_kept", len(self._buffers[0].kept))
        if evaluation is not None:
            self.logger.record("recovery/validation", evaluation.rate)
        if self._progress is not None:
            self._progress(point)

    def _save(self) -> None:
        if self._diary is None:
            return
        weights, moments = weights_of(self.model)
        save_progress(
            self._diary.folder,
            self._diary.name,
            Progressed(
                rounds=self._rounds,
                steps=int(self.num_timesteps),
                policy=weights,
                moments=moments,
                best=self.best,
                successes=tuple(tuple(b.kept) for b in self._buffers),
                notes=self._notes(),
            ),
        )

    def _notes(self) -> dict[str, Any]:
        return {
            "good": self._good, "next_eval": self._next_eval, "best": {"k": self._best.k, "n": self._best.n},
            "history": [_plain(p) for p in self.history], "changes": self.changes, "eased": self._curriculum.eased,
            "poor": self._curriculum.poor, "recent": list(self._recent), "over": self.over,
            "endings": [[e.success, e.stuck] for e in recent(self._endings)],
            "mask": None if self._mask is None else sorted(self._mask.active),
        }  # fmt: skip


def _plain(point: TrainingPoint) -> dict[str, Any]:
    success = None if np.isnan(point.train_success) else point.train_success
    rate = None if point.evaluation is None else {"k": point.evaluation.k, "n": point.evaluation.n}
    return {"steps": point.steps, "total_steps": point.total_steps, "train_success": success, "evaluation": rate}


def _point(data: Mapping[str, Any]) -> TrainingPoint:
    success, rate = data["train_success"], data["evaluation"]
    return TrainingPoint(
        steps=int(data["steps"]),
        total_steps=int(data["total_steps"]),
        train_success=float("nan") if success is None else float(success),
        evaluation=None if rate is None else Rate(**rate),
    )
