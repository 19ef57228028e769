"""The simulated robot's pictures and refusals."""

from collections.abc import Iterator

import numpy as np
import pytest

from core.clock import ManualClock
from core.errors import ContractError
from core.robots import EE_DELTA
from sim.cameras import CellCameras
from sim.robot import SimRobot
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld


@pytest.fixture(scope="module")
def world() -> BatchWorld:
    return BatchWorld(FruitOnPlate(), 1)


@pytest.fixture(scope="module")
def cameras(world: BatchWorld) -> Iterator[CellCameras]:
    with CellCameras(world, size_px=32) as opened:
        yield opened


def test_it_shows_both_cameras_at_the_time_of_reading(world: BatchWorld, cameras: CellCameras) -> None:
    clock = ManualClock(100)
    with SimRobot(world, clock, cameras=cameras) as robot:
        robot.send(EE_DELTA.still(1.0))
        seen = robot.read()
    assert {name: image.shape for name, image in seen.images.items()} == {"front": (32, 32, 3), "wrist": (32, 32, 3)}
    assert set(seen.image_t_ns.values()) == {seen.t_ns}


def test_between_renders_it_gives_the_last_images_with_their_own_time(world: BatchWorld, cameras: CellCameras) -> None:
    clock = ManualClock()
    ages = []
    with SimRobot(world, clock, cameras=cameras, names=("front",), render_every=3) as robot:
        for _ in range(6):
            seen = robot.read()
            ages.append(round((seen.t_ns - seen.image_t_ns["front"]) * 1e-9 / EE_DELTA.dt_s))
            robot.send(EE_DELTA.still(1.0))
    assert ages == [0, 1, 2, 0, 1, 2]


def test_a_bad_action_moves_nothing(world: BatchWorld) -> None:
    clock = ManualClock()
    with SimRobot(world, clock) as robot:
        before = robot.read()
        with pytest.raises(ContractError, match="finite"):
            robot.send(np.full(7, np.nan))
        assert robot.read().joint_pos == pytest.approx(before.joint_pos)
        assert clock.now_ns() == 0


def test_silly_settings_are_refused(world: BatchWorld) -> None:
    with pytest.raises(ContractError, match="render_every"):
        SimRobot(world, ManualClock(), render_every=0)
