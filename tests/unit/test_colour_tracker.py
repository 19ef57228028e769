"""`ColourTracker` on pictures drawn ray by ray from known places, without a simulator."""

from dataclasses import replace

import numpy as np
import pytest

from bridge.blobs import ColourTable
from bridge.tracker import ColourTracker, TrackerConfig
from core.arrays import Floats, Image
from core.calibration import CalibrationBundle, CameraModel
from core.errors import ConfigError, ContractError
from core.flow import Observation
from core.scene import SceneState
from core.tasks import ObjectInfo, TaskInfo
from core.transforms import Pose, matrix_from_quat, quat_from_rotvec, quat_multiply

PX = 192
TICK_NS = 50_000_000
HIGH = np.array([0.40, -0.05, 0.20])
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
SKIN = np.array([30.0, 30.0, 32.0])
TABLE = np.array([205.0, 195.0, 176.0])


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


def camera(name: str, mount: str, pose: Pose, focal_px: float) -> CameraModel:
    middle = (PX - 1) / 2
    intrinsics = np.array([[focal_px, 0, middle], [0, focal_px, middle], [0, 0, 1]])
    return CameraModel(name=name, width_px=PX, height_px=PX, intrinsics=intrinsics, mount=mount, pose=pose)


def looking_back() -> Pose:
    """A camera in front of the table that looks back and down at it."""
    sideways = quat_from_rotvec(np.array([0.0, 0.0, np.pi / 2]))
    return Pose(
        pos=np.array([1.1, 0.0, 0.75]), quat_xyzw=quat_multiply(sideways, quat_from_rotvec(np.array([-2.28, 0.0, 0.0])))
    )


@pytest.fixture(scope="module")
def bundle() -> CalibrationBundle:
    behind = quat_multiply(
        quat_from_rotvec(np.array([0.0, 0.0, np.pi / 2])), quat_from_rotvec(np.array([-0.35, 0.0, 0.0]))
    )
    wrist = Pose(pos=np.array([0.08, 0.0, -0.135]), quat_xyzw=behind)
    front = camera("front", "base", looking_back(), 230.0)
    return CalibrationBundle(
        cell="drawn", cameras={"front": front, "wrist": camera("wrist", "tcp", wrist, 130.0)},
        workspace_low=np.array([0.2, -0.4, 0.0]), workspace_high=np.array([0.7, 0.4, 0.5]),
        table_height_m=0.0, held_out_error_px=0.2, measured_on="2026-11-20",
    )  # fmt: skip


def depth_of(solid: tuple[ObjectInfo, Floats, float], origin: Floats, rays: Floats) -> Floats:
    """Returns how far along each ray (M, 3) the solid begins, infinity where the ray misses it."""
    (info, pos, yaw) = solid
    shape, size = info.shape, info.size_m
    cosine, sine = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    o, d = turn @ (origin - pos), rays @ turn.T
    if shape == "box":
        near = np.sort(np.stack([(-size - o) / d, (size - o) / d]), axis=0)
        first, last = near[0].max(axis=1), near[1].min(axis=1)
        return np.where((first < last) & (first > 0), first, np.inf)
    flat = np.array([1.0, 1.0, 1.0 if shape == "sphere" else 0.0])
    a, b, c = (d * d) @ flat, (d * o) @ flat, (o * o) @ flat - size[0] ** 2
    root = b * b - a * c
    side = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    if shape == "sphere":
        return side
    side = np.where(np.abs(o[2] + side * d[:, 2]) <= size[2], side, np.inf)
    top = (size[2] - o[2]) / d[:, 2]
    return np.minimum(side, np.where(np.linalg.norm(o[:2] + top[:, None] * d[:, :2], axis=1) <= size[0], top, np.inf))


def draw(model: CameraModel, tool: Pose, solids: list[tuple[ObjectInfo, Floats, float]]) -> Image:
    pose = model.in_base(tool)
    rows, columns = np.mgrid[0:PX, 0:PX]
    rays = model.rays(pose, np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float))
    colours = np.where((rays[:, 2] < 0)[:, None], TABLE, [60.0, 60.0, 65.0])
    nearest = np.full(len(rays), np.inf)
    for solid in solids:
        depth = depth_of(solid, pose.pos, rays)
        shade = 0.65 + 0.35 * np.abs(rays[:, 2])
        colours = np.where((depth < nearest)[:, None], solid[0].rgb * 255.0 * shade[:, None], colours)
        nearest = np.minimum(nearest, depth)
    return np.clip(colours, 0, 255).astype(np.uint8).reshape(PX, PX, 3)


class Stage:
    """Draws observations tick by tick."""

    def __init__(self, bundle: CalibrationBundle) -> None:
        self.bundle, self.tick = bundle, 0
        self.tool = Pose(pos=HIGH, quat_xyzw=DOWN)
        self.opening = self.command = 1.0
        self.at = {name: (pos, 0.0) for name, pos in AT.items()}
        self.covers: list[tuple[ObjectInfo, Floats, float]] = []

    def put(self, name: str, pos: Floats, yaw: float = 0.0) -> None:
        self.at[name] = (np.asarray(pos, float), yaw)

    def cover(self, pos: tuple[float, float, float], size: tuple[float, float, float]) -> None:
        dark = ObjectInfo(name="x", words=(), shape="box", size_m=np.array(size), rgb=SKIN / 255.0, graspable=False)
        self.covers = [(dark, np.array(pos), 0.3)]

    def observe(self, names: tuple[str, ...] = ("front", "wrist")) -> Observation:
        self.tick += 1
        infos = {o.name: o for o in TASK.objects}
        solids = [(infos[n], pos, yaw) for n, (pos, yaw) in self.at.items()] + self.covers
        return Observation(
            t_ns=self.tick * TICK_NS, joint_pos=np.zeros(7), joint_vel=np.zeros(7), tcp_pos_in_base=self.tool.pos,
            tcp_quat_xyzw_in_base=self.tool.quat_xyzw, gripper_opening=self.opening, gripper_command=self.command,
            images={n: draw(self.bundle.cameras[n], self.tool, solids) for n in names},
            image_t_ns=dict.fromkeys(names, self.tick * TICK_NS),
        )  # fmt: skip


@pytest.fixture
def stage(bundle: CalibrationBundle) -> Stage:
    return Stage(bundle)


@pytest.fixture
def tracker(bundle: CalibrationBundle) -> ColourTracker:
    return ColourTracker(bundle, TASK)


def error_m(scene: SceneState, name: str, pos: Floats) -> float:
    found = scene.position(name)
    assert found is not None, f"{name} was not found"
    return float(np.linalg.norm(found - pos))


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
