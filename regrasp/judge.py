"""Reads the simulator's truth after each tick, to score an episode and never to drive it. Used by `episode`."""

from dataclasses import dataclass, field

import numpy as np

from core.failures import FailureMode
from core.flow import Step
from core.recovery import RecoveryStage
from core.stages import stage_now
from regrasp.rollout_policy import observation_of
from regrasp.truth import truth_scene
from regrasp.witness import Witness
from runtime.recover.stages import BACK_OFF
from sim.world import BatchWorld


@dataclass(slots=True, kw_only=True)
class Judge:
    """What is seen and what is true in one episode."""

    world: BatchWorld
    """Its world, n = 1."""
    injected: FailureMode | None
    """What is injected, None when nothing is."""
    witness: Witness = field(default_factory=Witness)
    """Notes what the loop shows, without the truth."""
    mended_at_s: float | None = None
    """When the sub-task that the failure struck was done [s]."""
    stages: dict[int, RecoveryStage] = field(default_factory=dict)
    """What was to be done next when a diagnosis arrived, by number of the step."""
    _struck_in: int = -1

    def see(self, step: Step) -> None:
        """Takes a step that was just made."""
        self.witness.see(step)
        state = self.world.state()
        if step.arrived.descriptor is not None:
            self.stages[step.index] = self.stage()
        if not self.stands():
            return
        progress = int(state.subtask[0])
        if self._struck_in < 0:
            self._struck_in = progress
        if progress > self._struck_in or bool(state.success[0]):
            self.mended_at_s = float(state.time_s[0])

    def stands(self) -> bool:
        """Whether the injected failure has struck and is not mended."""
        return not np.isnan(self.world.injected_at(0)) and self.mended_at_s is None

    def stage(self) -> RecoveryStage:
        """Returns what is to be done next, by the rule that every diagnoser follows, on the truth."""
        if self.injected in BACK_OFF and not np.isnan(self.world.injected_at(0)):
            return RecoveryStage.RETREAT
        state = self.world.state()
        t_ns = round(float(state.time_s[0]) * 1e9)
        instruction = self.world.instruction(0)
        obs = observation_of(state, 0, instruction, {}, t_ns)
        return stage_now(self.world.task.info.course(instruction), obs, truth_scene(state, 0, t_ns))
