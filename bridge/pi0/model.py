"""The pi0 network as the house uses it: prefix read once, flow-matching loss, sampler, and a readout of the scene.

`Pi0Network` wraps transformers' `PI0ForConditionalGeneration` unchanged. Training (given this object by `regrasp`) and
the adapter in `bridge.pi0.policy` both use it. Source: pi0, Black et al. (2024); sampler and loss as in transformers.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PI0Config, PI0ForConditionalGeneration

from bridge.pi0.tower import register_tower
from core.errors import ContractError

READOUT_WIDTH = 96
"""Numbers that a fresh readout reads the positions of all objects from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NanoShape:
    """Sizes of pi0-nano; the defaults are the shipped ones."""

    vocabulary: int
    """Tokens of the word tokenizer, padding and image included."""
    hidden: int = 96
    mlp: int = 192
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    chunk: int = 8
    """Actions per chunk."""
    state_dim: int = 8
    action_dim: int = 7
    image_px: int = 96
    image_tokens: int = 24
    """Tokens per camera."""
    maps_per_token: int = 6
    """Keypoint maps that share a token."""


def nano_config(shape: NanoShape) -> PI0Config:
    """Returns the `PI0Config` of pi0-nano; expert and language model share one gemma shape, as their cache demands."""
    register_tower()
    gemma = {
        "model_type": "gemma",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.mlp,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.hidden // shape.heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": 512,
    }
    vision = {
        "model_type": "pi0_nano_vision",
        "image_size": shape.image_px,
        "hidden_size": shape.hidden,
        "tokens": shape.image_tokens,
        "maps_per_token": shape.maps_per_token,
    }
    vlm = {
        "model_type": "paligemma",
        "text_config": gemma,
        "vision_config": vision,
        "projection_dim": shape.hidden,
        "hidden_size": shape.hidden,
        "image_token_index": 1,
        "vocab_size": shape.vocabulary,
    }
    return PI0Config(
        vlm_config=vlm,
        dit_config=dict(gemma),
        chunk_size=shape.chunk,
        max_state_dim=shape.state_dim,
        max_action_dim=shape.action_dim,
        num_inference_steps=3,
        loss_reduction="none",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pi0Inputs:
    """One encoded batch; B rows, C cameras, L tokens."""

    pixel_values: Tensor
    """Shape (B, C, 3, H, W), in [-1, 1]."""
    camera_mask: Tensor
    """Which cameras are there, shape (B, C) bool."""
    input_ids: Tensor
    """Image tokens of every present camera, then the instruction, padded right; shape (B, L) int64."""
    attention_mask: Tensor
    """1 where `input_ids` counts, shape (B, L) int64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """What the vision-language model made of images and instruction; it never sees the robot's state."""

    cache: Any
    """Keys and values of every layer (transformers' DynamicCache); the sampler crops it back after use."""
    attention_mask: Tensor
    """Shape (B, L) int64."""
    image_tokens: Tensor
    """Projected image tokens before the language model, shape (B, C * tokens, H)."""
    text_state: Tensor
    """Mean of the language model's last states over the instruction's tokens, shape (B, H)."""


class SceneReadout(nn.Module):
    """Reads object positions from the image tokens, and the named object's from the instruction's states.

    It is trained beside the policy, shapes its tokens, and is kept: it says where the policy believes things are.

    Args:
        tokens: Image tokens of all cameras together.
        hidden: Width of a token.
        state_dim: Width of the normalised robot state.
        object_names: O objects of all tasks, "task/object", in the order of the training data.
        width: Numbers that the positions of all objects are read from.
    """

    def __init__(
        self, *, tokens: int, hidden: int, state_dim: int, object_names: tuple[str, ...], width: int = READOUT_WIDTH
    ) -> None:
        super().__init__()
        self.object_names = object_names
        self.squeeze = nn.Linear(tokens * hidden + state_dim, width)
        self.objects = nn.Linear(width, 3 * len(object_names))
        self.named = nn.Sequential(nn.Linear(hidden, 64), nn.SiLU(), nn.Linear(64, 6))
        self.centre_m: Tensor
        self.spread_m: Tensor
        self.register_buffer("centre_m", torch.zeros(3))
        self.register_buffer("spread_m", torch.full((), 0.1))

    def object_positions(self, image_tokens: Tensor, state: Tensor) -> Tensor:
        """Returns object centres in base (B, O, 3) [m] from tokens (B, C * tokens, H) and state (B, S)."""
        squeezed = nn.functional.silu(self.squeeze(torch.cat([image_tokens.flatten(1), state], dim=1)))
        return self._metres(self.objects(squeezed))

    def named_positions(self, text_state: Tensor) -> Tensor:
        """Returns the present target's and goal's centre in base (B, 2, 3) [m] from `Prefix.text_state` (B, H)."""
        return self._metres(self.named(text_state))

    def _metres(self, flat: Tensor) -> Tensor:
        return flat.reshape(len(flat), -1, 3) * self.spread_m + self.centre_m


class Pi0Network(nn.Module):
    """A pi0 and, when it has one, its scene readout.

    Args:
        pi0: Any `PI0ForConditionalGeneration`.
        readout: The readout trained with it, None for checkpoints that have none.
    """

    def __init__(self, pi0: Any, readout: SceneReadout | None = None) -> None:
        super().__init__()
        self.pi0 = pi0
        self.readout = readout

    @property
    def config(self) -> PI0Config:
        """The `PI0Config` it was built from."""
        return self.pi0.config

    @property
    def tokens_per_image(self) -> int:
        """Image tokens the vision tower makes of one image."""
        vision = self.config.vlm_config.vision_config
        stock = (vision.image_size // vision.patch_size) ** 2
        return int(getattr(vision, "tokens", stock))

    def image_tokens(self, pixel_values: Tensor) -> Tensor:
        """Returns projected tokens (B, C * tokens, H) of images (B, C, 3, H, W), without the language model."""
        features = self.pi0.model.vlm.get_image_features(pixel_values.flatten(0, 1)).pooler_output
        tokens: Tensor = features.reshape(len(pixel_values), -1, features.shape[-1])
        return tokens

    def read(self, inputs: Pi0Inputs) -> Prefix:
        """Returns the prefix of a batch; the costly part, done once per chunk.

        Raises:
            ContractError: The number of image tokens is not what the cameras give, which pi0 itself accepts silently.
        """
        mask = inputs.attention_mask
        is_image = inputs.input_ids == self.config.vlm_config.image_token_id
        if not torch.equal(is_image.sum(1), inputs.camera_mask.sum(1) * self.tokens_per_image):
            raise ContractError(
                f"{is_image.sum(1).tolist()} image tokens for {inputs.camera_mask.sum(1).tolist()} cameras; "
                f"{self.tokens_per_image} per camera are required"
            )
        embeds = self.pi0.model.embed_prefix(inputs.input_ids, inputs.pixel_values, inputs.camera_mask)
        out = self.pi0.model.vlm(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=mask.cumsum(-1) - 1,
            token_type_ids=torch.zeros_like(inputs.input_ids),
            use_cache=True,
        )
        words = (mask.bool() & ~is_image).to(embeds.dtype)[..., None]
        room = inputs.camera_mask.shape[1] * self.tokens_per_image
        return Prefix(
            cache=out.past_key_values,
            attention_mask=mask,
            image_tokens=embeds[:, :room] * is_image[:, :room, None],
            text_state=(out.last_hidden_state * words).sum(1) / words.sum(1).clamp(min=1),
        )

    def read_all(self, pixel_values: Tensor, text: Tensor) -> Prefix:
        """Returns the prefix of rows whose cameras are all there, as in training.

        Args:
            pixel_values: Shape (B, C, 3, H, W), in [-1, 1].
            text: Ids of the instructions, padded right with 0, shape (B, W) int64.
        """
        rows, cameras = pixel_values.shape[:2]
        image_ids = text.new_full((rows, cameras * self.tokens_per_image), self.config.vlm_config.image_token_id)
        ids = torch.cat([image_ids, text], dim=1)
        return self.read(
            Pi0Inputs(
                pixel_values=pixel_values,
                camera_mask=torch.ones(rows, cameras, dtype=torch.bool, device=text.device),
                input_ids=ids,
                attention_mask=torch.cat([torch.ones_like(image_ids), (text != 0).to(text.dtype)], dim=1),
            )
        )

    def flow_loss(self, prefix: Prefix, state: Tensor, actions: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Returns the squared velocity error (B * K, T, A), K draws for each prefix, and uses the prefix up.

        Args:
            prefix: From `read`.
            state: Normalised state (B, S).
            actions: Normalised action chunks (B, T, A).
            noise: Standard normal (B * K, T, A); draws of one row lie together.
            time: Flow time, 1 is noise and 0 is action, shape (B * K,).
        """
        draws = len(noise) // len(state)
        prefix.cache.batch_repeat_interleave(draws)
        out = self.pi0(
            state=state.repeat_interleave(draws, 0),
            noise=noise,
            timestep=time,
            attention_mask=prefix.attention_mask.repeat_interleave(draws, 0),
            past_key_values=prefix.cache,
            actions=actions.repeat_interleave(draws, 0),
        )
        if out.loss.ndim != 3:
            raise ContractError(f"config has loss_reduction {self.config.loss_reduction!r}; training needs 'none'")
        loss: Tensor = out.loss
        return loss

    @torch.no_grad()
    def sample(self, prefix: Prefix, state: Tensor, noise: Tensor, steps: int) -> Tensor:
        """Returns normalised chunks (B, T, A): `steps` Euler steps from `noise` at flow time 1 to actions at 0.

        Args:
            prefix: From `read`; left as it was.
            state: Normalised state (B, S).
            noise: Where the flow starts (B, T, A); all zeros asks for the most typical chunk.
            steps: Number of steps, at least 1.
        """
        length = prefix.cache.get_seq_length()
        actions = noise
        for step in range(steps):
            out = self.pi0(
                state=state,
                noise=actions,
                timestep=torch.full((len(state),), 1.0 - step / steps, device=state.device),
                attention_mask=prefix.attention_mask,
                past_key_values=prefix.cache,
            )
            prefix.cache.crop(length - prefix.cache.get_seq_length())
            actions = actions - out.logits / steps
        return actions


def build_nano(shape: NanoShape, cameras: int, object_names: tuple[str, ...], seed: int) -> Pi0Network:
    """Returns a fresh pi0-nano with its readout, initialised for its small width.

    Args:
        shape: Sizes.
        cameras: Number of cameras it looks through.
        object_names: Objects the readout locates.
        seed: Of the initial weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Pi0Network(
            PI0ForConditionalGeneration(nano_config(shape)),
            SceneReadout(
                tokens=cameras * shape.image_tokens,
                hidden=shape.hidden,
                state_dim=shape.state_dim,
                object_names=object_names,
            ),
        )
        _widen(network.pi0, shape)
    return network


@torch.no_grad()
def _widen(pi0: Any, shape: NanoShape) -> None:
    """Replaces the 0.02 of large models: at width 96 it leaves action tokens drowned in the time embedding."""
    for name, module in pi0.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            fan_in = module.weight[0].numel()
            deep = name.endswith(("o_proj", "down_proj"))
            nn.init.normal_(module.weight, std=fan_in**-0.5 / ((2 * shape.layers) ** 0.5 if deep else 1.0))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=shape.hidden**-0.5)
