"""How fast the cell is, in control steps per second of processor time. Called by `regrasp bench sim` and the tests."""

import time
from dataclasses import dataclass

import numpy as np

from core.robots import EE_DELTA
from sim.cameras import CellCameras
from sim.grasp_gate import GraspReport, grasp_report
from sim.task import Task
from sim.world import BatchWorld


@dataclass(frozen=True, slots=True, kw_only=True)
class SimBench:
    """What was measured."""

    state_steps_per_cpu_s: float
    """Physics, inverse kinematics, predicates and state, 20 Hz control steps per processor second."""
    camera_steps_per_cpu_s: float
    """The same with one 96-pixel picture a step."""
    grasp: GraspReport


def measure(task: Task) -> SimBench:
    """Returns all figures of one task; takes about ten seconds."""
    return SimBench(
        state_steps_per_cpu_s=measure_state_steps(task),
        camera_steps_per_cpu_s=measure_camera_steps(task),
        grasp=grasp_report(task),
    )


def measure_state_steps(task: Task, *, n: int = 64, steps: int = 200) -> float:
    """Returns control steps per processor second of `n` worlds under random actions, `state` read each step."""
    world = BatchWorld(task, n)
    rng = np.random.default_rng(0)
    world.reset(np.arange(n), np.arange(n))
    actions = [EE_DELTA.denormalise(rng.uniform(-1, 1, (n, EE_DELTA.size))) for _ in range(20)]
    start = time.process_time()
    for k in range(steps):
        world.step(actions[k % len(actions)])
        world.state()
    return n * steps / (time.process_time() - start)


def measure_camera_steps(task: Task, *, size_px: int = 96, camera: str = "front", steps: int = 400) -> float:
    """Returns control steps per processor second of one world with one picture of `size_px` [px] a step."""
    world = BatchWorld(task, 1)
    rng = np.random.default_rng(0)
    actions = EE_DELTA.denormalise(rng.uniform(-1, 1, (20, 1, EE_DELTA.size)))
    with CellCameras(world, size_px=size_px) as cameras:
        cameras.render(world, 0, (camera,))
        start = time.process_time()
        for k in range(steps):
            world.step(actions[k % len(actions)])
            cameras.render(world, 0, (camera,))
        return steps / (time.process_time() - start)
