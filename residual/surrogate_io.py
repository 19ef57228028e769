"""The surrogate on disk: `surrogate.safetensors` beside `surrogate.json`. Called by `train` and by CI's wiring."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ArtifactError
from residual.mlp import Mlp
from residual.surrogate import INPUTS, Surrogate
from residual.tensors import read_manifest, read_tensors, write_manifest, write_tensors

SURROGATE_FORMAT = "regrasp-surrogate@2"


def save_surrogate(folder: Path, surrogate: Surrogate, made: Mapping[str, float | str]) -> None:
    """Writes a surrogate.

    Args:
        folder: Made when missing.
        surrogate: Trained.
        made: How it was made, for the manifest: task, episodes, seed, nominal success; keys carry units.
    """
    tensors: dict[str, NDArray[Any]] = {"mean": surrogate.mean, "scale": surrogate.scale}
    tensors |= surrogate.network.tensors()
    sha256 = write_tensors(folder / "surrogate.safetensors", tensors)
    manifest = {
        "format": SURROGATE_FORMAT, "sha256": sha256, "chunk": surrogate.chunk, "policy_id": surrogate.policy_id,
        "activation": surrogate.network.activation, "made": dict(made),
    }  # fmt: skip
    write_manifest(folder / "surrogate.json", manifest)


def load_surrogate(folder: Path) -> Surrogate:
    """Reads a surrogate.

    Raises:
        ArtifactError: Missing, damaged, foreign, or of another input layout.
    """
    manifest = read_manifest(folder / "surrogate.json", SURROGATE_FORMAT)
    try:
        tensors = read_tensors(folder / "surrogate.safetensors", str(manifest["sha256"]))
        mean, scale = tensors.pop("mean"), tensors.pop("scale")
        surrogate = Surrogate(
            network=Mlp.of(tensors, str(manifest["activation"])),
            mean=np.asarray(mean, dtype=np.float64),
            scale=np.asarray(scale, dtype=np.float64),
            chunk=int(manifest["chunk"]),
            policy_id=str(manifest["policy_id"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"surrogate in {folder} is damaged ({error!r}); restore or retrain it") from error
    if surrogate.network.inputs != INPUTS or surrogate.mean.shape != (INPUTS,):
        raise ArtifactError(f"surrogate in {folder} reads {surrogate.network.inputs} values, not {INPUTS}; retrain it")
    return surrogate
