"""The checkpoint directory: what is written comes back, and nothing damaged or foreign is loaded."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bridge.pi0.checkpoint import load_checkpoint, save_checkpoint
from core.errors import ArtifactError


@pytest.fixture
def directory(untrained_nano: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(untrained_nano, tmp_path / "copy"))


def rewrite(directory: Path, change) -> None:
    path = directory / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def rehash(directory: Path, name: str) -> None:
    digest = sha256((directory / name).read_bytes()).hexdigest()
    rewrite(directory, lambda document: document["sha256"].update({name: digest}))


def test_what_is_saved_comes_back_to_the_bit(untrained_nano, tmp_path):
    first = load_checkpoint(untrained_nano)
    policy_id = save_checkpoint(tmp_path / "again", first.network, first.tokenizer, first.manifest, {})
    again = load_checkpoint(tmp_path / "again")
    assert policy_id == first.policy_id == again.policy_id
    assert first.manifest.training == again.manifest.training
    assert first.manifest.processing.cameras == again.manifest.processing.cameras
    assert (first.manifest.processing.action.scale == again.manifest.processing.action.scale).all()
    before, after = first.network.state_dict(), again.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_saving_replaces_an_older_checkpoint(directory):
    found = load_checkpoint(directory)
    with torch.no_grad():
        found.network.pi0.action_out_proj.bias += 1.0
    policy_id = save_checkpoint(directory, found.network, found.tokenizer, found.manifest, {"README.md": "new"})
    assert policy_id != found.policy_id
    assert load_checkpoint(directory).policy_id == policy_id
    assert (directory / "README.md").read_text() == "new"


def test_a_folder_without_manifest_is_no_checkpoint(tmp_path):
    with pytest.raises(ArtifactError, match=r"no checkpoint.*manifest\.json"):
        load_checkpoint(tmp_path)


def test_a_manifest_that_is_no_json_is_named(directory):
    (directory / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match="not JSON"):
        load_checkpoint(directory)


def test_another_format_is_refused(directory):
    rewrite(directory, lambda document: document.update(format="regrasp-pi0/9"))
    with pytest.raises(ArtifactError, match=r"regrasp-pi0/9.*regrasp-pi0/1"):
        load_checkpoint(directory)


@pytest.mark.parametrize("name", ["model.safetensors", "readout.safetensors", "tokenizer.json", "config.json"])
def test_one_changed_byte_is_found(directory, name):
    data = bytearray((directory / name).read_bytes())
    data[-1] ^= 1
    (directory / name).write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match=f"{name} has sha256"):
        load_checkpoint(directory)


def test_a_missing_file_is_named(directory):
    (directory / "readout.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"lacks readout\.safetensors"):
        load_checkpoint(directory)


def test_an_unknown_manifest_entry_is_named(directory):
    rewrite(directory, lambda document: document["processing"].update(cropping=3))
    with pytest.raises(ArtifactError, match="cropping"):
        load_checkpoint(directory)


def test_weights_that_lack_a_tensor_are_refused(directory):
    weights = load_file(directory / "model.safetensors")
    del weights["action_out_proj.bias"]
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    rehash(directory, "model.safetensors")
    with pytest.raises(ArtifactError, match=r"action_out_proj\.bias"):
        load_checkpoint(directory)


def test_weights_of_another_shape_are_refused(directory):
    weights = load_file(directory / "model.safetensors")
    weights["action_out_proj.bias"] = torch.zeros(9)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    rehash(directory, "model.safetensors")
    with pytest.raises(ArtifactError, match="do not fit"):
        load_checkpoint(directory)


def test_a_readout_of_another_shape_is_refused(directory):
    rewrite(directory, lambda document: document.update(readout_objects=["apple"]))
    with pytest.raises(ArtifactError, match=r"readout\.safetensors does not fit"):
        load_checkpoint(directory)


@pytest.mark.parametrize(
    ("name", "value"), [("image_px", 64), ("tokens_per_image", 4), ("state_width", 9), ("image_token", 2)]
)
def test_a_manifest_that_contradicts_the_network_is_refused(directory, name, value):
    rewrite(directory, lambda document: document["processing"].update({name: value}))
    with pytest.raises(ArtifactError, match=rf"{name} {value}, the network has"):
        load_checkpoint(directory)


def test_an_unknown_noise_mode_is_refused(directory):
    rewrite(directory, lambda document: document.update(noise="pink"))
    with pytest.raises(ArtifactError, match="pink"):
        load_checkpoint(directory)


def test_a_tokenizer_larger_than_the_network_is_refused(directory):
    document = json.loads((directory / "tokenizer.json").read_text())
    document["model"]["vocab"].update({f"word{i}": 100 + i for i in range(50)})
    (directory / "tokenizer.json").write_text(json.dumps(document))
    rehash(directory, "tokenizer.json")
    with pytest.raises(ArtifactError, match="tokenizer has"):
        load_checkpoint(directory)
