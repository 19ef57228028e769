"""Fixtures that more than one kind of test needs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bridge.pi0.checkpoint import Manifest, save_checkpoint
from bridge.pi0.model import NanoShape, build_nano
from bridge.pi0.processing import Affine, Processing, word_tokenizer
from core.demonstrations import proprio_names
from core.robots import EE_DELTA

WORDS = ["put", "the", "apple", "lemon", "on", "plate", "red", "yellow", "fruit", "one", "please"]


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> None:
    """Small networks on shared cores: threads that wait for one another are slower than one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def untrained_nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint directory of a very small pi0-nano with random weights; copy it before changing it."""
    directory = tmp_path_factory.mktemp("models") / "nano"
    tokenizer = word_tokenizer(WORDS)
    shape = NanoShape(
        vocabulary=tokenizer.get_vocab_size(), hidden=32, mlp=32, layers=1, heads=2, kv_heads=1, chunk=4, image_px=32,
        image_tokens=3,
    )  # fmt: skip
    spec = Processing(
        cameras=("front", "wrist"), needs_all_cameras=True, image_px=32, fit="area", tokens_per_image=3, image_token=1,
        text_tokens=8, text_suffix="", bos_token=-1, state_width=8,
        state=Affine(offset=np.linspace(0, 1, 8), scale=np.linspace(0.1, 1, 8)), action_width=7,
        action=Affine(offset=EE_DELTA.still(0.5), scale=(EE_DELTA.high - EE_DELTA.low) / 8),
    )  # fmt: skip
    manifest = Manifest(
        name="pi0-nano", task="fruit_on_plate", processing=spec, noise="zero", steps=2, action_names=EE_DELTA.names,
        dt_s=EE_DELTA.dt_s, state_names=proprio_names(), object_words=("apple", "lemon", "red", "yellow"),
        readout_objects=("apple", "lemon", "plate"), training={"steps": 0, "seed": 3},
    )  # fmt: skip
    save_checkpoint(
        directory, build_nano(shape, 2, manifest.readout_objects, 3), tokenizer, manifest, {"README.md": "x"}
    )
    return directory
