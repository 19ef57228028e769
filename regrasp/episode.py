"""Lives through one simulated episode and scores it. Called by the shards of `run` and `eval`.

The loop decides what the arm does and when it thinks that the task is done; the simulator's truth is read here, after
each tick, to score the episode and never to drive it.
"""

import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from core.flow import Step
from core.robots import EE_DELTA
from core.worlds import Injection
from regrasp.evaluation import EpisodeResult, InferenceTimes
from regrasp.shards import EpisodeJob
from regrasp.stack import CellStack
from regrasp.witness import EPISODES, Witness, claimed_outcome
from runtime.episode import EpisodeEnd, run_episode
from runtime.loop import Loop
from runtime.record.writer import EpisodeWriter


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
