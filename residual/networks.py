"""Torch perceptrons for training and their way into numpy. Called by every trainer of this room."""

from collections.abc import Sequence
from itertools import pairwise

import torch

from residual.mlp import Mlp


def perceptron(inputs: int, hidden: Sequence[int], outputs: int, activation: str) -> torch.nn.Sequential:
    """Returns an untrained perceptron.

    Args:
        inputs: Number of inputs.
        hidden: Widths of the hidden layers.
        outputs: Number of outputs.
        activation: "tanh" or "relu", between the layers.
    """
    act = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[activation]
    layers: list[torch.nn.Module] = []
    for a, b in pairwise((inputs, *hidden)):
        layers += [torch.nn.Linear(a, b), act()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(hidden[-1] if hidden else inputs, outputs))


def network_of(model: torch.nn.Module, activation: str) -> Mlp:
    """Returns the numpy twin of the linear layers of `model`, in order."""
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    return Mlp(
        weights=tuple(m.weight.detach().numpy().copy() for m in linear),
        biases=tuple(m.bias.detach().numpy().copy() for m in linear),
        activation=activation,
    )
