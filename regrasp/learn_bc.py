"""`regrasp learn bc`: records demonstrations, clones them into pi0-nano, asks it the right questions, saves it.

An interrupted run leaves a usable checkpoint (averaged weights) and can be taken up again with `resume`.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tqdm import tqdm

from bridge.pi0.checkpoint import Manifest, load_checkpoint, save_checkpoint
from bridge.pi0.model import NanoShape, Pi0Network, build_nano
from core.arrays import Floats, Ints
from core.demonstrations import Demonstrations
from core.errors import ConfigError
from core.tasks import TaskInfo
from regrasp.bc_card import card
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
from regrasp.demo_files import load_corrections
from regrasp.learn_demos import SHRINK, LearnDemosConfig, recorded
from regrasp.task_registry import find_task, task_names
from residual.bc import Average, BcConfig, Trained, fit, pretrain
from residual.bc_checks import first_moves, headed_for, unseen_losses
from residual.bc_data import BcData, Sampler, joined


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnBcConfig:
    """What to learn, from how much, for how long."""

    tasks: tuple[str, ...] = ()
    """Tasks to demonstrate; all when not given."""
    out: Path = Path("models/pi0-nano")
    """Checkpoint directory to write."""
    demos: Path = Path("out/demos")
    """Folder of recorded demonstrations; missing ones are recorded."""
    episodes: int = 800
    """Demonstrations of each task to train on."""
    corrected: tuple[Path, ...] = ()
    """Folders that `regrasp learn corrections` wrote, to train on too."""
    unseen_episodes: int = 40
    """More demonstrations of each, to check on only."""
    pictures: int = 40
    """Control steps of each episode that are pictured."""
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
    """Share of unseen episodes whose first chunk heads for the object it was told, by "task/kind of instruction"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Everything one training run works on."""

    config: LearnBcConfig
    recipe: BcConfig
    network: Pi0Network
    tokenizer: Tokenizer
    lessons: tuple[Lessons, ...]
    manifest: Manifest
    data: BcData
    unseen: BcData
    log: list[dict[str, Any]]


def learn_bc(config: LearnBcConfig) -> LearnedBc:
    """Records demonstrations, trains pi0-nano on them and writes its checkpoint, with progress on the terminal.

    Args:
        config: What, how much and how long.

    Raises:
        ConfigError: Unknown task.
    """
    tasks = config.tasks or task_names()
    infos = [find_task(name).info for name in tasks]
    demos = [recorded(_order(config, name, config.episodes, config.seed)) for name in tasks]
    unseen = [recorded(_order(config, name, config.unseen_episodes, config.seed + 1)) for name in tasks]
    learned = train_policy(infos, demos, unseen, config)
    if config.trial_episodes:
        _try(tasks, config)
    return learned


def _order(config: LearnBcConfig, task: str, episodes: int, seed: int) -> LearnDemosConfig:
    return LearnDemosConfig(
        task=task, out=config.demos, episodes=episodes, seed=seed, noise=config.noise, pictures=config.pictures
    )


def _try(tasks: Sequence[str], config: LearnBcConfig) -> None:
    size = NanoShape(vocabulary=1).image_px * SHRINK
    trials = [
        trial
        for name in tasks
        for trial in try_policy(
            config.out, find_task(name).make(), size_px=size, episodes=config.trial_episodes, seed=config.trial_seed
        )
    ]
    write_trials(config.out, trials, config.trial_seed)
    for trial in trials:
        low, high = trial.rate.ci95
        told = f"{trial.task}, {trial.instructions}, {trial.noise} noise"
        tqdm.write(f"{told}: {trial.rate.k}/{trial.rate.n} ({low:.2f}-{high:.2f})")


def learn(config: LearnBcConfig) -> int:
    """Learns and says where the checkpoint is; returns the exit code."""
    learned = learn_bc(config)
    print(f"{learned.directory}: {learned.policy_id}")
    return 0


def train_policy(
    infos: Sequence[TaskInfo], demos: Sequence[Demonstrations], unseen: Sequence[Demonstrations], config: LearnBcConfig
) -> LearnedBc:
    """Trains pi0-nano on recorded demonstrations and writes its checkpoint.

    Args:
        infos: The tasks.
        demos: To learn from, one a task.
        unseen: To check on, one a task.
        config: How.

    Raises:
        ConfigError: No images, or nothing to resume.
    """
    torch.set_num_threads(config.threads)
    course, start = _enrol(infos, demos, unseen, config)
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


def _enrol(
    infos: Sequence[TaskInfo], demos: Sequence[Demonstrations], unseen: Sequence[Demonstrations], config: LearnBcConfig
) -> tuple[Course, int]:
    """Returns the run, and how many steps of it were already done."""
    if any(d.images.size == 0 for d in demos):
        raise ConfigError("demonstrations hold no images; record them with the policy's cameras")
    lessons = tuple(lessons_of(info, d.instructions) for info, d in zip(infos, demos, strict=True))
    log: list[dict[str, Any]] = []
    done = 0
    objects = tuple(name for x, d in zip(lessons, demos, strict=True) for name in seen_objects(d, x.info.name))
    if config.resume:
        found = load_checkpoint(config.out)
        network, tokenizer, manifest = found.network.requires_grad_(True).train(), found.tokenizer, found.manifest
        names = " ".join(info.name for info in infos)
        if manifest.task != names or manifest.readout_objects != objects:
            raise ConfigError(f"{config.out} was trained for {manifest.task!r}; it cannot go on with {names!r}")
        log = [json.loads(line) for line in (config.out / "training_log.jsonl").read_text().splitlines()]
        done = int(manifest.training["steps"])
    else:
        tokenizer = nano_tokenizer(lessons)
        shape = NanoShape(vocabulary=tokenizer.get_vocab_size(), image_px=demos[0].images.shape[2])
        manifest = nano_manifest(lessons, nano_processing(demos, shape.image_tokens), objects, training={})
        network = build_nano(shape, len(demos[0].cameras), objects, config.recipe.seed)
    phrases = encode_lessons(lessons, manifest.processing, tokenizer)

    def encoded(parts: Sequence[Demonstrations]) -> BcData:
        return joined([
            encode_demonstrations(
                part, lesson, manifest, task=number, phrases=phrases, chunk=network.config.chunk_size
            )
            for number, (part, lesson) in enumerate(zip(parts, lessons, strict=True))
        ])  # fmt: skip

    taught = joined([encoded(demos), *_corrections(config, lessons, manifest, phrases, network.config.chunk_size)])
    course = Course(
        config=config,
        recipe=_timed(config, network, taught) if config.minutes > 0 else config.recipe,
        network=network,
        tokenizer=tokenizer,
        lessons=lessons,
        manifest=manifest,
        data=taught,
        unseen=encoded(unseen),
        log=log,
    )
    return course, done


def _corrections(
    config: LearnBcConfig, lessons: Sequence[Lessons], manifest: Manifest, phrases: tuple[tuple[Ints, ...], ...],
    chunk: int,
) -> list[BcData]:  # fmt: skip
    found, names = [], [x.info.name for x in lessons]
    for folder in config.corrected:
        task, demos = load_corrections(folder)
        if task not in names:
            raise ConfigError(f"{folder} corrects {task!r}, which is not trained; trained are {', '.join(names)}")
        number = names.index(task)
        found.append(
            encode_demonstrations(
                demos, lessons[number], manifest, task=number, phrases=phrases, chunk=chunk, corrects=True
            )
        )
    return found


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
        training = _facts(course, step, losses)
        policy_id = save_checkpoint(
            course.config.out,
            course.network,
            course.tokenizer,
            replace(course.manifest, training=training),
            {
                "README.md": card(course.manifest, training, losses, first),
                "training_log.jsonl": "".join(json.dumps(line) + "\n" for line in course.log),
                "training_config.json": json.dumps(asdict(course.config), indent=2, default=str) + "\n",
            },
        )
        course.network.train()
    return LearnedBc(directory=course.config.out, policy_id=policy_id, losses=losses, first_step=first)


def _first_step_accuracy(course: Course) -> dict[str, float]:
    """Returns, by task and kind of instruction, how often the first chunk heads for the object told.

    Only tasks are asked in which the orders' first targets lie apart.
    """
    result = {}
    for number, lessons in enumerate(course.lessons):
        first = np.flatnonzero((course.unseen.task == number) & (course.unseen.step == 0))
        places = course.unseen.named_m[first][:, : len(lessons.orders), 0, :2].astype(float)
        if len(lessons.orders) > 1 and np.ptp(places, axis=1).max() > 0.01:
            for kind in ("taught", "held_out"):
                result[f"{lessons.info.name}/{kind}"] = _headed(course, lessons, first, places, kind)
    return result


def _headed(course: Course, lessons: Lessons, first: Ints, places: Floats, kind: str) -> float:
    """Returns how often the first chunk heads for the place (E, R, 2) [m] of the order told, each order in turn."""
    spec, rng = course.manifest.processing, np.random.default_rng(11)
    tcp = spec.state.denormalise(course.unseen.states[first].astype(float))[:, :2]
    right = []
    for order, words in enumerate(lessons.orders):
        table = words.taught if kind == "taught" else words.held_out
        texts = [table[i] for i in rng.integers(len(table), size=len(first))]
        chunks = first_moves(course.network, course.unseen, first, encode_texts(course.tokenizer, spec, texts))
        right.append(headed_for(planned_move(spec, chunks), tcp, places) == order)
    return round(float(np.mean(right)), 3)


def _facts(course: Course, step: int, losses: dict[str, float]) -> dict[str, float | int | str]:
    config = course.config
    return {
        "steps": step,
        "of_steps": course.recipe.steps,
        "pretrain_steps": course.recipe.pretrain_steps,
        "seed": course.recipe.seed,
        "data_seed": config.seed,
        "episodes": config.episodes,
        "unseen_episodes": config.unseen_episodes,
        "pictures": len(course.data.step),
        "corrected_rows": int(course.data.corrects.sum()),
        "cpu_minutes": round(time.process_time() / 60, 1),
        **{f"unseen_{k}": v for k, v in losses.items()},
    }


def _rounded(values: Any) -> dict[str, float]:
    return {k: round(float(v), 4) for k, v in values.items()}
