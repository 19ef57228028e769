"""Scripted demonstrations: what a policy is trained on. Called by `regrasp learn bc` and `regrasp learn finetune`.

The expert's actions are recorded clean while noisy ones are executed, so that the recorded states spread around the
expert's path (Source: Laskey et al. 2017, DART). Only successes at the first try are kept: a policy that never saw a
second attempt does not recover by itself, which is what the recovery layer is for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats, Image, Ints
from core.demonstrations import Demonstrations, proprio
from core.errors import ContractError
from core.ports import Expert
from core.robots import EE_DELTA
from core.subtasks import Course, Manner
from core.worlds import WorldSnapshot, WorldState
from sim.cameras import CAMERA_NAMES, CellCameras, Light
from sim.cell import Bodies
from sim.task import Task
from sim.world import BatchWorld

NOISE = 0.25
"""Standard deviation of the noise on executed motions, as a share of the largest action."""
FIRST_STEPS = 8
"""Steps at the start of an episode that are always pictured: only words and pictures tell there what to do."""
TAIL_STEPS = 4
"""Steps kept after success: the policy learns to stay away."""
_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Take:
    """One kept episode; arrays have a row a step."""

    proprio: Floats
    actions: Floats
    objects: Floats
    bodies: tuple[Bodies, ...]
    instruction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One batch of episodes, by control step."""

    states: list[WorldState]
    actions: list[Floats]
    bodies: list[list[Bodies]]
    calm: Bools
    """Where the scene has no event of its own, shape (N,)."""


def record_demonstrations(
    task: Task,
    expert: Expert,
    *,
    episodes: int,
    seed: int,
    cameras: CellCameras | None = None,
    shrink: Callable[[Image], Image] | None = None,
    noise: float = NOISE,
    pictures: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Demonstrations:
    """Records `episodes` successful episodes, the same ones for the same arguments.

    Args:
        task: What to do; instructions are those for training only.
        expert: Who shows it.
        episodes: How many to keep.
        seed: Seed of scenes, noise and light.
        cameras: Open cameras; no images when None.
        shrink: Brings a rendered image to the policy's resolution; images stay as rendered when None.
        noise: Standard deviation of the noise on executed motions, as a share of the largest action.
        pictures: Control steps of each episode that are pictured, the first eight and others at random; 0 for all.
        progress: Told how many episodes have been kept so far.

    Raises:
        ContractError: Fewer than one in ten tries succeeds: the expert does not fit the task.
    """
    takes: list[_Take] = []
    world = BatchWorld(task, _BATCH, wording="training")
    batch = 0
    while len(takes) < episodes:
        takes += _perform(world, expert, np.random.default_rng([seed, batch]), noise)
        batch += 1
        if progress:
            progress(min(len(takes), episodes))
        if len(takes) * 10 < batch * _BATCH:
            raise ContractError(f"{len(takes)} of {batch * _BATCH} demonstrations succeeded; check expert and noise")
    takes = takes[:episodes]
    chosen = [_pictured(len(t.bodies), pictures, seed, e) for e, t in enumerate(takes)]
    return _assemble(task, takes, chosen, _pictures(takes, chosen, cameras, shrink, seed))


def record_recoveries(
    task: Task,
    expert: Expert,
    failures: Sequence[WorldSnapshot],
    *,
    seed: int,
    cameras: CellCameras,
    shrink: Callable[[Image], Image] | None = None,
    noise: float = NOISE,
    pictures: int = 0,
) -> Demonstrations:
    """Records how the expert gets over failures, from each to the end of the task; those it loses are left out.

    Args:
        task: What to do.
        expert: Who shows it.
        failures: Where to begin.
        seed: Seed of noise and light.
        cameras: Open cameras.
        shrink: Brings a rendered image to the policy's resolution; images stay as rendered when None.
        noise: Standard deviation of the noise on executed motions, as a share of the largest action.
        pictures: Control steps of each episode that are pictured, the first eight and others at random; 0 for all.

    Raises:
        ContractError: The expert gets over none of them.
    """
    world, takes = BatchWorld(task, _BATCH), list[_Take]()
    for first in range(0, len(failures), _BATCH):
        some = list(failures[first : first + _BATCH])
        world.restore(np.arange(_BATCH), [some[i % len(some)] for i in range(_BATCH)])
        run, ends = _roll(world, expert, np.random.default_rng([seed, 3, first]), noise)
        good = (ends > 0) & ~run.states[-1].physics_reset & (np.arange(_BATCH) < len(some))
        takes += [_take(world, run, int(i), int(ends[i])) for i in np.flatnonzero(good)]
    if not takes:
        raise ContractError(f"the expert gets over none of {len(failures)} failures; check expert and bank")
    chosen = [_pictured(len(t.bodies), pictures, seed, e) for e, t in enumerate(takes)]
    return _assemble(task, takes, chosen, _pictures(takes, chosen, cameras, shrink, seed))


def _pictured(steps: int, wanted: int, seed: int, episode: int) -> Ints:
    """Returns the steps of one episode that are pictured, rising."""
    if not wanted or steps <= wanted:
        return np.arange(steps)
    others = np.random.default_rng([seed, 2, episode]).permutation(np.arange(FIRST_STEPS, steps))
    return np.sort(np.concatenate([np.arange(FIRST_STEPS), others[: wanted - FIRST_STEPS]]))


def _perform(world: BatchWorld, expert: Expert, rng: np.random.Generator, noise: float) -> list[_Take]:
    """Runs one batch of episodes and returns those worth keeping."""
    world.reset(np.arange(world.n), rng.integers(2**40, 2**50, world.n))
    run, ends = _roll(world, expert, rng, noise)
    good = (ends > 0) & _first_try(world, run) & ~run.states[-1].physics_reset
    return [_take(world, run, int(i), int(ends[i])) for i in np.flatnonzero(good)]


def _roll(world: BatchWorld, expert: Expert, rng: np.random.Generator, noise: float) -> tuple[_Run, Ints]:
    """Lets the expert act from where all worlds are, and returns that with the step at which each ends, -1 if never."""
    run = _Run(states=[], actions=[], bodies=[], calm=np.isnan(world.facts().event_s))
    scale = noise * np.append(EE_DELTA.high[:6], 0.0)
    ends = np.full(world.n, -1)
    for step in range(world.task.info.episode_steps * 2 // 3):
        state = world.state()
        run.states.append(state)
        ends = np.where((ends < 0) & state.success, step, ends)
        if ((ends >= 0) & (step >= ends + TAIL_STEPS)).all():
            break
        clean = expert.act(state)
        run.actions.append(clean)
        run.bodies.append([world.bodies(i) for i in range(world.n)])
        world.step(clean + scale * rng.standard_normal(clean.shape))
    return run, np.where(ends < 0, -1, np.minimum(ends + TAIL_STEPS, len(run.actions)))


def _first_try(world: BatchWorld, run: _Run) -> Bools:
    """Returns where the hand closed no oftener than needed, and nothing loose but targets was displaced, shape (N,)."""
    closed = np.array(run.actions)[:, :, 6] < 0.5
    closes = (closed[1:] & ~closed[:-1]).sum(axis=0) + closed[0]
    courses = [world.task.info.course(world.instruction(i)) for i in range(world.n)]
    moved = np.linalg.norm(run.states[-1].object_pos_in_base - run.states[0].object_pos_in_base, axis=2)
    loose = [o.name for o in world.task.info.objects if o.graspable]
    still = np.array([[n in loose and all(s.roles.target != n for s in c.subtasks) for n in c.names] for c in courses])
    strayed = ((moved > 0.02) & still & run.calm[:, None]).any(axis=1)
    return np.asarray((closes <= [closings(c) for c in courses]) & ~strayed)


def closings(course: Course) -> int:
    """Returns how often the hand has to close for a course: once a grasp, a tool once, a push once."""
    wiped = any(s.manner is Manner.WIPE for s in course.subtasks)
    return sum(s.manner is not Manner.WIPE for s in course.subtasks) + wiped


def _take(world: BatchWorld, run: _Run, i: int, end: int) -> _Take:
    rows = run.states[:end]
    return _Take(
        proprio=proprio(
            np.array([s.tcp_pos_in_base[i] for s in rows]),
            np.array([s.tcp_quat_xyzw_in_base[i] for s in rows]),
            np.array([s.gripper_opening[i] for s in rows]),
            np.array([s.gripper_command[i] for s in rows]),
        ),
        actions=np.array([a[i] for a in run.actions[:end]]),
        objects=np.array([s.object_pos_in_base[i] for s in rows]),
        bodies=tuple(b[i] for b in run.bodies[:end]),
        instruction=world.instruction(i),
    )


def _pictures(
    takes: Sequence[_Take],
    chosen: Sequence[Ints],
    cameras: CellCameras | None,
    shrink: Callable[[Image], Image] | None,
    seed: int,
) -> Image:
    """Renders the chosen steps, one random light an episode; shape (P, C, H, W, 3), or (0, 0) without cameras."""
    images: Image = np.zeros((0, 0), dtype=np.uint8)
    if cameras is None:
        return images
    row = 0
    for episode, (take, steps) in enumerate(zip(takes, chosen, strict=True)):
        light = Light.random(np.random.default_rng([seed, 1, episode]))
        for step in steps:
            views = cameras.show(take.bodies[step], CAMERA_NAMES, light).values()
            shots = [p if shrink is None else shrink(p) for p in views]
            if images.size == 0:
                images = np.empty((sum(map(len, chosen)), len(shots), *shots[0].shape), dtype=np.uint8)
            images[row] = shots
            row += 1
    return images


def _assemble(task: Task, takes: Sequence[_Take], chosen: Sequence[Ints], images: Image) -> Demonstrations:
    lengths = [len(t.actions) for t in takes]
    starts = np.cumsum([0, *lengths[:-1]])
    rows = np.concatenate([start + steps for start, steps in zip(starts, chosen, strict=True)])
    return Demonstrations(
        images=images,
        pictured=rows.astype(np.int64) if images.ndim == 5 else np.zeros(0, dtype=np.int64),
        cameras=CAMERA_NAMES if images.ndim == 5 else (),
        proprio=np.concatenate([t.proprio for t in takes]),
        actions=np.concatenate([t.actions for t in takes]),
        episode=np.repeat(np.arange(len(takes)), lengths).astype(np.int64),
        instructions=tuple(t.instruction for t in takes),
        object_names=tuple(o.name for o in task.info.objects),
        objects_in_base=np.concatenate([t.objects for t in takes]),
    )
