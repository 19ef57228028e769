"""The state-input base: learns demonstrations, acts on what it is told, keeps its belief in training."""

from dataclasses import replace

import numpy as np
import pytest

from core.demonstrations import Demonstrations, proprio
from core.errors import ConfigError
from core.failures import FailureMode
from core.robots import EE_DELTA
from core.scene import SceneState, TrackedObject
from core.worlds import FailureState
from residual.agenda import Agenda
from residual.driver import BaseDriver
from residual.features import Body, Tracked, body_of_state, tracked_by_role
from residual.surrogate import Surrogate
from residual.surrogate_train import SurrogateConfig, chunked, tracked_rows, train_surrogate
from residual.surrogate_trial import nominal_rate
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import INFO, FruitOnPlate
from sim.tasks.sort_two import INFO as SORT_TWO
from sim.tasks.sort_two import SortTwo
from sim.tasks.tidy_drawer import TidyDrawer
from sim.world import BatchWorld

N, STEPS = 12, 45
CONFIG = SurrogateConfig(hidden=(64, 64), epochs=60, chunk=4, batch=256)


@pytest.fixture(scope="module")
def demos() -> Demonstrations:
    """The first steps of 12 expert episodes."""
    world, expert = BatchWorld(FruitOnPlate(), N), FruitExpert()
    world.reset(np.arange(N), np.arange(N))
    rows = []
    for _ in range(STEPS):
        s = world.state()
        rows.append((proprio(s.tcp_pos_in_base, s.tcp_quat_xyzw_in_base, s.gripper_opening, s.gripper_command),
                     expert.act(s), s.object_pos_in_base))  # fmt: skip
        world.step(rows[-1][1])
    flat = [np.stack(part, axis=1).reshape(N * STEPS, *part[0].shape[1:]) for part in zip(*rows, strict=True)]
    return Demonstrations(
        images=np.zeros((0, 0), dtype=np.uint8), pictured=np.zeros(0, dtype=np.int64), cameras=(), proprio=flat[0],
        actions=flat[1], episode=np.repeat(np.arange(N), STEPS), object_names=world.state().object_names,
        instructions=tuple(world.instruction(i) for i in range(N)), objects_in_base=flat[2],
    )  # fmt: skip


@pytest.fixture(scope="module")
def surrogate(demos: Demonstrations) -> Surrogate:
    return train_surrogate(demos, INFO.course, CONFIG)


def told(world: BatchWorld) -> Agenda:
    ids, agenda = np.arange(world.n), Agenda(world.task.info.course, world.n)
    agenda.tell(ids, [world.instruction(int(i)) for i in ids])
    return agenda


def truth(world: BatchWorld) -> Tracked:
    pos = world.state().object_pos_in_base
    return tracked_by_role(pos, told(world).due(np.arange(world.n), pos))


def test_chunks_end_with_their_episode(demos: Demonstrations) -> None:
    chunks = chunked(demos, 4)
    assert (chunks[10, 3] == demos.actions[13]).all()
    assert (chunks[STEPS - 2, 1:] == demos.actions[STEPS - 1]).all()


def test_who_is_who_in_a_row_follows_instruction_and_progress(demos: Demonstrations) -> None:
    rows = tracked_rows(demos, INFO.course)
    for e in (0, 5, N - 1):
        target = demos.object_names.index(INFO.course(demos.instructions[e]).subtasks[0].roles.target)
        at = demos.episode == e
        assert (rows.pos_in_base[at, 0] == demos.objects_in_base[at, target]).all()
    nameless = replace(demos, object_names=("apple", "lemon", "dish", "block"))
    with pytest.raises(ConfigError, match="'plate'"):
        tracked_rows(nameless, INFO.course)


def test_it_learns_its_demonstrations_and_the_same_seed_gives_the_same_weights(
    demos: Demonstrations, surrogate: Surrogate
) -> None:
    losses: list[float] = []
    again = train_surrogate(demos, INFO.course, CONFIG, lambda _, loss: losses.append(loss))
    assert again.policy_id == surrogate.policy_id
    assert losses[-1] < 0.4 * losses[0]


def test_it_heads_for_where_it_is_told_the_target_is(surrogate: Surrogate) -> None:
    world = BatchWorld(FruitOnPlate(), N)
    world.reset(np.arange(N), np.arange(N) + 500)
    state, right = world.state(), truth(world)
    swapped = right.pos_in_base.copy()
    swapped[:, 0] = right.pos_in_base[:, 1]
    first = surrogate.plan(body_of_state(state), right)
    wrong = surrogate.plan(body_of_state(state), replace(right, pos_in_base=swapped))
    assert first.shape == (N, 4, EE_DELTA.size)
    towards = (first - wrong)[:, :, :2].sum(axis=1) * (right.pos_in_base[:, 0] - right.pos_in_base[:, 1])[:, :2]
    assert (towards.sum(axis=1) > 0).mean() > 0.7


def test_actions_stay_inside_the_action_space(surrogate: Surrogate) -> None:
    world = BatchWorld(FruitOnPlate(), 2)
    far = replace(truth(world), pos_in_base=np.full((2, 4, 3), 9.0))
    values = surrogate.plan(body_of_state(world.state()), far)
    assert ((values >= EE_DELTA.low - 1e-9) & (values <= EE_DELTA.high + 1e-9)).all()


def test_a_base_that_never_moves_does_no_task(surrogate: Surrogate) -> None:
    network = surrogate.network
    dead = replace(network, weights=tuple(np.zeros_like(w) for w in network.weights))
    rate = nominal_rate(
        replace(surrogate, network=dead), BatchWorld(FruitOnPlate(), 3), INFO.course, seed=0, steps=10
    )  # fmt: skip
    assert (rate.k, rate.n) == (0, 3)


def failure(world: BatchWorld) -> FailureState:
    state = world.state()
    things = zip(state.object_names, state.object_pos_in_base[0], strict=True)
    objects = {n: TrackedObject(pos_in_base=p, t_ns=0, confidence=1.0) for n, p in things if p[2] > -0.1}
    return FailureState(
        snapshot=world.snapshot(0), mode=FailureMode.DROP, seed=0, age_s=0.1, queue=None,
        belief=SceneState(t_ns=0, objects=objects, source="truth"),
    )  # fmt: skip


def driver_of(world: BatchWorld, surrogate: Surrogate) -> BaseDriver:
    pos = world.state().object_pos_in_base
    driver = BaseDriver(surrogate, told(world), n=1, objects=pos.shape[1], replan_steps=4)
    driver.start(np.arange(1), [failure(world)], world.state().object_names, pos, np.array([False]))
    return driver


def at(tcp: np.ndarray, command: float) -> Body:
    down = np.array([[1.0, 0, 0, 0]])
    return Body(
        tcp_pos_in_base=tcp[None], proprio=proprio(tcp[None], down, np.array([command]), np.array([command]))
    )  # fmt: skip


def test_a_base_that_closes_its_hand_believes_that_it_carries_the_target(surrogate: Surrogate) -> None:
    world, ids, up = BatchWorld(FruitOnPlate(), 1), np.arange(1), np.array([0.0, 0.1, 0.05])
    pos, target = world.state().object_pos_in_base, int(world.state().roles[0, 0])
    driver, start = driver_of(world, surrogate), pos[0, target]
    tcp = start - np.array([0.01, 0.0, 0.0])
    for body in (at(tcp, 1.0), at(tcp, 0.0)):
        driver.act(ids, body, pos)
        assert driver.belief[0, target] == pytest.approx(start)
    driver.act(ids, at(tcp + up, 0.0), pos)
    assert driver.belief[0, target] == pytest.approx(start + up)
    driver.act(ids, at(tcp + up, 1.0), pos)
    assert driver.belief[0, target] == pytest.approx([*(start + up)[:2], start[2]])


def test_a_base_that_thinks_a_thing_is_home_goes_on_with_the_next(surrogate: Surrogate) -> None:
    world, ids = BatchWorld(SortTwo(), 1), np.arange(1)
    pos, roles = world.state().object_pos_in_base, world.state().roles[0]
    driver, agenda = driver_of(world, surrogate), told(world)
    first, goal = int(roles[0]), int(roles[2])
    home = pos[0, goal] + np.array([0.0, 0.0, 0.03])
    driver.act(ids, at(pos[0, first], 1.0), pos)
    driver.act(ids, at(pos[0, first], 0.0), pos)
    assert agenda.due(ids, driver.belief).progress.tolist() == [0]
    driver.act(ids, at(home, 0.0), pos)
    driver.act(ids, at(home, 1.0), pos)
    assert agenda.due(ids, driver.belief).progress.tolist() == [1]
    assert SORT_TWO.course(world.instruction(0)).progress(pos).tolist() == [0]


def test_a_base_sees_what_slides_and_what_is_gone(surrogate: Surrogate) -> None:
    world, ids = BatchWorld(TidyDrawer(), 1), np.arange(1)
    pos = world.state().object_pos_in_base.copy()
    driver, names = driver_of(world, surrogate), world.state().object_names
    handle, ball = names.index("handle"), names.index("ball")
    pos[0, handle] += [-0.1, 0.0, 0.0]
    pos[0, ball] += [0.1, 0.0, 0.0]
    before = driver.belief[0, ball].copy()
    driver.act(ids, at(np.array([0.4, 0.0, 0.3]), 1.0), pos)
    assert (driver.belief[0, handle] == pos[0, handle]).all()
    assert (driver.belief[0, ball] == before).all()
    pos[0, ball, 2] = -0.5
    driver.act(ids, at(np.array([0.4, 0.0, 0.3]), 1.0), pos)
    assert (driver.belief[0, ball] == pos[0, ball]).all()
