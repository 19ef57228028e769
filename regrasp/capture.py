"""Captures failure states of the frozen policy: the bank that residual skills are trained from. Called by `train`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.arrays import Floats
from core.failures import FailureMode
from core.flow import ActionChunk
from core.scene import SceneState, TrackedObject
from core.worlds import FailureState, Injection, WorldState
from regrasp.rollout_policy import BatchPolicy, RolloutConfig, Rollouts, RolloutTick, rollout
from sim.cameras import CellCameras
from sim.cell import PARKED_M
from sim.world import BatchWorld

AGES_S = (0.2, 0.45, 0.9, 1.6, 2.8, 4.5)
"""Ages at which a failure is captured, early to late [s]; the monitor may speak at any of them."""
LATEST = 0.75
"""Rollouts end after this share of an episode: nearly all captures are due by then."""
LATENCY_TICKS = 1
"""As in the loop: a chunk is there one tick after its observation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A bank and how the rollouts it comes from ended."""

    states: tuple[FailureState, ...]
    rollouts: Rollouts


@dataclass(slots=True, kw_only=True)
class _Net:
    """Catches states as rollouts go by."""

    modes: Sequence[FailureMode]
    """By episode number."""
    seeds: Sequence[int]
    states: list[FailureState] = field(default_factory=list)
    caught: dict[int, int] = field(default_factory=dict)
    """How many ages were caught, by episode number."""
    failed: dict[int, int] = field(default_factory=dict)
    """Sub-task that failed, the first one that was due since the failure struck, by episode number."""

    def watch(self, tick: RolloutTick) -> None:
        """Catches every world that reached its next age and has not got over its failure."""
        for i in np.flatnonzero(tick.running):
            episode = int(tick.episodes[i])
            struck_s = tick.world.injected_at(int(i))
            count = self.caught.get(episode, 0)
            if np.isnan(struck_s) or count == len(AGES_S):
                continue
            due = int(tick.state.subtask[i])
            self.failed[episode] = min(due, self.failed.get(episode, due))
            age_s = float(tick.state.time_s[i]) - struck_s
            if age_s >= AGES_S[count]:
                self.caught[episode] = count + 1
                if due == self.failed[episode]:
                    self.states.append(self._state(tick, int(i), episode, age_s))

    def _state(self, tick: RolloutTick, i: int, episode: int, age_s: float) -> FailureState:
        t_ns, chunk = tick.observations[i].t_ns, tick.chunks[i]
        return FailureState(
            snapshot=tick.world.snapshot(i),
            mode=self.modes[episode],
            seed=int(self.seeds[episode]),
            age_s=age_s,
            queue=_rest(chunk, t_ns),
            belief=_belief(tick.state, i, tick.world.before_injection(i), t_ns),
            subtask=int(tick.state.subtask[i]),
            policy_features=np.zeros(0) if chunk is None else np.array(chunk.features),
        )


def capture_bank(
    world: BatchWorld,
    cameras: CellCameras,
    policy: BatchPolicy,
    *,
    modes: Sequence[FailureMode],
    episodes: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Captured:
    """Rolls the frozen policy out with injected failures and captures what it walks into.

    Args:
        world: Worlds to roll out in.
        cameras: Open cameras of the same cell.
        policy: The frozen policy; it sees images only.
        modes: Modes to inject.
        episodes: Rollouts per mode.
        seed: First episode seed.
        progress: Told how many states are captured, every tick.
    """
    injected = [mode for mode in modes for _ in range(episodes)]
    seeds = list(range(seed, seed + len(injected)))
    net = _Net(modes=injected, seeds=seeds)

    def watch(tick: RolloutTick) -> None:
        net.watch(tick)
        if progress is not None:
            progress(len(net.states))

    rollouts = rollout(
        world,
        cameras,
        policy,
        np.array(seeds),
        config=RolloutConfig(latency_ticks=LATENCY_TICKS, most_ticks=round(LATEST * world.task.info.episode_steps)),
        injections=[Injection(mode=mode) for mode in injected],
        watch=watch,
    )
    return Captured(states=tuple(net.states), rollouts=rollouts)


def _rest(chunk: ActionChunk | None, t_ns: int) -> ActionChunk | None:
    """Returns what is left of a chunk at `t_ns`, None when nothing is."""
    if chunk is None:
        return None
    row = round((t_ns - chunk.obs_t_ns) / (chunk.dt_s * 1e9))
    rest = chunk.values[row:]
    if not len(rest):
        return None
    return ActionChunk(obs_t_ns=t_ns, values=rest, dt_s=chunk.dt_s, policy_id=chunk.policy_id)


def _belief(state: WorldState, i: int, before: Floats, t_ns: int) -> SceneState:
    """Returns the scene as the base of world `i` still believes it.

    Whoever plays a role is thought to be where it was before the injection; the rest is where it is.
    """
    stale = np.isin(np.arange(len(before)), state.roles[i])
    positions = np.where(stale[:, None], before, state.object_pos_in_base[i])
    objects = {
        name: TrackedObject(pos_in_base=pos, t_ns=t_ns, confidence=1.0)
        for name, pos in zip(state.object_names, positions, strict=True)
        if pos[2] > PARKED_M[2] / 2
    }
    return SceneState(t_ns=t_ns, objects=objects, source="truth")
