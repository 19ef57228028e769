"""Where a fixed camera is, from points whose place in base is known. Called when a cell is measured."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from calibration.reprojection import ReprojectionError, View, measure_reprojection
from core.arrays import Floats
from core.calibration import CameraModel
from core.errors import ContractError
from core.transforms import Pose, quat_from_rotvec

_MIN_POINTS = 8
"""Six determine a pose with a point to spare; the rest is held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraPoseFit:
    """A solved camera pose and how good it is on points it was not solved from."""

    camera: CameraModel
    """The camera with its solved pose."""
    used: int
    """Points solved from."""
    held_out: ReprojectionError


def solve_camera_pose(camera: CameraModel, points_in_base: Floats, pixels: Floats) -> CameraPoseFit:
    """Solves the pose of a fixed camera; every fourth point is held out and only measures the result.

    A first solution for any number of points is refined by least squares on the pixels.
    Source: Terzakis and Lourakis (2020), "A Consistently Fast and Globally Optimal Solution to PnP".

    Args:
        camera: Its intrinsics are trusted, its pose is replaced.
        points_in_base: Where the points are, shape (M, 3) [m], M >= 8, not on one line.
        pixels: Where they were seen, shape (M, 2) [px].

    Raises:
        ContractError: Too few points, points on a line, a wrist camera, or no pose fits.
    """
    if camera.mount != "base":
        raise ContractError(f"camera {camera.name!r} is mounted on {camera.mount!r}; only a fixed camera has one pose")
    view = View(tcp_in_base=camera.pose, points_in_base=points_in_base, pixels=pixels)
    if len(view.pixels) < _MIN_POINTS:
        raise ContractError(f"{len(view.pixels)} points given; at least {_MIN_POINTS} are needed")
    kept_out = np.arange(len(view.pixels)) % 4 == 3
    solved = replace(camera, pose=_solved(camera, view.points_in_base[~kept_out], view.pixels[~kept_out]))
    rest = replace(view, points_in_base=view.points_in_base[kept_out], pixels=view.pixels[kept_out])
    return CameraPoseFit(
        camera=solved, used=int((~kept_out).sum()), held_out=measure_reprojection(solved, [rest])
    )  # fmt: skip


def _solved(camera: CameraModel, points: Floats, pixels: Floats) -> Pose:
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if spread[1] < 1e-3 * spread[0] or spread[0] == 0:
        raise ContractError("the points lie on one line; add points beside it")
    points, pixels = np.ascontiguousarray(points), np.ascontiguousarray(pixels)
    found, rvec, tvec = cv2.solvePnP(points, pixels, camera.intrinsics, None, flags=cv2.SOLVEPNP_SQPNP)
    if not found:
        raise ContractError(f"no pose of camera {camera.name!r} fits; check that points and pixels are in one order")
    rvec, tvec = cv2.solvePnPRefineLM(points, pixels, camera.intrinsics, None, rvec, tvec)
    base_in_camera = Pose(pos=np.ravel(tvec), quat_xyzw=quat_from_rotvec(np.ravel(rvec)))
    return base_in_camera.inverse()
