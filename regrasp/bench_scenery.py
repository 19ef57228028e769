"""The process `scenery` of `regrasp bench loop`: a simulated cell, moved and rendered as fast as one core allows.

Its pictures go into rings, one a camera, as a camera node's do. It prints `scenery ready` and ends on SIGTERM.
"""

import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event

import numpy as np
import tyro

from bridge.ring import RingWriter
from core.robots import EE_DELTA
from regrasp.task_registry import find_task
from sim.cameras import CAMERA_NAMES, CellCameras
from sim.world import BatchWorld

_SMALL = 0.3
"""Share of the action range that random actions use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneryConfig:
    """Render a moving cell into rings."""

    ring_prefix: str
    """Rings are named PREFIX-CAMERA."""
    task: str = "fruit_on_plate"
    camera_px: int = 192
    """Width and height of every picture [px]."""


def render(config: SceneryConfig, stopped: Event) -> int:
    """Renders until `stopped` is set; returns how many pictures were written."""
    world = BatchWorld(find_task(config.task).make(), 1)
    world.reset(np.array([0]), np.array([0]))
    rng, pictures = np.random.default_rng(0), 0
    with ExitStack() as opened:
        cameras = opened.enter_context(CellCameras(world, size_px=config.camera_px))
        size = config.camera_px
        rings = {n: opened.enter_context(RingWriter(f"{config.ring_prefix}-{n}", size, size)) for n in CAMERA_NAMES}
        print("scenery ready", flush=True)
        while not stopped.is_set():
            world.step(EE_DELTA.denormalise(rng.uniform(-_SMALL, _SMALL, (1, EE_DELTA.size))))
            for name, ring in rings.items():
                t_ns = time.monotonic_ns()
                ring.write(cameras.render(world, 0, (name,))[name], t_ns)
                pictures += 1
    return pictures


def main() -> int:
    """Runs the process; returns its exit code."""
    stopped = Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stopped.set())
    pictures = render(tyro.cli(SceneryConfig), stopped)
    print(f"scenery done: {pictures} pictures", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
