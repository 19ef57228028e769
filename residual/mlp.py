"""A multi-layer perceptron in numpy: what trained networks run as, in training environments and on the robot alike."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats
from core.errors import ArtifactError

ACTIVATIONS: Mapping[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, np.float32(0.0)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mlp:
    """Linear layers with one activation between them, none after the last; computes in float32."""

    weights: tuple[NDArray[np.float32], ...]
    """Per layer, shape (out, in)."""
    biases: tuple[NDArray[np.float32], ...]
    """Per layer, shape (out,)."""
    activation: str
    """"tanh" or "relu"."""

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ArtifactError(f"activation {self.activation!r} is unknown; allowed {sorted(ACTIVATIONS)}")
        sizes = [(w.shape[1], w.shape[0], b.shape) for w, b in zip(self.weights, self.biases, strict=True)]
        chained = all(a[1] == b[0] for a, b in pairwise(sizes))
        if not sizes or not chained or any(b != (out,) for _, out, b in sizes):
            raise ArtifactError(f"network layers {sizes} do not fit together; restore or retrain the file")

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all layers, hex."""
        digest = hashlib.sha256(self.activation.encode())
        for array in (*self.weights, *self.biases):
            digest.update(array.tobytes())
        return digest.hexdigest()

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return int(self.weights[0].shape[1])

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return int(self.weights[-1].shape[0])

    def __call__(self, x: Floats) -> Floats:
        """Returns the outputs (N, out) for inputs (N, in)."""
        act, y = ACTIVATIONS[self.activation], x.astype(np.float32)
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            y = act(y @ w.T + b)
        return np.asarray(y @ self.weights[-1].T + self.biases[-1], dtype=np.float64)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Returns the layers by name, for a safetensors file."""
        named = {f"w{i}": w for i, w in enumerate(self.weights)}
        return named | {f"b{i}": b for i, b in enumerate(self.biases)}

    @staticmethod
    def of(tensors: Mapping[str, NDArray[Any]], activation: str) -> "Mlp":
        """Builds the network from what `tensors` gave.

        Raises:
            ArtifactError: A layer is missing or does not fit.
        """
        count = sum(name.startswith("w") for name in tensors)
        try:
            weights = tuple(np.asarray(tensors[f"w{i}"], dtype=np.float32) for i in range(count))
            biases = tuple(np.asarray(tensors[f"b{i}"], dtype=np.float32) for i in range(count))
        except KeyError as error:
            raise ArtifactError(f"network lacks layer {error}; restore or retrain the file") from error
        return Mlp(weights=weights, biases=biases, activation=activation)
