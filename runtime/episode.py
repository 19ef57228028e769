"""Runs a loop for one episode. Called by `regrasp run` and `regrasp eval`."""

from collections.abc import Callable
from dataclasses import dataclass

from core.flow import Phase, Step
from runtime.loop import Loop
from runtime.pacing import Pacer


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeEnd:
    """How an episode ended, as the loop saw it."""

    steps: int
    """Ticks lived."""
    claimed: bool
    """Whether the task was said to be done."""
    phase: Phase
    """Phase the loop was left in."""


def run_episode(loop: Loop, max_steps: int, done: Callable[[Step], bool], pacer: Pacer | None = None) -> EpisodeEnd:
    """Ticks until the task is done or time is up, then holds; also when a tick raises.

    Args:
        loop: A loop whose robot is connected; it is reset first.
        max_steps: Ticks after which the episode is over.
        done: Whether the task is done after a step, e.g. a `TaskDone`.
        pacer: Keeps real time; None ticks as fast as the robot's `send` allows, as in simulated time.
    """
    loop.reset()
    steps, claimed = 0, False
    try:
        while steps < max_steps and not claimed:
            if pacer is not None:
                pacer.wait()
            claimed = done(loop.tick())
            steps += 1
    except BaseException:  # Ctrl-C between ticks too
        loop.leave()
        raise
    loop.hold()
    return EpisodeEnd(steps=steps, claimed=claimed, phase=loop.phase)
