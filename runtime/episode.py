"""Runs a loop for one episode, at its own pace or on a beat. Called by `regrasp run`, `regrasp eval` and the nodes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from core.flow import Phase, Step
from runtime.beat import Beat
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
    return _live(loop, partial(_paced_tick, loop, pacer), max_steps, done)


def run_beats(beat: Beat, max_steps: int, done: Callable[[Step], bool]) -> EpisodeEnd:
    """Beats until the task is done or time is up, then holds; also when a beat raises.

    Args:
        beat: Around a loop whose robot is connected; both are started anew.
        max_steps: Ticks after which the episode is over.
        done: Whether the task is done after a step.
    """
    beat.start()
    return _live(beat.loop, beat.beat, max_steps, done)


def _live(loop: Loop, beat: Callable[[], Step | None], max_steps: int, done: Callable[[Step], bool]) -> EpisodeEnd:
    loop.reset()
    steps, claimed = 0, False
    try:
        while steps < max_steps and not claimed:
            step = beat()
            if step is not None:
                claimed = done(step)
                steps += 1
    except BaseException:  # Ctrl-C between ticks too
        loop.leave()
        raise
    loop.hold()
    return EpisodeEnd(steps=steps, claimed=claimed, phase=loop.phase)


def _paced_tick(loop: Loop, pacer: Pacer | None) -> Step:
    if pacer is not None:
        pacer.wait()
    return loop.tick()
