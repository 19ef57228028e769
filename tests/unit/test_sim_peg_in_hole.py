"""The peg task: its words, scenes, predicates, demonstrator and failures."""

from dataclasses import replace

import numpy as np
import pytest

from core.arrays import Bools, Floats
from core.failures import FailureMode
from core.robots import EE_DELTA
from core.worlds import Injection, WorldState
from regrasp.task_registry import find_task
from sim.demos import record_demonstrations
from sim.task import Facts
from sim.tasks.peg_expert import PegExpert
from sim.tasks.peg_in_hole import (
    APART_M,
    INFO,
    INSERTED_M,
    PEG_HIGH_M,
    PEG_LOW_M,
    SOCKET_HIGH_M,
    SOCKET_LOW_M,
    TOLD,
    PegInHole,
)
from sim.tasks.peg_parts import PEG, SOCKET, aside_m, depth_m
from sim.world import BatchWorld

EXPERT = PegExpert()
EACH = 6
"""Episodes of each failure."""


@pytest.fixture(scope="module")
def nominal() -> tuple[BatchWorld, list[WorldState]]:
    """24 episodes driven by the expert: the world at the end, and the state at every step."""
    world, states = BatchWorld(PegInHole(), 24), []
    world.reset(np.arange(24), 300 + np.arange(24))
    for _ in range(80):
        states.append(world.state())
        world.step(EXPERT.act(states[-1]))
    return world, [*states, world.state()]


def test_the_task_is_found_by_name() -> None:
    entry = find_task("peg_in_hole")
    assert entry.info is INFO
    assert entry.make().info is INFO
    assert isinstance(entry.expert(), PegExpert)
    assert isinstance(entry.demonstrator(), PegExpert)


def test_half_of_the_wording_is_held_out() -> None:
    training, held_out = TOLD.training, TOLD.paraphrases
    assert not set(training) & set(held_out)
    assert "put the peg into the hole" in training
    assert any("green hole" in text for text in held_out)
    assert not any("green hole" in text or "red pin" in text for text in training)


def test_scenes_are_legal() -> None:
    task = PegInHole()
    for seed in range(200):
        peg, socket, block = task.scene(np.random.default_rng(seed), "all").object_pos_in_base
        assert ((peg[:2] >= PEG_LOW_M) & (peg[:2] <= PEG_HIGH_M)).all()
        assert ((socket[:2] >= SOCKET_LOW_M) & (socket[:2] <= SOCKET_HIGH_M)).all()
        assert (peg[2], socket[2]) == (PEG.size_m[2], SOCKET.size_m[2])
        assert np.linalg.norm((peg - socket)[:2]) > APART_M
        assert block[2] < -0.1


def test_a_peg_left_alone_stands_still() -> None:
    world = BatchWorld(PegInHole(), 4)
    start = world.state().of("target")
    for _ in range(40):
        world.step(np.tile(EE_DELTA.still(1.0), (4, 1)))
    assert np.abs(world.state().of("target") - start).max() < 0.001


def test_the_expert_succeeds_in_about_fifty_steps(nominal: tuple[BatchWorld, list[WorldState]]) -> None:
    done = np.array([s.success for s in nominal[1]])
    assert done[-1].all()
    assert np.median(done.argmax(axis=0)) < 60


def test_the_expert_presses_gently(nominal: tuple[BatchWorld, list[WorldState]]) -> None:
    assert max(s.pressed_n.max() for s in nominal[1]) < 30.0
    assert max(s.contact_force_n.max() for s in nominal[1]) < 60.0


def test_score_and_progress_only_rise_and_end_complete(nominal: tuple[BatchWorld, list[WorldState]]) -> None:
    for values, last in (([s.q_score for s in nominal[1]], 1.0), ([s.subtask for s in nominal[1]], 1)):
        assert (np.diff(np.array(values), axis=0) >= 0).all()
        assert (values[0] == 0).all()
        assert (values[-1] == last).all()


def moved(facts: Facts, shift: Floats) -> Facts:
    pos = facts.state.object_pos_in_base.copy()
    pos[:, 0] += shift
    return replace(facts, state=replace(facts.state, object_pos_in_base=pos))


def test_success_is_strict(nominal: tuple[BatchWorld, list[WorldState]]) -> None:
    world = nominal[0]
    facts = world.facts()
    task, state = world.task, facts.state
    assert task.success(facts).all()
    depth = depth_m(state.of("target"), state.of("goal"))
    raised = np.stack([np.zeros(24), np.zeros(24), depth - INSERTED_M + 0.001], axis=1)
    assert not task.success(moved(facts, raised)).any()
    assert not task.success(moved(facts, np.array([0.004, 0.0, 0.0]))).any()
    assert not task.success(replace(facts, pinched=np.ones_like(facts.pinched))).any()
    assert not task.success(replace(facts, object_speed=np.full_like(facts.object_speed, 0.1))).any()
    assert not task.success(replace(facts, state=replace(state, tcp_pos_in_base=state.of("target")))).any()
    leaning = np.tile([np.sin(0.1), 0.0, 0.0, np.cos(0.1)], (24, 3, 1))
    assert not task.success(replace(facts, state=replace(state, object_quat_xyzw_in_base=leaning))).any()


@pytest.mark.parametrize(("aside", "done"), [(0.008, 1), (0.030, 0)])
def test_a_tracked_peg_is_in_the_hole_when_it_is_deep_and_near(aside: float, done: int) -> None:
    course = INFO.course("put the peg into the hole")
    socket = np.array([0.45, 0.2, SOCKET.size_m[2]])
    deep, high = (
        socket + np.array([aside, 0.0, SOCKET.size_m[2] + PEG.size_m[2] - INSERTED_M + off]) for off in (-0.002, 0.002)
    )
    places = np.array([[peg, socket, [0.45, 0.9, -0.5]] for peg in (deep, high)])
    assert course.progress(places).tolist() == [done, 0]


def test_the_expert_finds_the_hole_when_it_sees_everything_askew() -> None:
    """Peg and socket are seen where they are not, by a constant error of 2 mm (one standard deviation) an axis."""
    world = BatchWorld(PegInHole(), 16)
    error = np.random.default_rng(0).normal(0.0, 0.002, (16, 3, 3))
    done = np.zeros(16, dtype=bool)
    for _ in range(100):
        state = world.state()
        done |= state.success
        world.step(EXPERT.act(replace(state, object_pos_in_base=state.object_pos_in_base + error)))
    assert done.mean() >= 0.9


def test_seven_of_ten_tries_become_demonstrations() -> None:
    kept: list[int] = []
    record_demonstrations(PegInHole(), EXPERT, episodes=23, seed=0, progress=kept.append)
    assert kept == [23], "more than one batch of 32 tries was needed"


def test_snapshots_come_back_bit_for_bit() -> None:
    world = BatchWorld(PegInHole(), 2)
    for _ in range(40):
        world.step(EXPERT.act(world.state()))
    snapshot = world.snapshot(0)
    world.restore(np.array([1]), [snapshot])
    for _ in range(5):
        world.step(EXPERT.act(world.state()))
    state = world.state()
    assert (state.object_pos_in_base[0] == state.object_pos_in_base[1]).all()
    assert (state.joint_pos[0] == state.joint_pos[1]).all()


def struck(world: BatchWorld) -> Bools:
    return np.array([not np.isnan(world.injected_at(i)) for i in range(world.n)])


def blind(state: WorldState, world: BatchWorld, hit: Bools, in_hand: Floats) -> Floats:
    """What the expert would do if it had noticed nothing: the socket is where it was, the peg as it was in the hand."""
    pos, quat = state.object_pos_in_base.copy(), state.object_quat_xyzw_in_base.copy()
    for i in np.flatnonzero(hit):
        pos[i] = world.before_injection(int(i))
    pos[hit, 0], quat[hit, 0] = (state.tcp_pos_in_base + in_hand)[hit], [0.0, 0.0, 0.0, 1.0]
    opening = np.where(hit & (state.gripper_command < 0.5), 0.286, state.gripper_opening)
    return EXPERT.act(replace(state, object_pos_in_base=pos, object_quat_xyzw_in_base=quat, gripper_opening=opening))


@pytest.fixture(scope="module")
def recovery() -> tuple[Bools, Bools, Bools]:
    """Drives blindly for a random 0.2 to 3.5 s after the failure, then with the expert: who was struck, succeeded.

    Returns:
        Struck, blind success, success after that; shape (modes, `EACH`).
    """
    n = EACH * len(INFO.modes)
    world = BatchWorld(PegInHole(), n)
    world.reset(np.arange(n), 700 + np.arange(n))
    for i in range(n):
        world.inject(i, Injection(mode=INFO.modes[i // EACH]), seed=i)
    delay = np.random.default_rng(1).integers(4, 70, n)
    since, in_hand = np.zeros(n, dtype=int), np.zeros((n, 3))
    blind_success, success = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    for _ in range(190):
        state, hit = world.state(), struck(world)
        since += hit
        sees = since > delay
        blind_success |= state.success & hit & ~sees
        success |= state.success & sees
        in_hand = np.where(hit[:, None], in_hand, state.of("target") - state.tcp_pos_in_base)
        world.step(np.where((sees | ~hit)[:, None], EXPERT.act(state), blind(state, world, hit, in_hand)))
        if (success | blind_success).all():
            break
    assert not world.state().physics_reset.any()
    table = (len(INFO.modes), EACH)
    return struck(world).reshape(table), blind_success.reshape(table), success.reshape(table)


def test_every_failure_strikes(recovery: tuple[Bools, Bools, Bools]) -> None:
    assert recovery[0].mean() >= 0.95


@pytest.mark.parametrize("mode", INFO.modes)
def test_who_does_not_look_fails(recovery: tuple[Bools, Bools, Bools], mode: FailureMode) -> None:
    assert recovery[1][INFO.modes.index(mode)].sum() <= 2


@pytest.mark.parametrize("mode", INFO.modes)
def test_the_expert_recovers_from_early_and_late_states(
    recovery: tuple[Bools, Bools, Bools], mode: FailureMode
) -> None:
    _, blind_success, success = (table[INFO.modes.index(mode)] for table in recovery)
    assert success[~blind_success].mean() >= 0.85


def test_a_jammed_peg_does_not_fit() -> None:
    world = BatchWorld(PegInHole(), 8)
    for i in range(8):
        world.inject(i, Injection(mode=FailureMode.JAM), seed=i)
    for _ in range(60):
        before = struck(world)
        world.step(EXPERT.act(world.state()))
        state = world.state()
        fresh = struck(world) & ~before
        assert (aside_m(state.of("target"), state.of("goal"))[fresh] > 0.009).all()
    assert struck(world).all()
