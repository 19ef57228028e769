"""The frozen base inside training: the surrogate acting for N worlds on what the base *believes*, chunk by chunk.

A captured failure brings the base's remaining chunk and its belief. The belief stays wrong, except that an object which
the base believes it gripped rides on the tool. Called by `residual.batch`.
"""

from collections.abc import Sequence

import numpy as np

from core.arrays import Floats, Ints
from core.robots import EE_DELTA
from core.scene import ROLES
from core.worlds import FailureState
from residual.features import Body, Tracked
from residual.surrogate import Surrogate

GRIP_M = 0.03
"""The base believes that it grips what lies this close to the tool centre point when the hand is told to close [m]."""
REST_M = 0.03
"""Height at which a believed object comes to rest when it is let go above the table [m]."""
_TARGET, _GOAL = ROLES.index("target"), ROLES.index("goal")


class BaseDriver:
    """Base actions of N worlds.

    Args:
        surrogate: State policy.
        n: Worlds.
        replan_steps: Rows of a chunk that are taken before the next is planned.
    """

    def __init__(self, surrogate: Surrogate, n: int, replan_steps: int) -> None:
        self._surrogate, self._replan = surrogate, min(replan_steps, surrogate.chunk)
        self._queue = np.zeros((n, surrogate.chunk, EE_DELTA.size))
        self._row = np.zeros(n, dtype=np.int64)
        self._rows = np.zeros(n, dtype=np.int64)
        self.belief = np.zeros((n, len(ROLES), 3))
        """Where the base thinks things are, by role, shape (N, 4, 3) [m]."""
        self._riding = np.zeros(n, dtype=bool)
        self._grip = np.zeros((n, 3))
        self._knows = np.zeros(n, dtype=bool)

    def start(self, ids: Ints, states: Sequence[FailureState], truth: Tracked, knows: np.ndarray) -> None:
        """Takes over queue and belief of captured failures.

        Args:
            ids: Worlds, shape (M,).
            states: One per id.
            truth: Where everything is in these worlds, M rows; stands in for what the belief does not hold.
            knows: Whether the base sees the truth from now on, as an image policy often does, shape (M,).
        """
        self._row[ids], self._rows[ids], self._riding[ids] = 0, 0, False
        self._knows[ids] = knows
        for k, (i, state) in enumerate(zip(ids, states, strict=True)):
            names = [state.snapshot.roles.of(role) for role in ROLES]
            found = [state.belief.position(name) if name else None for name in names]
            self.belief[i] = [truth.pos_in_base[k, r] if p is None else p for r, p in enumerate(found)]
            if state.queue is not None:
                rows = EE_DELTA.clip(np.nan_to_num(state.queue.values[: self._surrogate.chunk]))
                self._queue[i, : len(rows)], self._rows[i] = rows, min(len(rows), self._replan)

    def act(self, ids: Ints, body: Body, truth: Tracked) -> Floats:
        """Returns the base actions of worlds `ids`, shape (M, A), in `EE_DELTA` units, and moves their queues on.

        Args:
            ids: Worlds, shape (M,).
            body: Their proprioception, M rows.
            truth: Where everything is, M rows; used where the base knows.
        """
        self._believe(ids, body, truth)
        empty = self._row[ids] >= self._rows[ids]
        if empty.any():
            at = ids[empty]
            part = Body(tcp_pos_in_base=body.tcp_pos_in_base[empty], proprio=body.proprio[empty])
            self._queue[at] = self._surrogate.plan(part, self.belief[at])
            self._row[at], self._rows[at] = 0, self._replan
        actions = self._queue[ids, self._row[ids]]
        self._row[ids] += 1
        return actions

    def _believe(self, ids: Ints, body: Body, truth: Tracked) -> None:
        tcp, target = body.tcp_pos_in_base, self.belief[ids, _TARGET]
        closed = body.command < 0.5
        near = np.linalg.norm(target - tcp, axis=1) < GRIP_M
        starts = closed & near & ~self._riding[ids]
        ends = ~closed & self._riding[ids]
        self._grip[ids] = np.where(starts[:, None], target - tcp, self._grip[ids])
        riding = (self._riding[ids] | starts) & ~ends
        target = np.where(riding[:, None], tcp + self._grip[ids], target)
        over = np.linalg.norm((target - self.belief[ids, _GOAL])[:, :2], axis=1) < 0.08
        target[:, 2] = np.where(ends & ~over, REST_M, target[:, 2])
        self._riding[ids] = riding
        self.belief[ids, _TARGET] = target
        knows = self._knows[ids]
        self.belief[ids] = np.where(knows[:, None, None], truth.pos_in_base, self.belief[ids])
