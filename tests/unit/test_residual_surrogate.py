"""The state-input base: learns demonstrations, acts on what it is told, keeps its belief in training."""

from dataclasses import replace

import numpy as np
import pytest

from core.demonstrations import Demonstrations, proprio
from core.errors import ConfigError
from core.robots import EE_DELTA
from residual.driver import BaseDriver
from residual.features import body_of_state, tracked_of_state
from residual.surrogate import Surrogate
from residual.surrogate_train import SurrogateConfig, chunked, role_positions, train_surrogate
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import INFO, FruitOnPlate
from sim.world import BatchWorld

N, STEPS = 12, 45


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
        images=np.zeros((N * STEPS, 0, 1, 1, 3), dtype=np.uint8), cameras=(), proprio=flat[0], actions=flat[1],
        episode=np.repeat(np.arange(N), STEPS), instructions=tuple(world.instruction(i) for i in range(N)),
        object_names=world.state().object_names, objects_in_base=flat[2], target_index=world.state().roles[:, 0],
    )  # fmt: skip


@pytest.fixture(scope="module")
def surrogate(demos: Demonstrations) -> Surrogate:
    return train_surrogate(demos, INFO.roles, SurrogateConfig(hidden=(64, 64), epochs=60, chunk=4))


def test_chunks_end_with_their_episode(demos: Demonstrations) -> None:
    chunks = chunked(demos, 4)
    assert (chunks[10, 3] == demos.actions[13]).all()
    assert (chunks[STEPS - 2, 1:] == demos.actions[STEPS - 1]).all()


def test_role_positions_follow_the_instruction(demos: Demonstrations) -> None:
    positions = role_positions(demos, INFO.roles)
    rows = np.arange(len(demos.episode))
    assert (positions[:, 0] == demos.objects_in_base[rows, demos.target_index[demos.episode]]).all()
    nameless = replace(demos, object_names=("apple", "lemon", "dish", "block"))
    with pytest.raises(ConfigError, match="needs 'plate'"):
        role_positions(nameless, INFO.roles)


def test_it_learns_its_demonstrations_and_the_same_seed_gives_the_same_weights(
    demos: Demonstrations, surrogate: Surrogate
) -> None:
    losses: list[float] = []
    config = SurrogateConfig(hidden=(64, 64), epochs=60, chunk=4)
    again = train_surrogate(demos, INFO.roles, config, lambda _, loss: losses.append(loss))
    assert again.policy_id == surrogate.policy_id
    assert losses[-1] < 0.4 * losses[0]


def test_it_heads_for_where_it_is_told_the_target_is(surrogate: Surrogate) -> None:
    world = BatchWorld(FruitOnPlate(), N)
    world.reset(np.arange(N), np.arange(N) + 500)
    state = world.state()
    places = tracked_of_state(state).pos_in_base
    other = places.copy()
    other[:, 0] = places[:, 1]
    first = surrogate.plan(body_of_state(state), places)
    wrong = surrogate.plan(body_of_state(state), other)
    assert first.shape == (N, 4, EE_DELTA.size)
    towards = (first - wrong)[:, :, :2].sum(axis=1) * (places[:, 0] - places[:, 1])[:, :2]
    assert (towards.sum(axis=1) > 0).mean() > 0.7


def test_actions_stay_inside_the_action_space(surrogate: Surrogate) -> None:
    state = BatchWorld(FruitOnPlate(), 2).state()
    values = surrogate.plan(body_of_state(state), np.full((2, 4, 3), 9.0))
    assert ((values >= EE_DELTA.low - 1e-9) & (values <= EE_DELTA.high + 1e-9)).all()


def test_a_base_that_closes_its_hand_believes_that_it_carries_the_target(surrogate: Surrogate) -> None:
    world, ids = BatchWorld(FruitOnPlate(), 1), np.arange(1)
    state = world.state()
    driver, truth = BaseDriver(surrogate, 1, 4), tracked_of_state(state)
    body = body_of_state(state)
    driver.belief[0] = truth.pos_in_base[0]
    driver.belief[0, 0] = body.tcp_pos_in_base[0] + [0.01, 0.0, 0.0]
    driver.act(ids, body, truth)
    assert driver.belief[0, 0] == pytest.approx(body.tcp_pos_in_base[0] + [0.01, 0, 0])
    row = body.proprio.copy()
    row[:, 7] = 0.0
    closed = replace(body, proprio=row)
    driver.act(ids, closed, truth)
    lifted = replace(closed, tcp_pos_in_base=closed.tcp_pos_in_base + np.array([0.0, 0.1, 0.05]))
    driver.act(ids, lifted, truth)
    assert driver.belief[0, 0] == pytest.approx(lifted.tcp_pos_in_base[0] + [0.01, 0, 0])
    driver.act(ids, body, truth)
    assert driver.belief[0, 0, 2] == pytest.approx(0.03)
