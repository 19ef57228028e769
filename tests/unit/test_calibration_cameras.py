"""Reprojection error and the solver of a fixed camera's pose."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.camera_pose import solve_camera_pose
from calibration.reprojection import ReprojectionError, View, measure_reprojection
from core.arrays import Floats
from core.calibration import CameraModel
from core.errors import ContractError
from core.transforms import Pose, quat_conjugate, quat_from_rotvec, quat_multiply, rotvec_from_quat

DOWN = Pose(pos=np.array([0.4, 0.0, 0.3]), quat_xyzw=np.array([1.0, 0.0, 0.0, 0.0]))


@pytest.fixture
def camera() -> CameraModel:
    """A camera one metre in front of the table centre, looking back and down."""
    looks = quat_from_rotvec(np.array([0.0, 0.0, np.pi / 2]))
    tilted = quat_multiply(looks, quat_from_rotvec(np.array([np.pi + 0.9, 0.0, 0.0])))
    return CameraModel(
        name="front", width_px=192, height_px=192, mount="base",
        intrinsics=np.array([[230.0, 0, 95.5], [0, 230.0, 95.5], [0, 0, 1.0]]),
        pose=Pose(pos=np.array([1.1, 0.0, 0.6]), quat_xyzw=tilted),
    )  # fmt: skip


@pytest.fixture
def points(camera: CameraModel) -> Floats:
    rng = np.random.default_rng(0)
    local = np.concatenate([rng.uniform(-0.25, 0.25, (60, 2)), rng.uniform(0.6, 1.2, (60, 1))], axis=1)
    return camera.pose.apply(local)


def seen(camera: CameraModel, points: Floats, noise_px: float = 0.0) -> Floats:
    pixels = camera.project(camera.pose, points)[:, :2]
    return np.asarray(pixels + np.random.default_rng(1).normal(0, noise_px, pixels.shape), dtype=np.float64)


def test_the_pose_is_found_exactly_from_exact_points(camera: CameraModel, points: Floats) -> None:
    lost = replace(camera, pose=DOWN)
    fit = solve_camera_pose(lost, points, seen(camera, points))
    turn = quat_multiply(fit.camera.pose.quat_xyzw, quat_conjugate(camera.pose.quat_xyzw))
    assert fit.camera.pose.pos == pytest.approx(camera.pose.pos, abs=1e-5)
    assert np.linalg.norm(rotvec_from_quat(turn)) < 1e-5
    assert (fit.used, len(fit.held_out.residual_px)) == (45, 15)
    assert fit.held_out.passes(0.01)


def test_pixel_noise_shows_in_the_held_out_error_and_hardly_in_the_pose(camera: CameraModel, points: Floats) -> None:
    fit = solve_camera_pose(camera, points, seen(camera, points, noise_px=0.5))
    assert np.linalg.norm(fit.camera.pose.pos - camera.pose.pos) < 0.004
    assert 0.3 < fit.held_out.rms_px < 1.5
    assert not fit.held_out.passes(0.2)


def test_a_held_out_point_that_was_mistaken_fails_the_check_and_moves_nothing(
    camera: CameraModel, points: Floats
) -> None:
    pixels = seen(camera, points)
    pixels[3] += 40.0
    fit = solve_camera_pose(camera, points, pixels)
    assert fit.camera.pose.pos == pytest.approx(camera.pose.pos, abs=1e-5)
    assert fit.held_out.worst_px == pytest.approx(40.0 * 2**0.5, abs=0.01)
    assert not fit.held_out.passes(1.0)


def test_points_on_the_table_alone_are_enough(camera: CameraModel) -> None:
    grid = np.stack(np.meshgrid(np.linspace(0.2, 0.6, 5), np.linspace(-0.2, 0.2, 5), [0.0]), -1).reshape(-1, 3)
    fit = solve_camera_pose(camera, grid, seen(camera, grid))
    assert fit.camera.pose.pos == pytest.approx(camera.pose.pos, abs=1e-4)


def test_too_few_points_collinear_points_and_a_wrist_camera_are_refused(camera: CameraModel, points: Floats) -> None:
    pixels = seen(camera, points)
    with pytest.raises(ContractError, match="at least 8"):
        solve_camera_pose(camera, points[:7], pixels[:7])
    line = points[0] + np.linspace(0, 0.1, 12)[:, None] * np.array([1.0, 0.5, 0.0])
    with pytest.raises(ContractError, match="one line"):
        solve_camera_pose(camera, line, seen(camera, line))
    with pytest.raises(ContractError, match="mounted on 'tcp'"):
        solve_camera_pose(replace(camera, mount="tcp"), points, pixels)


def test_a_perfect_camera_has_no_error_and_a_turned_one_has(camera: CameraModel, points: Floats) -> None:
    view = View(tcp_in_base=DOWN, points_in_base=points, pixels=seen(camera, points))
    assert measure_reprojection(camera, [view, view]).rms_px == pytest.approx(0.0, abs=1e-9)
    turned = Pose(
        pos=camera.pose.pos,
        quat_xyzw=quat_multiply(camera.pose.quat_xyzw, quat_from_rotvec(np.array([0.01, 0.0, 0.0]))),
    )
    error = measure_reprojection(replace(camera, pose=turned), [view])
    assert error.rms_px == pytest.approx(2.3, abs=0.3)
    assert error.passes(3.0)
    assert not error.passes(1.0)


def test_a_wrist_camera_is_measured_from_where_the_tool_was(camera: CameraModel) -> None:
    wrist = replace(
        camera,
        name="wrist",
        mount="tcp",
        pose=Pose(pos=np.array([0.07, 0.0, -0.1]), quat_xyzw=np.array([0.0, 0.0, 0.0, 1.0])),
    )
    table = np.array([[0.40, 0.05, 0.0], [0.45, -0.03, 0.02]])
    moved = Pose(pos=np.array([0.45, 0.02, 0.25]), quat_xyzw=DOWN.quat_xyzw)
    views = [
        View(tcp_in_base=tcp, points_in_base=table, pixels=wrist.project(wrist.in_base(tcp), table)[:, :2])
        for tcp in (DOWN, moved)
    ]
    assert measure_reprojection(wrist, views).worst_px < 1e-9
    assert measure_reprojection(wrist, [replace(views[0], tcp_in_base=moved)]).rms_px > 10.0


def test_points_behind_the_camera_and_no_points_are_refused(camera: CameraModel) -> None:
    behind = camera.pose.apply(np.array([[0.0, 0.0, -0.5]]))
    with pytest.raises(ContractError, match="behind camera 'front'"):
        measure_reprojection(camera, [View(tcp_in_base=DOWN, points_in_base=behind, pixels=np.zeros((1, 2)))])
    with pytest.raises(ContractError, match="no point"):
        measure_reprojection(camera, [])


def test_a_view_needs_as_many_pixels_as_points() -> None:
    with pytest.raises(ContractError, match="pixels"):
        View(tcp_in_base=DOWN, points_in_base=np.zeros((3, 3)), pixels=np.zeros((2, 2)))


def test_a_limit_that_is_no_number_is_refused() -> None:
    with pytest.raises(ContractError, match="limit_px"):
        ReprojectionError(camera="front", residual_px=np.ones(3)).passes(float("nan"))
