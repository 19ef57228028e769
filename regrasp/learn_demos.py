"""`regrasp learn demos`: records scripted demonstrations with pictures, to disk. `learn bc` records what is missing."""

from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from bridge.pi0.model import NanoShape
from bridge.pi0.processing import fit_image
from core.demonstrations import Demonstrations
from regrasp.demo_files import load_demonstrations, save_demonstrations
from regrasp.task_registry import find_task
from sim.cameras import CellCameras
from sim.demos import NOISE, record_demonstrations
from sim.world import BatchWorld

SHRINK = 2
"""Rendered pixels per network pixel: cameras render 192 px, the network sees 96 px."""


@dataclass(frozen=True, kw_only=True)
class LearnDemosConfig:
    """Record the scripted demonstrations of one task, with pictures, for the base policy."""

    task: str = "fruit_on_plate"
    """Name of the task."""
    out: Path = Path("out/demos")
    """Folder; a folder per task and seed is made in it."""
    episodes: int = 800
    """Demonstrations to keep."""
    seed: int = 1
    """Of scenes, noise and light."""
    noise: float = NOISE
    """Disturbance of the demonstrator's motion, its labels stay clean [share of the action range]."""
    pictures: int = 40
    """Control steps of each episode that are pictured."""


def learn_demos(config: LearnDemosConfig) -> int:
    """Records and writes unless it is there already; returns the exit code."""
    demos = recorded(config)
    steps = len(demos.episode) / len(demos.instructions)
    print(
        f"{_folder(config)}: {len(demos.instructions)} episodes, {steps:.0f} steps each, {len(demos.images)} pictured"
    )
    return 0


def recorded(config: LearnDemosConfig) -> Demonstrations:
    """Returns the demonstrations of one task, from disk when they were recorded before.

    Raises:
        ConfigError: Unknown task.
    """
    made: dict[str, float | int | str] = {
        "task": config.task, "episodes": config.episodes, "seed": config.seed, "noise": config.noise,
        "pictures": config.pictures,
    }  # fmt: skip
    found = load_demonstrations(_folder(config), made)
    if found is None:
        save_demonstrations(_folder(config), _record(config), made)
        found = load_demonstrations(_folder(config), made)
    assert found is not None, "just written"
    return found


def _folder(config: LearnDemosConfig) -> Path:
    return config.out / f"{config.task}-{config.seed}"


def _record(config: LearnDemosConfig) -> Demonstrations:
    task, px = find_task(config.task), NanoShape(vocabulary=1).image_px
    with (
        CellCameras(BatchWorld(task.make(), 1), size_px=px * SHRINK) as cameras,
        tqdm(total=config.episodes, desc=f"{config.task} demonstrations", unit="episode", mininterval=2.0) as bar,
    ):
        return record_demonstrations(
            task.make(),
            task.demonstrator(),
            episodes=config.episodes,
            seed=config.seed,
            cameras=cameras,
            shrink=lambda image: fit_image(image, px, "area"),
            noise=config.noise,
            pictures=config.pictures,
            progress=lambda kept: bar.update(kept - bar.n),
        )
