"""The scene as the simulator knows it: to score, and as a tracker for ablation, which every report then says."""

from core.flow import Observation
from core.scene import SceneState, TrackedObject
from core.worlds import WorldState
from sim.cell import PARKED_M
from sim.world import BatchWorld


def truth_scene(state: WorldState, i: int, t_ns: int) -> SceneState:
    """Returns every object of world `i` that is on the table, exactly, at time `t_ns` [ns]."""
    objects = {
        name: TrackedObject(pos_in_base=pos, t_ns=t_ns, confidence=1.0)
        for name, pos in zip(state.object_names, state.object_pos_in_base[i], strict=True)
        if pos[2] > PARKED_M[2] / 2
    }
    return SceneState(t_ns=t_ns, objects=objects, source="truth")


class TruthTracker:
    """Knows where everything is; implements `core.ports.Tracker` with source "truth".

    Args:
        world: A world with n = 1.
    """

    def __init__(self, world: BatchWorld) -> None:
        self._world = world

    def track(self, obs: Observation) -> SceneState:
        """Returns every object that is on the table, exactly."""
        return truth_scene(self._world.state(), 0, obs.t_ns)

    def reset(self) -> None:
        """Does nothing: it remembers nothing."""
