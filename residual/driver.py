"""The frozen base inside training: the surrogate acting for N worlds on what the base *believes*, chunk by chunk.

A captured failure brings the base's remaining chunk and its belief, object by object. The belief stays wrong, except
that an object which the base believes it gripped rides on the tool, that what is gone is known to be gone, and that
what slides (a drawer) is seen where it is. What is due follows from the belief. Called by `residual.batch`.
"""

from collections.abc import Sequence

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.robots import EE_DELTA
from core.scene import ROLES
from core.stages import ABSENT_BELOW_M
from core.worlds import FailureState
from residual.agenda import Agenda
from residual.features import Body, tracked_by_role
from residual.surrogate import Surrogate

GRIP_M = 0.03
"""The base believes that it grips what lies this close to the tool centre point when the hand is told to close [m]."""
REST_M = 0.03
"""Height at which a believed object that was not lying at the start rests when it is let go above the table [m]."""
LYING_M = 0.06
"""Objects lower than this at the start are taken to lie there [m]."""
OVER_GOAL_M = 0.08
"""A believed object let go this near to its goal in the table plane stays where it is let go [m]."""
_TARGET, _GOAL = ROLES.index("target"), ROLES.index("goal")


class BaseDriver:
    """Base actions of N worlds.

    Args:
        surrogate: State policy.
        agenda: What each world was told; its owner keeps it up to date.
        n: Worlds.
        objects: O, objects of the task.
        replan_steps: Rows of a chunk that are taken before the next is planned.
    """

    def __init__(self, surrogate: Surrogate, agenda: Agenda, *, n: int, objects: int, replan_steps: int) -> None:
        self._surrogate, self._agenda, self._replan = surrogate, agenda, min(replan_steps, surrogate.chunk)
        self._queue = np.zeros((n, surrogate.chunk, EE_DELTA.size))
        self._row = np.zeros(n, dtype=np.int64)
        self._rows = np.zeros(n, dtype=np.int64)
        self.belief: Floats = np.zeros((n, objects, 3))
        """Where the base thinks things are, shape (N, O, 3) [m]."""
        self._rest: Floats = np.zeros((n, objects))
        self._sliding: Bools = np.zeros((n, objects), dtype=bool)
        self._riding: Ints = np.full(n, -1, dtype=np.int64)
        self._bound_for: Ints = np.full(n, -1, dtype=np.int64)
        self._grip: Floats = np.zeros((n, 3))
        self._knows: Bools = np.zeros(n, dtype=bool)

    def start(
        self, ids: Ints, states: Sequence[FailureState], names: Sequence[str], truth: Floats, knows: Bools
    ) -> None:
        """Takes over queue and belief of captured failures.

        Args:
            ids: Worlds, shape (M,).
            states: One per id.
            names: O object names.
            truth: Where everything is in these worlds, shape (M, O, 3) [m]; stands in for what the belief lacks.
            knows: Whether the base sees the truth from now on, as an image policy often does, shape (M,).
        """
        self._row[ids], self._rows[ids], self._riding[ids] = 0, 0, -1
        self._knows[ids] = knows
        self._sliding[ids] = self._agenda.sliding(ids, len(names))
        for k, (i, state) in enumerate(zip(ids, states, strict=True)):
            found = [state.belief.position(name) for name in names]
            self.belief[i] = [truth[k, o] if p is None else p for o, p in enumerate(found)]
            if state.queue is not None:
                rows = EE_DELTA.clip(np.nan_to_num(state.queue.values[: self._surrogate.chunk]))
                self._queue[i, : len(rows)], self._rows[i] = rows, min(len(rows), self._replan)
        height = self.belief[ids, :, 2]
        self._rest[ids] = np.where(height < LYING_M, height, REST_M)

    def act(self, ids: Ints, body: Body, truth: Floats) -> Floats:
        """Returns the base actions of worlds `ids`, shape (M, A), in `EE_DELTA` units, and moves their queues on.

        Args:
            ids: Worlds, shape (M,).
            body: Their proprioception, M rows.
            truth: Where everything is, shape (M, O, 3) [m]; used where the base knows.
        """
        self._see(ids, truth)
        self._carry(ids, body)
        empty = self._row[ids] >= self._rows[ids]
        if empty.any():
            at = ids[empty]
            due = self._agenda.due(at, self.belief[at])
            self._queue[at] = self._surrogate.plan(body.take(empty), tracked_by_role(self.belief[at], due))
            self._row[at], self._rows[at] = 0, self._replan
        actions = self._queue[ids, self._row[ids]]
        self._row[ids] += 1
        return actions

    def _see(self, ids: Ints, truth: Floats) -> None:
        """Lets the base see what it cannot miss; everything where it knows."""
        gone = truth[:, :, 2] < ABSENT_BELOW_M
        clear = gone | self._sliding[ids] | self._knows[ids, None]
        self.belief[ids] = np.where(clear[:, :, None], truth, self.belief[ids])

    def _carry(self, ids: Ints, body: Body) -> None:
        """Lets what the base thinks it grips ride on the tool, and rest where it is let go."""
        tcp, closed = body.tcp_pos_in_base, body.command < 0.5
        self._grasp(ids[closed & (self._riding[ids] < 0)], tcp[closed & (self._riding[ids] < 0)])
        on = np.flatnonzero((self._riding[ids] >= 0) & ~self._knows[ids])
        at, thing = ids[on], self._riding[ids[on]]
        self.belief[at, thing] = tcp[on] + self._grip[at]
        ends = ~closed[on]
        self._let_go(at[ends], thing[ends])
        self._riding[ids[~closed]] = -1

    def _grasp(self, at: Ints, tcp: Floats) -> None:
        if not len(at):
            return
        roles = self._agenda.due(at, self.belief[at]).roles
        offset = self.belief[at, roles[:, _TARGET]] - tcp
        near = (roles[:, _TARGET] >= 0) & (np.sqrt((offset * offset).sum(axis=1)) < GRIP_M)
        near &= ~self._sliding[at, roles[:, _TARGET]]
        self._riding[at[near]], self._grip[at[near]] = roles[near, _TARGET], offset[near]
        self._bound_for[at[near]] = roles[near, _GOAL]

    def _let_go(self, at: Ints, thing: Ints) -> None:
        goal = self._bound_for[at]
        aside = (self.belief[at, thing] - self.belief[at, goal])[:, :2]
        over = (goal >= 0) & (np.sqrt((aside * aside).sum(axis=1)) < OVER_GOAL_M)
        self.belief[at, thing, 2] = np.where(over, self.belief[at, thing, 2], self._rest[at, thing])
