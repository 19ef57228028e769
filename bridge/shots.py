"""One image with the pose of its camera, and what of each object shows in it. Used by `bridge.tracker`."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bridge.blobs import Blob, Picture
from bridge.silhouette import Rays
from core.arrays import Bools, Floats
from core.calibration import CameraModel
from core.transforms import Pose

_MOST_RAYS = 64
"""More outline pixels than this add time, not precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One object in one new image."""

    rays: Rays
    tool: Pose
    """The tool in base when the image was taken."""
    centre_ray: Floats
    """Through the centre of the blob, shape (3,)."""
    blob: Blob
    t_ns: int

    def on_plane(self, height_m: float) -> Floats:
        """Returns where the ray through the blob's centre meets a level plane, shape (3,) [m]."""
        depth = (height_m - self.rays.origin[2]) / min(self.centre_ray[2], -0.02)
        return np.asarray(self.rays.origin + self.centre_ray * depth, dtype=np.float64)

    def at_size(self, radius_m: float) -> Floats:
        """Returns where on that ray a sphere would look as large as the blob, shape (3,) [m]."""
        depth = radius_m / (self.rays.pixel_rad * np.sqrt(self.blob.area_px / np.pi))
        return np.asarray(self.rays.origin + self.centre_ray * depth, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One new image."""

    camera: CameraModel
    pose: Pose
    """The camera in base when it was taken."""
    tool: Pose
    """The tool in base when it was taken."""
    t_ns: int
    picture: Picture

    def bare_at(self, points: Floats, floors: Container[str]) -> Bools:
        """Returns at which points in base the image shows bare table, or one of `floors`, shape (M,).

        Args:
            points: Shape (M, 3) [m]; what is not in the image is not bare.
            floors: Names of objects that others lie on.
        """
        uvz = self.camera.project(self.pose, points)
        column, row = np.round(np.clip(uvz[:, :2], -9e3, 9e3)).astype(np.int64).T
        seen = (column >= 0) & (row >= 0) & (column < self.camera.width_px) & (row < self.camera.height_px)
        seen &= uvz[:, 2] > 0.02
        seen[seen] = self.picture.bare(floors, row[seen], column[seen])
        return np.asarray(seen)


def views_of(shot: Shot) -> Mapping[str, View]:
    """Returns one view per blob whose outline shows, by name."""
    blobs = {name: blob for name, blob in shot.picture.blobs.items() if len(blob.outline)}
    if not blobs:
        return {}
    strides = [1 + len(b.outline) // _MOST_RAYS for b in blobs.values()]
    pixels = [np.concatenate([b.centre[None], b.outline[::n]]) for b, n in zip(blobs.values(), strides, strict=True)]
    rays = shot.camera.rays(shot.pose, np.concatenate(pixels))
    views: dict[str, View] = {}
    end = 0
    for (name, blob), stride, own in zip(blobs.items(), strides, pixels, strict=True):
        start, end = end, end + len(own)
        outline = Rays(
            origin=shot.pose.pos,
            directions=rays[start + 1 : end],
            bare=blob.bare[::stride],
            pixel_rad=1.0 / float(shot.camera.intrinsics[0, 0]),
            stride=stride,
        )
        views[name] = View(rays=outline, tool=shot.tool, centre_ray=rays[start], blob=blob, t_ns=shot.t_ns)
    return views


def best(views: Sequence[View]) -> View:
    """Returns the view that shows most, and least cut off."""
    return max(views, key=lambda v: v.blob.area_px * (1.01 - v.blob.clipped))


def crossing(views: Sequence[View]) -> Floats:
    """Returns the point that is nearest to the rays through the centres of two or more views, shape (3,) [m]."""
    across = [np.eye(3) - np.outer(v.centre_ray, v.centre_ray) for v in views]
    seen = sum(a @ v.rays.origin for a, v in zip(across, views, strict=True))
    return np.asarray(np.linalg.lstsq(np.sum(across, axis=0), seen)[0], dtype=np.float64)
