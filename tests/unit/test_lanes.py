"""Several arms side by side: each lives as it would alone, and its labels end when its failure is mended."""

from collections.abc import Generator, Sequence

import numpy as np
import pytest

from core.arrays import Floats
from core.failures import FailureMode
from core.flow import ActionChunk, Observation
from core.probe import NOMINAL
from regrasp.lanes import Lane, Lanes
from regrasp.probe_data import LATE_S, ProbeRows, collect
from sim.cameras import CellCameras, calibration_bundle
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld

PX = 48


class Planned:
    """A policy whose chunk sways, each time further; it needs no image."""

    def infer_batch(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        return [
            ActionChunk(
                obs_t_ns=o.t_ns, values=np.tile([0.004, 0.004 * np.sin(o.t_ns * 1e-9), 0, 0, 0, 0, 1.0], (12, 1)),
                dt_s=0.05, policy_id="sway@1",
            )
            for o in observations
        ]  # fmt: skip

    def reset(self) -> None:
        """Remembers nothing."""


class Grabs(Planned):
    """A policy that closes its hand on nothing after half a second."""

    def infer_batch(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        return [
            ActionChunk(
                obs_t_ns=o.t_ns, values=np.tile([0, 0, 0, 0, 0, 0, float(o.t_ns < 5e8)], (12, 1)), dt_s=0.05,
                policy_id="grabs@1",
            )
            for o in observations
        ]  # fmt: skip


class Expert:
    """The scripted expert as a policy: it sees the truth of the lane that asks, found by its time and tool."""

    def __init__(self, world: BatchWorld) -> None:
        self.world, self.expert = world, FruitExpert()

    def infer_batch(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        state = self.world.state()
        actions = self.expert.act(state)
        found = []
        for o in observations:
            gap = np.abs(state.joint_pos - o.joint_pos).sum(axis=1)
            row = actions[int(np.argmin(gap))]
            values = np.vstack([row, row, [*np.zeros(6), row[6]]])
            found.append(ActionChunk(obs_t_ns=o.t_ns, values=values, dt_s=0.05, policy_id="expert@1"))
        return found

    def reset(self) -> None:
        """Remembers nothing."""


def lanes_of(world: BatchWorld, cameras: CellCameras, policy: Planned | Expert) -> Lanes:
    return Lanes(world, cameras, policy, "sway@1", calibration_bundle(PX))


def path(lanes: Lanes, seed: int, ticks: int) -> Generator[None, Lane, list[Floats]]:
    lane = yield
    lane.begin(seed, None)
    loop, found = lanes.loop(lane), []
    loop.reset()
    for _ in range(ticks):
        found.append(loop.tick().observation.tcp_pos_in_base)
        yield
    return found


def paths(n: int, seeds: Sequence[int], ticks: int) -> list[list[Floats]]:
    world = BatchWorld(FruitOnPlate(), n)
    with CellCameras(world, size_px=PX) as cameras:
        lanes = lanes_of(world, cameras, Planned())
        return list(lanes.live([path(lanes, seed, ticks) for seed in seeds]))


def test_an_arm_moves_the_same_whoever_works_beside_it() -> None:
    alone = [paths(1, [seed], 10)[0] for seed in (3, 4, 5)]
    together = paths(2, [3, 4, 5], 10)
    assert sorted(p[-1].tolist() for p in together) == sorted(p[-1].tolist() for p in alone)
    assert not np.allclose(alone[0][0], alone[0][-1], atol=0.01)


def rows_of(mode: FailureMode | None) -> ProbeRows:
    world = BatchWorld(FruitOnPlate(), 1)
    with CellCameras(world, size_px=PX) as cameras:
        lanes = lanes_of(world, cameras, Expert(world))
        return next(iter(lanes.live([collect(lanes, 11, mode)])))


@pytest.fixture(scope="module")
def dropped() -> ProbeRows:
    return rows_of(FailureMode.DROP)


def test_labels_change_at_the_blow_and_end_when_the_policy_has_mended_it(dropped: ProbeRows) -> None:
    assert dropped.labels[0] == NOMINAL
    first = dropped.labels.index("drop")
    assert set(dropped.labels[:first]) == {NOMINAL}
    assert set(dropped.labels[first:]) == {"drop"}
    assert len(dropped.labels) - first < 0.8 * LATE_S / 0.05


def test_episode_that_failed_for_no_injected_reason_teaches_nothing() -> None:
    world = BatchWorld(FruitOnPlate(), 2)
    with CellCameras(world, size_px=PX) as cameras:
        lanes = lanes_of(world, cameras, Planned())
        found = list(lanes.live([collect(lanes, 1, None), collect(lanes, 2, FailureMode.DROP)]))
    assert [len(rows.labels) for rows in found] == [0, 0]


def test_of_an_episode_in_which_the_hand_closes_in_vain_only_the_time_before_is_nominal() -> None:
    world = BatchWorld(FruitOnPlate(), 1)
    with CellCameras(world, size_px=PX) as cameras:
        lanes = lanes_of(world, cameras, Grabs())
        rows = next(iter(lanes.live([collect(lanes, 1, None)])))
    assert set(rows.labels) == {NOMINAL}
    assert 5 <= len(rows.labels) <= 20
    assert len(rows.features) == len(rows.episode) == len(rows.labels)
