"""Loads pi0 for the process `policy_server`, the only one that needs torch to serve it."""

from pathlib import Path

import torch

from bridge.pi0.policy import Noise, Pi0Policy
from bridge.policy_terms import PolicyIdentity
from core.errors import ConfigError
from core.robots import EE_DELTA
from regrasp.artifacts import find_models


def load(models: Path | None, noise: Noise, camera_px: int, threads: int) -> tuple[Pi0Policy, PolicyIdentity]:
    """Returns the trained checkpoint and what it says of itself.

    Args:
        models: Folder of trained models; this checkout's when None.
        noise: Starting noise of the sampler.
        camera_px: Width and height every image must have [px]; 0 takes any.
        threads: That compute one answer.

    Raises:
        ConfigError: No models, or a checkpoint for another action space.
        ArtifactError: A damaged or foreign checkpoint.
    """
    torch.set_num_threads(threads)
    policy = Pi0Policy.load(find_models(models).base, noise=noise)
    manifest = policy.manifest
    if tuple(manifest.action_names) != EE_DELTA.names:
        raise ConfigError(f"{policy.policy_id} answers {manifest.action_names}; this release moves {EE_DELTA.names}")
    cameras = dict.fromkeys(manifest.processing.cameras, (camera_px, camera_px))
    identity = PolicyIdentity(policy_id=policy.policy_id, space=EE_DELTA, dt_s=manifest.dt_s, cameras=cameras)
    return policy, identity
