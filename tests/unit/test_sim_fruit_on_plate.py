"""The fruit task: its words, scenes, predicates and demonstrator."""

from dataclasses import replace

import numpy as np
import pytest

from core.arrays import Bools, Floats
from core.errors import ConfigError
from core.robots import EE_DELTA
from core.scene import ROLES
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import INFO, PLATE_APART_M, TOLD, FruitOnPlate
from sim.world import BatchWorld


@pytest.fixture(scope="module")
def nominal() -> tuple[BatchWorld, list[np.ndarray], np.ndarray]:
    """64 episodes driven by the expert: the world at the end, Q by step, first step of success (-1: never)."""
    world, expert, n = BatchWorld(FruitOnPlate(), 64), FruitExpert(), 64
    world.reset(np.arange(n), 300 + np.arange(n))
    scores, done = [], np.full(n, -1)
    for step in range(120):
        state = world.state()
        scores.append(state.q_score)
        done = np.where((done < 0) & state.success, step, done)
        world.step(expert.act(state))
    return world, scores, done


def test_every_instruction_names_exactly_one_fruit() -> None:
    for text in TOLD.training + TOLD.paraphrases:
        assert INFO.roles(text).target in ("apple", "lemon"), text


def test_the_wordings_cover_what_a_policy_has_to_ground() -> None:
    training = TOLD.training
    for phrase in ("red fruit", "yellow fruit", "apple", "lemon", "plate", "dish"):
        assert any(phrase in text for text in training), phrase
    assert not set(training) & set(TOLD.paraphrases)
    assert len(INFO.templates) >= 10
    assert any("red one" in text for text in TOLD.paraphrases)
    seen = {word for text in training for word in text.split()}
    fresh = {word for text in TOLD.paraphrases for word in text.split()} - seen
    assert fresh <= {"one", "set", "down", "please", "to", "pick", "take", "move", "on"}, fresh


@pytest.mark.parametrize("text", ["put it on the plate", "put the apple and the lemon on the plate"])
def test_an_instruction_for_no_fruit_or_both_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="exactly one"):
        INFO.roles(text)


def test_scenes_keep_things_apart_and_the_block_away() -> None:
    task = FruitOnPlate()
    targets = set()
    for seed in range(200):
        scene = task.scene(np.random.default_rng(seed), "all")
        apple, lemon, plate, block = scene.object_pos_in_base
        assert np.linalg.norm((apple - lemon)[:2]) > 0.12
        assert min(np.linalg.norm((f - plate)[:2]) for f in (apple, lemon)) > PLATE_APART_M
        assert block[2] < -0.1
        targets.add(INFO.roles(scene.instruction).target)
    assert targets == {"apple", "lemon"}


def test_the_expert_succeeds_in_about_forty_steps(nominal: tuple[BatchWorld, list[np.ndarray], np.ndarray]) -> None:
    done = nominal[2]
    assert (done >= 0).all(), np.flatnonzero(done < 0)
    assert np.median(done) < 60


def test_the_score_only_rises_and_is_one_on_success(nominal: tuple[BatchWorld, list[np.ndarray], np.ndarray]) -> None:
    scores = np.array(nominal[1])
    assert (np.diff(scores, axis=0) >= 0).all()
    assert (scores[0] == 0).all()
    assert (scores[-1] == 1).all()


def test_success_stays_once_the_expert_is_done(nominal: tuple[BatchWorld, list[np.ndarray], np.ndarray]) -> None:
    world = nominal[0]
    assert world.state().success.all()
    state = world.state()
    gap = np.linalg.norm(state.tcp_pos_in_base - state.of("target"), axis=1)
    assert (gap > 0.07).all()


def test_the_roles_follow_the_instruction(nominal: tuple[BatchWorld, list[np.ndarray], np.ndarray]) -> None:
    world = nominal[0]
    state = world.state()
    for i in range(world.n):
        roles = INFO.roles(world.instruction(i))
        assert [state.object_names[k] for k in state.roles[i]] == [roles.of(r) for r in ROLES]


def test_expert_actions_are_inside_the_action_space_from_any_state() -> None:
    world, expert = BatchWorld(FruitOnPlate(), 16), FruitExpert()
    rng = np.random.default_rng(0)
    for _ in range(60):
        actions = expert.act(world.state())
        assert (actions == EE_DELTA.clip(actions)).all()
        world.step(EE_DELTA.denormalise(rng.uniform(-1, 1, (16, 7))))


def test_the_wrong_fruit_on_the_plate_is_no_success() -> None:
    """The expert is told the other fruit is the target; the world keeps its own opinion."""
    world, expert, n = BatchWorld(FruitOnPlate(), 8), FruitExpert(), 8
    for _ in range(70):
        state = world.state()
        swapped = state.roles[:, [1, 0, 2, 3]]
        world.step(expert.act(replace(state, roles=swapped)))
    state = world.state()
    on_plate = np.linalg.norm((state.of("distractor") - state.of("goal"))[:, :2], axis=1) < 0.03
    assert on_plate.sum() >= n - 1
    assert not state.success.any()
    assert (state.q_score < 0.5).all()


def swapped(world: BatchWorld, before: Floats) -> Bools:
    """Where each fruit now lies where the other one was."""
    now = world.state().object_pos_in_base
    return np.asarray((np.linalg.norm((now[:, [0, 1]] - before[:, [1, 0]])[..., :2], axis=2) < 0.005).all(axis=1))


@pytest.fixture(scope="module")
def restless() -> BatchWorld:
    """As many worlds as it takes to have a few swaps among them, at their start."""
    world = BatchWorld(FruitOnPlate(), 40)
    world.reset(np.arange(40), 900 + np.arange(40))
    return world


def test_a_quarter_of_the_scenes_swap_the_fruits_while_the_hand_is_away(restless: BatchWorld) -> None:
    task = FruitOnPlate()
    events = [task.scene(np.random.default_rng(seed), "all").event_s for seed in range(400)]
    assert 0.2 < np.isfinite(events).mean() < 0.3
    restless.reset(np.arange(40), 900 + np.arange(40))
    due, before = np.isfinite(restless.facts().event_s), restless.state().object_pos_in_base.copy()
    for _ in range(12):
        restless.step(np.tile(EE_DELTA.still(1.0), (40, 1)))
    assert due.sum() >= 5
    assert (swapped(restless, before) == due).all()
    assert np.isnan(restless.facts().event_s).all()


def test_fruits_are_not_swapped_under_the_hand(restless: BatchWorld) -> None:
    facts = restless.facts()
    under = facts.state.object_pos_in_base[:, 1] + [0.0, 0.0, 0.05]
    near = replace(facts, state=replace(facts.state, tcp_pos_in_base=under), event_s=np.zeros(40))
    effects = FruitOnPlate().effects(near)
    assert set(effects) == set(range(40))
    assert all(e.spends_event and not e.place for e in effects.values())


def test_a_swap_does_not_change_the_rest_of_a_scene() -> None:
    """Its random stream is its own: a seed's scene is the one it was before there were swaps."""
    rng = np.random.default_rng(7)
    apple, lemon, plate = FruitOnPlate().scene(rng, "all").object_pos_in_base[:3, :2]
    assert [*apple, *lemon, *plate] == pytest.approx([0.47002, 0.00916, 0.50616, -0.19244, 0.42803, 0.24356], abs=1e-5)
    assert rng.uniform() == pytest.approx(0.82122842)


def test_the_expert_follows_fruits_that_were_swapped(restless: BatchWorld) -> None:
    restless.reset(np.arange(40), 900 + np.arange(40))
    expert, due = FruitExpert(), np.isfinite(restless.facts().event_s)
    for _ in range(70):
        restless.step(expert.act(restless.state()))
    assert restless.state().success[due].all()
