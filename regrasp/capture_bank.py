"""The child process of `regrasp.train` that fills one failure mode's bank from rollouts of the frozen policy."""

import json
import shutil
import sys

from bridge.pi0.policy import Pi0Policy
from regrasp.artifacts import find_models
from regrasp.capture import capture_bank
from regrasp.skill_child import run_job, tell
from regrasp.stack import CAMERA_PX
from regrasp.task_registry import find_task
from regrasp.train import SkillJob, bank_folder
from residual.bank import save_bank
from sim.cameras import CellCameras
from sim.world import BatchWorld

ROLLOUT_WORLDS = 24


def fill_bank(job: SkillJob) -> None:
    """Captures failures and writes the bank; nothing is left behind when it is interrupted."""
    task, models = find_task(job.config.task), find_models(job.config.models)
    world, told = BatchWorld(task.make(), ROLLOUT_WORLDS), [0]
    expected = job.config.episodes * 4

    def progress(count: int) -> None:
        if count >= told[0] + 10:
            told[0] = count
            tell(job, min(1.0, count / expected), f"{count} failure states")

    with CellCameras(world, size_px=CAMERA_PX) as cameras:
        captured = capture_bank(
            world, cameras, Pi0Policy.load(models.base), modes=[job.mode], episodes=job.config.episodes,
            seed=job.bank_seed, progress=progress,
        )  # fmt: skip
    folder = bank_folder(job.config, job.mode)
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    save_bank(fresh, captured.states)
    failed = int((~captured.rollouts.success).sum())
    facts = {"rollouts": len(captured.rollouts.success), "base_failed": failed, "states": len(captured.states)}
    (fresh / "rollouts.json").write_text(json.dumps(facts) + "\n")
    fresh.rename(folder)
    tell(job, 1.0, f"{len(captured.states)} failure states, base failed {failed} of {facts['rollouts']}")


if __name__ == "__main__":
    sys.exit(run_job(fill_bank))
