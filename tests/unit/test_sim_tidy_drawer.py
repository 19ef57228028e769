"""The drawer task: its words, scenes, furniture, predicates, failures and demonstrator."""

from dataclasses import replace

import numpy as np
import pytest

from core.arrays import Bools, Floats
from core.failures import FailureMode
from core.robots import EE_DELTA
from core.worlds import Injection, WorldState
from regrasp.task_registry import find_task
from sim.task import Scene, Wording
from sim.tasks.drawer_expert import DrawerExpert
from sim.tasks.drawer_parts import (
    CATCH_IN_CABINET_M,
    CAUGHT_M,
    DRAWER_IN_CABINET_M,
    HANDLE_IN_CABINET_M,
    HANDLE_IN_DRAWER_M,
    RANGE_M,
    inside,
    open_m,
)
from sim.tasks.tidy_drawer import APART_M, ASIDE_M, INFO, TOLD, TidyDrawer, named_thing
from sim.world import BatchWorld

EXPERT = DrawerExpert()
BALL, LIME, CABINET, DRAWER, HANDLE, CATCH = range(6)


def out(state: WorldState) -> Floats:
    return open_m(state.object_pos_in_base[:, HANDLE], state.object_pos_in_base[:, CABINET])


def struck(world: BatchWorld) -> Bools:
    return np.array([not np.isnan(world.injected_at(i)) for i in range(world.n)])


class Set(TidyDrawer):
    """The task with its first scene changed by hand: named and other thing in the drawer, or where they were."""

    def __init__(self, *, named: Floats | None = None, other: Floats | None = None, out_m: float = 0.0) -> None:
        super().__init__()
        self._spots, self._out_m = (named, other), out_m

    def scene(self, rng: np.random.Generator, wording: Wording) -> Scene:
        scene = super().scene(rng, wording)
        pos, cabinet = scene.object_pos_in_base.copy(), scene.object_pos_in_base[CABINET]
        slid = np.array([self._out_m, 0.0, 0.0])
        pos[DRAWER], pos[HANDLE] = cabinet + DRAWER_IN_CABINET_M - slid, cabinet + HANDLE_IN_CABINET_M - slid
        order = (BALL, LIME) if INFO.named(scene.instruction) == "ball" else (LIME, BALL)
        for thing, spot in zip(order, self._spots, strict=True):
            pos[thing] = pos[thing] if spot is None else pos[DRAWER] + spot
        return replace(scene, object_pos_in_base=pos)


class Dream:
    """What somebody believes who notices no failure: everything goes as it was meant to."""

    def __init__(self, n: int) -> None:
        self.pos, self.grip = np.zeros((n, 6, 3)), np.zeros((n, 3))
        self.held, self.on = np.full(n, -1), np.zeros(n, dtype=bool)

    def state(self, world: BatchWorld) -> WorldState:
        """Returns the state with believed positions and fingers where a failure has struck."""
        state, hit = world.state(), struck(world)
        for i in np.flatnonzero(hit & ~self.on):
            self.pos[i] = world.before_injection(int(i))
        self.on = hit
        for i in np.flatnonzero(hit):
            self._go_on(int(i), state.tcp_pos_in_base[i], bool(state.gripper_command[i] < 0.5))
        closed = hit & (state.gripper_command < 0.5) & (state.gripper_opening < 0.7)
        width = np.select([self.held == HANDLE, self.held >= 0], [0.26, 0.42], state.gripper_opening)
        return replace(
            state,
            object_pos_in_base=np.where(hit[:, None, None], self.pos, state.object_pos_in_base),
            gripper_opening=np.where(closed, width, state.gripper_opening),
        )

    def _go_on(self, i: int, tcp: Floats, closed: bool) -> None:
        pos = self.pos[i]
        before = pos[HANDLE, 0]
        near = {k: float(np.linalg.norm(pos[k] - tcp)) for k in (BALL, LIME, HANDLE)}
        nearest = min(near, key=near.__getitem__)
        if closed and self.held[i] < 0 and near[nearest] < 0.035:
            self.held[i], self.grip[i] = nearest, np.clip(pos[nearest] - tcp, -0.006, 0.006)
        held = int(self.held[i])
        if not closed and held in (BALL, LIME):
            pos[held, 2] = 0.027 if (np.abs(pos[held] - pos[DRAWER])[:2] < 0.05).all() else 0.019
        self.held[i] = held if closed else -1
        pushing = tcp[2] < 0.09 and tcp[0] < before and abs(tcp[1] - pos[HANDLE, 1]) < 0.02
        if closed and held == HANDLE:
            pos[HANDLE, 0] = tcp[0] + self.grip[i, 0]
        elif closed and held >= 0:
            pos[held] = tcp + self.grip[i]
        elif closed and pushing:
            pos[HANDLE, 0] = max(before, tcp[0] + 0.018)
        shut = pos[CABINET, 0] + HANDLE_IN_CABINET_M[0]
        pos[HANDLE, 0] = np.clip(pos[HANDLE, 0], shut - RANGE_M, shut)
        for k in (BALL, LIME):
            if k != self.held[i] and inside(pos[None, k], pos[None, DRAWER])[0]:
                pos[k, 0] += pos[HANDLE, 0] - before
        pos[DRAWER, 0] += pos[HANDLE, 0] - before


@pytest.fixture(scope="module")
def nominal() -> tuple[BatchWorld, list[WorldState]]:
    """16 episodes driven by the expert: the world at the end, and the state at every step."""
    world, states = BatchWorld(TidyDrawer(), 16), []
    world.reset(np.arange(16), 300 + np.arange(16))
    for _ in range(112):
        states.append(world.state())
        world.step(EXPERT.act(states[-1]))
    return world, states


@pytest.fixture(scope="module")
def recovery() -> tuple[BatchWorld, Bools]:
    """4 episodes of each mode: blind for a random 0.2 to 4.5 s, then the expert; whether it ever succeeded."""
    n = 4 * len(INFO.modes)
    world, dream, since, success = armed(n), Dream(n), np.zeros(n, dtype=int), np.zeros(n, dtype=bool)
    delay = np.random.default_rng(1).integers(4, 91, n)
    for _ in range(300):
        believed, true = dream.state(world), world.state()
        success |= true.success
        since += struck(world)
        sees = (since > delay) | (since == 0)
        if success.all():
            break
        world.step(np.where(sees[:, None], EXPERT.act(true), EXPERT.act(believed)))
    return world, success


def armed(n: int) -> BatchWorld:
    """Returns worlds in which every mode is armed in turn."""
    world = BatchWorld(TidyDrawer(), n)
    world.reset(np.arange(n), 700 + np.arange(n))
    for i in range(n):
        world.inject(i, Injection(mode=INFO.modes[i % len(INFO.modes)]), seed=i)
    return world


def test_every_instruction_names_the_thing_and_three_sub_tasks() -> None:
    for text in TOLD.training + TOLD.paraphrases:
        course = INFO.course(text)
        assert [s.roles.target for s in course.subtasks] in (["handle", k, "handle"] for k in ("ball", "lime")), text
        assert len({s.roles.distractor for s in course.subtasks}) == 1


def test_held_out_words_are_new_orders_of_known_words() -> None:
    assert not set(TOLD.training) & set(TOLD.paraphrases)
    seen = {word.strip(",") for text in TOLD.training for word in text.split()}
    fresh = {word.strip(",") for text in TOLD.paraphrases for word in text.split()} - seen
    assert fresh <= {"one", "please"}, fresh


def test_scenes_leave_room_for_the_hand_and_start_shut() -> None:
    task, targets = TidyDrawer(), set()
    for seed in range(200):
        scene = task.scene(np.random.default_rng(seed), "all")
        pos = scene.object_pos_in_base
        assert np.linalg.norm((pos[BALL] - pos[LIME])[:2]) > APART_M
        assert (pos[CABINET, 1] - pos[:2, 1] > ASIDE_M).all()
        assert 0.0 <= open_m(pos[None, HANDLE], pos[None, CABINET])[0] < 0.016
        assert pos[CATCH, 2] < -0.1
        targets.add(INFO.named(scene.instruction))
    assert targets == {"ball", "lime"}


def test_the_expert_tidies_up_in_about_ninety_steps(nominal: tuple[BatchWorld, list[WorldState]]) -> None:
    done = np.array([s.success for s in nominal[1]])
    assert done[-1].all()
    assert np.median(done.argmax(axis=0)) < 110
    assert not nominal[0].state().physics_reset.any()


def test_course_and_score_only_rise(nominal: tuple[BatchWorld, list[WorldState]]) -> None:
    progress = np.array([s.subtask for s in nominal[1]])
    assert (np.diff(progress, axis=0) >= 0).all()
    assert (progress[0] == 0).all()
    assert (progress[-1] == len(INFO.subtasks)).all()
    scores = np.array([s.q_score for s in nominal[1]])
    assert (np.diff(scores, axis=0) >= 0).all()
    assert (scores[0] == 0).all()
    assert (scores[-1] == 1).all()


def test_the_hand_is_gentle(nominal: tuple[BatchWorld, list[WorldState]]) -> None:
    forces = np.array([s.contact_force_n for s in nominal[1]])
    assert np.percentile(forces, 99.9) < 60.0


def test_the_handle_goes_with_the_drawer(nominal: tuple[BatchWorld, list[WorldState]]) -> None:
    for state in nominal[1][::10]:
        offset = state.object_pos_in_base[:, HANDLE] - state.object_pos_in_base[:, DRAWER]
        assert offset == pytest.approx(np.tile(HANDLE_IN_DRAWER_M, (16, 1)))
    assert max(float(out(s).max()) for s in nominal[1]) < RANGE_M + 0.003


def test_actions_are_inside_the_action_space_from_any_state() -> None:
    world, rng = BatchWorld(TidyDrawer(), 8), np.random.default_rng(0)
    for _ in range(40):
        actions = EXPERT.act(world.state())
        assert (actions == EE_DELTA.clip(actions)).all()
        world.step(EE_DELTA.denormalise(rng.uniform(-1, 1, (8, 7))))


IN, AWAY, ROOF = np.array([0.0, 0.0, 0.004]), np.array([0.03, 0.0, 0.004]), np.array([0.02, 0.0, 0.05])


@pytest.mark.parametrize(
    ("task", "progress", "success"),
    [
        (Set(named=IN), 3, True),
        (Set(named=IN, other=AWAY), 3, False),
        (Set(other=IN), 0, False),
        (Set(named=IN, out_m=0.03), 2, False),
        (Set(named=IN, out_m=0.11), 2, False),
        (Set(out_m=0.11), 1, False),
        (Set(named=ROOF), 0, False),
    ],
    ids=["tidy", "both in", "other in", "ajar", "open", "empty", "on the roof"],
)
def test_hand_made_states_are_judged_rightly(task: Set, progress: int, success: bool) -> None:
    state = BatchWorld(task, 4).state()
    assert (state.subtask == progress).all()
    assert (state.success == success).all()


def test_a_hand_at_the_handle_has_not_retreated(nominal: tuple[BatchWorld, list[WorldState]]) -> None:
    for state in nominal[1]:
        near = np.linalg.norm(state.tcp_pos_in_base - state.object_pos_in_base[:, HANDLE], axis=1) < 0.05
        assert not (state.success & near).any()


@pytest.mark.parametrize(
    "task",
    [Set(other=np.array([0.02, 0.03, 0.03]), out_m=0.12), Set(named=AWAY, other=-AWAY * [1, 1, -1]), Set(named=ROOF)],
    ids=["other in the open drawer", "both in the shut drawer", "on the roof"],
)
def test_the_expert_makes_good_what_lies_wrong(task: Set) -> None:
    world, done = BatchWorld(task, 4), np.zeros(4, dtype=bool)
    for _ in range(170):
        done |= world.state().success
        world.step(EXPERT.act(world.state()))
    assert done.all()


def test_every_failure_strikes_and_the_expert_recovers(recovery: tuple[BatchWorld, Bools]) -> None:
    world, success = recovery
    assert struck(world).mean() >= 0.95
    assert success.mean() >= 0.95, [INFO.modes[i % len(INFO.modes)] for i in np.flatnonzero(~success)]
    assert not world.state().physics_reset.any()


def test_who_does_not_look_believes_all_is_done_and_fails() -> None:
    n = 2 * len(INFO.modes)
    world, dream, success = armed(n), Dream(n), np.zeros(n, dtype=bool)
    for _ in range(140):
        world.step(EXPERT.act(dream.state(world)))
        success |= world.state().success
    assert success.mean() <= 0.2
    rows = np.arange(n)
    thing = dream.pos[rows, named_thing(world.state().roles)]
    believed = inside(thing, dream.pos[:, DRAWER]) & (open_m(dream.pos[:, HANDLE], dream.pos[:, CABINET]) < 0.015)
    assert believed.mean() >= 0.8


def test_the_drawer_slides_back_and_the_catch_stops_it() -> None:
    world, widest = BatchWorld(TidyDrawer(), 2), np.zeros(2)
    world.reset(np.arange(2), np.array([5, 6]))
    for i, mode in enumerate((FailureMode.SLIP, FailureMode.JAM)):
        world.inject(i, Injection(mode=mode), seed=i)
    for _ in range(26):
        blind = world.state().object_pos_in_base.copy()
        blind[:, CATCH, 2] = -0.5
        world.step(EXPERT.act(replace(world.state(), object_pos_in_base=blind)))
        widest = np.maximum(widest, out(world.state()))
    state = world.state()
    assert struck(world).all()
    assert out(state)[0] < 0.03
    assert widest[1] < CAUGHT_M + 0.004
    assert state.object_pos_in_base[1, CATCH] == pytest.approx(
        state.object_pos_in_base[1, CABINET] + CATCH_IN_CABINET_M
    )


def test_a_world_is_put_back_bit_for_bit_with_drawer_catch_and_failure() -> None:
    world, other = BatchWorld(TidyDrawer(), 1), BatchWorld(TidyDrawer(), 1)
    world.reset(np.array([0]), np.array([11]))
    world.inject(0, Injection(mode=FailureMode.JAM), seed=5)
    for _ in range(20):
        world.step(EXPERT.act(world.state()))
    other.restore(np.array([0]), [world.snapshot(0)])
    for _ in range(25):
        world.step(EXPERT.act(world.state()))
        other.step(EXPERT.act(other.state()))
    assert (world.state().object_pos_in_base == other.state().object_pos_in_base).all()
    assert (world.state().joint_pos == other.state().joint_pos).all()
    assert world.injected_at(0) == other.injected_at(0)


def test_the_registry_knows_the_task() -> None:
    entry = find_task("tidy_drawer")
    assert entry.info is INFO
    assert isinstance(entry.make(), TidyDrawer)
    assert isinstance(entry.expert(), DrawerExpert)
