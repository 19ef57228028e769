"""Lives through one simulated episode and scores it. Called by the shards of `run` and `eval`.

The loop decides what the arm does and when it thinks that the task is done; the simulator's truth is read here, after
each tick, to score the episode and never to drive it.
"""

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.flow import Step
from core.robots import EE_DELTA
from core.worlds import Injection
from regrasp.evaluation import WAITING, EpisodeResult, InferenceTimes
from regrasp.judge import Judge
from regrasp.shards import EpisodeJob
from regrasp.stack import CellStack
from regrasp.witness import EPISODES, claimed_outcome
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
    judge = Judge(world=stack.world, injected=job.injected)
    with ExitStack() as opened:
        robot = opened.enter_context(stack.robot())
        sinks = [opened.enter_context(_recorder(stack, job, out / name))] if job.record else []
        end = _run(stack, stack.loop(robot, sinks, job.arm, judge.stands), judge)
        for sink in sinks:
            sink.finish(claimed_outcome(end))
    return _result(stack, job, name, end, judge)


def _recorder(stack: CellStack, job: EpisodeJob, path: Path) -> EpisodeWriter:
    if path.exists():
        path.rename(path.with_suffix(f".interrupted-{time.time_ns()}.mcap"))
    return stack.recorder(path, seed=job.seed, arm=job.arm)


def _run(stack: CellStack, loop: Loop, judge: Judge) -> EpisodeEnd:
    """Runs until the task is claimed done, time is up, or only a person, who never comes here, could go on."""
    claims, claimed = stack.done(), False

    def over(step: Step) -> bool:
        nonlocal claimed
        judge.see(step)
        claimed = claims(step)
        return claimed or stack.void() or step.next_phase in WAITING

    end = run_episode(loop, stack.info.episode_steps, over, stack.pacer())
    return replace(end, claimed=claimed)


def _result(stack: CellStack, job: EpisodeJob, name: str, end: EpisodeEnd, judge: Judge) -> EpisodeResult:
    state, witness = stack.world.state(), judge.witness
    injected_at = stack.world.injected_at(0)
    injected_at_s = None if job.injected is None or np.isnan(injected_at) else injected_at
    named = witness.first_named(injected_at_s)
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
        diagnosed=None if named is None else named.mode,
        phases=tuple(witness.phases),
        attempts=witness.attempts,
        recovery_s=witness.recovering * EE_DELTA.dt_s if witness.attempts else None,
        episode_file=name,
        inference=InferenceTimes.of(stack.inference_s()),
        chat=stack.chat_usage(),
        attempts_at_s=tuple(witness.attempts_at_s),
        mended_at_s=judge.mended_at_s,
        named_stage=None if named is None else named.stage,
        true_stage=None if named is None else judge.stages[named.step],
        last_stage=judge.stage(),
        last_note=witness.last_note,
    )
