"""The checkpoint directory of a base policy: written after training, checked before it may drive.

    config.json  model.safetensors   as `transformers` writes them; `from_pretrained` reads them
    readout.safetensors              the scene readout, when there is one
    tokenizer.json                   word tokenizer, or gemma's for a full-size pi0
    manifest.json                    everything else needed to run it, with the sha256 of each file above
    README.md  training_log.jsonl    for people

Called by `regrasp` (training) and `bridge.pi0.policy` (loading). There is no pickle anywhere.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import PI0Config, PI0ForConditionalGeneration
from transformers.utils.logging import disable_progress_bar

from bridge.pi0.model import Pi0Network, SceneReadout
from bridge.pi0.processing import Affine, Processing
from bridge.pi0.tower import register_tower
from core.errors import ArtifactError

FORMAT = "regrasp-pi0/1"
"""Version of the directory; a loader refuses every other."""
_READOUT = "readout.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a checkpoint says about itself."""

    name: str
    """Of the policy, e.g. "pi0-nano"."""
    task: str
    """Tasks it was trained on, separated by spaces."""
    processing: Processing
    noise: str
    """"zero" or "random": where the sampler starts unless told otherwise."""
    steps: int
    """Denoising steps unless told otherwise."""
    action_names: tuple[str, ...]
    dt_s: float
    """Time between the actions of a chunk [s]."""
    state_names: tuple[str, ...]
    object_words: tuple[str, ...]
    """Words that can name a graspable object; empty when any instruction is accepted."""
    readout_objects: tuple[str, ...]
    """Objects the scene readout locates, "task/object"; empty when there is none."""
    training: Mapping[str, float | int | str]
    """Seeds, episodes, frames, minutes and final losses; for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint as loaded."""

    network: Pi0Network
    tokenizer: Tokenizer
    manifest: Manifest
    policy_id: str
    """name@first 12 hex digits of the hash over weights, tokenizer, processing and sampling."""


def save_checkpoint(directory: Path, network: Pi0Network, tokenizer: Tokenizer, manifest: Manifest,
                    texts: Mapping[str, str]) -> str:  # fmt: skip
    """Writes a checkpoint directory, replacing an old one only when the new one is complete.

    Args:
        directory: Where to.
        network: Weights as they should drive.
        tokenizer: Of its instructions.
        manifest: The rest.
        texts: Other files by name, e.g. README.md.

    Returns:
        The policy's id.
    """
    fresh = directory.with_name(directory.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    disable_progress_bar()
    network.pi0.save_pretrained(fresh)
    tokenizer.save(str(fresh / "tokenizer.json"))
    if network.readout is not None:
        save_file({k: v.contiguous() for k, v in network.readout.state_dict().items()}, fresh / _READOUT)
    hashes = {p.name: _sha256(p) for p in sorted(fresh.iterdir())}
    manifest_text = json.dumps({"format": FORMAT, **_to_json(manifest), "sha256": hashes}, indent=2)
    for name, text in {**texts, "manifest.json": manifest_text + "\n"}.items():
        (fresh / name).write_text(text)
    shutil.rmtree(directory, ignore_errors=True)
    fresh.rename(directory)
    return _policy_id(manifest, hashes)


def load_checkpoint(directory: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Checkpoint:
    """Returns the checkpoint after checking version, hashes, shapes and weights.

    Args:
        directory: A checkpoint directory.
        device: Where the weights go.
        dtype: Of the weights in memory; whatever they were stored in.

    Raises:
        ArtifactError: Says which file or value differs, and from what.
    """
    document = _read_manifest(directory)
    hashes = document.pop("sha256")
    _check_hashes(directory, hashes)
    manifest = _from_json(document, directory)
    try:
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    except Exception as error:  # tokenizers raises bare Exception
        raise ArtifactError(f"{directory}/tokenizer.json is not a tokenizer: {error}") from error
    network = _load_network(directory, dtype)
    _check_shapes(directory, network, manifest, tokenizer)
    if manifest.readout_objects:
        network.readout = _load_readout(directory, network.config, manifest)
    network.to(device=device, dtype=dtype).eval().requires_grad_(False)
    return Checkpoint(network=network, tokenizer=tokenizer, manifest=manifest, policy_id=_policy_id(manifest, hashes))


def _policy_id(manifest: Manifest, hashes: Mapping[str, str]) -> str:
    """Names what decides the actions; config.json is left out, where transformers also writes how it was made."""
    document = _to_json(manifest)
    decides = {name: document[name] for name in ("processing", "noise", "steps", "dt_s", "object_words")}
    files = {name: digest for name, digest in hashes.items() if name != "config.json"}
    text = json.dumps([decides, files], sort_keys=True)
    return f"{manifest.name}@{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_json(manifest: Manifest) -> dict[str, Any]:
    document = asdict(manifest)
    for name in ("state", "action"):
        document["processing"][name] = {k: np.asarray(v).tolist() for k, v in document["processing"][name].items()}
    return document


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / "manifest.json"
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise ArtifactError(f"no checkpoint at {directory}: cannot read {path.name} ({error.strerror})") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON: {error}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise ArtifactError(f"{path} has format {found!r}; this version reads {FORMAT!r}")
    del document["format"]
    if not isinstance(document.get("sha256"), dict) or "config.json" not in document["sha256"]:
        raise ArtifactError(f"{path} lists no hashes; it was not written by save_checkpoint")
    return dict(document)


def _check_hashes(directory: Path, hashes: Mapping[str, str]) -> None:
    for name, want in hashes.items():
        path = directory / name
        if not path.is_file():
            raise ArtifactError(f"{directory} lacks {name}, which its manifest lists")
        got = _sha256(path)
        if got != want:
            raise ArtifactError(f"{path} has sha256 {got[:12]}..., its manifest says {str(want)[:12]}...; restore it")


def _from_json(document: dict[str, Any], directory: Path) -> Manifest:
    where = f"{directory}/manifest.json"
    try:
        inner = _same_keys(Processing, document["processing"], where)
        for name in ("state", "action"):
            inner[name] = Affine(**_same_keys(Affine, inner[name], where))
        inner["cameras"] = tuple(inner["cameras"])
        values = {**_same_keys(Manifest, document, where), "processing": Processing(**inner)}
        for name in ("action_names", "state_names", "object_words", "readout_objects"):
            values[name] = tuple(values[name])
        return Manifest(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{where} does not hold what a manifest holds: {error}") from error


def _same_keys(kind: type, document: Mapping[str, Any], where: str) -> dict[str, Any]:
    want = {f.name for f in fields(kind)}
    if set(document) != want:
        raise ArtifactError(
            f"{where}: {kind.__name__} differs in {sorted(set(document) ^ want)}; expected {sorted(want)}"
        )
    return dict(document)


def _load_network(directory: Path, dtype: torch.dtype) -> Pi0Network:
    register_tower()
    disable_progress_bar()
    try:
        pi0, report = PI0ForConditionalGeneration.from_pretrained(
            directory, dtype=dtype, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(f"{directory}: weights do not fit config.json: {error}") from error
    wrong = {k: sorted(map(str, v)) for k, v in report.items() if v}
    if wrong:
        raise ArtifactError(f"{directory}: weights do not fit config.json: {wrong}")
    return Pi0Network(pi0)


def _load_readout(directory: Path, config: PI0Config, manifest: Manifest) -> SceneReadout:
    spec = manifest.processing
    try:
        weights = load_file(directory / _READOUT)
        readout = SceneReadout(
            tokens=len(spec.cameras) * spec.tokens_per_image,
            hidden=config.vlm_config.text_config.hidden_size,
            state_dim=config.max_state_dim,
            object_names=manifest.readout_objects,
            width=len(weights["squeeze.bias"]),
        )
        readout.load_state_dict(weights)
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(f"{directory}/{_READOUT} does not fit the manifest: {error}") from error
    return readout


def _check_shapes(directory: Path, network: Pi0Network, manifest: Manifest, tokenizer: Tokenizer) -> None:
    config, spec = network.config, manifest.processing
    pairs = {
        "image_px": (spec.image_px, config.vlm_config.vision_config.image_size),
        "tokens_per_image": (spec.tokens_per_image, network.tokens_per_image),
        "image_token": (spec.image_token, config.vlm_config.image_token_id),
        "state_width": (spec.state_width, config.max_state_dim),
        "action_width": (spec.action_width, config.max_action_dim),
        "number of action names": (len(manifest.action_names), spec.action.offset.size),
        "number of state names": (len(manifest.state_names), spec.state.offset.size),
    }
    for name, (said, found) in pairs.items():
        if said != found:
            raise ArtifactError(f"{directory}: manifest says {name} {said}, the network has {found}")
    room = config.vlm_config.text_config.vocab_size
    if tokenizer.get_vocab_size() > room:
        raise ArtifactError(f"{directory}: tokenizer has {tokenizer.get_vocab_size()} words, the network {room}")
    if manifest.noise not in ("zero", "random") or manifest.steps < 1:
        raise ArtifactError(f"{directory}: noise {manifest.noise!r}, steps {manifest.steps}; allowed zero|random, >= 1")
