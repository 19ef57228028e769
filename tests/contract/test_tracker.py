"""What every `Tracker` must keep."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bridge.tracker import ColourTracker
from core.calibration import CalibrationBundle, CameraModel
from core.fakes import FakeTracker
from core.flow import Observation
from core.ports import Tracker
from core.tasks import ObjectInfo, TaskInfo
from core.transforms import Pose

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
BALL = ObjectInfo(
    name="ball", words=(), shape="sphere", size_m=np.full(3, 0.03), rgb=np.array([0.9, 0.1, 0.1]), graspable=True
)
TASK = TaskInfo(
    name="one ball", objects=(BALL,), goal="", obstacle="", family="short_horizon", templates=(), subtasks=(), modes=(),
    episode_steps=10,
)  # fmt: skip


def colour_tracker() -> Tracker:
    intrinsics = np.array([[60.0, 0, 31.5], [0, 60.0, 31.5], [0, 0, 1]])
    above = CameraModel(
        name="above", width_px=64, height_px=64, intrinsics=intrinsics, mount="base",
        pose=Pose(pos=np.array([0.4, 0.0, 0.6]), quat_xyzw=DOWN),
    )  # fmt: skip
    bundle = CalibrationBundle(
        cell="test", cameras={"above": above}, workspace_low=np.zeros(3), workspace_high=np.ones(3),
        table_height_m=0.0, held_out_error_px=0.1, measured_on="2026-11-20",
    )  # fmt: skip
    return ColourTracker(bundle, TASK)


def fake_tracker() -> Tracker:
    return FakeTracker(lambda obs: {"ball": np.array([0.4, 0.0, 0.03])} if obs.images else {})


@pytest.fixture(params=[colour_tracker, fake_tracker])
def tracker(request: pytest.FixtureRequest) -> Tracker:
    make: Callable[[], Tracker] = request.param
    return make()


def observation(tick: int) -> Observation:
    """A red ball on a bright table, right below the camera."""
    rows, columns = np.mgrid[0:64, 0:64]
    image = np.full((64, 64, 3), 200, np.uint8)
    image[np.hypot(rows - 31.5, columns - 31.5) < 60.0 * 0.03 / 0.57] = (220, 25, 25)
    return Observation(
        t_ns=tick * 50_000_000, joint_pos=np.zeros(7), joint_vel=np.zeros(7), tcp_pos_in_base=np.array([0.3, 0.2, 0.3]),
        tcp_quat_xyzw_in_base=DOWN, gripper_opening=1.0, gripper_command=1.0, images={"above": image},
        image_t_ns={"above": tick * 50_000_000},
    )  # fmt: skip


def test_it_is_a_tracker(tracker: Tracker) -> None:
    assert isinstance(tracker, Tracker)


def test_a_scene_has_the_time_of_its_observation_and_what_shows(tracker: Tracker) -> None:
    scene = tracker.track(observation(3))
    assert scene.t_ns == 150_000_000
    assert scene.position("ball") == pytest.approx([0.4, 0.0, 0.03], abs=0.01)
    assert scene.age_s("ball") == 0.0


def test_a_confidence_is_a_share_and_an_age_is_never_negative(tracker: Tracker) -> None:
    for tick in (1, 2, 5):
        for found in tracker.track(observation(tick)).objects.values():
            assert 0.0 < found.confidence <= 1.0
            assert found.t_ns <= tick * 50_000_000


def test_without_images_nothing_is_made_up(tracker: Tracker) -> None:
    scene = tracker.track(replace(observation(1), images={}, image_t_ns={}))
    assert not scene.objects
    assert scene.position("ball") is None
    assert np.isinf(scene.age_s("ball"))


def test_reset_forgets_what_was_seen(tracker: Tracker) -> None:
    tracker.track(observation(1))
    tracker.reset()
    assert not tracker.track(replace(observation(2), images={}, image_t_ns={})).objects


def test_the_same_observations_give_the_same_scenes(tracker: Tracker) -> None:
    first = [tracker.track(observation(t)) for t in (1, 2, 3)]
    tracker.reset()
    again = [tracker.track(observation(t)) for t in (1, 2, 3)]
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one.position("ball"), two.position("ball"))
        assert one.objects["ball"].confidence == two.objects["ball"].confidence
