"""`regrasp learn finetune`: more behaviour cloning of the base policy, on its own failures, as long as skills train.

The arm `finetuned` of an evaluation: would it do to show the policy how each failure is got over? The scripted expert
shows it, from the very states that the skills learn from; the old demonstrations are mixed in, lest they be forgotten.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from bridge.pi0.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bridge.pi0.model import NanoShape
from bridge.pi0.processing import fit_image
from core.demonstrations import Demonstrations
from core.errors import ConfigError
from core.tasks import TaskInfo
from regrasp.artifacts import find_models
from regrasp.bc_encoding import Lessons, encode_demonstrations, encode_lessons, lessons_of
from regrasp.demo_files import load_demonstrations, save_demonstrations
from regrasp.learn_demos import SHRINK, LearnDemosConfig, recorded
from regrasp.task_registry import TaskEntry, find_task
from residual.bank import load_bank, mixed
from residual.bc import Average, BcConfig, batch_losses, fit
from residual.bc_data import BcData, Sampler, joined
from sim.cameras import CellCameras
from sim.demos import record_recoveries
from sim.world import BatchWorld

TOLD = 200
"""Scenes that are asked for the instructions of a task's demonstrations."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Fine-tune the base policy on expert demonstrations from its own captured failures; an arm of `regrasp eval`."""

    skills: Path = Path("out/skills")
    """Folder of `regrasp train`, with a bank of failures for each task and mode."""
    models: Path | None = None
    """Folder with the frozen policy; the shipped one when not given."""
    out: Path = Path("models/pi0-nano-finetuned")
    """Checkpoint to write."""
    recoveries: Path = Path("out/recoveries")
    """Folder for the recorded recoveries; those that are there are not recorded again."""
    demos: Path = Path("out/demos")
    """Folder of the demonstrations of `regrasp learn bc`, mixed in; missing ones are recorded."""
    episodes: int = 800
    """Old demonstrations of each task; 0 for none, and the policy may forget what it could."""
    pictures: int = 40
    """Control steps of each episode that are pictured."""
    failures: int = 200
    """Failures of each mode that are shown."""
    minutes: float = 16.0
    """CPU time of training for each task with banks [min]; skills may take 8 minutes on two cores."""
    rate: float = 3e-4
    """Largest learning rate; falls along a cosine."""
    seed: int = 1
    """Of the demonstrations, as in `learn bc`, and of noise and batches."""


def learn_finetune(config: FinetuneConfig) -> int:
    """Records, trains, saves; returns the exit code.

    Raises:
        ConfigError: No bank, or settings that make no sense.
    """
    base = load_checkpoint(find_models(config.models).base)
    tasks = tuple(base.manifest.task.split())
    banked = [name for name in tasks if (config.skills / name / "banks").is_dir()]
    if not banked or config.minutes <= 0 or config.failures < 1:
        raise ConfigError(
            f"no banks in {config.skills}/*/banks of the policy's tasks {tasks}, or --minutes {config.minutes} or "
            f"--failures {config.failures} is not above 0; run `regrasp train` first"
        )
    torch.set_num_threads(1)
    shown = {name: _recoveries(find_task(name), config) for name in banked}
    old = {name: recorded(_order(config, name)) for name in tasks} if config.episodes else {}
    network, begun = base.network.requires_grad_(True).train(), time.process_time()
    data = _encoded(base, tasks, [*shown.items(), *old.items()])
    recipe = _timed(
        replace(BcConfig(), lr=config.rate, seed=config.seed), base, data, config.minutes * 60 * len(banked)
    )
    average = Average(network, recipe.average)
    last = {}
    for done in tqdm(fit(network, data, recipe, average), total=recipe.steps, desc="fine-tuning", unit="step"):
        last = dict(done.losses)
    with average.shown(network):
        policy_id = save_checkpoint(config.out, network.eval(), base.tokenizer, replace(
            base.manifest, name=f"{base.manifest.name}-finetuned", training={
                "base": base.policy_id, "tasks_with_failures": " ".join(banked), "steps": recipe.steps,
                "recoveries": sum(len(d.instructions) for d in shown.values()), "old_episodes": config.episodes,
                "cpu_minutes": round((time.process_time() - begun) / 60, 1), "seed": config.seed,
                **{k: round(v, 4) for k, v in last.items()},
            }), {})  # fmt: skip
    print(f"{config.out}: {policy_id}, fine-tuned on {sum(len(d.instructions) for d in shown.values())} recoveries")
    return 0


def _order(config: FinetuneConfig, task: str) -> LearnDemosConfig:
    return LearnDemosConfig(
        task=task, out=config.demos, episodes=config.episodes, seed=config.seed, pictures=config.pictures
    )


def _recoveries(task: TaskEntry, config: FinetuneConfig) -> Demonstrations:
    """Returns how the expert gets over a task's captured failures, from disk when that was recorded before."""
    made: dict[str, float | int | str] = {
        "task": task.info.name, "failures": config.failures, "seed": config.seed, "pictures": config.pictures,
        "banks": str(config.skills),
    }  # fmt: skip
    folder = config.recoveries / task.info.name
    found = load_demonstrations(folder, made)
    if found is None:
        save_demonstrations(folder, _record(task, config), made)
        found = load_demonstrations(folder, made)
    assert found is not None, "just written"
    return found


def _record(task: TaskEntry, config: FinetuneConfig) -> Demonstrations:
    banks = [load_bank(folder) for folder in sorted((config.skills / task.info.name / "banks").iterdir())]
    states = [s for bank in banks for s in mixed(bank, min(config.failures, len(bank)), seed=config.seed)]
    px = NanoShape(vocabulary=1).image_px
    with CellCameras(BatchWorld(task.make(), 1), size_px=px * SHRINK) as cameras:
        return record_recoveries(
            task.make(),
            task.expert(),
            [s.snapshot for s in states],
            seed=config.seed,
            cameras=cameras,
            shrink=lambda image: fit_image(image, px, "area"),
            pictures=config.pictures,
        )


def _encoded(base: Checkpoint, tasks: Sequence[str], parts: Sequence[tuple[str, Demonstrations]]) -> BcData:
    """Returns all demonstrations as the policy wants them; instructions are those it was trained on."""
    lessons = [_lessons(find_task(name)) for name in tasks]
    phrases = encode_lessons(lessons, base.manifest.processing, base.tokenizer)
    return joined([
        encode_demonstrations(
            demos, lessons[tasks.index(name)], base.manifest, task=tasks.index(name), phrases=phrases,
            chunk=base.network.config.chunk_size,
        )
        for name, demos in parts
    ])  # fmt: skip


def _lessons(task: TaskEntry) -> Lessons:
    info: TaskInfo = task.info
    rng, made = np.random.default_rng(0), task.make()
    return lessons_of(info, tuple(made.scene(rng, "training").instruction for _ in range(TOLD)))


def _timed(recipe: BcConfig, base: Checkpoint, data: BcData, seconds: float) -> BcConfig:
    """Returns the recipe with as many steps as fit into so much CPU time."""
    rng, spent = np.random.default_rng(0), []
    sampler = Sampler(data, recipe.augmentation, rng)
    for _ in range(6):
        begun = time.process_time()
        losses = batch_losses(base.network, sampler.draw(recipe.batch), recipe, rng)
        torch.autograd.backward(losses["flow"] + losses["objects_cm"] + losses["named_cm"])
        spent.append(time.process_time() - begun)
    base.network.zero_grad()
    return replace(recipe, pretrain_steps=0, steps=max(1, int(seconds / (1.15 * float(np.median(spent))))))
