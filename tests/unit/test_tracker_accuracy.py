"""How well `ColourTracker` finds things in rendered episodes, against the simulator's truth. See docs/tracker.md."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from bridge.tracker import ColourTracker
from core.clock import ManualClock
from core.failures import FailureMode
from core.flow import Observation
from core.scene import SceneState
from core.worlds import Injection
from sim.cameras import CellCameras, calibration_bundle
from sim.robot import SimRobot
from sim.task import Facts
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import INFO, FruitOnPlate
from sim.world import BatchWorld

SIZE_PX = 192
STEPS = 110
EPISODES = ((None, 301), (FailureMode.DROP, 303), (FailureMode.COLLISION, 305), (FailureMode.MISSED_GRASP, 307))


@dataclass(frozen=True, kw_only=True)
class Look:
    """One object at one tick."""

    name: str
    doing: str
    """"fixed", "resting", "held" or "flying"; "" when it is not in the cell."""
    error_m: float
    """NaN when it was not found."""
    age_s: float
    confidence: float
    cpu_s: float


def episode(world: BatchWorld, cameras: CellCameras, mode: FailureMode | None, seed: int) -> Iterator[Look]:
    world.reset(np.array([0]), np.array([seed]))
    world.inject(0, None if mode is None else Injection(mode=mode), seed)
    tracker, expert = ColourTracker(calibration_bundle(SIZE_PX), INFO), FruitExpert()
    with SimRobot(world, ManualClock(), cameras=cameras) as robot:
        for _ in range(STEPS):
            yield from looks(robot.read(), world.facts(), tracker)
            robot.send(expert.act(world.state())[0])


def looks(obs: Observation, facts: Facts, tracker: ColourTracker) -> Iterator[Look]:
    start = time.process_time()
    scene = tracker.track(obs)
    cpu_s = time.process_time() - start
    for o, info in enumerate(INFO.objects):
        pos = facts.state.object_pos_in_base[0, o]
        found = scene.objects.get(info.name)
        yield Look(
            name=info.name, doing=doing(facts, o), age_s=scene.age_s(info.name), cpu_s=cpu_s,
            error_m=float("nan") if found is None else float(np.linalg.norm(found.pos_in_base - pos)),
            confidence=0.0 if found is None else found.confidence,
        )  # fmt: skip


def doing(facts: Facts, o: int) -> str:
    info, height = INFO.objects[o], facts.state.object_pos_in_base[0, o, 2]
    if height < -0.1:
        return ""
    if not info.graspable:
        return "fixed"
    if facts.pinched[0, o] and height > info.size_m[2] + 0.003:
        return "held"
    return "flying" if facts.object_speed[0, o] > 0.05 else "resting"


@pytest.fixture(scope="module")
def seen() -> list[Look]:
    world = BatchWorld(FruitOnPlate(), 1)
    with CellCameras(world, size_px=SIZE_PX) as cameras:
        return [look for mode, seed in EPISODES for look in episode(world, cameras, mode, seed)]


def errors_mm(seen: list[Look], *names: str, doing: str) -> np.ndarray:
    """Returns the errors of what was seen in this very tick [mm]."""
    return 1e3 * np.array([s.error_m for s in seen if s.name in names and s.doing == doing and s.age_s == 0.0])


def test_resting_fruit_is_found_within_4_mm_in_the_middle_and_8_mm_nearly_always(seen: list[Look]) -> None:
    errors = errors_mm(seen, "apple", "lemon", doing="resting")
    assert len(errors) > 400
    assert np.median(errors) < 4.0
    assert np.percentile(errors, 95) < 8.0


def test_held_fruit_is_found_within_4_mm_in_the_middle_and_8_mm_nearly_always(seen: list[Look]) -> None:
    errors = errors_mm(seen, "apple", "lemon", doing="held")
    assert len(errors) > 60
    assert np.median(errors) < 4.0
    assert np.percentile(errors, 95) < 8.0


@pytest.mark.parametrize(("name", "least"), [("plate", 400), ("block", 50)])
def test_plate_and_block_are_found_within_4_mm_in_the_middle_and_8_mm_nearly_always(
    seen: list[Look], name: str, least: int
) -> None:
    errors = errors_mm(seen, name, doing="fixed")
    assert len(errors) > least
    assert np.median(errors) < 4.0
    assert np.percentile(errors, 95) < 8.0


def test_the_block_is_not_seen_where_there_is_none(seen: list[Look]) -> None:
    assert all(np.isnan(s.error_m) for s in seen if s.name == "block" and not s.doing)


def test_fruit_and_plate_are_found_from_the_first_image_on(seen: list[Look]) -> None:
    assert not any(np.isnan(s.error_m) for s in seen if s.doing and s.name != "block")


def test_what_is_far_off_is_not_sure_of_itself(seen: list[Look]) -> None:
    wrong = [s.confidence for s in seen if s.doing and s.doing != "flying" and s.error_m > 0.02]
    assert all(c < 0.5 for c in wrong)


def test_a_look_takes_a_small_part_of_a_tick(seen: list[Look]) -> None:
    assert np.median([s.cpu_s for s in seen]) < 0.006


def test_a_scene_of_nothing_is_empty() -> None:
    tracker = ColourTracker(calibration_bundle(32), INFO)
    clock = ManualClock()
    world = BatchWorld(FruitOnPlate(), 1)
    with SimRobot(world, clock) as robot:
        scene: SceneState = tracker.track(robot.read())
    assert not scene.objects
