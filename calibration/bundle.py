"""The calibration bundle on disk: one canonical JSON file with its hash. Written by the solvers, read by `regrasp`."""

import datetime
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.calibration import CalibrationBundle, CameraModel
from core.errors import ArtifactError, ConfigError, ContractError
from core.transforms import Pose

FORMAT = "regrasp.calibration"
VERSION = 1

_FILE = ("format", "version", "sha256", "bundle")
_BUNDLE = (
    "cell", "cameras", "workspace_low_m", "workspace_high_m", "table_height_m", "held_out_error_px", "measured_on"
)  # fmt: skip
_CAMERA = ("name", "width_px", "height_px", "intrinsics_px", "mount", "pos_m", "quat_xyzw", "delay_s")


def bundle_json(bundle: CalibrationBundle) -> str:
    """Returns the one text that stands for this bundle: sorted keys, no spaces, every number exact."""
    data = {
        "cell": bundle.cell,
        "cameras": [_camera_data(bundle.cameras[name]) for name in sorted(bundle.cameras)],
        "workspace_low_m": bundle.workspace_low.tolist(),
        "workspace_high_m": bundle.workspace_high.tolist(),
        "table_height_m": float(bundle.table_height_m),
        "held_out_error_px": float(bundle.held_out_error_px),
        "measured_on": bundle.measured_on,
    }
    return _canonical(data)


def bundle_hash(bundle: CalibrationBundle) -> str:
    """Returns the SHA-256 of `bundle_json`, hex; two bundles are the same exactly when their hashes are."""
    return hashlib.sha256(bundle_json(bundle).encode()).hexdigest()


def write_bundle(path: Path, bundle: CalibrationBundle) -> str:
    """Writes a bundle in one stroke (an older file stays whole until the new one is) and returns its hash.

    Args:
        path: File to write; its folder must exist.
        bundle: What was measured.

    Raises:
        ContractError: A value of the bundle could not be read back.
    """
    _validated(bundle)
    digest = bundle_hash(bundle)
    data = {"format": FORMAT, "version": VERSION, "sha256": digest, "bundle": json.loads(bundle_json(bundle))}
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(data, sort_keys=True, indent=1, allow_nan=False) + "\n")
    new.replace(path)
    return digest


def read_bundle(path: Path) -> CalibrationBundle:
    """Reads a bundle and checks its format, version, hash and values.

    Args:
        path: File written by `write_bundle`.

    Raises:
        ConfigError: There is no such file.
        ArtifactError: The file is damaged, foreign or of another version.
    """
    if not path.is_file():
        raise ConfigError(f"no calibration bundle at {path}; run the calibration or give another path")
    try:
        data = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(f"calibration bundle {path} is no JSON ({error}); measure the cell again") from error
    body = _opened(path, data)
    try:
        bundle = _bundle_of(body)
        _validated(bundle)
    except (ContractError, TypeError, ValueError, OverflowError) as error:
        raise ArtifactError(f"calibration bundle {path}: {error}; measure the cell again") from error
    return bundle


def age_days(bundle: CalibrationBundle, today: datetime.date) -> int:
    """Returns how long ago the cell was measured [days]; negative when the bundle is from the future."""
    return (today - datetime.date.fromisoformat(bundle.measured_on)).days


def _opened(path: Path, data: Any) -> dict[str, Any]:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ArtifactError(f"{path} is no calibration bundle (format must be {FORMAT!r}); give another path")
    if data.get("version") != VERSION:
        raise ArtifactError(f"calibration bundle {path} has version {data.get('version')!r}; this code reads {VERSION}")
    if set(data) != set(_FILE) or not isinstance(data["bundle"], dict):
        raise ArtifactError(f"calibration bundle {path} has fields {sorted(data)}; expected {sorted(_FILE)}")
    digest = hashlib.sha256(_canonical(data["bundle"]).encode()).hexdigest()
    if digest != data["sha256"]:
        raise ArtifactError(
            f"calibration bundle {path} was changed after it was measured: its hash is {digest[:12]}, "
            f"it says {str(data['sha256'])[:12]}; measure the cell again"
        )
    return dict(data["bundle"])


def _canonical(data: object) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def _camera_data(camera: CameraModel) -> dict[str, object]:
    return {
        "name": camera.name,
        "width_px": camera.width_px,
        "height_px": camera.height_px,
        "intrinsics_px": camera.intrinsics.tolist(),
        "mount": camera.mount,
        "pos_m": camera.pose.pos.tolist(),
        "quat_xyzw": camera.pose.quat_xyzw.tolist(),
        "delay_s": float(camera.delay_s),
    }


def _bundle_of(data: Mapping[str, Any]) -> CalibrationBundle:
    _require_fields("the bundle", data, _BUNDLE)
    cameras = [_camera_of(c) for c in _sequence("cameras", data["cameras"])]
    return CalibrationBundle(
        cell=_text("cell", data["cell"]),
        cameras={c.name: c for c in cameras},
        workspace_low=np.asarray(data["workspace_low_m"], dtype=np.float64),
        workspace_high=np.asarray(data["workspace_high_m"], dtype=np.float64),
        table_height_m=float(data["table_height_m"]),
        held_out_error_px=float(data["held_out_error_px"]),
        measured_on=_text("measured_on", data["measured_on"]),
    )


def _camera_of(data: Any) -> CameraModel:
    if not isinstance(data, dict):
        raise ContractError(f"a camera is {data!r}; expected an object")
    _require_fields("a camera", data, _CAMERA)
    return CameraModel(
        name=_text("name", data["name"]),
        width_px=int(data["width_px"]),
        height_px=int(data["height_px"]),
        intrinsics=np.asarray(data["intrinsics_px"], dtype=np.float64),
        mount=_text("mount", data["mount"]),
        pose=Pose(
            pos=np.asarray(data["pos_m"], dtype=np.float64),
            quat_xyzw=np.asarray(data["quat_xyzw"], dtype=np.float64),
        ),
        delay_s=float(data["delay_s"]),
    )


def _require_fields(what: str, data: Mapping[str, Any], names: tuple[str, ...]) -> None:
    if set(data) != set(names):
        missing, foreign = sorted(set(names) - set(data)), sorted(set(data) - set(names))
        raise ContractError(f"{what} lacks {missing} and has unknown {foreign}; expected exactly {sorted(names)}")


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ContractError(f"{what} is {value!r}; expected text")
    return value


def _sequence(what: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ContractError(f"{what} is {value!r}; expected a list")
    return value


def _validated(bundle: CalibrationBundle) -> None:
    """Checks what the value itself does not: dates, sizes, focal lengths, that names agree and numbers are finite."""
    try:
        datetime.date.fromisoformat(bundle.measured_on)
    except ValueError as error:
        raise ContractError(f"measured_on is {bundle.measured_on!r}; expected an ISO date, e.g. 2026-11-20") from error
    if not (math.isfinite(bundle.held_out_error_px) and bundle.held_out_error_px >= 0):
        raise ContractError(f"held_out_error_px is {bundle.held_out_error_px}; expected a finite number >= 0")
    if not math.isfinite(bundle.table_height_m):
        raise ContractError(f"table_height_m is {bundle.table_height_m}; expected a finite number")
    for name, camera in bundle.cameras.items():
        focal = camera.intrinsics[[0, 1], [0, 1]]
        if camera.name != name or min(camera.width_px, camera.height_px) < 1 or not (focal > 0).all():
            raise ContractError(
                f"camera {name!r}: named {camera.name!r}, {camera.width_px} x {camera.height_px} px, "
                f"focal lengths {focal} px; the names must agree and every size be positive"
            )
        if not (math.isfinite(camera.delay_s) and camera.delay_s >= 0):
            raise ContractError(f"camera {name!r} has a delay of {camera.delay_s} s; expected a finite number >= 0")
