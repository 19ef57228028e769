"""Demonstrations on disk: `demos.json`, `demos.safetensors`, `images.npy`. Called by `learn demos` and `learn bc`.

Pictures are mapped into memory, not read: six tasks of them do not fit.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from core.demonstrations import Demonstrations
from core.errors import ArtifactError

FORMAT = "regrasp-demos@2"
_ARRAYS = ("pictured", "proprio", "actions", "episode", "objects_in_base", "starts")


def save_demonstrations(folder: Path, demos: Demonstrations, made: dict[str, float | int | str]) -> None:
    """Writes demonstrations; the manifest last, so that an interrupted writing is not mistaken for them.

    Args:
        folder: Made when missing.
        demos: What to write.
        made: Task, seeds, counts: they must be equal for the files to be used again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "demos.json").unlink(missing_ok=True)
    save_file({name: np.ascontiguousarray(getattr(demos, name)) for name in _ARRAYS}, folder / "demos.safetensors")
    np.save(folder / "images.npy", demos.images, allow_pickle=False)
    document = {
        "format": FORMAT, "made": made, "sha256": _sha256(folder / "demos.safetensors"), "cameras": demos.cameras,
        "instructions": demos.instructions, "object_names": demos.object_names,
    }  # fmt: skip
    (folder / "demos.json").write_text(json.dumps(document, indent=1) + "\n")


def load_demonstrations(folder: Path, made: dict[str, float | int | str]) -> Demonstrations | None:
    """Returns demonstrations that were made just so, None when there are none.

    Args:
        folder: Where they may be.
        made: As given to `save_demonstrations`.

    Raises:
        ArtifactError: Damaged files.
    """
    path = folder / "demos.json"
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text())
        if document["format"] != FORMAT or document["made"] != made:
            return None
        if document["sha256"] != _sha256(folder / "demos.safetensors"):
            raise ArtifactError(f"{folder}/demos.safetensors is not what demos.json says; delete the folder")
        return _demonstrations(folder, document)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{folder} holds damaged demonstrations ({error!r}); delete the folder") from error


def load_corrections(folder: Path) -> tuple[str, Demonstrations]:
    """Returns the task's name, and what `learn corrections` recorded.

    Args:
        folder: As it was written.

    Raises:
        ArtifactError: Nothing there, or damaged files.
    """
    try:
        made = json.loads((folder / "demos.json").read_text())["made"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{folder} holds no corrections ({error!r}); `regrasp learn corrections` writes them"
        ) from error
    found = load_demonstrations(folder, made)
    if found is None or "corrections" not in made:
        raise ArtifactError(f"{folder} holds no corrections in this format; `regrasp learn corrections` writes them")
    return str(made["task"]), found


def _demonstrations(folder: Path, document: dict[str, Any]) -> Demonstrations:
    return Demonstrations(
        images=np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False),
        cameras=tuple(document["cameras"]),
        instructions=tuple(document["instructions"]),
        object_names=tuple(document["object_names"]),
        **load_file(folder / "demos.safetensors"),
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
