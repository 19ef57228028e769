"""The adapter, over an untrained pi0-nano and over a tiny pi0 in the layout of the full-size one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PI0Config, PI0ForConditionalGeneration

from bridge.pi0.checkpoint import Manifest, load_checkpoint, save_checkpoint
from bridge.pi0.model import Pi0Network
from bridge.pi0.policy import MOST_FEATURES, Pi0Policy
from bridge.pi0.processing import Affine, Processing
from core.demonstrations import proprio_names
from core.errors import ConfigError, ContractError
from core.flow import Observation
from core.robots import EE_DELTA


def observation(t_ns: int = 0, *, seed: int = 0, instruction: str = "put the apple on the plate", px: int = 64,
                cameras: tuple[str, ...] = ("front", "wrist")) -> Observation:  # fmt: skip
    rng = np.random.default_rng(seed)
    return Observation(
        t_ns=t_ns, joint_pos=np.zeros(7), joint_vel=np.zeros(7), tcp_pos_in_base=rng.uniform(0.2, 0.5, 3),
        tcp_quat_xyzw_in_base=np.array([1.0, 0.0, 0.0, 0.0]), gripper_opening=0.7, gripper_command=1.0,
        images={c: rng.integers(0, 256, (px, px, 3), dtype=np.uint8) for c in cameras}, instruction=instruction,
    )  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(untrained_nano: Path):
    return load_checkpoint(untrained_nano)


@pytest.fixture
def policy(checkpoint) -> Pi0Policy:
    return Pi0Policy(checkpoint)


@pytest.fixture(scope="module")
def full_layout(tmp_path_factory) -> Path:
    """A tiny untrained pi0 as the published one is laid out: SigLIP, 224 px, 3 cameras, 32 numbers, other tokenizer."""
    gemma = {
        "model_type": "gemma", "hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 16,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 40,
    }  # fmt: skip
    vision = {
        "model_type": "siglip_vision_model", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 224, "patch_size": 56, "vision_use_head": False,
    }  # fmt: skip
    vlm = {
        "model_type": "paligemma", "text_config": gemma, "vision_config": vision, "projection_dim": 16,
        "hidden_size": 16, "image_token_index": 40, "vocab_size": 40,
    }  # fmt: skip
    config = PI0Config(vlm_config=vlm, dit_config={**gemma, "hidden_size": 12}, chunk_size=10)
    vocabulary = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "pick": 4, "up": 5, "anything": 6, "\n": 7}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    spec = Processing(
        cameras=("base", "left", "right"), needs_all_cameras=False, image_px=224, fit="pad", tokens_per_image=16,
        image_token=40, text_tokens=12, text_suffix=" \n", bos_token=2, state_width=32,
        state=Affine(offset=np.zeros(8), scale=np.ones(8)), action_width=32,
        action=Affine(offset=np.zeros(7), scale=np.full(7, 0.01)),
    )  # fmt: skip
    manifest = Manifest(
        name="pi0", task="anything", processing=spec, noise="random", steps=4, action_names=EE_DELTA.names,
        dt_s=0.05, state_names=proprio_names(), object_words=(), readout_objects=(), training={},
    )  # fmt: skip
    directory = tmp_path_factory.mktemp("models") / "pi0"
    save_checkpoint(directory, Pi0Network(PI0ForConditionalGeneration(config)), tokenizer, manifest, {})
    return directory


def test_a_chunk_is_placed_at_its_observation(policy):
    chunk = policy.infer(observation(t_ns=123))
    assert chunk.obs_t_ns == 123
    assert chunk.values.shape == (4, 7)
    assert chunk.dt_s == 0.05
    assert chunk.policy_id == policy.policy_id
    assert policy.policy_id.startswith("pi0-nano@")


def test_actions_come_in_their_own_units(checkpoint):
    chunk = Pi0Policy(checkpoint).infer(observation())
    spec = checkpoint.manifest.processing.action
    normal = spec.normalise(chunk.values)
    assert np.abs(normal).max() < 20
    assert np.allclose(spec.denormalise(normal), chunk.values)
    assert np.abs(chunk.values[:, :3]).max() < 0.2


def test_features_are_few_finite_and_tell_observations_apart(policy):
    first, same, other = (policy.infer(observation(seed=s)).features for s in (0, 0, 1))
    assert first.shape == (2 * 32 + 3 * 3 + 6,)
    assert len(first) <= MOST_FEATURES
    assert np.isfinite(first).all()
    assert np.array_equal(first, same)
    assert not np.allclose(first, other)


def test_a_batch_is_its_rows(policy):
    rows = [observation(seed=s, t_ns=s) for s in range(3)]
    together = policy.infer_batch(rows)
    for obs, chunk in zip(rows, together, strict=True):
        alone = policy.infer(obs)
        assert chunk.obs_t_ns == obs.t_ns
        assert np.allclose(chunk.values, alone.values, atol=1e-6)
        assert np.allclose(chunk.features, alone.features, atol=1e-5)


def test_zero_noise_always_answers_the_same(policy):
    assert np.array_equal(policy.infer(observation()).values, policy.infer(observation()).values)


def test_random_noise_differs_by_request_and_repeats_after_reset(checkpoint):
    policy = Pi0Policy(checkpoint, noise="random", seed=5)
    first, second = (policy.infer(observation()).values for _ in range(2))
    policy.reset()
    assert not np.allclose(first, second)
    assert np.array_equal(policy.infer(observation()).values, first)
    assert not np.allclose(Pi0Policy(checkpoint, noise="random", seed=6).infer(observation()).values, first)


def test_the_words_matter(policy):
    apple, lemon = (
        policy.infer(observation(instruction=f"put the {f} on the plate")).values for f in ("apple", "lemon")
    )
    assert not np.allclose(apple, lemon)


def test_unknown_words_are_refused_with_the_vocabulary(policy):
    with pytest.raises(ConfigError, match=r"banana.*apple, lemon, red, yellow.*please"):
        policy.infer(observation(instruction="put the banana on the plate"))
    with pytest.raises(ConfigError, match="names no object"):
        policy.check_instruction("put the fruit on the plate")
    policy.check_instruction("Please put the red one on the plate.")
    assert "please" in policy.vocabulary


def test_a_missing_camera_is_refused(policy):
    with pytest.raises(ContractError, match="wrist"):
        policy.infer(observation(cameras=("front",)))


@pytest.mark.parametrize(("noise", "steps"), [("pink", 1), ("zero", -1)])
def test_impossible_sampling_is_refused(checkpoint, noise, steps):
    with pytest.raises(ContractError, match=noise):
        Pi0Policy(checkpoint, noise=noise, steps=steps)


def test_the_full_size_layout_goes_the_same_way(full_layout):
    policy = Pi0Policy.load(full_layout, seed=1)
    seen = observation(instruction="pick up anything never heard", px=100, cameras=("base", "left", "right"))
    chunk = policy.infer(seen)
    assert chunk.values.shape == (10, 7)
    assert np.isfinite(chunk.values).all()
    assert chunk.features.shape == (32,)
    assert policy.policy_id.startswith("pi0@")


def test_the_full_size_layout_does_without_a_camera(full_layout):
    policy = Pi0Policy.load(full_layout, noise="zero")
    seen = observation(instruction="pick up", cameras=("left",))
    foreign = replace(seen, images={**seen.images, "other": seen.images["left"]})
    three = replace(seen, images=dict.fromkeys(("base", "left", "right"), seen.images["left"]))
    one = policy.infer(seen).values
    assert np.isfinite(one).all()
    assert np.array_equal(policy.infer(foreign).values, one)
    assert not np.allclose(policy.infer(three).values, one)
