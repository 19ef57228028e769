"""`regrasp learn corrections`: lets the base policy drive, and records what the expert would have done from there.

The policy's small errors add up until it meets states that no demonstration shows; these rows show it what to do in
them. Source: Ross et al. 2011, DAgger. An episode ends where the hand has closed or opened wrongly, so that a second
attempt is never taught: getting over failures is for the recovery layer. `regrasp learn bc --corrected` reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bridge.pi0.model import NanoShape
from bridge.pi0.policy import Pi0Policy
from bridge.pi0.processing import fit_image
from core.arrays import Floats, Image
from core.demonstrations import Demonstrations, proprio
from core.errors import ContractError
from core.ports import Expert
from core.worlds import WorldSnapshot, WorldState
from regrasp.capture import LATENCY_TICKS
from regrasp.demo_files import save_demonstrations
from regrasp.learn_demos import SHRINK
from regrasp.rollout_policy import RolloutConfig, RolloutTick, rollout
from regrasp.task_registry import find_task
from sim.cameras import CAMERA_NAMES, CellCameras
from sim.world import BatchWorld

WORLDS = 32
FIRST_SEED = 2**41
"""Scenes begin here, times `CorrectionsConfig.seed`; no evaluation's do."""


@dataclass(frozen=True, kw_only=True)
class CorrectionsConfig:
    """Record what the expert would have done where the base policy went, for one task."""

    task: str
    """Name of the task."""
    policy: Path = Path("models/pi0-nano")
    """Checkpoint that drives."""
    out: Path = Path("out/demos")
    """Folder; a folder per task and seed is made in it."""
    episodes: int = 256
    """Episodes that the policy drives."""
    seed: int = 1
    """Of scenes."""
    pictures: int = 24
    """Rows kept of one episode at most, at random."""
    latency_ticks: int = LATENCY_TICKS
    """Ticks from a picture to the tick that first has its chunk; in the loop it is one, and that leads elsewhere."""


def learn_corrections(config: CorrectionsConfig) -> int:
    """Drives, records and writes; returns the exit code.

    Raises:
        ConfigError: Unknown task.
        ContractError: Nothing to correct.
    """
    demos, succeeded = corrections(config)
    folder = config.out / f"{config.task}-corrections-{config.seed}"
    save_demonstrations(folder, demos, made_of(config))
    print(f"{folder}: {len(demos.images)} pictured rows from {config.episodes} episodes, {succeeded} of them successes")
    return 0


def made_of(config: CorrectionsConfig) -> dict[str, float | int | str]:
    """Returns what is written beside the rows."""
    return {
        "task": config.task, "corrections": str(config.policy.name), "episodes": config.episodes, "seed": config.seed,
        "pictures": config.pictures, "latency_ticks": config.latency_ticks,
    }  # fmt: skip


def corrections(config: CorrectionsConfig) -> tuple[Demonstrations, int]:
    """Returns the rows, each an episode as long as a chunk with its first step pictured, and the number of successes.

    Args:
        config: See there.

    Raises:
        ContractError: Nothing to correct.
    """
    task = find_task(config.task)
    world = BatchWorld(task.make(), WORLDS, wording="training")
    shape = NanoShape(vocabulary=1)
    adviser = _Adviser(BatchWorld(task.make(), WORLDS), task.demonstrator(), shape)
    played = RolloutConfig(latency_ticks=config.latency_ticks)
    seeds = FIRST_SEED * config.seed + np.arange(config.episodes)
    with (
        CellCameras(world, size_px=shape.image_px * SHRINK) as cameras,
        tqdm(total=config.episodes, desc=f"{config.task} corrections", unit="episode", mininterval=2.0) as bar,
    ):

        def watch(tick: RolloutTick) -> None:
            adviser.look(tick)
            bar.update(int(tick.episodes.max() + 1 - bar.n) if tick.index == 0 else 0)

        done = rollout(world, cameras, Pi0Policy.load(config.policy), seeds, config=played, watch=watch)
    names = tuple(o.name for o in task.info.objects)
    return _assemble(adviser.kept, names, config), int(done.success.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Advice:
    """What the expert would have done from one state of the policy's; arrays have a row a step."""

    episode: int
    step: int
    images: Image
    proprio: Floats
    actions: Floats
    objects: Floats
    instruction: str


@dataclass(slots=True)
class _Adviser:
    """Asks the expert wherever the policy asks for a chunk."""

    world: BatchWorld
    expert: Expert
    shape: NanoShape
    kept: list[_Advice] = field(default_factory=list)
    _astray: set[int] = field(default_factory=set)

    def look(self, tick: RolloutTick) -> None:
        """Keeps a row of every world that asks with a picture and has not gone astray."""
        seen = [i for i in range(tick.world.n) if tick.running[i] and tick.observations[i].images]
        ids = [i for i in seen if int(tick.episodes[i]) not in self._astray]
        if not ids:
            return
        states, actions = self._play([tick.world.snapshot(i) for i in ids])
        for k, i in enumerate(ids):
            closed = tick.state.gripper_command[i] < 0.5
            if ((actions[:, k, 6] < 0.5) != closed).all():
                self._astray.add(int(tick.episodes[i]))
                continue
            views = tick.observations[i].images
            self.kept.append(
                _Advice(
                    episode=int(tick.episodes[i]),
                    step=tick.index,
                    images=np.stack([fit_image(views[name], self.shape.image_px, "area") for name in CAMERA_NAMES]),
                    proprio=np.concatenate([_proprio(s, k) for s in states]),
                    actions=actions[:, k],
                    objects=np.stack([s.object_pos_in_base[k] for s in states]),
                    instruction=tick.world.instruction(i),
                )
            )

    def _play(self, snapshots: Sequence[WorldSnapshot]) -> tuple[list[WorldState], Floats]:
        """Returns the states in which the expert acted, and its actions (T, N, A)."""
        self.world.restore(np.arange(len(snapshots)), snapshots)
        states, actions = [], []
        for _ in range(self.shape.chunk):
            states.append(self.world.state())
            actions.append(self.expert.act(states[-1]))
            self.world.step(actions[-1])
        return states, np.array(actions)


def _proprio(state: WorldState, i: int) -> Floats:
    one = slice(i, i + 1)
    return proprio(
        state.tcp_pos_in_base[one], state.tcp_quat_xyzw_in_base[one], state.gripper_opening[one],
        state.gripper_command[one],
    )  # fmt: skip


def _assemble(advice: Sequence[_Advice], object_names: tuple[str, ...], config: CorrectionsConfig) -> Demonstrations:
    rng = np.random.default_rng([config.seed, 4])
    rows: list[_Advice] = []
    for episode in range(config.episodes):
        some = [a for a in advice if a.episode == episode]
        rows += [some[k] for k in np.sort(rng.permutation(len(some))[: config.pictures])]
    if not rows:
        raise ContractError(f"{config.policy} left nothing to correct in {config.episodes} episodes of {config.task}")
    length = len(rows[0].actions)
    return Demonstrations(
        images=np.stack([a.images for a in rows]),
        pictured=np.arange(len(rows), dtype=np.int64) * length,
        cameras=CAMERA_NAMES,
        proprio=np.concatenate([a.proprio for a in rows]),
        actions=np.concatenate([a.actions for a in rows]),
        episode=np.repeat(np.arange(len(rows)), length).astype(np.int64),
        instructions=tuple(a.instruction for a in rows),
        object_names=object_names,
        objects_in_base=np.concatenate([a.objects for a in rows]),
        starts=np.array([a.step for a in rows], dtype=np.int64),
    )
