"""Policies that need no weights: one that sways, and one that lies. Served by `policy_server` for benches of faults.

They are products of their own: a sway checks the whole chain from socket to joint without a model, and a lie shows what
the arm does when a model goes wrong.
"""

import time
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal, get_args

import numpy as np

from bridge.worker import BlockingPolicy
from core.arrays import Floats, in_range
from core.flow import ActionChunk, Observation
from core.robots import EE_DELTA

Lie = Literal["nan", "range", "shape", "stale", "slow"]
LIES: tuple[Lie, ...] = get_args(Lie)
"""What a lying policy can do: NaN, far out of bounds, too few columns, an old observation's time, too late."""
_SLOW_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sway:
    """A small smooth figure around where the tool was when the episode began."""

    radius_m: float = 0.025
    """Half of the figure's width [m]."""
    period_s: float = 6.0
    """Time for one round [s]."""
    ramp_s: float = 2.0
    """The figure grows from nothing over this time [s]."""
    rows: int = 16
    """Length of each chunk."""
    pull: float = 0.15
    """Share of the distance to the figure that is made good in each step."""
    pull_most_m: float = 0.002
    """Largest such correction in one step and axis [m]."""

    def __post_init__(self) -> None:
        in_range("radius_m [m]", self.radius_m, 0.001, 0.05)
        in_range("period_s [s]", self.period_s, 2.0, 60.0)

    def offset(self, t_s: Floats) -> Floats:
        """Returns where the figure is from its centre after `t_s` (T,) [s], shape (T, 3) [m]: an eight, lying flat."""
        share = np.clip(t_s / self.ramp_s, 0.0, 1.0)
        grown = self.radius_m * share * share * (3.0 - 2.0 * share)
        angle = 2.0 * np.pi * t_s / self.period_s
        return np.stack([grown * np.sin(2.0 * angle) / 2.0, grown * np.sin(angle), np.zeros_like(t_s)], axis=-1)


class SwayPolicy:
    """A blocking policy that keeps the arm moving smoothly in a small figure; looks at no image.

    Args:
        sway: The figure.
    """

    def __init__(self, sway: Sway | None = None) -> None:
        self._sway = sway or Sway()
        self.reset()

    @property
    def policy_id(self) -> str:
        """name@hash of the figure."""
        return f"sway@{sha256(repr(self._sway).encode()).hexdigest()[:12]}"

    def reset(self) -> None:
        """Forgets the centre: the next observation's tool position becomes it."""
        self._start_ns: int | None = None
        self._centre = np.zeros(3)

    def infer(self, obs: Observation) -> ActionChunk:
        """Returns the steps of the figure from the observation on."""
        if self._start_ns is None:
            self._start_ns, self._centre = obs.t_ns, obs.tcp_pos_in_base
        dt_s = EE_DELTA.dt_s
        times = (obs.t_ns - self._start_ns) * 1e-9 + dt_s * np.arange(self._sway.rows + 1, dtype=np.float64)
        path = self._sway.offset(times)
        most = self._sway.pull_most_m
        pull = np.clip(self._sway.pull * (self._centre + path[0] - obs.tcp_pos_in_base), -most, most)
        fading = 0.5 ** np.arange(self._sway.rows)[:, None]
        values = np.tile(EE_DELTA.still(obs.gripper_command), (self._sway.rows, 1))
        values[:, :3] = np.diff(path, axis=0) + pull * fading
        return ActionChunk(obs_t_ns=obs.t_ns, values=EE_DELTA.clip(values), dt_s=dt_s, policy_id=self.policy_id)


class LyingPolicy:
    """A policy that answers honestly for a while, and then does not.

    Args:
        base: Answers honestly.
        lie: What goes wrong.
        after_s: From the first answer until then [s].
    """

    def __init__(self, base: BlockingPolicy, lie: Lie, *, after_s: float) -> None:
        self._base, self._lie, self._after_s = base, lie, in_range("after_s [s]", after_s, 0.0, 86400.0)
        self._first_s: float | None = None
        self._first_t_ns = 0

    @property
    def policy_id(self) -> str:
        """name@hash of the policy it pretends to be."""
        return self._base.policy_id

    def reset(self) -> None:
        """Starts a new episode of the base; the time until the lie goes on."""
        self._base.reset()

    def infer(self, obs: Observation) -> ActionChunk:
        """Returns the base's chunk, falsified once the time has come."""
        now_s = time.monotonic()
        if self._first_s is None:
            self._first_s, self._first_t_ns = now_s, obs.t_ns
        chunk = self._base.infer(obs)
        return chunk if now_s - self._first_s < self._after_s else self._falsified(chunk)

    def _falsified(self, chunk: ActionChunk) -> ActionChunk:
        values = np.array(chunk.values)
        match self._lie:
            case "nan":
                values[len(values) // 2, 0] = np.nan
                return replace(chunk, values=values)
            case "range":
                values[:, 0] = 20.0 * EE_DELTA.high[0]
                return replace(chunk, values=values)
            case "shape":
                return replace(chunk, values=values[:, :-2])
            case "stale":
                return replace(chunk, obs_t_ns=self._first_t_ns)
            case "slow":
                time.sleep(_SLOW_S)
                return chunk
