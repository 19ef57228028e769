"""From a bank of failures to a skill: batch, environment, evaluation, authority, imitation, PPO."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.arrays import Floats
from core.errors import ConfigError
from core.failures import FailureMode
from core.manner import Manner
from core.recovery import Rate
from core.rewards import RewardSpec
from core.robots import EE_DELTA
from core.worlds import DomainParams, FailureState, Injection, WorldState
from held_fruit import captured, compiled, idle_setup, stuck_over_the_plate
from residual.authority import authority_test, require_authority
from residual.batch import RecoveryBatch, RecoveryConfig, RecoverySetup
from residual.coach import Progress, TrainingPoint
from residual.env import RecoveryVecEnv
from residual.evaluate import base_alone_rate, expert_actor, idle_actor, network_actor, recovered
from residual.features import FEATURES
from residual.imitation import ImitationConfig, imitate
from residual.networks import network_of, perceptron
from residual.noise import DomainRanges, NoisyTracker, TrackerNoise
from residual.ppo import Schooling
from residual.ppo_config import PpoConfig
from residual.skills import Failures, SkillRequest, TrainedSkill, default_space, train_skill
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import INFO, FruitOnPlate
from sim.world import BatchWorld

N = 16
MODE = FailureMode.MISSED_GRASP


@pytest.fixture(scope="module")
def world() -> BatchWorld:
    return BatchWorld(FruitOnPlate(), N)


@pytest.fixture(scope="module")
def bank(world: BatchWorld) -> tuple[FailureState, ...]:
    """Missed grasps met by the expert in 32 episodes, captured just after they struck."""
    states: list[FailureState] = []
    for first in (0, N):
        seeds = np.arange(first, first + N)
        world.reset(np.arange(N), seeds)
        for i in range(N):
            world.inject(i, Injection(mode=MODE), seed=int(seeds[i]))
        caught: set[int] = set()
        while len(caught) < N:
            world.step(FruitExpert().act(world.state()))
            for i in {i for i in range(N) if not np.isnan(world.injected_at(i))} - caught:
                caught.add(i)
                states.append(captured(world, i, int(seeds[i])))
    return tuple(states)


@pytest.fixture(scope="module")
def stuck(world: BatchWorld) -> tuple[FailureState, ...]:
    """32 hands over the plate that hold the target and, with an idle base, would hold it for ever: quickly learned."""
    return stuck_over_the_plate(world, 100) + stuck_over_the_plate(world, 100 + N)


@pytest.fixture(scope="module")
def setup(world: BatchWorld) -> RecoverySetup:
    return idle_setup(world, episode_steps=80)


@pytest.fixture(scope="module")
def spec() -> RewardSpec:
    return compiled()


def fresh(setup: RecoverySetup, seed: int = 0) -> RecoveryBatch:
    return RecoveryBatch(setup, np.random.default_rng(seed))


def test_a_recovery_takes_the_rest_of_the_queue_first_and_then_plans_from_its_belief(
    setup: RecoverySetup, bank: tuple[FailureState, ...]
) -> None:
    queued = [replace(s, queue=replace(s.queue, values=np.full((3, 7), 0.01))) for s in bank if s.queue]
    batch = fresh(setup.hard())
    batch.start(np.arange(N), queued[:N])
    for row in range(4):
        assert (batch.base[:, 0] == (0.01 if row < 3 else 0.0)).all()
        batch.step(np.zeros((N, 7)))


def test_the_same_seed_gives_the_same_features(setup: RecoverySetup, bank: tuple[FailureState, ...]) -> None:
    runs = []
    for _ in range(2):
        batch = fresh(setup, seed=7)
        batch.start(np.arange(N), bank[:N])
        for _ in range(5):
            batch.step(np.full((N, 7), 0.1))
        runs.append(batch.features.copy())
    assert (runs[0] == runs[1]).all()


def test_the_squeezed_expert_composes_to_the_wanted_action_where_authority_reaches(
    setup: RecoverySetup, bank: tuple[FailureState, ...]
) -> None:
    batch = fresh(setup)
    batch.start(np.arange(N), bank[:N])
    wanted = FruitExpert().act(batch.state)
    composed = batch.space.compose(EE_DELTA, batch.base, batch.squeezed(wanted))
    assert composed == pytest.approx(wanted, abs=1e-9)


def test_the_authority_test_passes_a_strong_channel_and_fails_a_weak_one(
    setup: RecoverySetup, bank: tuple[FailureState, ...]
) -> None:
    strong = authority_test(setup, bank[:N], FruitExpert())
    require_authority("missed_grasp", strong)
    weak = authority_test(replace(setup, space=default_space(alpha=1.0, beta=0.02)), bank[:N], FruitExpert())
    with pytest.raises(ConfigError, match="raise beta"):
        require_authority("missed_grasp", weak)
    with pytest.raises(ConfigError, match="0/0"):
        require_authority("missed_grasp", Rate(k=0, n=0))


def test_a_wrong_base_alone_recovers_nothing_and_no_states_is_an_error(
    setup: RecoverySetup, bank: tuple[FailureState, ...]
) -> None:
    assert base_alone_rate(setup, bank[:N]).k == 0
    with pytest.raises(ConfigError, match="no failure states"):
        recovered(fresh(setup), (), idle_actor)


def test_the_environment_ends_with_success_or_truncation_and_says_which(
    setup: RecoverySetup, bank: tuple[FailureState, ...], spec: RewardSpec
) -> None:
    short = replace(setup, config=replace(setup.config, episode_steps=60))
    env = RecoveryVecEnv(short, bank, spec, seed=3)
    assert env.reset().shape == (N, FEATURES)
    expert, infos, total = expert_actor(FruitExpert()), [], np.zeros(N)
    for _ in range(61):
        env.step_async(expert(env.batch)[:, list(short.space.dims)])
        obs, reward, done, info = env.step_wait()
        assert np.isfinite(obs).all()
        total += reward * ~done
        infos += [i for i, d in zip(info, done, strict=True) if d]
    assert any(i["is_success"] for i in infos)
    for i in infos:
        assert i["terminal_observation"].shape == (FEATURES,)
        assert i["TimeLimit.truncated"] == (not i["is_success"])
        assert i["episode"]["l"] <= 60
    best = max(infos, key=lambda i: i["episode"]["r"])
    assert best["is_success"]
    assert best["episode"]["r"] > 5.0


def test_an_idle_residual_times_out_and_is_truncated(
    setup: RecoverySetup, bank: tuple[FailureState, ...], spec: RewardSpec
) -> None:
    env = RecoveryVecEnv(replace(setup, config=RecoveryConfig(episode_steps=3)), bank, spec)
    env.reset()
    for step in range(3):
        env.step_async(np.zeros((N, 7), dtype=np.float32))
        _, _, done, infos = env.step_wait()
        assert done.all() == (step == 2)
    assert all(i["TimeLimit.truncated"] and not i["is_success"] for i in infos)
    assert (env.batch.steps == 0).all()


def test_an_environment_without_a_bank_is_refused(setup: RecoverySetup, spec: RewardSpec) -> None:
    with pytest.raises(ConfigError, match="bank of failure states is empty"):
        RecoveryVecEnv(setup, (), spec)


def test_a_noiseless_tracker_tells_the_truth_and_a_late_one_the_past(setup: RecoverySetup) -> None:
    ids, rng = np.arange(4), np.random.default_rng(0)
    exact = TrackerNoise(noise_m=0.0, bias_m=0.0, delay_steps=0, dropout=0.0)
    path = [np.full((4, 5, 3), float(k)) for k in range(10)]
    for noise, age in ((exact, 0), (replace(exact, delay_steps=2), None), (replace(exact, dropout=1.0), 9)):
        tracker = NoisyTracker(4, 5, noise, rng)
        tracker.start(ids, path[0])
        for pos in path[1:]:
            found = tracker.track(ids, pos)
        ages = 9 - found[:, 0, 0]
        assert set(ages) <= {0, 1, 2} if age is None else (ages == age).all()
    with pytest.raises(ConfigError, match="delay_steps is 9"):
        NoisyTracker(4, 5, replace(exact, delay_steps=9), rng)


def test_a_hidden_object_stays_where_it_was_last_seen_for_many_steps() -> None:
    noise = TrackerNoise(noise_m=0.0, bias_m=0.0, delay_steps=0, dropout=0.0, burst=0.02, burst_steps=16)
    tracker, ids = NoisyTracker(8, 3, noise, np.random.default_rng(0)), np.arange(8)
    tracker.start(ids, np.zeros((8, 3, 3)))
    ages = np.array([k - tracker.track(ids, np.full((8, 3, 3), float(k)))[:, :, 0] for k in range(1, 400)])
    lengths = ages[:-1][ages[1:] == 0]
    assert 0.05 < (ages > 0).mean() < 0.3
    assert lengths.max() <= 48
    assert (lengths > 3).any()


def test_domain_parameters_stay_in_their_ranges_and_leave_a_share_nominal() -> None:
    drawn = DomainRanges(share=0.5).draw(400, np.random.default_rng(0))
    assert ((drawn.friction_scale >= 0.6) & (drawn.friction_scale <= 1.3)).all()
    assert 0.35 < (drawn.mass_scale == 1.0).mean() < 0.65
    assert (drawn.action_latency_s <= 0.1).all()
    assert (drawn.gripper_friction_scale != DomainParams.nominal(1).gripper_friction_scale).mean() > 0.35
    offset = np.abs(drawn.joint_offset_rad)
    assert offset.shape == (400, 7)
    assert 0.003 < offset.max() <= 0.004


def test_imitation_brings_the_actor_near_to_the_expert(setup: RecoverySetup, bank: tuple[FailureState, ...]) -> None:
    torch.manual_seed(0)
    actor = perceptron(FEATURES, (64,), EE_DELTA.size, "tanh")
    before = network_of(actor, "tanh")
    config = ImitationConfig(rounds=2, steps=60, epochs=10)
    data = imitate(actor, fresh(setup), bank, FruitExpert(), config=config, rng=np.random.default_rng(0))
    x, wanted = data.features.numpy().astype(float), data.residuals.numpy()
    error = [float(np.abs(net(x) - wanted).mean()) for net in (before, network_of(actor, "tanh"))]
    assert len(data.features) == 2 * 60 * N
    assert error[1] < 0.5 * error[0]


def request(spec: RewardSpec) -> SkillRequest:
    return SkillRequest(
        name="missed_grasp", task="fruit_on_plate", manner=Manner.PLACE, modes=(MODE,), base_policy="pi0-nano@0",
        stages=INFO.stages, spec=spec, subtasks=1,
    )  # fmt: skip


def school(
    setup: RecoverySetup, states: Sequence[FailureState], spec: RewardSpec, progress: Progress | None = None
) -> TrainedSkill:
    """Trains for a few seconds: imitation and a handful of updates."""
    config = PpoConfig(
        total_steps=4 * 64 * N, eval_every=2 * 64 * N, eval_from=0.0, critic_first=2, batch=256,
        imitation=ImitationConfig(rounds=3, steps=40, epochs=10),
    )  # fmt: skip
    return train_skill(
        request(spec), setup, Failures(own=states), judge=FruitExpert(), schooling=Schooling(expert=FruitExpert()),
        config=config, progress=progress,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(setup: RecoverySetup, stuck: tuple[FailureState, ...], spec: RewardSpec) -> TrainedSkill:
    points: list[TrainingPoint] = []
    short = replace(setup, config=RecoveryConfig(episode_steps=30))
    skill = school(short, stuck, spec, points.append)
    assert tuple(points) == skill.history
    return skill


def test_a_few_seconds_of_training_beat_the_base(trained: TrainedSkill) -> None:
    card = trained.skill.card
    assert card.base_alone.rate < 0.2
    assert card.evaluation.rate > card.base_alone.rate + 0.5
    assert card.evaluation.n == card.base_alone.n > 0


def test_the_card_says_what_it_was_trained_on(trained: TrainedSkill, spec: RewardSpec, setup: RecoverySetup) -> None:
    card = trained.skill.card
    assert card.helps("fruit_on_plate", MODE, Manner.PLACE)
    assert card.reward_hash == spec.hash
    assert card.surrogate == setup.surrogate.policy_id
    assert card.warm_start.startswith("FruitExpert")
    assert card.train_steps > 0
    assert trained.authority is not None
    assert trained.spec.lint is not None


def test_training_reports_progress_and_evaluations(trained: TrainedSkill) -> None:
    steps = [p.steps for p in trained.history]
    assert steps == sorted(steps)
    assert sum(p.evaluation is not None for p in trained.history) >= 2


def test_the_actor_on_the_card_is_what_was_evaluated(
    trained: TrainedSkill, setup: RecoverySetup, bank: tuple[FailureState, ...]
) -> None:
    act = network_actor(trained.skill.actor)
    assert (recovered(fresh(setup.hard()), bank[:N], act) == recovered(fresh(setup.hard()), bank[:N], act)).all()


def test_a_bank_of_other_modes_is_refused(
    setup: RecoverySetup, bank: tuple[FailureState, ...], spec: RewardSpec
) -> None:
    foreign = [replace(s, mode=FailureMode.DROP) for s in bank]
    with pytest.raises(ConfigError, match="holds failures of mode drop"):
        school(setup, foreign, spec)


def test_a_channel_without_authority_is_refused_before_training(
    setup: RecoverySetup, bank: tuple[FailureState, ...], spec: RewardSpec
) -> None:
    weak = replace(setup, space=default_space(alpha=1.0, beta=0.02))
    with pytest.raises(ConfigError, match="through its residual channel"):
        school(weak, bank, spec)


def test_states_that_nobody_recovers_from_say_nothing_of_a_channel_unless_they_are_many(
    setup: RecoverySetup, bank: tuple[FailureState, ...]
) -> None:
    class Lost:
        """An expert that stands still in some worlds."""

        def __init__(self, first: int) -> None:
            self._first = first

        def act(self, state: WorldState) -> Floats:
            actions = FruitExpert().act(state)
            actions[: self._first, :6] = 0.0
            return actions

    assert authority_test(setup, bank[:N], Lost(1)).n == N - 1
    with pytest.raises(ConfigError, match="with the arm to itself"):
        authority_test(setup, bank[:N], Lost(N // 2))
