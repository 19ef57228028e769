"""Failure states are caught where and when the frozen policy fails, and not where it has got over it."""

from collections.abc import Sequence

import numpy as np
import pytest

from core.failures import FailureMode
from core.flow import ActionChunk, Observation
from core.worlds import FailureState
from regrasp.capture import AGES_S, capture_bank
from sim.cameras import CellCameras
from sim.tasks.pick_place import PickPlaceExpert
from sim.tasks.sort_two import INFO, SortTwo
from sim.world import BatchWorld

N = 3
SEEN = np.array([1.0, 2.0, 3.0])


class Slow:
    """The expert at less than half its pace, so that a chunk may repeat one action; it gets over most failures."""

    def __init__(self, world: BatchWorld) -> None:
        self._world, self._expert = world, PickPlaceExpert(INFO)

    def infer_batch(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        actions = self._expert.act(self._world.state())
        actions[:, :6] *= 0.4
        places = [tuple(p) for p in self._world.state().tcp_pos_in_base]
        chosen = [actions[places.index(tuple(o.tcp_pos_in_base))] for o in observations]
        return [
            ActionChunk(obs_t_ns=o.t_ns, values=np.tile(a, (6, 1)), dt_s=0.05, policy_id="slow@0", features=SEEN)
            for o, a in zip(observations, chosen, strict=True)
        ]

    def reset(self) -> None:
        pass


@pytest.fixture(scope="module")
def world() -> BatchWorld:
    return BatchWorld(SortTwo(), N)


@pytest.fixture(scope="module")
def states(world: BatchWorld) -> tuple[FailureState, ...]:
    with CellCameras(world, size_px=16) as cameras:
        return capture_bank(world, cameras, Slow(world), modes=[FailureMode.DROP], episodes=N, seed=70).states


def test_every_failure_is_caught_early_and_again_later(states: tuple[FailureState, ...]) -> None:
    ages = {s.seed: [t.age_s for t in states if t.seed == s.seed] for s in states}
    assert len(ages) >= 2
    for rising in ages.values():
        assert rising == sorted(rising)
        assert rising[0] < AGES_S[0] + 0.1
        assert len(rising) <= len(AGES_S)


def test_a_state_knows_what_failed_and_what_the_policy_saw(world: BatchWorld, states: tuple[FailureState, ...]) -> None:
    for state in states:
        world.restore(np.array([0]), [state.snapshot])
        assert world.state().subtask[0] == state.subtask < len(INFO.subtasks)
        assert (state.policy_features == SEEN).all()
        assert world.roles(0) == state.snapshot.roles
    assert all(len({t.subtask for t in states if t.seed == s.seed}) == 1 for s in states)


def test_the_base_still_thinks_that_the_dropped_thing_is_where_it_was(
    world: BatchWorld, states: tuple[FailureState, ...]
) -> None:
    last = max(states, key=lambda s: s.age_s)
    world.restore(np.array([0]), [last.snapshot])
    names, pos = world.state().object_names, world.state().object_pos_in_base[0]
    roles = last.snapshot.roles
    for name in names:
        believed = last.belief.position(name)
        if believed is not None and name not in map(roles.of, ("target", "distractor", "goal", "obstacle")):
            assert (believed == pos[names.index(name)]).all()
    believed = last.belief.position(roles.target)
    assert believed is not None
    assert np.linalg.norm(believed - pos[names.index(roles.target)]) > 0.02
