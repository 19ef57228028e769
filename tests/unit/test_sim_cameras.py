"""Pictures show the cell as the calibration bundle says."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from core.arrays import Bools, Floats, Image
from core.errors import ConfigError, ContractError
from core.transforms import Pose
from sim.cameras import CAMERA_NAMES, CellCameras, Light, calibration_bundle
from sim.cell import Bodies
from sim.tasks.fruit_on_plate import INFO, FruitOnPlate
from sim.world import BatchWorld

SIZE_PX = 192


@pytest.fixture(scope="module")
def world() -> BatchWorld:
    return BatchWorld(FruitOnPlate(), 1)


@pytest.fixture(scope="module")
def cameras(world: BatchWorld) -> Iterator[CellCameras]:
    with CellCameras(world, size_px=SIZE_PX) as opened:
        yield opened


def blob_centre(image: Image, rgb: Floats) -> tuple[Floats, int]:
    """Mean pixel of the object's colour, and how many pixels it has."""
    pixels = image.astype(float)
    hue = pixels / np.maximum(pixels.sum(axis=2, keepdims=True), 1.0)
    mask: Bools = np.linalg.norm(hue - rgb / rgb.sum(), axis=2) < 0.12
    v, u = np.nonzero(mask)
    return np.array([u.mean(), v.mean()]), len(u)


def arranged(world: BatchWorld, fruit: dict[str, Floats]) -> Bodies:
    bodies = world.bodies(0)
    qpos = bodies.qpos.copy()
    for o, thing in enumerate(world.cell.objects):
        if thing.name in fruit:
            at = world.cell.free_qpos[o]
            qpos[at : at + 3] = fruit[thing.name]
    return replace(bodies, qpos=qpos)


@pytest.mark.parametrize("camera", CAMERA_NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_known_centres_project_onto_their_blobs(
    world: BatchWorld, cameras: CellCameras, camera: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    xy = rng.uniform([0.40, -0.1], [0.52, 0.1], (40, 2))
    apart = next(b for b in xy[1:] if np.linalg.norm(b - xy[0]) > 0.09)
    fruit = {"apple": np.append(xy[0], 0.032), "lemon": np.append(apart, 0.030)}
    image = cameras.show(arranged(world, fruit), (camera,))[camera]
    model = calibration_bundle(SIZE_PX).camera(camera)
    state = world.state()
    tcp = Pose(pos=state.tcp_pos_in_base[0], quat_xyzw=state.tcp_quat_xyzw_in_base[0])
    for thing in INFO.objects[:2]:
        found, count = blob_centre(image, thing.rgb)
        expected = model.project(model.in_base(tcp), fruit[thing.name][None])[0]
        assert count > 40
        assert np.linalg.norm(found - expected[:2]) < 1.0, (thing.name, found, expected)


def test_the_front_camera_sees_the_whole_table_and_the_space_where_fruit_is_carried() -> None:
    model = calibration_bundle(SIZE_PX).camera("front")
    table = [[x, y, 0.0] for x in (0.25, 0.65) for y in (-0.35, 0.35)]
    above = [[x, y, 0.30] for x in (0.25, 0.60) for y in (-0.27, 0.27)]
    corners = np.array(table + above)
    pixels = model.project(model.pose, corners)
    assert ((pixels[:, :2] > 0) & (pixels[:, :2] < SIZE_PX - 1)).all(), pixels
    assert (pixels[:, 2] > 0).all()


def test_rays_go_back_through_the_points_they_came_from() -> None:
    model = calibration_bundle(96).camera("front")
    points = np.array([[0.4, 0.1, 0.0], [0.5, -0.2, 0.1]])
    rays = model.rays(model.pose, model.project(model.pose, points)[:, :2])
    wanted = points - model.pose.pos
    assert rays == pytest.approx(wanted / np.linalg.norm(wanted, axis=1, keepdims=True), abs=1e-9)


def test_light_changes_the_picture_but_not_the_view(world: BatchWorld, cameras: CellCameras) -> None:
    bright = cameras.render(world, 0, light=Light(brightness=1.15))["front"]
    dark = cameras.render(world, 0, light=Light(brightness=0.8))["front"]
    again = cameras.render(world, 0)["front"]
    assert bright.mean() > again.mean() > dark.mean()
    assert (cameras.render(world, 0)["front"] == again).all()


def test_an_unknown_camera_names_the_nearest(world: BatchWorld, cameras: CellCameras) -> None:
    with pytest.raises(ConfigError, match="did you mean 'wrist'"):
        cameras.render(world, 0, ("wirst",))


def test_closed_cameras_say_so_and_close_twice(world: BatchWorld) -> None:
    cameras = CellCameras(world, size_px=32)
    with pytest.raises(ContractError, match="open them"):
        cameras.render(world, 0)
    with cameras:
        assert cameras.render(world, 0)["wrist"].shape == (32, 32, 3)
    cameras.close()


def test_a_silly_size_is_refused(world: BatchWorld) -> None:
    with pytest.raises(ContractError, match="size_px"):
        CellCameras(world, size_px=5000)


def test_an_unknown_backend_is_refused(world: BatchWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    with pytest.raises(ConfigError, match="osmesa"), CellCameras(world, size_px=32):
        pass
