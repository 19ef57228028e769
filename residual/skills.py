"""From a bank of failures to a skill card: authority test, lint, training, held-out figures. Called by `train`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import ConfigError
from core.failures import FailureMode
from core.ports import Expert
from core.recovery import Rate, RecoveryStage, SkillCard
from core.rewards import LintReport, RewardSpec
from core.robots import EE_DELTA, ResidualSpace
from core.worlds import FailureState
from residual.authority import authority_test, require_authority
from residual.bank import divide
from residual.batch import RecoverySetup
from residual.cards import TrainedCard, actor_sha256
from residual.evaluate import base_alone_rate, network_actor, recovery_rate
from residual.lint import lint_reward, linted, require_lint
from residual.ppo import PpoConfig, Progress, Trained, TrainingPoint, train_actor
from residual.probes import Probing


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillRequest:
    """What is to be trained."""

    name: str
    """Of the card and its files."""
    task: str
    modes: tuple[FailureMode, ...]
    base_policy: str
    """name@hash of the frozen policy that the bank was captured from."""
    stages: tuple[RecoveryStage, ...]
    """Stages the skill may start from, e.g. all of the task's: it reads the stage from what it sees."""
    spec: RewardSpec
    """Compiled reward."""
    resume_when: str = "placed"
    """Verified condition that hands the arm back: "held" or "placed"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedSkill:
    """A skill ready to be saved, with how it came about."""

    skill: TrainedCard
    authority: Rate | None
    """The squeezed expert from the training states; None without an expert."""
    lint: LintReport | None
    """What probing the reward along the expert found; None without an expert."""
    history: tuple[TrainingPoint, ...]


def default_space(alpha: float = 0.3, beta: float = 1.0) -> ResidualSpace:
    """Returns the residual space of all action dims; the gripper can always be overruled.

    Args:
        alpha: Weight of the base's motion, [0, 1].
        beta: Weight of the residual's motion; at least twice alpha where the base is wrong.
    """
    weights = np.full((2, EE_DELTA.size), [[alpha], [beta]])
    weights[:, -1] = 1.0, 2.0
    return ResidualSpace(dims=tuple(range(EE_DELTA.size)), alpha=weights[0], beta=weights[1])


def train_skill(
    request: SkillRequest,
    setup: RecoverySetup,
    bank: Sequence[FailureState],
    *,
    expert: Expert | None,
    config: PpoConfig,
    progress: Progress | None = None,
) -> TrainedSkill:
    """Trains one skill and measures it on failure states that neither training nor early stopping saw.

    Args:
        request: Name, modes, reward.
        setup: World, surrogate base, residual space, noise.
        bank: Failure states of these modes, from 20 episodes or more.
        expert: Demonstrator for the warm start, the authority test and the lint; None trains from scratch.
        config: Rates and sizes.
        progress: Called after every rollout.

    Raises:
        ConfigError: Too small a bank, states of other modes, too weak a channel, or a reward that the lint refuses.
    """
    others = sorted({str(s.mode) for s in bank} - {str(m) for m in request.modes})
    if others:
        raise ConfigError(f"bank of skill {request.name!r} holds failures of mode {', '.join(others)}; take them out")
    parts = divide(bank, seed=config.seed)
    authority = lint = None
    if expert is not None:
        authority = authority_test(setup, parts.validation, expert)
        require_authority(request.name, authority)
        steps = setup.config.episode_steps
        probing = Probing(world=setup.world, expert=expert, states=parts.validation, steps=steps)
        lint = lint_reward(request.spec, probing)
        require_lint(linted(request.spec, lint), force=False)
    trained = train_actor(
        setup, parts.train, parts.validation, request.spec, expert=expert, config=config, progress=progress
    )
    card = _card(request, setup, parts.held_out, trained, config.seed)
    skill = TrainedCard(card=card, actor=trained.actor)
    return TrainedSkill(skill=skill, authority=authority, lint=lint, history=trained.history)


def _card(
    request: SkillRequest, setup: RecoverySetup, held_out: Sequence[FailureState], trained: Trained, seed: int
) -> SkillCard:
    seeds = [s.seed for s in held_out]
    return SkillCard(
        name=request.name,
        task=request.task,
        modes=request.modes,
        stages=request.stages,
        space=setup.space,
        resume_when=request.resume_when,
        weights_file=f"{request.name}.safetensors",
        weights_sha256=actor_sha256(trained.actor),
        reward_hash=request.spec.hash,
        base_policy=request.base_policy,
        surrogate=setup.surrogate.policy_id,
        warm_start=trained.warm_start,
        train_seed=seed,
        train_steps=trained.steps,
        eval_seeds=(min(seeds), max(seeds)),
        evaluation=recovery_rate(setup.hard(), held_out, network_actor(trained.actor), seed=1),
        base_alone=base_alone_rate(setup.hard(), held_out, seed=1),
    )
