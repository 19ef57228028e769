"""The tracker that reads the simulator: for ablation only, and every report that used it says so."""

from core.flow import Observation
from core.scene import SceneState, TrackedObject
from sim.cell import PARKED_M
from sim.world import BatchWorld


class TruthTracker:
    """Knows where everything is; implements `core.ports.Tracker` with source "truth".

    Args:
        world: A world with n = 1.
    """

    def __init__(self, world: BatchWorld) -> None:
        self._world = world

    def track(self, obs: Observation) -> SceneState:
        """Returns every object that is on the table, exactly."""
        state = self._world.state()
        objects = {
            name: TrackedObject(pos_in_base=pos, t_ns=obs.t_ns, confidence=1.0)
            for name, pos in zip(state.object_names, state.object_pos_in_base[0], strict=True)
            if pos[2] > PARKED_M[2] / 2
        }
        return SceneState(t_ns=obs.t_ns, objects=objects, source="truth")

    def reset(self) -> None:
        """Does nothing: it remembers nothing."""
