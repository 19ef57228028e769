"""`regrasp learn surrogate`: the state policy standing in for the image policy in residual training and CI."""

from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from regrasp.task_registry import find_task
from residual.surrogate_io import save_surrogate
from residual.surrogate_train import SurrogateConfig, train_surrogate
from sim.demos import record_demonstrations


@dataclass(frozen=True, kw_only=True)
class LearnSurrogateConfig:
    """Train the state-input stand-in of the base policy on the same scripted demonstrations, without images."""

    task: str = "fruit_on_plate"
    """Name of the task."""
    out: Path = Path("out/surrogate")
    """Folder for weights and manifest."""
    episodes: int = 400
    """Demonstrations, the first ones of those the base policy learns from."""
    demo_seed: int = 1
    """Seed of scenes and noise of the demonstrations, as in `regrasp learn bc`."""
    seed: int = 0
    """Seed of training."""


def learn_surrogate(config: LearnSurrogateConfig) -> int:
    """Records, trains, saves; returns the exit code."""
    task = find_task(config.task)
    demos = record_demonstrations(task.make(), task.demonstrator(), episodes=config.episodes, seed=config.demo_seed)
    recipe = SurrogateConfig(seed=config.seed)
    with tqdm(total=recipe.epochs, unit="epoch", desc="surrogate") as bar:
        losses: list[float] = []

        def progress(_: int, loss: float) -> None:
            losses.append(loss)
            bar.update()

        surrogate = train_surrogate(demos, task.info.roles, recipe, progress)
    made: dict[str, float | str] = {
        "task": config.task, "episodes": float(config.episodes), "demo_seed": float(config.demo_seed),
        "seed": float(config.seed), "last_loss": round(losses[-1], 5),
    }  # fmt: skip
    save_surrogate(config.out, surrogate, made)
    print(f"{config.out}: {surrogate.policy_id}, last loss {losses[-1]:.4f}")
    return 0
