"""From a recording in real time and the twin's truth to the result of one episode. Called by the driver.

The recording is on the monotonic clock of the machine, the twin's truth gives its own time and that clock's together.
"""

import numpy as np

from bridge.twin_control import TwinTruth
from core.episodes import Episode
from core.flow import Step
from core.robots import EE_DELTA
from regrasp.evaluation import EpisodeResult, InferenceTimes
from regrasp.shards import EpisodeJob
from regrasp.witness import Witness


def live_result(job: EpisodeJob, episode: Episode, truth: TwinTruth, file: str) -> EpisodeResult:
    """Returns how an episode went.

    Args:
        job: What it was.
        episode: Its recording.
        truth: The twin's truth after its end.
        file: Its recording's path, relative to the output folder.
    """
    steps = episode.steps
    start_ns = steps[0].arrived.now_ns if steps else truth.t_ns
    witness = Witness(start_ns=start_ns)
    for step in steps:
        witness.see(step)
    injected_at_s = None if job.injected is None else _injected_at_s(truth, start_ns)
    return EpisodeResult(
        arm=job.arm,
        seed=job.seed,
        injected=job.injected,
        instruction=episode.meta.instruction,
        success=truth.success and not truth.physics_reset,
        q_score=truth.q_score,
        steps=len(steps),
        duration_s=len(steps) * EE_DELTA.dt_s,
        claimed=episode.outcome,
        injected_at_s=injected_at_s,
        alarms=tuple(witness.alarms),
        diagnosed=witness.diagnosed(injected_at_s),
        phases=tuple(witness.phases),
        attempts=witness.attempts,
        recovery_s=witness.recovering * EE_DELTA.dt_s if witness.attempts else None,
        episode_file=file,
        attempts_at_s=tuple(witness.attempts_at_s),
        last_note=witness.last_note,
        inference=InferenceTimes.of([_answered_s(step) for step in steps if step.arrived.chunk is not None]),
    )


def _injected_at_s(truth: TwinTruth, start_ns: int) -> float | None:
    """Returns when the failure struck, since the episode's start [s]."""
    if truth.injected_at_s is None or np.isnan(truth.injected_at_s):
        return None
    struck_ns = truth.t_ns - (truth.time_s - truth.injected_at_s) * 1e9
    return float((struck_ns - start_ns) * 1e-9)


def _answered_s(step: Step) -> float:
    chunk = step.arrived.chunk
    return 0.0 if chunk is None else (step.arrived.now_ns - chunk.obs_t_ns) * 1e-9
