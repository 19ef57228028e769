"""The embedded probe on disk: `probe.safetensors` beside `probe.json`. Called by `learn probe` and by whoever runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ArtifactError, ConfigError, ContractError
from core.probe import ProbeLayer, ProbeWeights
from residual.tensors import read_manifest, read_tensors, write_manifest, write_tensors

PROBE_FORMAT = "regrasp-probe@1"


def save_probe(folder: Path, weights: ProbeWeights, made: Mapping[str, float | str]) -> None:
    """Writes a probe.

    Args:
        folder: Made when missing.
        weights: Fitted and calibrated.
        made: How it was made and how good it is, for the manifest; keys carry units.
    """
    tensors: dict[str, NDArray[Any]] = {"mean": weights.mean, "scale": weights.scale}
    for i, layer in enumerate(weights.layers):
        tensors |= {f"weight{i}": layer.weight, f"bias{i}": layer.bias}
    manifest = {
        "format": PROBE_FORMAT, "sha256": write_tensors(folder / "probe.safetensors", tensors), "name": weights.name,
        "layout": weights.layout, "policy": weights.policy, "labels": list(weights.labels),
        "temperature": weights.temperature, "threshold": weights.threshold, "layers": len(weights.layers),
        "made": dict(made),
    }  # fmt: skip
    write_manifest(folder / "probe.json", manifest)


def load_probe(folder: Path, *, policy: str) -> ProbeWeights:
    """Reads a probe for the policy that will run.

    Args:
        folder: What `save_probe` wrote.
        policy: name@hash of the policy that will run.

    Raises:
        ArtifactError: Missing, damaged, foreign, or trained on another policy's features.
    """
    manifest = read_manifest(folder / "probe.json", PROBE_FORMAT)
    try:
        weights = _weights(manifest, read_tensors(folder / "probe.safetensors", str(manifest["sha256"])))
    except (ConfigError, ContractError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"probe in {folder} is damaged ({error!r}); restore it or train it again") from error
    if weights.policy != policy:
        raise ArtifactError(
            f"probe in {folder} reads features of policy {weights.policy!r}, not of {policy!r}; "
            f"use that policy or train a probe with `regrasp learn probe`"
        )
    return weights


def _weights(manifest: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> ProbeWeights:
    layers = tuple(
        ProbeLayer(weight=np.asarray(tensors[f"weight{i}"]), bias=np.asarray(tensors[f"bias{i}"]))
        for i in range(int(manifest["layers"]))
    )
    return ProbeWeights(
        name=str(manifest["name"]),
        layout=str(manifest["layout"]),
        policy=str(manifest["policy"]),
        labels=tuple(manifest["labels"]),
        mean=np.asarray(tensors["mean"]),
        scale=np.asarray(tensors["scale"]),
        layers=layers,
        temperature=float(manifest["temperature"]),
        threshold=float(manifest["threshold"]),
    )
