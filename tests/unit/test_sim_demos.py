"""Demonstrations are clean, first-time successes, and the same for the same seed."""

import numpy as np
import pytest

from core.arrays import Floats, Image
from core.errors import ContractError
from core.robots import EE_DELTA
from core.worlds import WorldState
from sim.cameras import CAMERA_NAMES, CellCameras
from sim.demos import record_demonstrations
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import INFO, TOLD, FruitOnPlate
from sim.world import BatchWorld


def halve(image: Image) -> Image:
    return image[::2, ::2]


def test_the_same_seed_gives_the_same_rows_with_or_without_pictures() -> None:
    task, expert = FruitOnPlate(), FruitExpert()
    plain = record_demonstrations(task, expert, episodes=3, seed=5)
    with CellCameras(BatchWorld(task, 1), size_px=32) as cameras:
        seen = record_demonstrations(task, expert, episodes=3, seed=5, cameras=cameras, shrink=halve)
    assert (plain.actions == seen.actions).all()
    assert (plain.proprio == seen.proprio).all()
    assert seen.images.shape == (len(seen.actions), 2, 16, 16, 3)
    assert seen.cameras == CAMERA_NAMES
    assert plain.images.size == plain.pictured.size == 0


def test_no_demonstration_shows_a_second_attempt() -> None:
    demos = record_demonstrations(FruitOnPlate(), FruitExpert(), episodes=40, seed=1)
    assert set(demos.instructions) <= set(TOLD.training)
    for episode in range(40):
        closed = demos.actions[demos.episode == episode, 6] < 0.5
        assert (np.diff(closed.astype(int)) == 1).sum() == 1
    assert {INFO.roles(text).target for text in demos.instructions} == {"apple", "lemon"}
    assert (demos.actions == EE_DELTA.clip(demos.actions)).all()


def test_noise_spreads_the_states_and_not_the_labels() -> None:
    task, expert = FruitOnPlate(), FruitExpert()
    calm = record_demonstrations(task, expert, episodes=32, seed=2, noise=0.0)
    noisy = record_demonstrations(task, expert, episodes=32, seed=2, noise=0.25)
    assert noisy.proprio[:, 3:6].std() > 2 * calm.proprio[:, 3:6].std()


def test_other_seeds_give_other_episodes_and_progress_is_told() -> None:
    kept: list[int] = []
    task, expert = FruitOnPlate(), FruitExpert()
    first = record_demonstrations(task, expert, episodes=2, seed=1, progress=kept.append)
    second = record_demonstrations(task, expert, episodes=2, seed=2)
    assert not np.allclose(first.objects_in_base[0], second.objects_in_base[0])
    assert kept[-1] == 2


class Idle:
    """An expert that does nothing."""

    def act(self, state: WorldState) -> Floats:
        return np.tile(EE_DELTA.still(1.0), (len(state.time_s), 1))


def test_an_expert_that_never_succeeds_is_reported() -> None:
    with pytest.raises(ContractError, match="0 of 32"):
        record_demonstrations(FruitOnPlate(), Idle(), episodes=1, seed=0)
