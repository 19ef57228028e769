"""The wiping task: its words, scenes, forces, predicates and demonstrator; its failures strike and can be recovered."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from core.arrays import Bools, Floats
from core.failures import FailureMode
from core.scene import ROLES
from core.worlds import Injection, WorldState
from regrasp.task_registry import find_task
from sim.cell import PARKED_M
from sim.demos import record_demonstrations
from sim.task import Facts
from sim.tasks.wipe_board import (
    BAND_N,
    BOARD,
    ERASER,
    INFO,
    STAIN_HIGH_M,
    STAIN_LOW_M,
    STAINS,
    TOLD,
    WIPED_M,
    WipeBoard,
)
from sim.tasks.wipe_expert import WipeExpert
from sim.world import BatchWorld

EXPERT = WipeExpert()
STAIN = slice(2, 6)
"""The stains among the objects."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """32 episodes driven by the expert until all are done."""

    world: BatchWorld
    states: list[WorldState]
    done: np.ndarray
    """First step of success, -1: never."""


@pytest.fixture(scope="module")
def nominal() -> Run:
    world, n = BatchWorld(WipeBoard(), 32), 32
    world.reset(np.arange(n), 300 + np.arange(n))
    states, done = [], np.full(n, -1)
    for step in range(90):
        states.append(world.state())
        done = np.where((done < 0) & states[-1].success, step, done)
        if (done >= 0).all():
            break
        world.step(EXPERT.act(states[-1]))
    return Run(world=world, states=states, done=done)


def test_the_task_is_found_by_name() -> None:
    entry = find_task("wipe_board")
    assert entry.info is INFO
    assert set(entry.make().injectors) == set(INFO.modes)
    assert isinstance(entry.expert(), WipeExpert)


def test_no_instruction_has_to_name_a_target_and_every_one_gives_the_same_course() -> None:
    assert not INFO.names_target
    assert not set(TOLD.training) & set(TOLD.paraphrases)
    assert "wipe the board clean" in TOLD.training
    assert any("tablet" in text for text in TOLD.paraphrases)
    for text in TOLD.training + TOLD.paraphrases:
        course = INFO.course(text)
        assert [s.roles.goal for s in course.subtasks] == [s.name for s in STAINS]
        assert {s.roles.target for s in course.subtasks} == {"eraser"}


def test_scenes_have_four_stains_apart_on_the_board_and_room_round_the_eraser() -> None:
    task = WipeBoard()
    for seed in range(200):
        scene = task.scene(np.random.default_rng(seed), "all")
        eraser, board, *stains, block = scene.object_pos_in_base
        offsets = np.array(stains)[:, :2] - board[:2]
        assert ((offsets >= STAIN_LOW_M) & (offsets <= STAIN_HIGH_M)).all()
        steps = np.linalg.norm(np.diff(offsets, axis=0), axis=1)
        assert ((steps > 2 * WIPED_M) & (steps < 0.07)).all()
        assert board[1] - BOARD.size_m[1] - eraser[1] > 0.17
        assert block[2] < -0.1


def test_the_expert_cleans_every_board_quickly(nominal: Run) -> None:
    assert (nominal.done >= 0).all(), np.flatnonzero(nominal.done < 0)
    assert np.median(nominal.done) < 75
    assert not nominal.states[-1].physics_reset.any()


def test_progress_and_score_only_rise_and_end_full(nominal: Run) -> None:
    progress = np.array([s.subtask for s in nominal.states])
    scores = np.array([s.q_score for s in nominal.states])
    assert (np.diff(progress, axis=0) >= 0).all()
    assert (progress[-1] == len(STAINS)).all()
    assert (np.diff(scores, axis=0) >= 0).all()
    assert (scores[0] == 0).all()
    assert (scores[-1] == 1).all()


def test_the_goal_is_the_next_stain(nominal: Run) -> None:
    for state in nominal.states[::5]:
        goal = state.roles[:, ROLES.index("goal")]
        assert (goal == 2 + np.minimum(state.subtask, 3)).all()


def test_the_expert_presses_inside_the_band_and_never_hits_hard(nominal: Run) -> None:
    live = [np.where(nominal.done >= k, s.pressed_n, 0.0) for k, s in enumerate(nominal.states)]
    peak = np.max(live, axis=0)
    assert (peak < 40.0).mean() >= 0.95
    assert ((peak > BAND_N[0]) & (peak < BAND_N[1])).mean() >= 0.9
    assert max(s.contact_force_n.max() for s in nominal.states) < 60.0


def test_a_millimetre_of_depth_is_about_two_newtons(nominal: Run) -> None:
    """Only where the hand moves slowly: friction and inertia add to the force."""
    ratios = []
    for before, state in zip(nominal.states, nominal.states[1:], strict=False):
        top = state.object_pos_in_base[:, 1, 2] + BOARD.size_m[2]
        depth = top - (state.object_pos_in_base[:, 0, 2] - ERASER.size_m[2])
        slow = np.linalg.norm(state.tcp_pos_in_base - before.tcp_pos_in_base, axis=1) < 0.003
        use = slow & (depth > 0.002)
        ratios += list(state.pressed_n[use] / depth[use] / 1000.0)
    assert len(ratios) > 10
    assert 1.5 < np.median(ratios) < 3.5


def facts_with(world: BatchWorld, pressed_n: float, gap_m: float) -> Facts:
    """World 0's facts with the eraser so near to the first stain, pressed so hard."""
    facts = world.facts()
    pos = facts.state.object_pos_in_base.copy()
    pos[:, 0] = pos[:, 2] + np.array([gap_m, 0.0, 0.015])
    return replace(facts, state=replace(facts.state, object_pos_in_base=pos, pressed_n=np.full(1, pressed_n)))


@pytest.mark.parametrize(
    ("pressed_n", "gap_m", "gone"),
    [(10.0, 0.01, True), (2.0, 0.01, False), (30.0, 0.01, False), (10.0, 0.02, False), (24.0, 0.017, True)],
)
def test_a_stain_vanishes_under_the_eraser_inside_the_force_band_only(
    pressed_n: float, gap_m: float, gone: bool
) -> None:
    world = BatchWorld(WipeBoard(), 1)
    effects = world.task.effects(facts_with(world, pressed_n, gap_m))
    assert (0 in effects) == gone
    if gone:
        assert list(effects[0].place) == [2]
        assert (effects[0].place[2] == PARKED_M).all()


def test_success_needs_a_clean_board_a_hand_well_above_it_and_a_calm_eraser() -> None:
    world = BatchWorld(WipeBoard(), 1)
    facts, task = world.facts(), world.task
    clean = replace(facts, state=replace(facts.state, subtask=np.array([4])))
    low = facts.state.tcp_pos_in_base.copy()
    low[:, 2] = 0.05
    assert task.success(clean).all()
    assert not task.success(facts).any()
    assert not task.success(replace(clean, state=replace(clean.state, tcp_pos_in_base=low))).any()
    assert not task.success(replace(clean, object_speed=np.full_like(facts.object_speed, 0.2))).any()


def test_demonstrations_survive_the_noise() -> None:
    batches: list[int] = []
    demos = record_demonstrations(WipeBoard(), EXPERT, episodes=20, seed=5, progress=batches.append)
    assert batches == [20], "one batch of 32 tries has to give 20"
    assert len(demos.instructions) == 20


def test_a_snapshot_goes_on_bit_for_bit() -> None:
    world, other = BatchWorld(WipeBoard(), 1), BatchWorld(WipeBoard(), 1)
    world.reset(np.array([0]), np.array([11]))
    world.inject(0, Injection(mode=FailureMode.SLIP), seed=3)
    for _ in range(38):
        world.step(EXPERT.act(world.state()))
    other.restore(np.array([0]), [world.snapshot(0)])
    for _ in range(30):
        world.step(EXPERT.act(world.state()))
        other.step(EXPERT.act(other.state()))
    assert (world.state().object_pos_in_base == other.state().object_pos_in_base).all()
    assert world.injected_at(0) == other.injected_at(0) > 0


class Blind:
    """Goes on as if nothing had happened: things are where they were, the eraser in the hand, its own wiping works."""

    def __init__(self, world: BatchWorld) -> None:
        self._world = world
        self._gone = np.zeros((world.n, 4), dtype=bool)
        self._hit = np.zeros(world.n, dtype=bool)

    def act(self, state: WorldState, hit: Bools) -> Floats:
        pos = state.object_pos_in_base.copy()
        for i in np.flatnonzero(hit):
            pos[i] = self._world.before_injection(int(i))
            if not self._hit[i]:
                self._gone[i] = pos[i, STAIN, 2] < 0.0
        self._hit = hit
        closed = hit & (state.gripper_command < 0.5)
        pos[closed, 0] = state.tcp_pos_in_base[closed] - [-0.004, 0.0, 0.010]
        depth = pos[:, 1, 2] + BOARD.size_m[2] + ERASER.size_m[2] - pos[:, 0, 2]
        rows, due = np.arange(len(pos)), np.argmin(self._gone, axis=1)
        over = np.linalg.norm((pos[:, 0] - pos[rows, 2 + due])[:, :2], axis=1) < 0.014
        self._gone[rows, due] |= hit & over & (depth > 0.002)
        pos[:, STAIN][hit[:, None] & self._gone] = PARKED_M
        done = np.where(self._gone.all(axis=1), 4, np.argmin(self._gone, axis=1))
        roles = state.roles.copy()
        roles[hit, 2] = 2 + np.minimum(done, 3)[hit]
        return EXPERT.act(
            replace(
                state,
                object_pos_in_base=pos,
                roles=roles,
                subtask=np.where(hit, done, state.subtask),
                pressed_n=np.where(hit, 2000.0 * np.maximum(depth, 0.0), state.pressed_n),
                gripper_opening=np.where(closed & (state.gripper_opening < 0.5), 0.45, state.gripper_opening),
            )
        )


@pytest.fixture(scope="module", params=INFO.modes)
def recovery(request: pytest.FixtureRequest) -> tuple[BatchWorld, Bools, Bools]:
    """Goes on blindly for a random 0.2 to 2 s after the failure, then with the expert: blind and final success."""
    n = 12
    world = BatchWorld(WipeBoard(), n)
    world.reset(np.arange(n), 700 + np.arange(n))
    for i in range(n):
        world.inject(i, Injection(mode=request.param), seed=i)
    delay, since, blind = np.random.default_rng(1).integers(4, 40, n), np.zeros(n, dtype=int), Blind(world)
    unseen, success = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    for _ in range(220):
        state, hit = world.state(), np.array([not np.isnan(world.injected_at(i)) for i in range(n)])
        since += hit
        sees = since > delay
        unseen |= state.success & ~sees
        success |= state.success & sees
        if (unseen | success).all():
            break
        world.step(np.where((sees | ~hit)[:, None], EXPERT.act(state), blind.act(state, hit)))
    return world, unseen, success


def test_every_failure_strikes(recovery: tuple[BatchWorld, Bools, Bools]) -> None:
    world = recovery[0]
    assert np.mean([not np.isnan(world.injected_at(i)) for i in range(world.n)]) == 1.0


def test_who_does_not_look_fails(recovery: tuple[BatchWorld, Bools, Bools]) -> None:
    assert recovery[1].mean() <= 0.35


def test_the_expert_recovers(recovery: tuple[BatchWorld, Bools, Bools]) -> None:
    world, unseen, success = recovery
    assert success[~unseen].all()
    assert not world.state().physics_reset.any()
