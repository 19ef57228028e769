"""From a bank of failures to a skill card: authority test, lint, training, held-out figures. Called by `train`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.errors import ConfigError
from core.failures import FailureMode
from core.manner import Manner
from core.ports import Expert
from core.recovery import Rate, RecoveryStage, SkillCard
from core.rewards import RewardSpec
from core.robots import EE_DELTA, ResidualSpace
from core.worlds import FailureState
from residual.authority import authority_test, require_authority
from residual.bank import divide, mixed
from residual.batch import RecoverySetup
from residual.cards import STATE, STATE_AND_POLICY, TrainedCard, actor_sha256
from residual.coach import Progress, TrainingPoint
from residual.evaluate import base_alone_rate, network_actor, recovery_rate
from residual.lint import lint_reward, linted, require_lint
from residual.ppo import Schooling, Trained, train_actor
from residual.ppo_config import PpoConfig
from residual.probes import Probing


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillRequest:
    """What is to be trained."""

    name: str
    """Of the card and its files."""
    task: str
    manner: Manner
    """Of the sub-tasks whose failures it recovers."""
    modes: tuple[FailureMode, ...]
    base_policy: str
    """name@hash of the frozen policy that the bank was captured from."""
    stages: tuple[RecoveryStage, ...]
    """Stages the skill may start from, e.g. all of the task's: it reads the stage from what it sees."""
    spec: RewardSpec
    """Compiled reward."""
    subtasks: int
    """Sub-tasks of the task, S."""
    resume_when: str = "placed"
    """Verified condition that hands the arm back: "held" or "placed"."""
    force: bool = False
    """Whether to train although the reward's lint fails; the card says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """What there is to learn from."""

    own: Sequence[FailureState]
    """Failures of the requested modes and manner, from 20 episodes or more."""
    others: Sequence[FailureState] = ()
    """Failures of other modes in such sub-tasks: a diagnosis may be wrong."""
    others_share: float = 0.2
    """Share of the training states that are others, [0, 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedSkill:
    """A skill ready to be saved, with how it came about."""

    skill: TrainedCard
    spec: RewardSpec
    """With its lint."""
    authority: Rate | None
    """The squeezed expert from the training states; None without an expert."""
    history: tuple[TrainingPoint, ...]
    changes: tuple[str, ...]
    """What reflection and curriculum changed."""


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
    failures: Failures,
    *,
    judge: Expert | None,
    schooling: Schooling,
    config: PpoConfig,
    progress: Progress | None = None,
) -> TrainedSkill:
    """Trains one skill and measures it on failure states that neither training nor early stopping saw.

    Args:
        request: Name, modes, reward.
        setup: World, surrogate base, residual space, noise.
        failures: What to learn from.
        judge: Demonstrator for the authority test and the lint; neither is made without one, and training is refused
            unless it is forced.
        schooling: Warm start, curriculum, reflection, where the run is kept.
        config: Rates and sizes.
        progress: Called after every round.

    Raises:
        ConfigError: Too small a bank, states of other modes, too weak a channel, or a reward that the lint refuses.
    """
    _check_modes(request, failures.own)
    parts = divide(failures.own, seed=config.seed)
    spec, authority = request.spec, None
    if judge is not None:
        authority = authority_test(setup, parts.validation, judge)
        require_authority(request.name, authority)
        spec = linted(spec, lint_reward(spec, _probing(request, setup, parts.validation, judge)))
    word = require_lint(spec, force=request.force)
    bank = _with_others(parts.train, failures, config.seed)
    trained = train_actor(setup, bank, parts.validation, spec, schooling=schooling, config=config, progress=progress)
    card = replace(_card(request, setup, parts.held_out, trained, config.seed), lint=word)
    actor = trained.actor if setup.policy_scale is None else setup.policy_scale.folded(trained.actor)
    skill = TrainedCard(card=replace(card, weights_sha256=actor_sha256(actor)), actor=actor)
    return TrainedSkill(skill=skill, spec=spec, authority=authority, history=trained.history, changes=trained.changes)


def _check_modes(request: SkillRequest, bank: Sequence[FailureState]) -> None:
    others = sorted({str(s.mode) for s in bank} - {str(m) for m in request.modes})
    if others:
        raise ConfigError(f"bank of skill {request.name!r} holds failures of mode {', '.join(others)}; take them out")


def _probing(request: SkillRequest, setup: RecoverySetup, states: Sequence[FailureState], expert: Expert) -> Probing:
    return Probing(
        world=setup.world, expert=expert, states=states, steps=setup.config.episode_steps, subtasks=request.subtasks
    )


def _with_others(own: Sequence[FailureState], failures: Failures, seed: int) -> tuple[FailureState, ...]:
    """Returns the training states with a share of other modes' among them."""
    share = failures.others_share
    if not failures.others or share <= 0.0:
        return tuple(own)
    return (*own, *mixed(failures.others, round(len(own) * share / (1.0 - share)), seed=seed))


def _card(
    request: SkillRequest,
    setup: RecoverySetup,
    held_out: Sequence[FailureState],
    trained: Trained,
    seed: int,
) -> SkillCard:
    seeds = [s.seed for s in held_out]
    return SkillCard(
        name=request.name,
        task=request.task,
        manner=request.manner,
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
        lint="",
        inputs=STATE if setup.policy_scale is None else STATE_AND_POLICY,
        train_seed=seed,
        train_steps=trained.steps,
        eval_seeds=(min(seeds), max(seeds)),
        evaluation=recovery_rate(setup.hard(), held_out, network_actor(trained.actor), seed=1),
        base_alone=base_alone_rate(setup.hard(), held_out, seed=1),
    )
