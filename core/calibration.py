"""What is known of the cell's geometry: one bundle, measured by `calibration`, used by trackers and guards."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from core.arrays import Floats, floats
from core.errors import ContractError, unknown_name
from core.transforms import Pose, matrix_from_quat


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraModel:
    """A pinhole camera. Its frame is OpenCV's: x right, y down, z into the scene."""

    name: str
    width_px: int
    height_px: int
    intrinsics: Floats
    """Camera matrix K, shape (3, 3) [px]."""
    mount: str
    """Parent frame of `pose`: "base" (fixed) or "tcp" (wrist)."""
    pose: Pose
    """Camera in its mount frame."""
    delay_s: float = 0.0
    """From exposure to arrival [s]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "intrinsics", floats("intrinsics [px]", self.intrinsics, (3, 3)))
        if self.mount not in ("base", "tcp"):
            raise ContractError(f"camera {self.name!r} is mounted on {self.mount!r}; allowed 'base', 'tcp'")

    def in_base(self, tcp_in_base: Pose) -> Pose:
        """Returns the camera in base, given where the tool is."""
        return self.pose if self.mount == "base" else tcp_in_base.compose(self.pose)

    def rays(self, camera_in_base: Pose, pixels: Floats) -> Floats:
        """Returns unit rays (M, 3) in base through pixels (M, 2) [px, centre of the first pixel is (0, 0)]."""
        uv1 = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1)
        rays = uv1 @ np.linalg.inv(self.intrinsics).T @ matrix_from_quat(camera_in_base.quat_xyzw).T
        return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True), dtype=np.float64)

    def project(self, camera_in_base: Pose, points: Floats) -> Floats:
        """Returns pixels (M, 2) and depth [m] as (M, 3) of points (M, 3) [m] in base."""
        local = camera_in_base.inverse().apply(points)
        uvw = local @ self.intrinsics.T
        return np.concatenate([uvw[:, :2] / uvw[:, 2:], local[:, 2:]], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBundle:
    """Everything measured about one cell."""

    cell: str
    cameras: Mapping[str, CameraModel]
    workspace_low: Floats
    """Lower corner of the box the tool may be in, in base, shape (3,) [m]."""
    workspace_high: Floats
    """Upper corner, shape (3,) [m]."""
    table_height_m: float
    """Table top in base [m]."""
    held_out_error_px: float
    """Reprojection error on points not used to calibrate [px]."""
    measured_on: str
    """ISO date."""

    def __post_init__(self) -> None:
        for name in ("workspace_low", "workspace_high"):
            object.__setattr__(self, name, floats(f"{name} [m]", getattr(self, name), (3,)))
        if not (self.workspace_low < self.workspace_high).all():
            raise ContractError(f"workspace {self.workspace_low}..{self.workspace_high} [m] is empty")
        object.__setattr__(self, "cameras", MappingProxyType(dict(self.cameras)))

    def camera(self, name: str) -> CameraModel:
        """Returns the camera called `name`, or raises `ConfigError` naming the nearest."""
        if name not in self.cameras:
            raise unknown_name("camera", name, self.cameras)
        return self.cameras[name]
