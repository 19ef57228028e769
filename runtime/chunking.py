"""Plays a policy's chunks by time: the newest wins, seams are blended, stale means None. Called by the loop.

The gripper, the last dim, is never blended: half a grasp holds nothing.
A chunk is refused, never clipped into shape, when it is not finite, of the wrong size, or far out of bounds.
"""

import numpy as np

from core.arrays import Floats
from core.flow import ActionChunk
from core.robots import ActionSpace


def flaw(chunk: ActionChunk, space: ActionSpace, slack: float, t_ns: int) -> str:
    """Returns why a chunk cannot be played, "" when it can.

    Args:
        chunk: What a policy answered.
        space: What it should have answered in.
        slack: Share of each dim's range by which it may leave the bounds.
        t_ns: When it arrived [ns].
    """
    if chunk.values.shape[1] != space.size or not len(chunk.values):
        return f"shape {chunk.values.shape}; expected (T, {space.size}) with T >= 1"
    if not np.isfinite(chunk.values).all():
        return f"{int((~np.isfinite(chunk.values)).sum())} values are NaN or infinite"
    over = np.abs(space.normalise(chunk.values)) - 1.0
    if over.max() > 2.0 * slack:
        row, dim = np.unravel_index(int(over.argmax()), over.shape)
        return (
            f"row {row}: {space.names[dim]} is {chunk.values[row, dim]:.4g} {space.units[dim]}; "
            f"allowed [{space.low[dim]:.4g}, {space.high[dim]:.4g}]"
        )
    if chunk.obs_t_ns > t_ns + space.dt_s * 1e9:
        return f"computed from an observation {(chunk.obs_t_ns - t_ns) * 1e-9:.3f} s in the future"
    return ""


class ChunkPlayer:
    """Turns chunks into one action a tick.

    Args:
        space: The action space of every chunk.
        blend_steps: Ticks over which a new chunk is blended with the one before it.
        replan_ticks: A new chunk is due every so many ticks.
        age_s: A chunk is not played beyond this age [s].
        slack: Share of each dim's range by which a chunk may leave the bounds; it is clipped.
        patience_s: A chunk that was asked for is waited for this long [s].
        ahead_s: Actions are played this much before their time, for an arm that follows so much later [s].
        pace: Share of the planned speed at which chunks are played; the actions themselves are not changed here.
    """

    def __init__(
        self,
        space: ActionSpace,
        *,
        blend_steps: int = 2,
        replan_ticks: int = 4,
        age_s: float = 1.0,
        slack: float = 0.1,
        patience_s: float = 2.0,
        ahead_s: float = 0.0,
        pace: float = 1.0,
    ) -> None:
        self._space, self._blend_steps, self._slack = space, blend_steps, slack
        self._dt_ns = space.dt_s * 1e9
        self._period_ns = (replan_ticks - 0.5) * self._dt_ns
        self._age_ns, self._patience_ns = age_s * 1e9, patience_s * 1e9
        self._ahead_ns, self._pace = round(ahead_s * 1e9), pace
        self.reset()

    def reset(self) -> None:
        """Forgets every chunk and request."""
        self._chunk: ActionChunk | None = None
        self._before: ActionChunk | None = None
        self._taken_ns = 0
        self._asked_ns: int | None = None
        self._waiting = False
        self._after_ns: int | None = None

    def renew(self, t_ns: int) -> None:
        """Starts anew at `t_ns` [ns]: only chunks computed from observations taken later are played from now on."""
        self._chunk = self._before = None
        self._asked_ns, self._waiting, self._after_ns = None, False, t_ns

    def due(self, t_ns: int) -> bool:
        """Returns whether a new chunk should be asked for at `t_ns` [ns]."""
        if self._asked_ns is None:
            return True
        return t_ns - self._asked_ns >= (self._patience_ns if self._waiting else self._period_ns)

    def asked(self, t_ns: int) -> None:
        """Notes that a chunk was asked for at `t_ns` [ns]."""
        self._asked_ns, self._waiting = t_ns, True

    def offer(self, chunk: ActionChunk, t_ns: int) -> str:
        """Takes a chunk that arrived, or returns why not.

        A flawed chunk ends the play: the arm holds until a sound one comes. An older one is passed over, and so is one
        that was planned before the last `renew`: the arm was somewhere else, or on its way.

        Args:
            chunk: What the policy answered.
            t_ns: When it arrived [ns].

        Returns:
            "" when it is played from now on, else the reason.
        """
        self._waiting = False
        problem = flaw(chunk, self._space, self._slack, t_ns)
        if problem:
            self._chunk = self._before = None
            return f"chunk refused: {problem}"
        if self._after_ns is not None and chunk.obs_t_ns <= self._after_ns:
            return "chunk passed over: planned before the arm was released"
        if self._chunk is not None and chunk.obs_t_ns < self._chunk.obs_t_ns:
            return "chunk passed over: older than the one being played"
        self._before, self._chunk, self._taken_ns = self._chunk, chunk, t_ns
        return ""

    @property
    def chunk_t_ns(self) -> int | None:
        """Observation time of the newest chunk taken [ns], None without one."""
        return None if self._chunk is None else self._chunk.obs_t_ns

    def action(self, t_ns: int) -> Floats | None:
        """Returns the action (A,) for instant `t_ns` [ns], None when no chunk covers it."""
        new = self._row(self._chunk, t_ns)
        if new is None:
            return None
        old = self._row(self._before, t_ns)
        tick = round((t_ns - self._taken_ns) / self._dt_ns)
        if old is None or tick >= self._blend_steps:
            return new
        share = (tick + 1) / (self._blend_steps + 1)
        action = share * new + (1.0 - share) * old
        action[-1] = new[-1]
        return action

    def _row(self, chunk: ActionChunk | None, t_ns: int) -> Floats | None:
        if chunk is None or t_ns - chunk.obs_t_ns > self._age_ns:
            return None
        row = chunk.at(chunk.obs_t_ns + round((t_ns + self._ahead_ns - chunk.obs_t_ns) * self._pace))
        return None if row is None else self._space.clip(row)
