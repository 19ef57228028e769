"""Lives through one simulated episode and scores it. Called by the shards of `run` and `eval`.

The loop decides what the arm does and when it thinks that the task is done; the simulator's truth is read here, after
each tick, to score the episode and never to drive it.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.episodes import Outcome
from core.failures import FailureMode
from core.flow import Phase, Step
from core.robots import EE_DELTA
from core.worlds import Injection
from regrasp.evaluation import Alarm, EpisodeResult, InferenceTimes, PhaseStart
from regrasp.shards import EpisodeJob
from regrasp.stack import CellStack
from runtime.episode import EpisodeEnd, run_episode
from runtime.loop import Loop
from runtime.record.writer import EpisodeWriter

EPISODES = "episodes"
"""Folder of recordings inside the output folder."""


def live(stack: CellStack, job: EpisodeJob, out: Path) -> EpisodeResult:
    """Runs one episode from its first tick to its end and returns how it went.

    Args:
        stack: An open cell.
        job: Arm, seed, injected failure, whether to record.
        out: Folder for the recording.
    """
    injection = None if job.injected is None else Injection(mode=job.injected)
    stack.start(job.seed, injection)
    name = f"{EPISODES}/{job.arm}-{job.seed}-{job.injected or 'nominal'}.mcap" if job.record else ""
    witness = Witness()
    with ExitStack() as opened:
        robot = opened.enter_context(stack.robot())
        sinks = [opened.enter_context(_recorder(stack, job, out / name))] if job.record else []
        end = _run(stack, stack.loop(robot, sinks, recover=job.recover), witness)
        for sink in sinks:
            sink.finish(claimed_outcome(end))
    return _result(stack, job, name, end, witness)


@dataclass(slots=True, kw_only=True)
class Witness:
    """Notes what the steps of one episode show."""

    alarms: list[Alarm] = field(default_factory=list)
    named: list[tuple[float, FailureMode]] = field(default_factory=list)
    """When each diagnosis arrived [s], and its mode."""
    phases: list[PhaseStart] = field(default_factory=lambda: [PhaseStart(t_s=0.0, phase=Phase.RUNNING)])
    attempts: int = 0
    recovering: int = 0
    """Ticks spent in RECOVERING."""
    start_ns: int = 0
    """When the episode began, on the clock of its observations [ns]."""

    def see(self, step: Step) -> None:
        """Takes one step."""
        t_s = (step.observation.t_ns - self.start_ns) * 1e-9
        self.recovering += step.phase is Phase.RECOVERING
        if step.arrived.descriptor is not None:
            self.named.append((t_s, step.arrived.descriptor.mode))
        if step.next_phase is step.phase:
            return
        self.phases.append(PhaseStart(t_s=t_s, phase=step.next_phase))
        self.attempts += step.next_phase is Phase.RECOVERING
        if step.phase is Phase.RUNNING and step.report is not None:
            self.alarms.append(Alarm(t_s=t_s, mode=step.report.mode))

    def diagnosed(self, injected_at_s: float | None) -> FailureMode | None:
        """Returns the mode named for the first alarm, at or after the injection if there was one, else None."""
        start_s = 0.0 if injected_at_s is None else injected_at_s
        alarm = next((a.t_s for a in self.alarms if a.t_s >= start_s), None)
        return None if alarm is None else next((mode for t_s, mode in self.named if t_s >= alarm), None)


def claimed_outcome(end: EpisodeEnd) -> Outcome:
    """Returns how the loop itself says that it ended."""
    if end.claimed:
        return Outcome.SUCCESS
    return Outcome.ABORTED if end.phase in (Phase.STOPPED, Phase.OPERATOR) else Outcome.FAILURE


def _recorder(stack: CellStack, job: EpisodeJob, path: Path) -> EpisodeWriter:
    if path.exists():
        path.rename(path.with_suffix(f".interrupted-{time.time_ns()}.mcap"))
    return stack.recorder(path, seed=job.seed, injected=job.injected or "", recover=job.recover)


def _run(stack: CellStack, loop: Loop, witness: Witness) -> EpisodeEnd:
    claims = stack.done()

    def done(step: Step) -> bool:
        witness.see(step)
        return claims(step) or stack.void()

    return run_episode(loop, stack.info.episode_steps, done, stack.pacer())


def _result(stack: CellStack, job: EpisodeJob, name: str, end: EpisodeEnd, witness: Witness) -> EpisodeResult:
    state = stack.world.state()
    injected_at = stack.world.injected_at(0)
    injected_at_s = None if job.injected is None or np.isnan(injected_at) else injected_at
    return EpisodeResult(
        arm=job.arm,
        seed=job.seed,
        injected=job.injected,
        instruction=stack.world.instruction(0),
        success=bool(state.success[0]) and not stack.void(),
        q_score=float(state.q_score[0]),
        steps=end.steps,
        duration_s=end.steps * EE_DELTA.dt_s,
        claimed=claimed_outcome(end),
        injected_at_s=injected_at_s,
        alarms=tuple(witness.alarms),
        diagnosed=witness.diagnosed(injected_at_s),
        phases=tuple(witness.phases),
        attempts=witness.attempts,
        recovery_s=witness.recovering * EE_DELTA.dt_s if witness.attempts else None,
        episode_file=name,
        inference=InferenceTimes.of(stack.inference_s()),
        chat=stack.chat_usage(),
    )
