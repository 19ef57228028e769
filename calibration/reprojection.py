"""How far a camera model is from what the camera saw. Called by the solvers and by whoever accepts a calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.arrays import Floats, floats, in_range
from core.calibration import CameraModel
from core.errors import ContractError
from core.transforms import Pose


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Known points and where one picture showed them."""

    tcp_in_base: Pose
    """The tool when the picture was taken; a fixed camera does not mind."""
    points_in_base: Floats
    """Shape (M, 3) [m]."""
    pixels: Floats
    """Shape (M, 2) [px, centre of the first pixel is (0, 0)]."""

    def __post_init__(self) -> None:
        points = floats("points_in_base [m]", self.points_in_base, (None, 3))
        object.__setattr__(self, "points_in_base", points)
        object.__setattr__(self, "pixels", floats("pixels [px]", self.pixels, (len(points), 2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReprojectionError:
    """Distance between where points were seen and where the model puts them."""

    camera: str
    residual_px: Floats
    """Shape (M,) [px], M >= 1."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "residual_px", floats("residual_px", self.residual_px, (None,)))
        if not len(self.residual_px):
            raise ContractError(f"camera {self.camera!r} was measured on no point; give at least one")

    @property
    def rms_px(self) -> float:
        """Root mean square [px]."""
        return float(np.sqrt(np.mean(self.residual_px**2)))

    @property
    def worst_px(self) -> float:
        """Largest [px]."""
        return float(self.residual_px.max())

    def passes(self, limit_px: float) -> bool:
        """Whether the root mean square stays at or below `limit_px` [px]."""
        return self.rms_px <= in_range("limit_px", limit_px, 0.0, 1e3)


def measure_reprojection(camera: CameraModel, views: Sequence[View]) -> ReprojectionError:
    """Measures a camera against points that were not used to calibrate it.

    Args:
        camera: The model on trial.
        views: What it saw; only points in front of it can have been seen.

    Raises:
        ContractError: No point, or a point behind the camera: the pose or the point list is wrong.
    """
    residuals = [_residuals(camera, view) for view in views]
    return ReprojectionError(camera=camera.name, residual_px=np.concatenate([np.zeros(0), *residuals]))


def _residuals(camera: CameraModel, view: View) -> Floats:
    uvz = camera.project(camera.in_base(view.tcp_in_base), view.points_in_base)
    if (uvz[:, 2] <= 0).any():
        raise ContractError(
            f"{int((uvz[:, 2] <= 0).sum())} of {len(uvz)} points lie behind camera {camera.name!r}; "
            "check its pose and the order of the points"
        )
    return np.asarray(np.linalg.norm(uvz[:, :2] - view.pixels, axis=1), dtype=np.float64)
