"""Trains one recovery skill with stable-baselines3 PPO. Called by `train`.

The actor starts as no correction at all (last layer scaled by 0.1), or, when a scripted expert exists, as its
imitation; then the critic learns alone for a few updates and the imitation fades. Source of rates and sizes: our runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from core.ports import Expert
from core.recovery import Rate
from core.rewards import RewardSpec
from core.worlds import FailureState
from residual.batch import RecoveryBatch, RecoverySetup
from residual.env import RecoveryVecEnv
from residual.evaluate import network_actor, recovered
from residual.imitation import Imitated, ImitationConfig, imitate, imitation_step
from residual.mlp import Mlp
from residual.networks import network_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoConfig:
    """How a skill is trained."""

    total_steps: int = 750_000
    """Environment steps after which training ends in any case."""
    n_steps: int = 64
    """Control steps per world between updates."""
    batch: int = 1024
    """Rows a gradient step."""
    epochs: int = 5
    """Passes over a rollout."""
    learning_rate: float = 5e-4
    """Of Adam."""
    gamma: float = 0.97
    """Discount a control step."""
    log_std: float = -0.7
    """Exploration from scratch, natural logarithm of the standard deviation."""
    warm_log_std: float = -1.0
    """Exploration after imitation; with -1.6 the actor stays where imitation got stuck."""
    warm_target_kl: float = 0.1
    """An update after imitation stops at this divergence [nat]."""
    critic_first: int = 6
    """Updates after imitation in which only the critic learns."""
    fade: float = 0.85
    """Factor a rollout by which the imitation steps become fewer; slower fading keeps what was imitated wrongly."""
    imitation_steps: int = 20
    """Imitation steps before the first rollout."""
    eval_every: int = 65_536
    """Environment steps between evaluations."""
    eval_from: float = 0.6
    """Success rate of the training episodes below which evaluations are skipped."""
    stop_rate: float = 0.97
    """Training ends when this was reached `stop_times` times in a row."""
    stop_times: int = 2
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPoint:
    """How far a training is."""

    steps: int
    """Environment steps so far."""
    total_steps: int
    train_success: float
    """Share of successes among the last hundred training episodes, exploring; NaN before the first."""
    evaluation: Rate | None
    """Of the actor without exploration, None when not evaluated here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained actor and how it came about."""

    actor: Mlp
    steps: int
    """Environment steps taken."""
    warm_start: str
    history: tuple[TrainingPoint, ...]


Progress = Callable[[TrainingPoint], None]


def train_actor(
    setup: RecoverySetup,
    bank: Sequence[FailureState],
    validation: Sequence[FailureState],
    spec: RewardSpec,
    *,
    expert: Expert | None,
    config: PpoConfig,
    progress: Progress | None = None,
) -> Trained:
    """Trains an actor and returns the best one that an evaluation saw.

    Args:
        setup: World (64 cells for the documented rates), base, composition, noise.
        bank: Failure states to train from.
        validation: Other failure states, for evaluations and early stopping.
        spec: Compiled reward.
        expert: Demonstrator for a warm start; from scratch when None.
        config: Rates and sizes.
        progress: Called after every rollout.
    """
    torch.set_num_threads(1)
    env = RecoveryVecEnv(setup, bank, spec, seed=config.seed)
    model = _model(env, config, warm=expert is not None)
    shown = None
    if expert is not None:
        rng = np.random.default_rng([config.seed, 2])
        shown = imitate(_actor(model), env.batch, bank, expert, config=config.imitation, rng=rng)
    judge = _Judge(setup.hard(), validation, config.seed)
    coach = _Coach(env, judge, shown, config, progress)
    model.learn(config.total_steps, callback=coach)
    coach.finish()
    warm = "none" if expert is None else f"{type(expert).__name__}, {len(shown.features) if shown else 0} rows"
    return Trained(actor=coach.best, steps=int(model.num_timesteps), warm_start=warm, history=tuple(coach.history))


def _model(env: RecoveryVecEnv, config: PpoConfig, *, warm: bool) -> PPO:
    model = PPO(
        "MlpPolicy",
        env,
        learning_rate=config.learning_rate,
        n_steps=config.n_steps,
        batch_size=min(config.batch, config.n_steps * env.num_envs),
        n_epochs=config.epochs,
        gamma=config.gamma,
        gae_lambda=0.95,
        clip_range=0.2,
        ent_coef=0.0,
        target_kl=config.warm_target_kl if warm else None,
        policy_kwargs={
            "net_arch": {"pi": [128, 128], "vf": [256, 256]},
            "activation_fn": torch.nn.Tanh,
            "log_std_init": config.warm_log_std if warm else config.log_std,
        },
        seed=config.seed,
        device="cpu",
    )
    with torch.no_grad():
        model.policy.action_net.weight.mul_(0.1)
    return model


def _actor(model: PPO) -> torch.nn.Module:
    """Returns the mean action as a module that shares the model's parameters."""
    return torch.nn.Sequential(model.policy.mlp_extractor.policy_net, model.policy.action_net)


def actor_network(model: PPO) -> Mlp:
    """Returns the numpy twin of a PPO model's mean action."""
    return network_of(_actor(model), "tanh")


class _Judge:
    """Evaluates actors on the validation states, in the training world."""

    def __init__(self, setup: RecoverySetup, states: Sequence[FailureState], seed: int) -> None:
        self._setup, self._states, self._seed = setup, states, seed

    def __call__(self, actor: Mlp) -> Rate:
        batch = RecoveryBatch(self._setup, np.random.default_rng([self._seed, 3]))
        won = recovered(batch, self._states, network_actor(actor))
        return Rate(k=int(won.sum()), n=len(won))


class _Coach(BaseCallback):  # type: ignore[misc]  # stable-baselines3 is seen as untyped
    """Between rollouts: fading imitation, critic first, evaluation, early stop, progress."""

    def __init__(
        self,
        env: RecoveryVecEnv,
        judge: _Judge,
        shown: Imitated | None,
        config: PpoConfig,
        progress: Progress | None,
    ) -> None:
        super().__init__()
        self._env, self._judge, self._shown, self._config, self._progress = env, judge, shown, config, progress
        self._rng = np.random.default_rng([config.seed, 4])
        self._rollouts, self._good, self._stop = 0, 0, False
        self._next_eval = 0 if shown is not None else config.eval_every
        self._best = Rate(k=0, n=1)
        self.best: Mlp
        self.history: list[TrainingPoint] = []

    def _on_step(self) -> bool:
        return not self._stop

    def _on_rollout_start(self) -> None:
        if self._rollouts == 0:
            self.best = actor_network(self.model)
        self._train_critic_only(self._shown is not None and self._rollouts < self._config.critic_first)
        if self._shown is not None:
            self._imitate(self._shown)
        success = _mean([float(s) for s in self.model.ep_success_buffer or []])
        due = self.num_timesteps >= self._next_eval
        skip = self._rollouts > 0 and not success >= self._config.eval_from
        self._note(success, self._evaluate() if due and not skip else None)
        self._rollouts += 1

    def finish(self) -> None:
        """Evaluates the last actor unless training stopped on a good one."""
        if not self._stop:
            success = _mean([float(s) for s in self.model.ep_success_buffer or []])
            self._note(success, self._evaluate())

    def _train_critic_only(self, only: bool) -> None:
        for parameter in (*_actor(self.model).parameters(), self.model.policy.log_std):
            parameter.requires_grad_(not only)

    def _imitate(self, shown: Imitated) -> None:
        if self._rollouts < self._config.critic_first:
            return
        count = round(self._config.imitation_steps * self._config.fade**self._rollouts)
        for _ in range(count):
            rows = torch.as_tensor(self._rng.integers(0, len(shown.features), 512))
            imitation_step(_actor(self.model), self.model.policy.optimizer, shown, rows)

    def _evaluate(self) -> Rate:
        self._next_eval = self.num_timesteps + self._config.eval_every
        actor = actor_network(self.model)
        rate = self._judge(actor)
        if rate.rate >= self._best.rate:
            self._best, self.best = rate, actor
        self._good = self._good + 1 if rate.rate >= self._config.stop_rate else 0
        self._stop = self._good >= self._config.stop_times
        self.model._last_obs = self._env.reset()
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
        if self._progress is not None:
            self._progress(point)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
