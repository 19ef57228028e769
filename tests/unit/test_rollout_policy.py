"""Many worlds driven by one blocking policy."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from core.errors import ContractError
from core.failures import FailureMode
from core.flow import ActionChunk, Observation
from core.robots import EE_DELTA
from core.worlds import DomainParams, Injection
from regrasp.rollout_policy import RolloutConfig, rollout
from sim.cameras import CellCameras
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld


class Rising:
    """Moves straight up and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[list[Observation]] = []
        self.resets = 0

    def infer_batch(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        self.shown.append(list(observations))
        values = np.tile(EE_DELTA.still(0.5), (8, 1))
        values[:, 2] = 0.002
        return [ActionChunk(obs_t_ns=o.t_ns, values=values, dt_s=0.05, policy_id="up@0") for o in observations]

    def reset(self) -> None:
        self.resets += 1


class Cheating:
    """The expert, read from the world: its chunks repeat one action."""

    def __init__(self, world: BatchWorld) -> None:
        self._world, self._expert = world, FruitExpert()

    def infer_batch(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        actions = self._expert.act(self._world.state())
        by_place = {tuple(p): a for p, a in zip(self._world.state().tcp_pos_in_base, actions, strict=True)}
        return [
            ActionChunk(
                obs_t_ns=o.t_ns, values=by_place[tuple(o.tcp_pos_in_base)][None], dt_s=0.05, policy_id="cheat@0"
            )
            for o in observations
        ]

    def reset(self) -> None:
        pass


@pytest.fixture(scope="module")
def world() -> BatchWorld:
    return BatchWorld(FruitOnPlate(), 3)


@pytest.fixture(scope="module")
def cameras(world) -> Iterator[CellCameras]:
    with CellCameras(world, size_px=16) as opened:
        yield opened


def test_a_policy_that_does_the_task_succeeds_in_every_round(world, cameras):
    done = rollout(
        world, cameras, Cheating(world), np.arange(40, 44), config=RolloutConfig(replan_ticks=1, blend_steps=0)
    )
    assert done.success.all()
    assert done.seeds.tolist() == [40, 41, 42, 43]
    assert (done.q_score == 1.0).all()
    assert (done.ticks < 120).all()
    assert len(done.instructions) == 4
    assert np.isnan(done.injected_s).all()


def test_one_that_does_not_fails_at_the_last_tick(world, cameras):
    policy = Rising()
    done = rollout(world, cameras, policy, np.arange(5), config=RolloutConfig(most_ticks=9, replan_ticks=4))
    assert not done.success.any()
    assert (done.ticks == 9).all()
    assert policy.resets == 2
    assert [len(rows) for rows in policy.shown] == [3, 3, 3, 2, 2, 2]
    assert all(set(o.images) == {"front", "wrist"} for rows in policy.shown for o in rows)
    assert {o.t_ns for o in policy.shown[1]} == {200_000_000}


def test_watching_sees_every_tick_and_its_chunks(world, cameras):
    ticks = []
    rollout(world, cameras, Rising(), np.arange(2), config=RolloutConfig(most_ticks=6), watch=ticks.append)
    assert [t.index for t in ticks] == list(range(6))
    assert [bool(t.asked[0]) for t in ticks] == [True, False, False, False, True, False]
    assert ticks[0].episodes.tolist() == [0, 1, -1]
    assert ticks[0].running.tolist() == [True, True, False]
    assert ticks[5].chunks[0].obs_t_ns == 200_000_000
    assert ticks[1].observations[0].images == {}
    assert np.allclose(ticks[3].actions[:2, 2], 0.002)
    assert np.allclose(ticks[3].actions[2, :6], 0.0)
    rise = ticks[5].state.tcp_pos_in_base[0, 2] - ticks[0].state.tcp_pos_in_base[0, 2]
    assert 0.004 < rise < 0.012


def test_a_late_chunk_leaves_the_arm_holding_first(world, cameras):
    ticks = []
    config = RolloutConfig(most_ticks=4, latency_ticks=2)
    rollout(world, cameras, Rising(), np.arange(1), config=config, watch=ticks.append)
    assert [float(t.actions[0, 2]) for t in ticks] == pytest.approx([0.0, 0.0, 0.002, 0.002])
    assert ticks[1].chunks[0] is None


def test_pictures_can_be_had_at_every_tick(world, cameras):
    ticks = []
    config = RolloutConfig(most_ticks=3, every_image=True)
    rollout(world, cameras, Rising(), np.arange(1), config=config, watch=ticks.append)
    assert all(set(t.observations[0].images) == {"front", "wrist"} for t in ticks)


def test_injections_strike_in_the_worlds_they_are_meant_for(world, cameras):
    injections = [None, Injection(mode=FailureMode.DROP)]
    config = RolloutConfig(replan_ticks=1, blend_steps=0, most_ticks=60)
    done = rollout(world, cameras, Cheating(world), np.arange(2), config=config, injections=injections)
    assert np.isnan(done.injected_s[0])
    assert done.injected_s[1] > 0
    with pytest.raises(ContractError, match="1 injections for 2 seeds"):
        rollout(world, cameras, Rising(), np.arange(2), injections=injections[:1])


def test_every_episode_gets_its_own_domain(world, cameras):
    heights = np.array([0.0, 0.004, 0.0, 0.004])
    domain = replace(DomainParams.nominal(4), table_height_m=heights)
    plates = {}

    def note(tick):
        for i in np.flatnonzero(tick.running):
            plates[int(tick.episodes[i])] = float(tick.state.of("goal")[i, 2])

    rollout(world, cameras, Rising(), np.arange(4), config=RolloutConfig(most_ticks=1), domain=domain, watch=note)
    assert [round(plates[e] - plates[0], 6) for e in range(4)] == heights.tolist()
