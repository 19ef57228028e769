"""`regrasp bench sim`: figures of this machine per CPU-second, so that other load does not change them."""

from dataclasses import dataclass

from regrasp.task_registry import find_task
from sim.bench import measure


@dataclass(frozen=True, kw_only=True)
class BenchSimConfig:
    """Simulation steps per CPU-second, without and with a 96-pixel camera, and the grasp-lift-hold gate."""

    task: str = "fruit_on_plate"
    """Name of the task."""


def bench_sim(config: BenchSimConfig) -> int:
    """Measures; returns 1 when the grasp gate fails, else 0."""
    found = measure(find_task(config.task).make())
    print(f"state-only steps per CPU-second      {found.state_steps_per_cpu_s:8.0f}")
    print(f"96-pixel camera steps per CPU-second {found.camera_steps_per_cpu_s:8.0f}")
    verdict = "passed" if found.grasp.holds else "FAILED"
    print(f"grasp-lift-hold gate {verdict}: lift {found.grasp.lifted_m:.3f} m, slip {found.grasp.slip_m * 1e3:.2f} mm")
    return 0 if found.grasp.holds else 1
