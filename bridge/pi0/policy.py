"""The run-time adapter: a pi0 checkpoint directory that answers an observation with a chunk of actions.

It is blocking; `bridge.worker` makes it the `Policy` port. It never sees simulator state.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bridge.pi0.checkpoint import Checkpoint, Manifest, load_checkpoint
from bridge.pi0.model import Pi0Inputs, Pi0Network, Prefix
from bridge.pi0.processing import Words, pixel_values, prefix_ids, stack_images
from core.arrays import Floats, Ints
from core.demonstrations import proprio
from core.errors import ContractError
from core.flow import ActionChunk, Observation

MOST_FEATURES = 256
"""Upper bound of F, the length of `ActionChunk.features`."""
_MOST_POOLED = 112
"""Numbers kept of each mean; 2 * 112 leaves 32 for the readout."""
_MOST_OBJECTS = 8

Noise = Literal["zero", "random"]


class Pi0Policy:
    """A frozen pi0, from its directory.

    Verified: pi0-nano, trained here; and a tiny untrained pi0 in the full-size layout (SigLIP tower, 224 px padded
    images, 32 padded numbers, a missing camera, random noise). Not verified: the published pi0 weights, which need
    our manifest.json and gemma's tokenizer.json put beside them.

    Args:
        checkpoint: A loaded checkpoint, see `Pi0Policy.load`.
        noise: Where the sampler starts; None takes the manifest's.
        steps: Denoising steps; None takes the manifest's.
        seed: Of random noise; the n-th request since `reset` always draws the same.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, noise: Noise | None = None, steps: int | None = None, seed: int = 0
    ) -> None:
        manifest = checkpoint.manifest
        self._network, self._manifest, self._policy_id = checkpoint.network, manifest, checkpoint.policy_id
        self._words = Words(checkpoint.tokenizer, manifest.processing, manifest.object_words)
        self._noise, self._steps = noise or manifest.noise, steps or manifest.steps
        self._seed, self._requests = seed, 0
        if self._noise not in ("zero", "random") or self._steps < 1:
            raise ContractError(f"noise {noise!r}, steps {steps}; allowed 'zero' or 'random', and 1 or more steps")

    @classmethod
    def load(
        cls, directory: Path, *, noise: Noise | None = None, steps: int | None = None, seed: int = 0
    ) -> "Pi0Policy":
        """Returns the policy of a checkpoint directory, on the CPU in float32; raises `ArtifactError`."""
        return cls(load_checkpoint(directory), noise=noise, steps=steps, seed=seed)

    @property
    def policy_id(self) -> str:
        """name@hash of the checkpoint."""
        return self._policy_id

    @property
    def manifest(self) -> Manifest:
        """What the checkpoint says about itself."""
        return self._manifest

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word an instruction may have."""
        return self._words.vocabulary

    def check_instruction(self, instruction: str) -> None:
        """Raises `ConfigError`, naming the vocabulary, when the policy never learned these words."""
        self._words.check(instruction)

    def reset(self) -> None:
        """Starts the noise sequence again; the network has no memory."""
        self._requests = 0

    def infer(self, obs: Observation) -> ActionChunk:
        """Returns the chunk for one observation; blocks while it computes.

        Raises:
            ConfigError: The instruction has unknown words.
            ContractError: A camera is missing.
        """
        return self.infer_batch([obs])[0]

    def infer_batch(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        """Returns one chunk for each observation, computed together; raises what `infer` raises."""
        state = self._state(observations)
        with torch.inference_mode():
            prefix = self._network.read(self._inputs(observations))
            normal = self._network.sample(prefix, state, self._start(len(observations)), self._steps)
            features = pooled_features(self._network, prefix, state).double().cpu().numpy()
        actions = self._actions(normal)
        return [
            ActionChunk(
                obs_t_ns=obs.t_ns,
                values=actions[row],
                dt_s=self._manifest.dt_s,
                policy_id=self._policy_id,
                features=features[row],
            )
            for row, obs in enumerate(observations)
        ]

    def _inputs(self, observations: Sequence[Observation]) -> Pi0Inputs:
        spec = self._manifest.processing
        images, present = stack_images([obs.images for obs in observations], spec)
        text: Ints = np.stack([self._words.encode(obs.instruction) for obs in observations])
        ids, mask = prefix_ids(text, present, spec)
        device = self._like().device
        return Pi0Inputs(
            pixel_values=torch.from_numpy(pixel_values(images)).to(self._like()),
            camera_mask=torch.from_numpy(present).to(device),
            input_ids=torch.from_numpy(ids).to(device),
            attention_mask=torch.from_numpy(mask).to(device),
        )

    def _state(self, observations: Sequence[Observation]) -> Tensor:
        spec = self._manifest.processing
        rows = proprio(
            np.stack([obs.tcp_pos_in_base for obs in observations]),
            np.stack([obs.tcp_quat_xyzw_in_base for obs in observations]),
            np.array([obs.gripper_opening for obs in observations]),
            np.array([obs.gripper_command for obs in observations]),
        )
        return torch.from_numpy(spec.state.padded(rows, spec.state_width)).to(self._like())

    def _start(self, rows: int) -> Tensor:
        shape = (rows, self._network.config.chunk_size, self._manifest.processing.action_width)
        first, self._requests = self._requests, self._requests + rows
        if self._noise == "zero":
            return torch.zeros(shape).to(self._like())
        draws = [np.random.default_rng([self._seed, first + row]).standard_normal(shape[1:]) for row in range(rows)]
        return torch.from_numpy(np.stack(draws)).to(self._like())

    def _actions(self, normal: Tensor) -> Floats:
        spec = self._manifest.processing
        used = normal[..., : spec.action.offset.size].double().cpu().numpy()
        return spec.action.denormalise(used)

    def _like(self) -> Tensor:
        """A tensor with the dtype and device of the weights, which all inputs must share."""
        parameter: Tensor = self._network.pi0.action_out_proj.weight
        return parameter


def pooled_features(network: Pi0Network, prefix: Prefix, state: Tensor) -> Tensor:
    """Returns what a failure probe may look at, shape (B, F), F at most `MOST_FEATURES`.

    In this order: mean of the language model's states over the instruction (H), mean of all image tokens (H), and with
    a readout its belief of every object's centre (3 O, when there are at most 8 objects) and of the present target's
    and goal's centre (6) in base [m]. A network wider than 112 has each mean shrunk to 112 by averaging neighbouring
    channels.

    Args:
        network: The policy's network.
        prefix: Of the observation.
        state: Normalised (B, S).
    """
    shown = prefix.image_tokens.abs().sum(2, keepdim=True) > 0
    images = prefix.image_tokens.sum(1) / shown.sum(1).clamp(min=1)
    parts = [_narrow(prefix.text_state), _narrow(images)]
    if network.readout is not None:
        if len(network.readout.object_names) <= _MOST_OBJECTS:
            parts.append(network.readout.object_positions(prefix.image_tokens, state).flatten(1))
        parts.append(network.readout.named_positions(prefix.text_state).flatten(1))
    return torch.cat(parts, dim=1)


def _narrow(pooled: Tensor) -> Tensor:
    if pooled.shape[1] <= _MOST_POOLED:
        return pooled
    return torch.nn.functional.adaptive_avg_pool1d(pooled[:, None], _MOST_POOLED)[:, 0]
