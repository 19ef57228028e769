"""`regrasp bench`: figures of this machine, as ratios of work to CPU time."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import subcommand

from regrasp.task_registry import find_task
from sim.bench import measure


@dataclass(frozen=True, kw_only=True)
class BenchSim:
    """Simulation steps per CPU-second, without and with a 96-pixel camera, and the grasp-lift-hold gate."""

    task: str = "fruit_on_plate"
    """Name of the task."""


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Measure this machine."""

    what: Annotated[BenchSim, subcommand("sim")]


def bench(config: BenchConfig) -> int:
    """Measures; returns 1 when the grasp gate fails, else 0."""
    found = measure(find_task(config.what.task).make())
    print(f"state-only steps per CPU-second      {found.state_steps_per_cpu_s:8.0f}")
    print(f"96-pixel camera steps per CPU-second {found.camera_steps_per_cpu_s:8.0f}")
    verdict = "passed" if found.grasp.holds else "FAILED"
    print(
        f"grasp-lift-hold gate {verdict}: lifted {found.grasp.lifted_m:.3f} m, slip {found.grasp.slip_m * 1e3:.2f} mm"
    )
    return 0 if found.grasp.holds else 1
