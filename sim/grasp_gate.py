"""The gate every physics setting has to pass: grasp, lift, hold.

Settings that look harmless (a line search that stops early, a soft contact) let a held fruit creep out of the hand or
shoot out of it, and then every policy looks bad. Called by the tests and by `sim.bench`.
"""

from dataclasses import dataclass, replace

import numpy as np

from core.arrays import Floats
from core.robots import EE_DELTA
from core.worlds import DomainParams
from sim.cell import PhysicsSettings
from sim.task import Task
from sim.world import BatchWorld

LIFT_M = 0.12
JITTER_M = 0.005
"""The tool is shaken this far to and fro while it holds."""
HOLD_STEPS = 60
"""Control steps of the hold, 3 s."""
LARGEST_SLIP_M = 0.002
SMALLEST_LIFT_M = 0.9 * LIFT_M


@dataclass(frozen=True, slots=True, kw_only=True)
class GraspReport:
    """What the gate measured, worst of all worlds."""

    lifted_m: float
    """Least height gained by the fruit [m]."""
    slip_m: float
    """Farthest the fruit moved relative to the tool during the hold [m]."""

    @property
    def holds(self) -> bool:
        """Whether the settings pass."""
        return self.lifted_m >= SMALLEST_LIFT_M and self.slip_m <= LARGEST_SLIP_M


def grasp_report(
    task: Task, settings: PhysicsSettings | None = None, *, friction_scale: float = 1.0, n: int = 8, seed: int = 0
) -> GraspReport:
    """Grasps, lifts and holds the named fruit in `n` worlds and returns the worst of what happened.

    Args:
        task: A task whose target can be grasped.
        settings: Physics settings, those in use when None.
        friction_scale: Friction of fruit and pads, dimensionless.
        n: Number of worlds.
        seed: Seed of the first world.
    """
    world = BatchWorld(task, n, settings=settings)
    rough = replace(DomainParams.nominal(n), friction_scale=np.full(n, friction_scale))
    world.reset(np.arange(n), seed + np.arange(n), rough)
    start = world.state().of("target")
    _go(world, start, 1.0, 70)
    _go(world, start, 0.0, 12)
    up = start + np.array([0.0, 0.0, LIFT_M])
    _go(world, up, 0.0, 24)
    grip = _in_hand(world)
    slip = 0.0
    for k in range(HOLD_STEPS):
        shake = JITTER_M * np.array([np.sin(1.9 * k), np.sin(2.3 * k), np.sin(2.9 * k)])
        _go(world, up + shake, 0.0, 1)
        slip = max(slip, float(np.linalg.norm(_in_hand(world) - grip, axis=1).max()))
    lifted = float((world.state().of("target") - start)[:, 2].min())
    return GraspReport(lifted_m=lifted, slip_m=slip)


def _go(world: BatchWorld, to: Floats, opening: float, steps: int) -> None:
    for _ in range(steps):
        actions = np.zeros((world.n, EE_DELTA.size))
        actions[:, :3] = 0.5 * (to - world.state().tcp_pos_in_base)
        actions[:, 6] = opening
        world.step(actions)


def _in_hand(world: BatchWorld) -> Floats:
    state = world.state()
    return np.asarray(state.of("target") - state.tcp_pos_in_base)
