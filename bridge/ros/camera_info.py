"""A camera's calibration file, in the format of ROS's own calibrators, as a message. Called by the camera node."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from sensor_msgs.msg import CameraInfo

from core.errors import ArtifactError, ConfigError


def read_camera_info(path: Path) -> CameraInfo:
    """Returns the calibration in a YAML file.

    Args:
        path: As written by ROS's `camera_calibration`.

    Raises:
        ConfigError: There is no such file.
        ArtifactError: It holds no calibration.

    Source: ROS 2 image_common, camera_calibration_parsers (names of the fields).
    """
    if not path.is_file():
        raise ConfigError(f"no calibration file at {path}; calibrate the camera or leave the parameter empty")
    try:
        return _info(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is no camera calibration ({error!r}); calibrate the camera again") from error


def _info(data: Any) -> CameraInfo:
    message = CameraInfo(
        width=int(data["image_width"]), height=int(data["image_height"]), distortion_model=data["distortion_model"]
    )
    message.d = _numbers(data["distortion_coefficients"], None)
    message.k = _numbers(data["camera_matrix"], 9)
    message.r = _numbers(data["rectification_matrix"], 9)
    message.p = _numbers(data["projection_matrix"], 12)
    return message


def _numbers(matrix: Any, count: int | None) -> list[float]:
    values = [float(value) for value in matrix["data"]]
    if (count is not None and len(values) != count) or not np.isfinite(values).all():
        raise ValueError(f"{len(values)} values {values}; expected {count}, finite")
    return values
