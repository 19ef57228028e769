"""What a scripted expert showed, beside a training run: a resumed run imitates the same. Called by `ppo`."""

from pathlib import Path

import torch

from core.errors import ArtifactError
from residual.imitation import Imitated
from residual.tensors import read_manifest, read_tensors, write_manifest, write_tensors

FORMAT = "regrasp-shown@1"


def save_imitated(folder: Path, name: str, shown: Imitated) -> None:
    """Writes the rows that an expert showed."""
    arrays = {"features": shown.features.numpy(), "residuals": shown.residuals.numpy()}
    sha256 = write_tensors(folder / f"{name}-shown.tensors", arrays)
    write_manifest(folder / f"{name}-shown.json", {"format": FORMAT, "sha256": sha256})


def load_imitated(folder: Path, name: str) -> Imitated:
    """Reads what `save_imitated` wrote.

    Raises:
        ArtifactError: Missing or damaged.
    """
    sha256 = str(read_manifest(folder / f"{name}-shown.json", FORMAT).get("sha256"))
    arrays = read_tensors(folder / f"{name}-shown.tensors", sha256)
    if set(arrays) != {"features", "residuals"}:
        raise ArtifactError(f"{folder}/{name}-shown.tensors holds {sorted(arrays)}; delete the run to train anew")
    return Imitated(features=torch.as_tensor(arrays["features"]), residuals=torch.as_tensor(arrays["residuals"]))
