"""The calibration bundle on disk."""

import datetime
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibration.bundle import age_days, bundle_hash, bundle_json, read_bundle, write_bundle
from core.calibration import CalibrationBundle, CameraModel
from core.errors import ArtifactError, ConfigError, ContractError
from core.transforms import Pose, quat_from_rotvec


def camera(name: str, mount: str) -> CameraModel:
    return CameraModel(
        name=name, width_px=192, height_px=192, mount=mount, delay_s=0.013,
        intrinsics=np.array([[231.7, 0, 95.5], [0, 231.7, 95.5], [0, 0, 1.0]]),
        pose=Pose(pos=np.array([0.1, 0.2, 1 / 3]), quat_xyzw=quat_from_rotvec(np.array([0.1, 2.0, -0.4]))),
    )  # fmt: skip


@pytest.fixture
def bundle() -> CalibrationBundle:
    return CalibrationBundle(
        cell="bench 2", cameras={"front": camera("front", "base"), "wrist": camera("wrist", "tcp")},
        workspace_low=np.array([0.2, -0.4, 0.0]), workspace_high=np.array([0.7, 0.4, 0.5]),
        table_height_m=0.001, held_out_error_px=0.31, measured_on="2026-11-01",
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path, bundle: CalibrationBundle) -> Path:
    write_bundle(tmp_path / "cell.json", bundle)
    return tmp_path / "cell.json"


def test_what_is_written_is_read_back_to_the_last_bit(path: Path, bundle: CalibrationBundle) -> None:
    back = read_bundle(path)
    assert bundle_json(back) == bundle_json(bundle)
    assert back.cameras["wrist"].mount == "tcp"
    assert np.array_equal(back.cameras["front"].pose.quat_xyzw, bundle.cameras["front"].pose.quat_xyzw)


def test_the_hash_does_not_depend_on_the_order_of_cameras_but_on_every_number(bundle: CalibrationBundle) -> None:
    turned = replace(bundle, cameras={name: bundle.cameras[name] for name in ("wrist", "front")})
    assert bundle_hash(turned) == bundle_hash(bundle)
    assert bundle_hash(replace(bundle, table_height_m=0.0011)) != bundle_hash(bundle)


def test_writing_again_replaces_the_file_and_leaves_nothing_beside_it(path: Path, bundle: CalibrationBundle) -> None:
    digest = write_bundle(path, replace(bundle, cell="bench 3"))
    assert read_bundle(path).cell == "bench 3"
    assert digest == bundle_hash(read_bundle(path))
    assert [p.name for p in path.parent.iterdir()] == ["cell.json"]


def test_a_missing_file_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no calibration bundle"):
        read_bundle(tmp_path / "none.json")


def test_a_changed_number_is_noticed(path: Path) -> None:
    path.write_text(path.read_text().replace("0.001", "0.002"))
    with pytest.raises(ArtifactError, match="changed after it was measured"):
        read_bundle(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON"),
        ('{"format": "regr', "no JSON"),
        ("[1, 2]", "no calibration bundle"),
        ('{"format": "other"}', "no calibration bundle"),
        ('{"format": "regrasp.calibration", "version": 9}', "version 9"),
        ('{"format": "regrasp.calibration", "version": 1, "bundle": {}}', "fields"),
    ],
)
def test_damaged_and_foreign_files_are_refused_with_the_reason(path: Path, text: str, words: str) -> None:
    path.write_text(text)
    with pytest.raises(ArtifactError, match=words):
        read_bundle(path)


def test_bytes_that_are_no_text_are_refused(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArtifactError, match="no JSON"):
        read_bundle(path)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("measured_on", "last week", "ISO date"),
        ("workspace_low_m", [1.0, 1.0, 1.0], "empty"),
        ("held_out_error_px", -1.0, "held_out_error_px"),
        ("table_height_m", float("nan"), "table_height_m"),
        ("cameras", {}, "cameras"),
        ("cell", 3, "cell"),
    ],
)
def test_a_wrong_value_with_a_right_hash_is_refused_by_name(
    path: Path, bundle: CalibrationBundle, field: str, value: object, words: str
) -> None:
    data = json.loads(path.read_text())
    data["bundle"][field] = value
    body = json.dumps(data["bundle"], sort_keys=True, separators=(",", ":"))
    data["sha256"] = hashlib.sha256(body.encode()).hexdigest()
    path.write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match=words):
        read_bundle(path)


def test_a_bundle_that_could_not_be_read_back_is_not_written(tmp_path: Path, bundle: CalibrationBundle) -> None:
    with pytest.raises(ContractError, match="names must agree"):
        write_bundle(tmp_path / "x.json", replace(bundle, cameras={"side": bundle.cameras["front"]}))
    assert not list(tmp_path.iterdir())


def test_age_is_counted_in_days(bundle: CalibrationBundle) -> None:
    assert age_days(bundle, datetime.date(2026, 11, 20)) == 19
    assert age_days(bundle, datetime.date(2026, 10, 31)) == -1
