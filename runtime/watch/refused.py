"""Chunks that cannot be played: NaN, infinite, out of range, of the wrong shape."""

from core.failures import FailureMode, FailureReport
from core.flow import Step
from core.robots import ActionSpace
from runtime.chunking import flaw
from runtime.watch.reports import report_of


class RefusedChunk:
    """Reports SENSING_LOST when a policy's answer was refused: nothing it says can be relied on.

    Args:
        space: The action space of every chunk.
        slack: Share of each dim's range by which a chunk may leave the bounds.
    """

    def __init__(self, space: ActionSpace, slack: float) -> None:
        self._space, self._slack = space, slack
        self._refused = 0

    def update(self, step: Step) -> FailureReport | None:
        """Returns a report when the chunk that arrived in this step is flawed."""
        chunk = step.arrived.chunk
        if chunk is None or not flaw(chunk, self._space, self._slack, step.arrived.now_ns):
            return None
        self._refused += 1
        evidence = {"refused_chunks_count": float(self._refused)}
        return report_of(step, "refused", FailureMode.SENSING_LOST, confidence=1.0, evidence=evidence)

    def reset(self) -> None:
        """Forgets the count."""
        self._refused = 0
