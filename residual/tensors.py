"""Arrays on disk as safetensors, with their SHA-256; no pickle anywhere. Called by cards, surrogate and bank."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from core.errors import ArtifactError

Tensors = Mapping[str, NDArray[Any]]


def write_tensors(path: Path, tensors: Tensors) -> str:
    """Writes named arrays and returns the file's SHA-256, hex.

    Args:
        path: File to write; its folder is made.
        tensors: Arrays by name.
    """
    data = _encoded(tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def fingerprint(tensors: Tensors) -> str:
    """Returns the SHA-256, hex, of the file that `write_tensors` would write."""
    return hashlib.sha256(_encoded(tensors)).hexdigest()


def read_tensors(path: Path, sha256: str) -> dict[str, NDArray[Any]]:
    """Reads named arrays after checking the file's SHA-256.

    Args:
        path: File that `write_tensors` wrote.
        sha256: Expected hash, hex.

    Raises:
        ArtifactError: Missing, damaged, or another file than the manifest names.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror}); restore it beside its manifest") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ArtifactError(f"{path} has sha256 {found[:12]}; its manifest says {sha256[:12]}: restore or retrain it")
    try:
        return dict(load(data))
    except SafetensorError as error:
        raise ArtifactError(f"{path} is not a safetensors file ({error}); restore or retrain it") from error


def _encoded(tensors: Tensors) -> bytes:
    return bytes(save({k: np.ascontiguousarray(tensors[k]) for k in sorted(tensors)}))


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Writes a manifest as sorted JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_manifest(path: Path, form: str) -> dict[str, Any]:
    """Reads a manifest.

    Args:
        path: JSON file.
        form: Its expected "format", name@version.

    Raises:
        ArtifactError: Missing, not JSON, or of another format.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror}); check the path or train it") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON ({error}); restore or retrain it") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != form:
        raise ArtifactError(f"{path} has format {found!r}; this version reads {form!r}: restore or retrain it")
    return dict(manifest)
