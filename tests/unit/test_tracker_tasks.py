"""How well `ColourTracker` follows every task in rendered episodes, against the truth. See docs/tracker.md."""

from dataclasses import dataclass

import numpy as np
import pytest

from bridge.tracker import ColourTracker
from core.clock import ManualClock
from core.failures import FailureMode
from core.worlds import Injection
from regrasp.task_registry import find_task
from sim.cameras import CellCameras, calibration_bundle
from sim.robot import SimRobot
from sim.world import BatchWorld

SIZE_PX, STEPS = 192, 110
EPISODES = {
    "pick_card": (FailureMode.DROP, 501),
    "sort_two": (None, 501),
    "peg_in_hole": (FailureMode.MISALIGNED, 501),
    "wipe_board": (None, 501),
    "tidy_drawer": (None, 501),
}


@dataclass(frozen=True, kw_only=True)
class Followed:
    """One episode, T ticks of O objects."""

    error_m: np.ndarray
    """NaN where a thing is not there, not found, or moves by itself, shape (T, O)."""
    held: np.ndarray
    """Shape (T, O)."""
    gone: np.ndarray
    """Whether a thing is not there, shape (T, O)."""
    lost: np.ndarray
    """Whether it is said to have vanished, shape (T, O)."""
    progress: np.ndarray
    """Sub-tasks done by what was tracked, and by the truth, shape (T, 2)."""


@pytest.fixture(scope="module", params=list(EPISODES))
def followed(request: pytest.FixtureRequest) -> Followed:
    entry, (mode, seed) = find_task(request.param), EPISODES[request.param]
    world, expert = BatchWorld(entry.make(), 1), entry.expert()
    world.reset(np.array([0]), np.array([seed]))
    world.inject(0, None if mode is None else Injection(mode=mode), seed)
    tracker, course = ColourTracker(calibration_bundle(SIZE_PX), entry.info), entry.info.course(world.instruction(0))
    seen, true, moving, held, progress = [], [], [], [], []
    with CellCameras(world, size_px=SIZE_PX) as cameras, SimRobot(world, ManualClock(), cameras=cameras) as robot:
        for _ in range(STEPS):
            scene, facts = tracker.track(robot.read()), world.facts()
            found = [scene.position(o.name) for o in entry.info.objects]
            seen.append([np.full(3, np.nan) if pos is None else pos for pos in found])
            true.append(facts.state.object_pos_in_base[0])
            held.append(facts.pinched[0] & (facts.state.gripper_command[0] < 0.5))
            moving.append((facts.object_speed[0] > 0.04) & ~held[-1])
            progress.append((course.progress(np.array(seen[-1:]))[0], facts.state.subtask[0]))
            robot.send(expert.act(world.state())[0])
    gone, lost = np.array(true)[..., 2] < -0.1, np.array(seen)[..., 2] < -0.1
    error = np.linalg.norm(np.array(seen) - np.array(true), axis=-1)
    return Followed(
        error_m=np.where(gone | lost | np.array(moving), np.nan, error), held=np.array(held), gone=gone, lost=lost,
        progress=np.array(progress),
    )  # fmt: skip


def test_what_rests_is_found_to_3_mm_and_what_is_held_to_12(followed: Followed) -> None:
    resting, held = followed.error_m[~followed.held], followed.error_m[followed.held]
    assert np.nanmedian(resting) < 0.003
    assert np.nanpercentile(resting, 95) < 0.010
    assert np.nanpercentile(held, 95) < 0.012


def test_progress_by_what_is_tracked_is_the_true_one_nearly_always(followed: Followed) -> None:
    assert (followed.progress[:, 0] != followed.progress[:, 1]).mean() < 0.03


def test_nothing_is_said_to_have_vanished_that_is_there(followed: Followed) -> None:
    assert not (followed.lost & ~followed.gone).any()


def test_everything_that_is_there_is_found(followed: Followed) -> None:
    assert followed.progress[-1, 1] > 0
    assert not np.isnan(followed.error_m[:10][~followed.gone[:10]]).any()
