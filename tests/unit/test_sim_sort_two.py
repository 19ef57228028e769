"""Sorting two blocks: words, scenes, predicates, failures in either sub-task, and the expert that picks and places."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from core.arrays import Bools, Floats, Ints
from core.errors import ConfigError
from core.failures import FailureMode
from core.robots import EE_DELTA
from core.tasks import TaskInfo
from core.worlds import Injection
from regrasp.task_registry import find_task
from sim.tasks.pick_place import PickPlaceExpert
from sim.tasks.sort_two import BLUE, INFO, PURPLE, TOLD, SortTwo
from sim.world import BatchWorld

EACH = 4
"""Worlds of every mode."""
N = EACH * len(INFO.modes)
EXPERT = PickPlaceExpert(INFO)
STEPS = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominal:
    """An undisturbed run of the expert; rows are control steps."""

    world: BatchWorld
    actions: Floats
    progress: Ints
    scores: Floats
    success: Bools
    force: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """What became of worlds in which a failure was armed, each shape (N,)."""

    struck: Bools
    subtask: Ints
    """In which sub-task it struck."""
    success: Bools


@pytest.fixture(scope="module")
def nominal() -> Nominal:
    world = BatchWorld(SortTwo(), N)
    world.reset(np.arange(N), 500 + np.arange(N))
    states, actions = [], []
    for _ in range(STEPS):
        states.append(world.state())
        actions.append(EXPERT.act(states[-1]))
        world.step(actions[-1])
    return Nominal(
        world=world,
        actions=np.array(actions),
        progress=np.array([s.subtask for s in states]),
        scores=np.array([s.q_score for s in states]),
        success=np.array([s.success for s in states]),
        force=np.array([s.contact_force_n for s in states]),
    )


def injected(blind: Floats, delay: Ints, steps: int) -> Injected:
    """Repeats what was done where nothing went wrong; from `delay` steps after the failure on the expert acts."""
    world = BatchWorld(SortTwo(), N)
    world.reset(np.arange(N), 500 + np.arange(N))
    for i in range(N):
        world.inject(i, Injection(mode=INFO.modes[i // EACH]), seed=8 + i % EACH)
    since, subtask, success = np.zeros(N, dtype=int), np.full(N, -1), np.zeros(N, dtype=bool)
    for k in range(steps):
        state = world.state()
        since += struck(world)
        subtask = np.where(since == 0, state.subtask, subtask)
        success |= state.success
        if success.all():
            break
        went_on = blind[min(k, len(blind) - 1)]
        sees = (since > delay)[:, None]
        world.step(np.where(sees, EXPERT.act(state), went_on) if sees.any() else went_on)
    return Injected(struck=struck(world), subtask=subtask, success=success)


def struck(world: BatchWorld) -> Bools:
    return np.array([not np.isnan(world.injected_at(i)) for i in range(world.n)])


@pytest.fixture(scope="module")
def blind(nominal: Nominal) -> Injected:
    return injected(nominal.actions, np.full(N, 10**6), STEPS)


@pytest.fixture(scope="module")
def recovered(nominal: Nominal) -> Injected:
    return injected(nominal.actions, np.random.default_rng(3).integers(4, 90, N), 290)


def by_mode(values: Bools) -> Floats:
    return np.asarray(values.reshape(len(INFO.modes), EACH).mean(axis=1))


def test_no_instruction_names_a_block_and_all_ask_for_the_same() -> None:
    assert not INFO.names_target
    courses = [INFO.course(text) for text in (*TOLD.training, *TOLD.paraphrases)]
    assert all([s.name for s in c.subtasks] == [s.name for s in INFO.subtasks] for c in courses)
    assert not set(TOLD.training) & set(TOLD.paraphrases)


def test_held_out_sentences_are_made_of_words_that_training_knows() -> None:
    seen = {word for text in TOLD.training for word in text.split()}
    fresh = {word for text in TOLD.paraphrases for word in text.split()} - seen
    assert fresh <= {"of", "goes", "please", "it", "belongs"}, fresh


def test_scenes_leave_room_for_the_hand_and_show_either_tray_in_front() -> None:
    task, nearer = SortTwo(), set()
    for seed in range(200):
        scene = task.scene(np.random.default_rng(seed), "all")
        green, orange, blue, purple, barrier = scene.object_pos_in_base
        assert np.linalg.norm((green - orange)[:2]) > 0.12
        assert np.linalg.norm((blue - purple)[:2]) > 2 * BLUE.size_m[0]
        assert min(np.linalg.norm((b - t)[:2]) for b in (green, orange) for t in (blue, purple)) > 0.2
        assert barrier[2] < -0.1
        nearer.add(bool(blue[0] < purple[0]))
    assert nearer == {True, False}


def test_a_block_counts_as_sorted_only_at_rest_on_its_own_tray() -> None:
    course = INFO.course("sort the blocks")
    table = np.array([[0.4, -0.2, 0.02], [0.5, -0.1, 0.02], [0.34, 0.2, 0.0035], [0.55, 0.2, 0.0035], [0.4, 0.9, -0.5]])
    on_blue, on_purple = np.array([0.35, 0.21, 0.027]), np.array([0.54, 0.19, 0.027])

    def progress(green: Floats, orange: Floats) -> int:
        return int(course.progress(np.array([[green, orange, *table[2:]]]))[0])

    assert progress(table[0], table[1]) == 0
    assert progress(on_blue, table[1]) == 1
    assert progress(on_blue, on_purple) == 2
    assert progress(table[0], on_purple) == 0
    assert progress(on_purple, on_blue) == 0
    assert progress(on_blue + np.array([0.0, 0.0, 0.015]), table[1]) == 0
    assert progress(on_blue + np.array([0.06, 0.0, 0.0]), table[1]) == 0


def test_the_expert_sorts_both_blocks_gently(nominal: Nominal) -> None:
    assert nominal.success[-1].all()
    assert np.median(nominal.success.argmax(axis=0)) < 110
    assert (nominal.force < 60).mean() > 0.999


def test_progress_and_score_only_rise(nominal: Nominal) -> None:
    assert (np.diff(nominal.progress, axis=0) >= 0).all()
    assert (nominal.progress[-1] == len(INFO.subtasks)).all()
    assert (np.diff(nominal.scores, axis=0) >= 0).all()
    assert (nominal.scores[0] == 0).all()
    assert (nominal.scores[-1] == 1).all()


def test_success_needs_an_empty_hand_that_has_left_and_blocks_at_rest(nominal: Nominal) -> None:
    task, facts = SortTwo(), nominal.world.facts()
    assert task.success(facts).all()
    pinched = facts.pinched.copy()
    pinched[:, 0] = True
    assert not task.success(replace(facts, pinched=pinched)).any()
    assert not task.success(replace(facts, object_speed=facts.object_speed + 0.1)).any()
    near = replace(facts.state, tcp_pos_in_base=facts.state.object_pos_in_base[:, 1] + np.array([0.0, 0.0, 0.05]))
    assert not task.success(replace(facts, state=near)).any()


def test_every_failure_strikes_in_either_sub_task(recovered: Injected) -> None:
    assert recovered.struck.all()
    for first, second in zip(by_mode(recovered.subtask == 0), by_mode(recovered.subtask == 1), strict=True):
        assert first + second == 1
        assert first > 0
        assert second > 0


def test_who_repeats_what_would_have_worked_fails(blind: Injected) -> None:
    assert (by_mode(blind.success) <= 0.2).all(), by_mode(blind.success)


def test_the_expert_recovers_from_early_and_late_states(recovered: Injected) -> None:
    assert recovered.success.mean() >= 0.97, by_mode(recovered.success)
    assert (by_mode(recovered.success) >= 0.8).all(), by_mode(recovered.success)


def test_a_snapshot_brings_back_the_second_sub_task_and_the_failure_to_come(nominal: Nominal) -> None:
    world = BatchWorld(SortTwo(), 2)
    world.reset(np.arange(2), 500 + np.arange(2))
    for i in range(2):
        world.inject(i, Injection(mode=FailureMode.DROP), seed=7)
    run(world, 55)
    snapshots = [world.snapshot(i) for i in range(2)]
    ends = []
    for _ in range(2):
        run(world, 30)
        ends.append((world.state().object_pos_in_base.copy(), struck(world)))
        world.restore(np.arange(2), snapshots)
    assert (ends[0][0] == ends[1][0]).all()
    assert (ends[0][1] == ends[1][1]).all()
    assert nominal.progress[55, :2].tolist() == world.state().subtask.tolist()


def run(world: BatchWorld, steps: int, expert: PickPlaceExpert = EXPERT) -> None:
    for _ in range(steps):
        world.step(expert.act(world.state()))


class _Cylinders(SortTwo):
    """The same with cylinders instead of cubes."""

    @property
    def info(self) -> TaskInfo:
        things = [replace(o, shape="disc") if o.graspable else o for o in INFO.objects]
        return replace(INFO, objects=tuple(things))


def test_the_expert_sorts_cylinders_too() -> None:
    task = _Cylinders()
    world = BatchWorld(task, 4)
    run(world, 125, PickPlaceExpert(task.info))
    assert world.state().success.all()


def test_the_expert_refuses_a_task_in_which_a_block_belongs_nowhere() -> None:
    with pytest.raises(ConfigError, match="orange cube"):
        PickPlaceExpert(replace(INFO, subtasks=INFO.subtasks[:1]))


def test_expert_actions_are_inside_the_action_space_from_any_state() -> None:
    world = BatchWorld(SortTwo(), 8)
    rng = np.random.default_rng(0)
    for _ in range(40):
        actions = EXPERT.act(world.state())
        assert (actions == EE_DELTA.clip(actions)).all()
        world.step(EE_DELTA.denormalise(rng.uniform(-1, 1, (8, EE_DELTA.size))))


def test_the_task_is_found_by_name() -> None:
    entry = find_task("sort_two")
    assert entry.info is INFO
    assert entry.make().info is INFO
    assert isinstance(entry.expert(), PickPlaceExpert)
    names: Sequence[str] = [s.roles.goal for s in entry.info.subtasks]
    assert names == [BLUE.name, PURPLE.name]
