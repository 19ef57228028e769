"""Trains one recovery skill with stable-baselines3 PPO. Called by `skills`.

The actor starts as no correction at all (last layer scaled by 0.1), or, when a scripted expert exists, as its
imitation; then the critic learns alone for a few rounds and the imitation fades. Beside PPO's own loss the best
successes so far are imitated. What happens between rounds is the `coach`'s business.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure

from core.ports import Expert
from core.rewards import RewardSpec
from core.worlds import FailureState
from residual.batch import RecoverySetup
from residual.checkpoint import load_progress
from residual.coach import Coach, Diary, Judge, Progress, Reflection, TrainingPoint, actor_of
from residual.curriculum import Curriculum, SceneEdit
from residual.env import RecoveryVecEnv
from residual.imitation import Imitated, imitate
from residual.imitation_file import load_imitated, save_imitated
from residual.mlp import Mlp
from residual.ppo_config import PpoConfig
from residual.success_buffer import ImitatingAdam, SuccessBuffer, SuccessRecorder, imitation_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained actor and how it came about."""

    actor: Mlp
    steps: int
    """Environment steps taken."""
    warm_start: str
    history: tuple[TrainingPoint, ...]
    changes: tuple[str, ...]
    """What reflection and curriculum changed, in plain words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schooling:
    """What a training may use besides its failures."""

    expert: Expert | None = None
    """Demonstrator for a warm start; from scratch when None."""
    edits: tuple[SceneEdit, ...] = ()
    """What the curriculum may do to a scene in which hardly anything succeeds."""
    reflection: Reflection | None = None
    """Who looks at what still fails; None: nobody."""
    diary: Diary | None = None
    """Where the run is kept and resumed from, with its TensorBoard log; None: nowhere."""


def train_actor(
    setup: RecoverySetup,
    bank: Sequence[FailureState],
    validation: Sequence[FailureState],
    spec: RewardSpec,
    *,
    schooling: Schooling,
    config: PpoConfig,
    progress: Progress | None = None,
) -> Trained:
    """Trains an actor and returns the best one that an evaluation saw.

    Args:
        setup: World (64 cells for the documented rates), base, composition, noise.
        bank: Failure states to train from.
        validation: Other failure states, for evaluations and early stopping.
        spec: Compiled reward.
        schooling: Expert, curriculum, reflection, where it is kept.
        config: Rates and sizes.
        progress: Called after every round.
    """
    torch.set_num_threads(1)
    env = RecoveryVecEnv(setup, bank, spec, seed=config.seed)
    buffers = (SuccessBuffer(config.success), SuccessBuffer(config.success))
    model = _model(env, buffers, setup.config.episode_steps, config, warm=schooling.expert is not None)
    diary = schooling.diary
    kept = None if diary is None else load_progress(diary.folder, diary.name)
    shown = _shown(model, env, bank, schooling, config, resumed=kept is not None)
    coach = Coach(
        env,
        Judge(setup, validation, config.seed),
        shown,
        config,
        buffers=buffers,
        curriculum=Curriculum(schooling.edits if config.ease_after else (), config.ease_after),
        reflection=schooling.reflection,
        diary=diary,
        progress=progress,
    )
    left = config.total_steps
    if kept is not None:
        coach.resume(model, kept)
        model.num_timesteps = kept.steps
        left = max(0, config.total_steps - kept.steps)
    if diary is not None:
        model.set_logger(configure(str(diary.folder / "tensorboard" / diary.name), ["tensorboard"]))
    if not coach.over:
        model.learn(left, callback=coach, reset_num_timesteps=kept is None)
        coach.finish()
    warm = "none" if shown is None else f"{type(schooling.expert).__name__}, {len(shown.features)} rows"
    return Trained(
        actor=coach.best,
        steps=int(model.num_timesteps),
        warm_start=warm,
        history=tuple(coach.history),
        changes=tuple(coach.changes),
    )


def _shown(
    model: PPO,
    env: RecoveryVecEnv,
    bank: Sequence[FailureState],
    schooling: Schooling,
    config: PpoConfig,
    *,
    resumed: bool,
) -> Imitated | None:
    """Returns what the expert showed, after the actor imitated it or from the run that is resumed."""
    diary = schooling.diary
    if schooling.expert is None:
        return None
    if resumed and diary is not None:
        return load_imitated(diary.folder, diary.name)
    rng = np.random.default_rng([config.seed, 2])
    shown = imitate(actor_of(model), env.batch, bank, schooling.expert, config=config.imitation, rng=rng)
    if diary is not None:
        save_imitated(diary.folder, diary.name, shown)
    return shown


def _model(
    env: RecoveryVecEnv, buffers: tuple[SuccessBuffer, SuccessBuffer], longest: int, config: PpoConfig, *, warm: bool
) -> PPO:
    model = PPO(
        "MlpPolicy",
        SuccessRecorder(env, buffers, config.success, longest * 3 // 2),
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
            "optimizer_class": ImitatingAdam,
        },
        seed=config.seed,
        device="cpu",
    )
    with torch.no_grad():
        model.policy.action_net.weight.mul_(0.1)
    rng = np.random.default_rng([config.seed, 6])
    model.policy.optimizer.second_loss = lambda: imitation_loss(actor_of(model), buffers, config.success, rng)
    return model
