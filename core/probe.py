"""The embedded probe: a small calibrated classifier as a value. Trained in `residual`, asked in `runtime`."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from core.arrays import Floats, floats, in_range
from core.errors import ContractError, unknown_name
from core.failures import FailureMode

NOMINAL = "nominal"
"""The label of an episode in which nothing is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeLayer:
    """One affine layer: x @ weight + bias."""

    weight: Floats
    """Shape (inputs, outputs)."""
    bias: Floats
    """Shape (outputs,)."""

    def __post_init__(self) -> None:
        weight = floats("probe weight", self.weight, (None, None))
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", floats("probe bias", self.bias, (weight.shape[1],)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeWeights:
    """A linear or one-hidden-layer classifier of failure modes over a fixed feature layout.

    p = softmax(logits / temperature); standardised features in, a ReLU between two layers. Source of the calibration:
    Guo et al. (2017), temperature scaling.
    """

    name: str
    """name@version."""
    layout: str
    """Version of the feature layout it was trained on."""
    policy: str
    """name@hash of the policy whose image features it reads."""
    labels: tuple[str, ...]
    """L labels: `NOMINAL` and values of `FailureMode`, in the order of the logits."""
    mean: Floats
    """Mean of each feature in training, shape (F,), in the feature's unit."""
    scale: Floats
    """Standard deviation of each feature in training, > 0, shape (F,)."""
    layers: tuple[ProbeLayer, ...]
    """One or two layers, F -> (hidden ->) L."""
    temperature: float
    """Divides the logits; fitted on held-out episodes, dimensionless."""
    threshold: float
    """P(failure) above which the detector counts a tick as bad, [0, 1]."""

    def __post_init__(self) -> None:
        mean = floats("probe mean", self.mean, (None,))
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "scale", floats("probe scale", self.scale, mean.shape))
        if not (self.scale > 0).all():
            raise ContractError("probe scale must be positive for every feature; drop constant features")
        in_range("temperature", self.temperature, 1e-3, 1e3)
        in_range("threshold", self.threshold, 0.0, 1.0)
        self._check_labels()
        self._check_layers()

    @property
    def nominal_index(self) -> int:
        """Column of `NOMINAL`."""
        return self.labels.index(NOMINAL)

    @property
    def hash(self) -> str:
        """SHA-256 over everything that decides its answers, hex."""
        words = [self.name, self.layout, self.policy, list(self.labels), self.temperature, self.threshold]
        digest = hashlib.sha256(json.dumps(words).encode())
        for array in (self.mean, self.scale, *(a for layer in self.layers for a in (layer.weight, layer.bias))):
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return digest.hexdigest()

    def probabilities(self, features: Floats) -> Floats:
        """Returns calibrated probabilities (..., L) of features (..., F) in their own units."""
        x = (features - self.mean) / self.scale
        for layer in self.layers[:-1]:
            x = np.maximum(x @ layer.weight + layer.bias, 0.0)
        logits = (x @ self.layers[-1].weight + self.layers[-1].bias) / self.temperature
        grown = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=-1, keepdims=True), dtype=np.float64)

    def _check_labels(self) -> None:
        modes = {m.value for m in FailureMode} - {FailureMode.UNKNOWN.value}
        for label in self.labels:
            if label not in modes | {NOMINAL}:
                raise unknown_name("probe label", label, modes | {NOMINAL})
        if len(set(self.labels)) != len(self.labels) or NOMINAL not in self.labels:
            raise ContractError(f"probe labels {self.labels} must be distinct and hold {NOMINAL!r}")

    def _check_layers(self) -> None:
        if len(self.layers) not in (1, 2):
            raise ContractError(f"a probe has 1 or 2 layers, this one {len(self.layers)}")
        sizes = [len(self.mean)]
        for layer in self.layers:
            if layer.weight.shape[0] != sizes[-1]:
                raise ContractError(
                    f"probe layer takes {layer.weight.shape[0]} inputs; the one before gives {sizes[-1]}"
                )
            sizes.append(layer.weight.shape[1])
        if sizes[-1] != len(self.labels):
            raise ContractError(f"the probe's last layer gives {sizes[-1]} logits for {len(self.labels)} labels")
