"""The small vision tower of pi0-nano: convolutions, then keypoints by spatial softmax, then one token per few of them.

Built by `transformers` from a `PI0Config` once `register_tower` was called; `bridge.pi0.model` calls it.
Source: spatial softmax keypoints, Levine et al. (2016), "End-to-end training of deep visuomotor policies".
"""

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

FEATURES_PER_MAP = 3
"""x and y of the expected position on [-1, 1], and how strongly the map answers there, squashed to [-1, 1]."""


class KeypointTowerConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers is untyped here
    """Sizes of the tower; `patch_size` is its stride, which PaliGemma's configuration asks for."""

    model_type = "pi0_nano_vision"
    base_config_key = "vision_config"

    image_size: int = 96
    """Height and width of the input [px]."""
    patch_size: int = 8
    """Stride from pixels to keypoint maps [px]."""
    hidden_size: int = 96
    """Width of a token."""
    tokens: int = 24
    """Tokens per image."""
    maps_per_token: int = 4
    """Keypoint maps that share a token."""
    stem_channels: int = 32
    """Channels of the first convolution; the second has twice as many."""


class KeypointTower(PreTrainedModel):  # type: ignore[misc]  # transformers is untyped here
    """Images in [-1, 1] to `tokens` tokens, each made of a few keypoints.

    Args:
        config: Sizes.
    """

    config_class = KeypointTowerConfig
    base_model_prefix = "vision_tower"
    main_input_name = "pixel_values"

    def __init__(self, config: KeypointTowerConfig) -> None:
        super().__init__(config)
        stem, maps = config.stem_channels, config.tokens * config.maps_per_token
        self.stem = nn.Conv2d(3, stem, 8, stride=4, padding=2)
        self.middle = nn.Conv2d(stem, 2 * stem, 3, stride=2, padding=1)
        self.maps = nn.Conv2d(2 * stem, maps, 3, padding=1)
        self.sharpness = nn.Parameter(torch.zeros(maps))
        inputs = config.maps_per_token * FEATURES_PER_MAP
        self.mix = nn.Parameter(torch.empty(config.tokens, inputs, config.hidden_size))
        self.slot = nn.Parameter(torch.empty(config.tokens, config.hidden_size))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, KeypointTower):
            fan_in = module.mix.shape[1]
            nn.init.normal_(module.mix, std=fan_in**-0.5)
            nn.init.normal_(module.slot, std=1.0)
            nn.init.zeros_(module.sharpness)

    def keypoints(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Returns (B, maps, 3): x, y on [-1, 1] and squashed strength of every map, for pixels (B, 3, H, W)."""
        x = nn.functional.silu(self.stem(pixel_values))
        x = self.maps(nn.functional.silu(self.middle(x)))
        height, width = x.shape[-2:]
        logits = x.flatten(2)
        weight = torch.softmax(logits * self.sharpness.exp()[:, None], dim=-1)
        grid_y = torch.linspace(-1, 1, height, dtype=x.dtype, device=x.device).repeat_interleave(width)
        grid_x = torch.linspace(-1, 1, width, dtype=x.dtype, device=x.device).repeat(height)
        at = weight @ torch.stack([grid_x, grid_y], dim=1)
        strength = torch.tanh((weight * logits).sum(-1, keepdim=True) / 4.0)
        return torch.cat([at, strength], dim=-1)

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Returns tokens (B, tokens, hidden_size) as `last_hidden_state`; further options of transformers mean nothing.

        Args:
            pixel_values: Shape (B, 3, image_size, image_size), in [-1, 1].
        """
        points = self.keypoints(pixel_values)
        grouped = points.reshape(len(points), self.config.tokens, -1)
        mixed = torch.einsum("bti,tih->bth", grouped, self.mix) + self.slot
        return BaseModelOutputWithPooling(last_hidden_state=self.norm(mixed))


def register_tower() -> None:
    """Tells transformers about the tower, which `from_pretrained` needs before it meets one; may be called again."""
    AutoConfig.register(KeypointTowerConfig.model_type, KeypointTowerConfig, exist_ok=True)
    AutoModel.register(KeypointTowerConfig, KeypointTower, exist_ok=True)
