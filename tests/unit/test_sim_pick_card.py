"""The card task: its words, scenes, predicates, demonstrator, and what goes wrong in it."""

from dataclasses import replace

import numpy as np
import pytest

from core.arrays import Bools, Floats
from core.errors import ConfigError
from core.failures import FailureMode
from core.transforms import quat_from_rotvec
from core.worlds import Injection, WorldState
from regrasp.task_registry import find_task
from sim.task import Facts
from sim.tasks.hand import Plan, acted
from sim.tasks.pick_card import CARD_M, CARDS, INFO, TOLD, TRAY, PickCard
from sim.tasks.pick_card_expert import CardExpert
from sim.world import BatchWorld

N = 16
EXPERT = CardExpert()


@pytest.fixture(scope="module")
def nominal() -> tuple[BatchWorld, list[WorldState]]:
    """Episodes driven by the expert: the worlds at the end, and their states by step."""
    world, states = BatchWorld(PickCard(), N), []
    world.reset(np.arange(N), 300 + np.arange(N))
    for _ in range(66):
        states.append(world.state())
        world.step(EXPERT.act(states[-1]))
    return world, [*states, world.state()]


@pytest.fixture
def done() -> Facts:
    """Three worlds whose named card lies on the tray, with the hand far above."""
    world = BatchWorld(PickCard(), 3)
    facts, rows = world.facts(), np.arange(3)
    pos = facts.state.object_pos_in_base.copy()
    pos[rows, facts.state.roles[:, 0]] = facts.state.of("goal") + np.array([0.03, 0.0, TRAY.size_m[2] + CARD_M[2]])
    return replace(facts, state=replace(facts.state, object_pos_in_base=pos))


def moved(facts: Facts, offset: Floats) -> Facts:
    pos = facts.state.object_pos_in_base.copy()
    pos[np.arange(3), facts.state.roles[:, 0]] += offset
    return replace(facts, state=replace(facts.state, object_pos_in_base=pos))


def tilted(facts: Facts, rad: float) -> Facts:
    quat = facts.state.object_quat_xyzw_in_base.copy()
    quat[:] = quat_from_rotvec(np.array([rad, 0.0, 0.0]))
    return replace(facts, state=replace(facts.state, object_quat_xyzw_in_base=quat))


def test_every_instruction_names_exactly_one_card() -> None:
    assert {INFO.roles(text).target for text in TOLD.training} == {card.name for card in CARDS}
    assert {INFO.roles(text).target for text in TOLD.paraphrases} == {card.name for card in CARDS}
    assert not set(TOLD.training) & set(TOLD.paraphrases)
    assert not any("one" in text.split() for text in TOLD.training)
    with pytest.raises(ConfigError, match="exactly one"):
        INFO.roles("put the red card and the blue card on the tray")


def test_the_registry_knows_the_task() -> None:
    entry = find_task("pick_card")
    assert entry.info is INFO
    assert set(entry.make().injectors) == set(INFO.modes)
    assert isinstance(entry.expert(), CardExpert)


def test_an_open_hand_fits_beside_every_card_of_a_scene() -> None:
    task, targets = PickCard(), set()
    for seed in range(200):
        scene = task.scene(np.random.default_rng(seed), "all")
        cards, tray, block = scene.object_pos_in_base[:5], *scene.object_pos_in_base[5:]
        offset = np.abs(cards[:, None, :2] - cards[None, :, :2])[np.triu_indices(5, k=1)]
        assert ((offset[:, 0] > 0.07) | (offset[:, 1] > 0.092)).all()
        assert np.linalg.norm((cards - tray)[:, :2], axis=1).min() > TRAY.size_m[0] + 0.10
        assert scene.object_yaw is not None
        assert np.abs(scene.object_yaw).max() <= 0.15
        assert block[2] < -0.1
        targets.add(INFO.roles(scene.instruction).target)
    assert len(targets) == 5


def test_the_expert_succeeds_in_about_fifty_steps(nominal: tuple[BatchWorld, list[WorldState]]) -> None:
    success = np.array([s.success for s in nominal[1]])
    assert success[-1].all()
    assert np.median(success.argmax(axis=0)) < 55


def test_score_and_course_only_rise_to_the_end(nominal: tuple[BatchWorld, list[WorldState]]) -> None:
    for values, last in ((np.array([s.q_score for s in nominal[1]]), 1.0), ([s.subtask for s in nominal[1]], 1)):
        assert (np.diff(values, axis=0) >= 0).all()
        assert (values[0] == 0).all()
        assert (values[-1] == last).all()


def test_the_expert_does_not_slam(nominal: tuple[BatchWorld, list[WorldState]]) -> None:
    force = np.array([s.contact_force_n for s in nominal[1]])
    assert np.quantile(force.max(axis=0), 0.9) < 60.0
    assert not nominal[1][-1].physics_reset.any()


def test_a_card_flat_on_the_tray_under_an_open_hand_far_away_is_success(done: Facts) -> None:
    task = PickCard()
    assert task.success(done).all()
    assert task.success(tilted(done, np.pi)).all()
    assert task.success(moved(done, np.array([0.03, 0.0, 0.0]))).all()
    for other in (moved(done, np.array([0.06, 0.0, 0.0])), moved(done, np.array([0.0, 0.0, 0.014])), tilted(done, 0.3)):
        assert not task.success(other).any()


def test_a_card_that_is_held_near_the_hand_or_moving_is_no_success_yet(done: Facts) -> None:
    task = PickCard()
    assert not task.success(replace(done, pinched=np.ones_like(done.pinched))).any()
    assert not task.success(replace(done, object_speed=np.full_like(done.object_speed, 0.2))).any()
    near = replace(done.state, tcp_pos_in_base=done.state.of("target") + np.array([0.0, 0.0, 0.05]))
    assert not task.success(replace(done, state=near)).any()


def test_the_course_is_done_by_position_only_where_a_card_lies_on_the_tray(done: Facts) -> None:
    course = INFO.course("put the red card on the tray")
    pos = np.repeat(done.state.object_pos_in_base[:1], 5, axis=0)
    rest = TRAY.size_m[2] + CARD_M[2]
    spots = [[0.0, 0.0, rest], [0.07, 0.0, rest], [0.0, -0.07, rest], [0.08, 0.0, rest], [0.0, 0.0, 0.001]]
    pos[:, 0] = pos[:, 5] + np.array(spots)
    assert course.progress(pos).tolist() == [1, 1, 1, 0, 0]


def test_the_wrong_card_on_the_tray_is_no_success(done: Facts) -> None:
    swapped = done.state.roles[:, [1, 0, 2, 3]]
    assert not PickCard().success(replace(done, state=replace(done.state, roles=swapped))).any()


def struck(world: BatchWorld) -> Bools:
    return np.array([not np.isnan(world.injected_at(i)) for i in range(world.n)])


def blind(state: WorldState, world: BatchWorld, hit: Bools) -> Floats:
    """What the expert would do if it had noticed nothing: things are where they were, the card is in the hand."""
    pos, quat, rows = state.object_pos_in_base.copy(), state.object_quat_xyzw_in_base.copy(), np.flatnonzero(hit)
    for i in rows:
        pos[i] = world.before_injection(int(i))
    pos[rows, state.roles[rows, 0]] = state.tcp_pos_in_base[rows] - [0.0, 0.0, 0.008]
    quat[rows] = [0.0, 0.0, 0.0, 1.0]
    opening = np.where(hit & (state.gripper_command < 0.5), 0.5, state.gripper_opening)
    return EXPERT.act(replace(state, object_pos_in_base=pos, object_quat_xyzw_in_base=quat, gripper_opening=opening))


@pytest.mark.parametrize("mode", INFO.modes)
def test_a_failure_strikes_defeats_the_blind_and_is_recovered_from(mode: FailureMode) -> None:
    n = 6
    world = BatchWorld(PickCard(), n)
    world.reset(np.arange(n), 40 + np.arange(n))
    for i in range(n):
        world.inject(i, Injection(mode=mode), seed=i)
    delay = np.random.default_rng(2).integers(4, 60, n)
    since, early, success = np.zeros(n, dtype=int), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    for _ in range(165):
        state, hit = world.state(), struck(world)
        since += hit
        sees = since > delay
        early |= state.success & hit & ~sees
        success |= state.success & sees
        if success.all():
            break
        world.step(np.where((sees | ~hit)[:, None], EXPERT.act(state), blind(state, world, hit)))
    assert struck(world).all()
    assert not early.any()
    assert success.all()


def test_a_card_on_its_edge_is_knocked_over_and_fetched() -> None:
    world = BatchWorld(PickCard(), 4)
    state = world.state()
    for i in range(4):
        snapshot = world.snapshot(i)
        physics = snapshot.physics.copy()
        at = 1 + int(world.cell.free_qpos[state.roles[i, 0]])
        physics[at + 2] = CARD_M[1] + 0.001
        physics[at + 3 : at + 7] = [np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0]
        world.restore(np.array([i]), [replace(snapshot, physics=physics)])
    assert np.allclose(world.state().of("target")[:, 2], 0.023)
    success = np.zeros(4, dtype=bool)
    for _ in range(150):
        success |= world.state().success
        world.step(EXPERT.act(world.state()))
    assert success.all()


def test_the_wrong_card_in_the_hand_is_laid_on_the_table_first() -> None:
    world = BatchWorld(PickCard(), 6)
    for step in range(100):
        state = world.state()
        roles = state.roles[:, [1, 0, 2, 3]] if step < 26 else state.roles
        world.step(EXPERT.act(replace(state, roles=roles)))
        if step == 25:
            assert world.facts().pinched[np.arange(6), state.roles[:, 1]].all()
    state = world.state()
    assert state.success.all()
    assert state.of("distractor")[:, 2] == pytest.approx(np.full(6, CARD_M[2]), abs=0.002)


def test_a_restored_world_goes_on_bit_for_bit() -> None:
    world = BatchWorld(PickCard(), 2)
    world.inject(0, Injection(mode=FailureMode.DROP), seed=3)
    for _ in range(18):
        world.step(EXPERT.act(world.state()))
    saved, ends = [world.snapshot(i) for i in range(2)], []
    for _ in range(2):
        world.restore(np.arange(2), saved)
        for _ in range(15):
            world.step(EXPERT.act(world.state()))
        ends.append(world.snapshot(0).physics)
    assert np.array_equal(ends[0], ends[1])


def test_a_grasped_card_does_not_creep_out_of_the_hand() -> None:
    world = BatchWorld(PickCard(), 4)
    for _ in range(24):
        world.step(EXPERT.act(world.state()))
    grip = world.state().of("target") - world.state().tcp_pos_in_base
    for k in range(40):
        state = world.state()
        shaken = state.tcp_pos_in_base + 0.01 * np.array([np.sin(1.9 * k), np.sin(2.3 * k), np.sin(2.9 * k)])
        world.step(acted(Plan(pos=shaken, yaw=np.zeros(4), grip=np.zeros(4)), state))
    slip = np.linalg.norm(world.state().of("target") - world.state().tcp_pos_in_base - grip, axis=1)
    assert world.facts().held().all()
    assert slip.max() < 0.003
