"""The process `policy_server`: loads a policy and serves it to one arm. `python -m regrasp.nodes.policy_server --help`.

A checkpoint's module is imported when one is served: torch takes seconds that a scripted policy should not.
It prints one line when it serves, `policy_server ready ENDPOINT POLICY_ID`, and ends on SIGINT or SIGTERM.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Literal

from bridge.policy_server import PolicyServer
from bridge.policy_terms import PolicyIdentity
from bridge.worker import BlockingPolicy
from core.arrays import in_range
from core.errors import ConfigError
from core.robots import EE_DELTA
from regrasp.nodes.entry import run_until_stopped
from regrasp.nodes.scripted import Lie, LyingPolicy, SwayPolicy

Noise = Literal["zero", "random"]
_TURN_S = 0.2
"""How soon a signal is noticed [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyServerConfig:
    """Serve a policy to one arm on this machine."""

    endpoint: str = "ipc:///tmp/regrasp/policy"
    """Where: ipc:// and a path, or tcp:// on a loopback address."""
    policy: Literal["pi0", "sway"] = "pi0"
    """The trained checkpoint, or a scripted small figure that needs no weights and looks at no image."""
    models: Path | None = None
    """Folder of trained models; this checkout's when not given."""
    noise: Noise = "zero"
    """Starting noise of the policy's sampler."""
    camera_px: int = 0
    """Width and height every image must have [px]; 0 takes any."""
    threads: int = 1
    """Threads that compute one answer."""
    niceness: int = 0
    """How far this process stands back behind others, 0 not at all, 19 the most."""
    lie: Lie | None = None
    """For benches of faults: what the policy does wrong after a while."""
    after: float = 0.0
    """When it begins to lie, counted from its first answer [s]."""

    def __post_init__(self) -> None:
        in_range("camera_px [px]", self.camera_px, 0, 4096)
        in_range("threads", self.threads, 1, 64)
        in_range("niceness", self.niceness, 0, 19)
        if self.after and self.lie is None:
            raise ConfigError("--after needs --lie nan, range, shape, stale or slow")


def serve(config: PolicyServerConfig, stopped: Event) -> None:
    """Loads the policy and serves it until `stopped` is set.

    Raises:
        ConfigError: The endpoint is taken or open to others; no models.
        ArtifactError: A damaged or foreign checkpoint.
    """
    os.nice(config.niceness)
    policy, identity = _loaded(config)
    if config.lie is not None:
        policy = LyingPolicy(policy, config.lie, after_s=config.after)
    with PolicyServer(policy, identity, config.endpoint) as server:
        print(f"policy_server ready {config.endpoint} {identity.policy_id}", flush=True)
        while not stopped.is_set():
            server.turn(_TURN_S)
        print(f"policy_server done: {server.answered} answered, {server.refused} refused", flush=True)


def _loaded(config: PolicyServerConfig) -> tuple[BlockingPolicy, PolicyIdentity]:
    if config.policy == "sway":
        sway = SwayPolicy()
        return sway, PolicyIdentity(policy_id=sway.policy_id, space=EE_DELTA, dt_s=EE_DELTA.dt_s, cameras={})
    load: Callable[[Path | None, Noise, int, int], tuple[BlockingPolicy, PolicyIdentity]]
    load = import_module("regrasp.nodes.served_pi0").load
    return load(config.models, config.noise, config.camera_px, config.threads)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the process; returns its exit code.

    Args:
        argv: Arguments without the program's name; the process's own when None.
    """
    return run_until_stopped("policy_server", PolicyServerConfig, serve, argv)


if __name__ == "__main__":
    sys.exit(main())
