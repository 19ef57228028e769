"""`ColourTracker` on pictures drawn ray by ray from known places, without a simulator."""

from dataclasses import replace

import numpy as np
import pytest

from bridge.blobs import ColourTable
from bridge.tracker import ColourTracker, TrackerConfig
from core.arrays import Floats
from core.calibration import CalibrationBundle
from core.errors import ConfigError, ContractError
from core.scene import SceneState
from core.tasks import ObjectInfo, TaskInfo
from core.transforms import Pose, matrix_from_quat
from drawn_cell import DOWN, HIGH, TABLE, TICK_NS, Stage, drawn_bundle, error_m


def thing(name: str, shape: str, size: tuple[float, float, float], rgb: tuple[float, float, float]) -> ObjectInfo:
    return ObjectInfo(
        name=name, words=(), shape=shape, size_m=np.array(size), rgb=np.array(rgb), graspable=shape == "sphere"
    )


APPLE = thing("apple", "sphere", (0.032,) * 3, (0.82, 0.07, 0.07))
LEMON = thing("lemon", "sphere", (0.030,) * 3, (0.95, 0.85, 0.08))
PLATE = thing("plate", "disc", (0.085, 0.085, 0.006), (0.10, 0.28, 0.85))
BLOCK = thing("block", "box", (0.02, 0.06, 0.10), (0.62, 0.10, 0.66))
TASK = TaskInfo(
    name="fruit", objects=(APPLE, LEMON, PLATE, BLOCK), goal="plate", obstacle="block", family="short_horizon",
    templates=(), subtasks=(), modes=(), episode_steps=100,
)  # fmt: skip
AT = {
    "apple": np.array([0.38, -0.12, 0.032]),
    "lemon": np.array([0.48, 0.0, 0.030]),
    "plate": np.array([0.45, 0.2, 0.006]),
}


@pytest.fixture(scope="module")
def bundle() -> CalibrationBundle:
    return drawn_bundle()


@pytest.fixture
def stage(bundle: CalibrationBundle) -> Stage:
    return Stage(bundle, TASK, AT)


@pytest.fixture
def tracker(bundle: CalibrationBundle) -> ColourTracker:
    return ColourTracker(bundle, TASK)


def grasp_apple(stage: Stage, tracker: ColourTracker) -> SceneState:
    """Closes the hand on the apple, as seen by the tracker."""
    stage.tool = Pose(pos=AT["apple"] + [0.0, 0.0, 0.005], quat_xyzw=DOWN)
    tracker.track(stage.observe())
    stage.opening, stage.command = 0.72, 0.0
    return tracker.track(stage.observe())


def lift_apple(stage: Stage, height_m: float) -> Floats:
    """Moves the tool with the apple in it and returns where the apple is."""
    stage.tool = Pose(pos=AT["apple"] + [0.02, 0.05, 0.005 + height_m], quat_xyzw=DOWN)
    pos = AT["apple"] + [0.02, 0.05, height_m]
    stage.put("apple", pos)
    return pos


def test_everything_on_the_table_is_found_to_the_millimetre(stage: Stage, tracker: ColourTracker) -> None:
    stage.put("block", np.array([0.58, 0.05, 0.10]), 0.6)
    scene = tracker.track(stage.observe())
    assert set(scene.objects) == {"apple", "lemon", "plate", "block"}
    assert max(error_m(scene, n, pos) for n, pos in AT.items()) < 0.0015
    assert error_m(scene, "block", np.array([0.58, 0.05, 0.10])) < 0.003
    assert scene.source == "image"
    assert min(o.confidence for o in scene.objects.values()) > 0.8


@pytest.mark.parametrize("only", ["front", "wrist"])
def test_one_camera_is_enough_for_what_rests(stage: Stage, tracker: ColourTracker, only: str) -> None:
    scene = tracker.track(stage.observe((only,)))
    assert error_m(scene, "lemon", AT["lemon"]) < 0.003


def test_what_was_never_seen_is_absent(stage: Stage, tracker: ColourTracker) -> None:
    del stage.at["lemon"]
    scene = tracker.track(stage.observe())
    assert set(scene.objects) == {"apple", "plate"}
    assert scene.position("block") is None


def test_a_thing_moved_by_someone_is_found_again_at_once(stage: Stage, tracker: ColourTracker) -> None:
    tracker.track(stage.observe())
    stage.put("apple", [0.50, -0.10, 0.032])
    assert error_m(tracker.track(stage.observe()), "apple", np.array([0.50, -0.10, 0.032])) < 0.002


def test_fruit_on_the_plate_is_found_at_its_height(stage: Stage, tracker: ColourTracker) -> None:
    stage.put("lemon", AT["plate"] + [0.01, -0.02, 0.006 + 0.030])
    scene = tracker.track(stage.observe())
    assert error_m(scene, "lemon", stage.at["lemon"][0]) < 0.002
    assert error_m(scene, "plate", AT["plate"]) < 0.003


def test_a_held_thing_is_followed_through_the_air(stage: Stage, tracker: ColourTracker) -> None:
    tracker.track(stage.observe())
    assert error_m(grasp_apple(stage, tracker), "apple", AT["apple"]) < 0.003
    for height in (0.03, 0.09, 0.15):
        pos = lift_apple(stage, height)
        assert error_m(tracker.track(stage.observe()), "apple", pos) < 0.003


def test_a_held_thing_that_nothing_shows_is_carried_with_the_tool(stage: Stage, tracker: ColourTracker) -> None:
    grasp_apple(stage, tracker)
    lift_apple(stage, 0.05)
    before = tracker.track(stage.observe())
    pos = lift_apple(stage, 0.15)
    del stage.at["apple"]
    after = tracker.track(replace(stage.observe(), images={}, image_t_ns={}))
    assert error_m(after, "apple", pos) < 0.004
    assert after.objects["apple"].t_ns == before.t_ns
    assert after.objects["apple"].confidence < before.objects["apple"].confidence


def test_a_thing_let_go_is_found_lying_again(stage: Stage, tracker: ColourTracker) -> None:
    grasp_apple(stage, tracker)
    lift_apple(stage, 0.10)
    tracker.track(stage.observe())
    stage.opening = stage.command = 1.0
    stage.put("apple", [0.42, -0.02, 0.08])
    assert error_m(tracker.track(stage.observe()), "apple", np.array([0.42, -0.02, 0.08])) < 0.008
    stage.put("apple", [0.43, 0.0, 0.032])
    assert error_m(tracker.track(stage.observe()), "apple", np.array([0.43, 0.0, 0.032])) < 0.003


def test_a_hand_closed_on_one_fruit_does_not_carry_the_other(stage: Stage, tracker: ColourTracker) -> None:
    tracker.track(stage.observe())
    grasp_apple(stage, tracker)
    lift_apple(stage, 0.12)
    scene = tracker.track(stage.observe())
    assert error_m(scene, "lemon", AT["lemon"]) < 0.003


def test_a_thing_half_covered_stays_and_is_less_certain(stage: Stage, tracker: ColourTracker) -> None:
    clear = tracker.track(stage.observe(("front",)))
    stage.cover((0.60, 0.038, 0.15), (0.01, 0.05, 0.15))
    covered = tracker.track(stage.observe(("front",)))
    assert error_m(covered, "lemon", AT["lemon"]) < 0.006
    assert covered.objects["lemon"].confidence < clear.objects["lemon"].confidence


def test_a_thing_cut_by_the_image_border_is_still_found(stage: Stage, bundle: CalibrationBundle) -> None:
    edge = bundle.cameras["front"].rays(bundle.cameras["front"].pose, np.array([[0.0, 110.0]]))[0]
    origin = bundle.cameras["front"].pose.pos
    pos = origin + edge * (0.032 - origin[2]) / edge[2]
    stage.put("apple", pos)
    scene = ColourTracker(bundle, TASK).track(stage.observe(("front",)))
    assert error_m(scene, "apple", pos) < 0.006


def test_a_thing_that_is_gone_from_where_it_was_loses_its_confidence(stage: Stage, tracker: ColourTracker) -> None:
    before = tracker.track(stage.observe())
    del stage.at["apple"]
    after = tracker.track(stage.observe())
    assert after.objects["apple"].confidence < 0.1 * before.objects["apple"].confidence
    assert after.objects["lemon"].confidence == pytest.approx(before.objects["lemon"].confidence, abs=0.02)


def test_a_thing_behind_something_keeps_its_place_and_ages(stage: Stage, tracker: ColourTracker) -> None:
    stage.at = {"lemon": (AT["lemon"], 0.0)}
    before = tracker.track(stage.observe(("front",)))
    stage.cover((0.60, 0.0, 0.15), (0.01, 0.08, 0.15))
    for _ in range(20):
        after = tracker.track(stage.observe(("front",)))
    assert error_m(after, "lemon", AT["lemon"]) < 0.002
    assert after.age_s("lemon") == pytest.approx(1.0)
    assert after.objects["lemon"].confidence == pytest.approx(before.objects["lemon"].confidence * 0.5**0.5, rel=1e-6)


def test_an_image_shown_twice_is_not_news(stage: Stage, tracker: ColourTracker) -> None:
    first = stage.observe()
    seen = tracker.track(first)
    again = tracker.track(replace(first, t_ns=first.t_ns + 4 * TICK_NS))
    assert again.objects["apple"].t_ns == seen.objects["apple"].t_ns
    assert again.age_s("apple") == pytest.approx(0.2)


def test_a_late_wrist_image_is_placed_where_the_tool_was(stage: Stage, tracker: ColourTracker) -> None:
    old = stage.observe(("wrist",))
    tracker.track(replace(old, images={}, image_t_ns={}))
    stage.tool = Pose(pos=HIGH + np.array([0.05, 0.05, 0.0]), quat_xyzw=DOWN)
    now = replace(stage.observe(("wrist",)), images=old.images, image_t_ns=old.image_t_ns)
    scene = tracker.track(now)
    assert error_m(scene, "lemon", AT["lemon"]) < 0.003
    assert scene.age_s("lemon") == pytest.approx(0.05)


def test_reset_forgets(stage: Stage, tracker: ColourTracker) -> None:
    tracker.track(stage.observe())
    tracker.reset()
    assert not tracker.track(replace(stage.observe(), images={}, image_t_ns={})).objects


def test_the_same_images_give_the_same_numbers(stage: Stage, bundle: CalibrationBundle) -> None:
    observations = [stage.observe() for _ in range(3)]
    scenes = [[ColourTracker(bundle, TASK).track(o) for o in observations] for _ in range(2)]
    for one, two in zip(*scenes, strict=True):
        assert all(np.array_equal(one.position(n), two.position(n)) for n in one.objects)


def test_an_image_of_another_size_is_refused(stage: Stage, tracker: ColourTracker) -> None:
    with pytest.raises(ContractError, match="calibrated for 192 x 192"):
        tracker.track(replace(stage.observe(), images={"front": np.zeros((96, 128, 3), np.uint8)}))


def test_every_object_keeps_its_name_in_dim_and_bright_light() -> None:
    table = ColourTable(TASK.objects)
    for light in (0.35, 0.6, 1.0):
        for info in TASK.objects:
            image = np.full((24, 24, 3), TABLE, np.uint8)
            image[8:16, 8:16] = info.rgb * 255 * light
            picture = table.look(image, 6.0)
            assert list(picture.blobs) == [info.name]
            assert picture.blobs[info.name].area_px == pytest.approx(64, abs=4)
            assert picture.blobs[info.name].centre == pytest.approx([11.5, 11.5])


def test_grey_and_indistinguishable_objects_are_refused_by_name(bundle: CalibrationBundle) -> None:
    grey = replace(TASK, objects=(*TASK.objects, thing("bowl", "disc", (0.1, 0.1, 0.01), (0.8, 0.8, 0.78))))
    twin = replace(TASK, objects=(*TASK.objects, thing("cherry", "sphere", (0.01,) * 3, (0.8, 0.1, 0.1))))
    with pytest.raises(ConfigError, match="'bowl' is nearly grey"):
        ColourTracker(bundle, grey)
    with pytest.raises(ConfigError, match="'apple' and 'cherry'"):
        ColourTracker(bundle, twin)


def test_a_cell_without_cameras_and_wrong_settings_are_refused(bundle: CalibrationBundle) -> None:
    with pytest.raises(ConfigError, match="no camera"):
        ColourTracker(replace(bundle, cameras={}), TASK)
    with pytest.raises(ContractError, match="half_life_s"):
        TrackerConfig(half_life_s=0.0)


def test_the_wrist_camera_of_these_tests_looks_down_past_the_fingers(bundle: CalibrationBundle) -> None:
    pose = bundle.cameras["wrist"].in_base(Pose(pos=HIGH, quat_xyzw=DOWN))
    assert matrix_from_quat(pose.quat_xyzw)[2, 2] < -0.8
