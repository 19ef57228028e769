"""A blocking policy on many simulated worlds at once: for evaluation, failure banks and probe data.

No detectors, no recovery, no guard: this is the frozen policy alone, its chunks played as the loop plays them. Whoever
wants more than the result passes `watch` and sees every tick.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.arrays import Bools, Floats, Image, Ints
from core.errors import ContractError
from core.flow import ActionChunk, Observation
from core.robots import EE_DELTA
from core.worlds import DomainParams, Injection, WorldState
from runtime.chunking import ChunkPlayer
from sim.cameras import CellCameras
from sim.world import BatchWorld

_DT_NS = round(EE_DELTA.dt_s * 1e9)


class BatchPolicy(Protocol):
    """A policy that answers many observations together."""

    def infer_batch(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        """Returns one chunk for each observation."""
        ...

    def reset(self) -> None:
        """Forgets its memory."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutConfig:
    """How chunks are played."""

    replan_ticks: int = 4
    """A new chunk is asked for every so many ticks."""
    latency_ticks: int = 0
    """Ticks from an observation to the tick that first has its chunk; the arm holds until the first one is there."""
    blend_steps: int = 2
    """Ticks over which a new chunk is blended with the one before it."""
    most_ticks: int = 0
    """Ticks after which an episode has failed; 0 takes the task's."""
    every_image: bool = False
    """Whether `watch` gets pictures at every tick, not only at those where a chunk is asked for; four times slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutTick:
    """One tick of all worlds, after actions were chosen and before they are taken."""

    world: BatchWorld
    """For snapshots; do not step it."""
    index: int
    """Ticks since the episodes' start."""
    episodes: Ints
    """Episode number of each world, shape (N,); -1 for a spare world."""
    running: Bools
    """Which worlds still run, shape (N,)."""
    state: WorldState
    """Ground truth of all worlds."""
    observations: Sequence[Observation]
    """One per world; pictures as `RolloutConfig.every_image` says."""
    asked: Bools
    """In which worlds `chunks` is new at this tick, shape (N,)."""
    chunks: Sequence[ActionChunk | None]
    """What is being played, one per world."""
    actions: Floats
    """Shape (N, A), in `EE_DELTA` units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollouts:
    """How E episodes ended."""

    seeds: Ints
    """Shape (E,)."""
    success: Bools
    """Shape (E,)."""
    ticks: Ints
    """Until success, else until the end, shape (E,)."""
    q_score: Floats
    """Share of sub-goals reached, shape (E,)."""
    injected_s: Floats
    """When the failure struck [s], NaN when none did, shape (E,)."""
    void: Bools
    """The physics blew up; not a success, shape (E,)."""
    instructions: tuple[str, ...]


def rollout(world: BatchWorld, cameras: CellCameras, policy: BatchPolicy, seeds: Ints, *,
            config: RolloutConfig | None = None, injections: Sequence[Injection | None] = (),
            domain: DomainParams | None = None,
            watch: Callable[[RolloutTick], None] | None = None) -> Rollouts:  # fmt: skip
    """Runs one episode for each seed, as many at a time as there are worlds.

    Args:
        world: Worlds to run in; their episodes are replaced.
        cameras: Open cameras of the same cell.
        policy: Drives; reset before each round of worlds.
        seeds: Episode seeds, shape (E,).
        config: See there.
        injections: One per seed, or none at all.
        domain: One row per seed; nominal when None.
        watch: Sees every tick of every world.

    Raises:
        ContractError: Not as many injections as seeds.
    """
    config = config or RolloutConfig()
    seeds = np.asarray(seeds, dtype=np.int64)
    if injections and len(injections) != len(seeds):
        raise ContractError(f"{len(injections)} injections for {len(seeds)} seeds; give one each, or none")
    rounds = []
    for first in range(0, len(seeds), world.n):
        episodes = np.arange(first, min(first + world.n, len(seeds)))
        _start(world, seeds, episodes, injections, domain)
        policy.reset()
        one = _Round(world, cameras, policy, config=config, episodes=episodes, watch=watch)
        rounds.append(one.run(seeds[episodes]))
    return _joined(rounds)


def _start(world: BatchWorld, seeds: Ints, episodes: Ints, injections: Sequence[Injection | None],
           domain: DomainParams | None) -> None:  # fmt: skip
    ids = np.arange(len(episodes))
    world.reset(ids, seeds[episodes], None if domain is None else domain.take(episodes))
    for i, episode in enumerate(episodes):
        if injections:
            world.inject(i, injections[episode], seed=int(seeds[episode]))


class _Round:
    """One episode in each of the first worlds; the rest stand still."""

    def __init__(
        self, world: BatchWorld, cameras: CellCameras, policy: BatchPolicy, *, config: RolloutConfig, episodes: Ints,
        watch: Callable[[RolloutTick], None] | None,
    ) -> None:  # fmt: skip
        self._world, self._cameras, self._policy, self._config, self._watch = world, cameras, policy, config, watch
        self._episodes = np.full(world.n, -1, dtype=np.int64)
        self._episodes[: len(episodes)] = episodes
        self._players = [
            ChunkPlayer(EE_DELTA, blend_steps=config.blend_steps, replan_ticks=config.replan_ticks)
            for _ in range(world.n)
        ]
        self._chunks: list[ActionChunk | None] = [None] * world.n
        self._coming: list[tuple[int, Ints, list[ActionChunk]]] = []

    def run(self, seeds: Ints) -> Rollouts:
        """Returns how the episodes ended."""
        world, count = self._world, len(seeds)
        most = self._config.most_ticks or world.task.info.episode_steps
        running = self._episodes >= 0
        ended = np.full(world.n, most, dtype=np.int64)
        success = np.zeros(world.n, dtype=bool)
        for tick in range(most):
            self._tick(tick, running)
            state = world.state()
            success |= running & state.success & ~state.physics_reset
            over = running & (state.success | state.physics_reset)
            ended[over] = tick + 1
            running = running & ~over
            if not running.any():
                break
        state = world.state()
        return Rollouts(
            seeds=seeds,
            success=success[:count],
            ticks=ended[:count],
            q_score=state.q_score[:count],
            injected_s=np.array([world.injected_at(i) for i in range(count)]),
            void=state.physics_reset[:count],
            instructions=tuple(world.instruction(i) for i in range(count)),
        )

    def _tick(self, tick: int, running: Bools) -> None:
        world, config, t_ns = self._world, self._config, tick * _DT_NS
        state = world.state()
        replan = tick % config.replan_ticks == 0
        shown = np.flatnonzero(running) if replan or (config.every_image and self._watch) else np.zeros(0, np.int64)
        pictures = {int(i): self._cameras.render(world, int(i)) for i in shown}
        observations = [
            observation_of(state, i, world.instruction(i), pictures.get(i, {}), t_ns) for i in range(world.n)
        ]
        if replan:
            chunks = self._policy.infer_batch([observations[i] for i in shown])
            self._coming.append((tick + config.latency_ticks, shown, chunks))
        asked = self._arrive(tick, t_ns)
        actions = np.stack([self._action(i, state, t_ns) for i in range(world.n)])
        if self._watch is not None:
            self._watch(
                RolloutTick(
                    world=world, index=tick, episodes=self._episodes, running=running, state=state,
                    observations=observations, asked=asked, chunks=tuple(self._chunks), actions=actions,
                )
            )  # fmt: skip
        world.step(actions)

    def _arrive(self, tick: int, t_ns: int) -> Bools:
        asked = np.zeros(self._world.n, dtype=bool)
        while self._coming and self._coming[0][0] <= tick:
            _, ids, chunks = self._coming.pop(0)
            for i, chunk in zip(ids, chunks, strict=True):
                if not self._players[i].offer(chunk, t_ns):
                    self._chunks[i], asked[i] = chunk, True
        return asked

    def _action(self, i: int, state: WorldState, t_ns: int) -> Floats:
        action = self._players[i].action(t_ns)
        return EE_DELTA.still(float(state.gripper_command[i])) if action is None else action


def observation_of(state: WorldState, i: int, instruction: str, images: dict[str, Image], t_ns: int) -> Observation:
    """Returns what a perfect robot would measure in world `i`.

    Args:
        state: Ground truth.
        i: World index.
        instruction: What the policy is told.
        images: By camera.
        t_ns: Time of observation and pictures [ns].
    """
    return Observation(
        t_ns=t_ns,
        joint_pos=state.joint_pos[i],
        joint_vel=state.joint_vel[i],
        tcp_pos_in_base=state.tcp_pos_in_base[i],
        tcp_quat_xyzw_in_base=state.tcp_quat_xyzw_in_base[i],
        gripper_opening=float(state.gripper_opening[i]),
        gripper_command=float(state.gripper_command[i]),
        images=images,
        image_t_ns=dict.fromkeys(images, t_ns),
        instruction=instruction,
    )


def _joined(rounds: Sequence[Rollouts]) -> Rollouts:
    return Rollouts(
        seeds=np.concatenate([r.seeds for r in rounds]),
        success=np.concatenate([r.success for r in rounds]),
        ticks=np.concatenate([r.ticks for r in rounds]),
        q_score=np.concatenate([r.q_score for r in rounds]),
        injected_s=np.concatenate([r.injected_s for r in rounds]),
        void=np.concatenate([r.void for r in rounds]),
        instructions=tuple(text for r in rounds for text in r.instructions),
    )
