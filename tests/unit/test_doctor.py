"""The doctor finds what is missing and says what to do; it never passes what it did not look at."""

import hashlib
import json
import socket

import pytest

from regrasp.doctor import (
    check_disk,
    check_endpoint,
    check_lock,
    check_models,
    check_packages,
    check_python,
    check_rendering,
    checks,
)
from regrasp.doctor_check import Check, exit_code, format_checks


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    (folder / "base").mkdir(parents=True)
    (folder / "skill").mkdir()
    digest = hashlib.sha256(b"weights").hexdigest()
    for name in ("base/model.safetensors", "skill/skill.safetensors"):
        (folder / name).write_bytes(b"weights")
    (folder / "base/manifest.json").write_text(json.dumps({"sha256": {"model.safetensors": digest}}))
    card = {"name": "drop", "weights_file": "skill.safetensors", "weights_sha256": digest}
    (folder / "skill/card.json").write_text(json.dumps(card))
    return folder


def test_old_python_is_named_with_a_remedy():
    found = check_python((3, 10))
    assert not found.ok
    assert "3.10" in found.found
    assert "3.11" in found.remedy
    assert check_python((3, 13)).ok


def test_missing_and_wrong_packages_are_named():
    found = check_packages(["numpy>=1", "numpy<1", "no-such-package-here", "torch>=1; extra == 'dev'"])
    assert not found.ok
    assert "no-such-package-here is missing" in found.found
    assert "wanted <1" in found.found
    assert "torch" not in found.found


def test_lock_that_is_not_installed_is_only_a_note(tmp_path):
    lock = tmp_path / "requirements.txt"
    lock.write_text("pytest==0.0.1\n\n")
    found = check_lock(lock)
    assert not found.ok
    assert not found.required
    assert exit_code([found]) == 0


def test_rendering_is_tried_in_a_process_of_its_own():
    assert check_rendering("osmesa").ok


def test_unknown_gl_library_is_a_failure_not_a_crash():
    found = check_rendering("no-such-gl")
    assert not found.ok
    assert "no-such-gl" in found.found
    assert "libosmesa6" in found.remedy


def test_models_with_matching_hashes_pass(models):
    found = check_models(models)
    assert found.ok
    assert "2 files" in found.found


@pytest.mark.parametrize("name", ["base/model.safetensors", "skill/skill.safetensors"])
def test_damaged_model_is_named(models, name):
    (models / name).write_bytes(b"weightz")
    found = check_models(models)
    assert not found.ok
    assert f"{name} has sha256" in found.found


def test_missing_model_file_is_named(models):
    (models / "base/model.safetensors").unlink()
    assert "base/model.safetensors is missing" in check_models(models).found


@pytest.mark.parametrize("text", ["{", "[]"])
def test_manifest_that_is_no_json_object_is_named(models, text):
    (models / "skill/card.json").write_text(text)
    assert "skill/card.json is not a JSON object" in check_models(models).found


def test_folder_without_models_fails(tmp_path):
    assert not check_models(tmp_path).ok
    assert not check_models(tmp_path / "nowhere").ok


def test_free_disk_is_reported(tmp_path):
    assert "GB free" in check_disk(tmp_path).found


def test_endpoint_that_listens_passes_and_one_that_does_not_fails():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        assert check_endpoint(url).ok
    found = check_endpoint(url)
    assert not found.ok
    assert url in found.found
    assert check_endpoint("").ok


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1:99999/v1"])
def test_malformed_endpoint_is_a_finding_not_a_crash(url):
    assert not check_endpoint(url).ok


def test_whole_doctor_runs_and_its_table_shows_every_finding(models):
    found = checks(models)
    table = format_checks(found)
    assert all(check.name in table for check in found)
    ready = {c.name for c in found if c.ok}
    assert {"python", "packages", "rendering", "models"} <= ready


def test_table_shows_the_remedy_and_the_exit_code_is_one_when_something_required_is_wrong():
    bad = Check(name="disk", ok=False, found="0.1 GB free", remedy="free some")
    assert "FAIL" in format_checks([bad])
    assert "-> free some" in format_checks([bad])
    assert exit_code([bad]) == 1
