"""`regrasp learn bc`: records demonstrations, clones them into pi0-nano, asks it the right questions, saves it.

An interrupted run leaves a usable checkpoint (averaged weights) and can be taken up again with `resume`.
"""

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tqdm import tqdm

from bridge.pi0.checkpoint import Manifest, load_checkpoint, save_checkpoint
from bridge.pi0.model import NanoShape, Pi0Network, build_nano
from bridge.pi0.processing import Processing, fit_image
from core.demonstrations import Demonstrations
from core.errors import ConfigError
from core.tasks import TaskInfo
from regrasp.bc_encoding import (
    Lessons,
    encode_demonstrations,
    encode_lessons,
    encode_texts,
    lessons_of,
    nano_manifest,
    nano_processing,
    nano_tokenizer,
    planned_move,
    seen_objects,
)
from regrasp.bc_trial import try_policy, write_trials
from regrasp.task_registry import TaskEntry, find_task
from residual.bc import Average, BcConfig, Trained, fit, pretrain
from residual.bc_checks import first_moves, headed_for, unseen_losses
from residual.bc_data import BcData, Sampler
from sim.cameras import CellCameras
from sim.demos import record_demonstrations
from sim.world import BatchWorld


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnBcConfig:
    """What to learn, from how much, for how long."""

    task: str = "fruit_on_plate"
    """Task to demonstrate."""
    out: Path = Path("models/pi0-nano")
    """Checkpoint directory to write."""
    shrink: int = 2
    """Rendered pixels per network pixel: cameras render 192 px, the network sees 96 px."""
    episodes: int = 1400
    """Demonstrations to train on."""
    unseen_episodes: int = 60
    """More demonstrations, to check on only."""
    seed: int = 1
    """Of scenes, noise and light of the demonstrations; the unseen ones use the next."""
    noise: float = 0.25
    """Disturbance of the demonstrator's motion, its labels stay clean [share of the action range]."""
    minutes: float = 0.0
    """CPU time for training [min]; 0 follows the step counts of `recipe`, which alone repeats a run bit for bit."""
    check_steps: int = 500
    """Steps between checks; each also saves."""
    check_rows: int = 1024
    """Unseen steps that a check looks at."""
    threads: int = 1
    """CPU threads of torch."""
    resume: bool = False
    """Go on from the checkpoint in `out` instead of starting anew."""
    trial_episodes: int = 100
    """Episodes in the simulator after training, for each of four trials; 0 for none."""
    trial_seed: int = 20_000
    """First of their seeds."""
    recipe: BcConfig = field(default_factory=BcConfig)
    """Steps, batches, rates, augmentation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedBc:
    """How training ended."""

    directory: Path
    policy_id: str
    losses: dict[str, float]
    """On unseen episodes; flow without unit, positions [cm]."""
    first_step: dict[str, float]
    """Share of unseen episodes whose first chunk heads for the object it was told, by "object/kind of instruction"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Everything one training run works on."""

    config: LearnBcConfig
    recipe: BcConfig
    network: Pi0Network
    tokenizer: Tokenizer
    lessons: Lessons
    manifest: Manifest
    data: BcData
    unseen: BcData
    unseen_tcp_m: Any
    """Tool position at the first row of every unseen episode, x and y, shape (E, 2) [m]."""
    log: list[dict[str, Any]]


def learn_bc(config: LearnBcConfig) -> LearnedBc:
    """Records demonstrations, trains pi0-nano on them and writes its checkpoint, with progress on the terminal.

    Args:
        config: What, how much and how long.

    Raises:
        ConfigError: Unknown task.
    """
    task = find_task(config.task)
    demos = _record(task, config, config.episodes, config.seed)
    unseen = _record(task, config, config.unseen_episodes, config.seed + 1)
    learned = train_policy(task.info, demos, unseen, config)
    if config.trial_episodes:
        _try(task, config)
    return learned


def _try(task: TaskEntry, config: LearnBcConfig) -> None:
    size = NanoShape(vocabulary=1).image_px * config.shrink
    trials = try_policy(config.out, task.make(), size_px=size, episodes=config.trial_episodes, seed=config.trial_seed)
    write_trials(config.out, trials, config.trial_seed)
    for trial in trials:
        low, high = trial.rate.ci95
        tqdm.write(f"{trial.instructions}, {trial.noise} noise: {trial.rate.k}/{trial.rate.n} ({low:.2f}-{high:.2f})")


def learn(config: LearnBcConfig) -> int:
    """Learns and says where the checkpoint is; returns the exit code."""
    learned = learn_bc(config)
    print(f"{learned.directory}: {learned.policy_id}")
    return 0


def _record(task: TaskEntry, config: LearnBcConfig, episodes: int, seed: int) -> Demonstrations:
    px = NanoShape(vocabulary=1).image_px
    with (
        CellCameras(BatchWorld(task.make(), 1), size_px=px * config.shrink) as cameras,
        tqdm(total=episodes, desc="demonstrations", unit="episode", mininterval=2.0) as bar,
    ):
        return record_demonstrations(
            task.make(),
            task.demonstrator(),
            episodes=episodes,
            seed=seed,
            cameras=cameras,
            shrink=lambda image: fit_image(image, px, "area"),
            noise=config.noise,
            progress=lambda kept: bar.update(kept - bar.n),
        )


def train_policy(info: TaskInfo, demos: Demonstrations, unseen: Demonstrations, config: LearnBcConfig) -> LearnedBc:
    """Trains pi0-nano on recorded demonstrations and writes its checkpoint.

    Args:
        info: Words of the task.
        demos: To learn from.
        unseen: To check on.
        config: How.

    Raises:
        ConfigError: No images, or nothing to resume.
    """
    torch.set_num_threads(config.threads)
    course, start = _enrol(info, demos, unseen, config)
    recipe = course.recipe
    if start == 0:
        for done in _shown(pretrain(course.network, course.data, recipe), recipe.pretrain_steps, "eyes"):
            _note(course, done, every=50)
    average = Average(course.network, recipe.average)
    for done in _shown(fit(course.network, course.data, recipe, average, start), recipe.steps - start, "actions"):
        _note(course, done, every=50)
        if done.step % config.check_steps == 0 and done.step < recipe.steps:
            _check_and_save(course, average, done.step)
    return _check_and_save(course, average, recipe.steps)


def _enrol(info: TaskInfo, demos: Demonstrations, unseen: Demonstrations, config: LearnBcConfig) -> tuple[Course, int]:
    """Returns the run, and how many steps of it were already done."""
    if demos.images.size == 0:
        raise ConfigError("demonstrations hold no images; record them with the policy's cameras")
    lessons = lessons_of(info, demos.instructions)
    log: list[dict[str, Any]] = []
    done = 0
    if config.resume:
        found = load_checkpoint(config.out)
        network, tokenizer, manifest = found.network.requires_grad_(True).train(), found.tokenizer, found.manifest
        if manifest.task != info.name or manifest.readout_objects != seen_objects(demos):
            raise ConfigError(f"{config.out} was trained for {manifest.task!r}; it cannot go on with {info.name!r}")
        log = [json.loads(line) for line in (config.out / "training_log.jsonl").read_text().splitlines()]
        done = int(manifest.training["steps"])
    else:
        tokenizer = nano_tokenizer(lessons)
        shape = NanoShape(vocabulary=tokenizer.get_vocab_size(), image_px=demos.images.shape[2])
        manifest = nano_manifest(
            info.name, lessons, nano_processing(demos, shape.image_tokens), seen_objects(demos), training={}
        )
        network = build_nano(shape, len(demos.cameras), manifest.readout_objects, config.recipe.seed)
    phrases = encode_lessons(lessons, manifest, tokenizer)
    data, held = (
        encode_demonstrations(d, manifest, phrases=phrases, goal=info.goal, chunk=network.config.chunk_size)
        for d in (demos, unseen)
    )
    course = Course(
        config=config,
        recipe=_timed(config, network, data) if config.minutes > 0 else config.recipe,
        network=network,
        tokenizer=tokenizer,
        lessons=lessons,
        manifest=manifest,
        data=data,
        unseen=held,
        unseen_tcp_m=unseen.proprio[held.step == 0, :2],
        log=log,
    )
    return course, done


def _timed(config: LearnBcConfig, network: Pi0Network, data: BcData) -> BcConfig:
    """Returns the recipe with as many steps as fit into `config.minutes`, an eighth of them before flow matching."""
    recipe, seconds = config.recipe, config.minutes * 60
    sampler = Sampler(data, recipe.augmentation, np.random.default_rng(0))
    spent = []
    for _ in range(6):
        begun = time.process_time()
        batch = sampler.draw(recipe.batch)
        prefix = network.read_all(batch.pixels, batch.text)
        rows = len(batch.state) * recipe.draws
        noise = torch.zeros((rows, *batch.actions.shape[1:]))
        torch.autograd.backward(network.flow_loss(prefix, batch.state, batch.actions, noise, torch.ones(rows)).mean())
        spent.append(time.process_time() - begun)
    network.zero_grad()
    per_step = float(np.median(spent)) * 1.1
    return replace(
        recipe, pretrain_steps=int(0.125 * seconds / (0.8 * per_step)), steps=max(1, int(0.875 * seconds / per_step))
    )


def _shown(steps: Any, total: int, name: str) -> Any:
    return tqdm(steps, total=total, desc=name, unit="step", mininterval=2.0)


def _note(course: Course, done: Trained, every: int) -> None:
    if done.step % every == 0:
        course.log.append(
            {"stage": done.stage, "step": done.step, "cpu_s": round(time.process_time(), 1), **_rounded(done.losses)}
        )


def _check_and_save(course: Course, average: Average, step: int) -> LearnedBc:
    with average.shown(course.network), torch.random.fork_rng(devices=[]):
        course.network.eval()
        losses = _rounded(
            unseen_losses(course.network, course.unseen, course.recipe, rows=course.config.check_rows, seed=7)
        )
        first = _first_step_accuracy(course)
        course.log.append({"stage": "check", "step": step, **losses, **first})
        tqdm.write(f"step {step}: unseen {losses}, first step {first}")
        policy_id = save_checkpoint(
            course.config.out,
            course.network,
            course.tokenizer,
            replace(course.manifest, training=_facts(course, step, losses)),
            {
                "README.md": card(course.manifest, course.config, step, losses, first),
                "training_log.jsonl": "".join(json.dumps(line) + "\n" for line in course.log),
                "training_config.json": json.dumps(asdict(course.config), indent=2, default=str) + "\n",
            },
        )
        course.network.train()
    return LearnedBc(directory=course.config.out, policy_id=policy_id, losses=losses, first_step=first)


def _first_step_accuracy(course: Course) -> dict[str, float]:
    """Returns, by object and kind of instruction, how often the first chunk heads for the object told."""
    spec: Processing = course.manifest.processing
    unseen, rng = course.unseen, np.random.default_rng(11)
    starts = unseen.objects_m[unseen.step == 0][:, unseen.nameable, :2]
    result = {}
    for kind, table in (("taught", course.lessons.taught), ("held_out", course.lessons.held_out)):
        for place, index in enumerate(unseen.nameable):
            name = course.manifest.readout_objects[index]
            texts = [table[name][i] for i in rng.integers(len(table[name]), size=len(starts))]
            chunks = first_moves(course.network, unseen, encode_texts(course.tokenizer, spec, texts))
            found = headed_for(planned_move(spec, chunks), course.unseen_tcp_m, starts.astype(float))
            result[f"{name}/{kind}"] = round(float((found == place).mean()), 3)
    return result


def _facts(course: Course, step: int, losses: dict[str, float]) -> dict[str, float | int | str]:
    config = course.config
    return {
        "steps": step,
        "of_steps": course.recipe.steps,
        "pretrain_steps": course.recipe.pretrain_steps,
        "seed": course.recipe.seed,
        "data_seed": config.seed,
        "episodes": config.episodes,
        "frames": len(course.data.step),
        "cpu_minutes": round(time.process_time() / 60, 1),
        **{f"unseen_{k}": v for k, v in losses.items()},
    }


def _rounded(values: Any) -> dict[str, float]:
    return {k: round(float(v), 4) for k, v in values.items()}


def card(
    manifest: Manifest, config: LearnBcConfig, step: int, losses: dict[str, float], first: dict[str, float]
) -> str:
    """Returns the README.md of a checkpoint.

    Args:
        manifest: Of the checkpoint.
        config: What it was trained with.
        step: Flow-matching steps done.
        losses: On unseen episodes.
        first: Share of first chunks that head for the object told.
    """
    spec = manifest.processing
    asked = "\n".join(f"| first chunk heads for the object told, {k} | {v:.3f} |" for k, v in first.items())
    return f"""# {manifest.name}

A frozen base policy for `{manifest.task}`: transformers' `PI0ForConditionalGeneration` with a small configuration
(keypoint vision tower, word tokenizer), trained from scratch on scripted demonstrations in simulation.

- in: cameras {", ".join(spec.cameras)} at {spec.image_px} px (whole multiples are averaged down), 8 numbers of
  proprioception, an instruction of known words
- out: chunks of {", ".join(manifest.action_names)} every {manifest.dt_s * 1e3:.0f} ms
- sampling: {manifest.noise} noise, {manifest.steps} steps
- trained on {config.episodes} demonstrations (data seed {config.seed}), {step} steps, seed {config.recipe.seed}
- simulation only; one task; never shown to a real robot

| on {config.unseen_episodes} unseen demonstrations | |
|---|---|
| flow-matching loss | {losses["flow"]:.4f} |
| object positions, mean error per coordinate [cm] | {losses["objects_cm"]:.2f} |
| named object and goal, from the words' states [cm] | {losses["named_cm"]:.2f} |
{asked}

"taught" are the task's training instructions, "held_out" templates and names that training never used.
"""
