"""What a policy and whoever asks it agree on: who serves, what is asked, what may be answered, how the link is.

Used by `bridge.policy_wire`, `bridge.policy_server`, `bridge.remote_policy` and the nodes in `regrasp`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from core.arrays import in_range
from core.flow import ActionChunk, Observation
from core.robots import ActionSpace

Packing = Literal["raw", "jpeg"]
"""How images travel: exactly, or smaller, at about 1 ms an image and slightly changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyIdentity:
    """Which policy serves, what it must be given and what it answers in."""

    policy_id: str
    """name@hash of the checkpoint."""
    space: ActionSpace
    """Space of every action it answers."""
    dt_s: float
    """Time between the rows of its chunks [s]."""
    cameras: Mapping[str, tuple[int, int]]
    """Height and width it wants by camera [px]; (0, 0) when any will do."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "cameras", MappingProxyType(dict(self.cameras)))

    def difference(self, other: "PolicyIdentity") -> str:
        """Returns the first thing in which another identity differs from this one, "" when in nothing."""
        mine, its = _comparable(self), _comparable(other)
        return next((f"{name} {its[name]}; expected {mine[name]}" for name in mine if mine[name] != its[name]), "")

    def unfit(self, obs: Observation) -> str:
        """Returns why this policy could do nothing with an observation, "" when it can."""
        for camera, (height, width) in self.cameras.items():
            image = obs.images.get(camera)
            if image is None:
                return f"observation has images of {sorted(obs.images)}; the policy needs {camera!r}"
            if height and image.shape[:2] != (height, width):
                size = f"{image.shape[0]} x {image.shape[1]}"
                return f"image of {camera!r} is {size} px; the policy needs {height} x {width}"
        return ""

    def untrue(self, chunk: ActionChunk, obs_t_ns: int) -> str:
        """Returns what is wrong with an answer that only who asked can know, "" when nothing.

        Args:
            chunk: The answer. NaN and bounds are not looked at: the loop does, and records it.
            obs_t_ns: Time of the observation that was asked about [ns].
        """
        if chunk.obs_t_ns != obs_t_ns:
            off_s = (chunk.obs_t_ns - obs_t_ns) * 1e-9
            return f"it is for an observation {off_s:+.3f} s from the one that was asked about"
        if chunk.policy_id != self.policy_id:
            return f"it is of policy {chunk.policy_id}; expected {self.policy_id}"
        if chunk.dt_s != self.dt_s:
            return f"its rows are {chunk.dt_s} s apart; expected {self.dt_s} s"
        return ""


def _comparable(identity: PolicyIdentity) -> dict[str, object]:
    space = identity.space
    return {
        "policy": identity.policy_id, "actions": space.names, "units": space.units, "low": space.low.tolist(),
        "high": space.high.tolist(), "control period [s]": space.dt_s, "dt [s]": identity.dt_s,
        "cameras": dict(identity.cameras),
    }  # fmt: skip


class PolicyLink(StrEnum):
    """How the link to a policy server is."""

    CONNECTING = "connecting"
    """Nobody has introduced itself yet."""
    READY = "ready"
    """Answers in time."""
    LATE = "late"
    """There, but the newest request passed its deadline or was refused."""
    LOST = "lost"
    """Silent or gone; it is being called again."""
    REFUSED = "refused"
    """Somebody answers, but not the policy, or not in the words, that were agreed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyHealth:
    """What is known of a policy server now."""

    link: PolicyLink
    detail: str
    """Why it is not ready; "" when it is."""
    silence_s: float
    """Since it was last heard [s]."""
    computing_s: float
    """How long it had been computing the present request at its last pulse [s]."""
    latency_s: float
    """From the last answered request to its answer [s], 0 before any."""
    asked: int
    answered: int
    timeouts: int
    """Requests that passed their deadline or were lost with the link."""
    refused: int
    """Requests and answers that were refused, here or there."""
    losses: int
    """How often the link was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePolicyConfig:
    """Where a policy is served and how long it is waited for."""

    endpoint: str
    """ipc:// or tcp:// address of the server."""
    images: Packing = "raw"
    """How images travel."""
    connect_s: float = 60.0
    """Entering waits this long for the server [s]: one that loads weights on a busy machine takes its time."""
    deadline_s: float = 0.8
    """A request that was not answered by then is given up [s]."""
    silence_s: float = 1.0
    """A server that said nothing for so long is lost [s]."""
    heartbeat_s: float = 0.1
    """It is asked for a sign of life this often [s]."""
    retry_s: float = 0.1
    """First pause before a lost server is called again [s]; doubled up to `retry_most_s`."""
    retry_most_s: float = 2.0
    """Longest such pause [s]."""

    def __post_init__(self) -> None:
        in_range("connect_s [s]", self.connect_s, 0.0, 600.0)
        in_range("deadline_s [s]", self.deadline_s, 0.01, 60.0)
        in_range("heartbeat_s [s]", self.heartbeat_s, 0.01, 10.0)
        in_range("silence_s [s]", self.silence_s, 2.0 * self.heartbeat_s, 60.0)
        in_range("retry_s [s]", self.retry_s, 0.01, self.retry_most_s)
