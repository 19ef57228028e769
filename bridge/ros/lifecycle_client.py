"""One managed node as its supervisor sees it: heard, asked for its state, brought up step by step, lost, back again.

Nothing here waits: `tend` is called every beat and moves on when an answer is there or its time is over.
"""

import logging
from dataclasses import dataclass
from enum import StrEnum

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

from bridge.ros.arm_rules import Backoff

log = logging.getLogger(__name__)

ASK_S = 2.0
"""Longest wait for a node's state [s]."""
_LOOK_NS = 1_000_000_000
"""How often an active node is asked whether it still is [ns]."""


class Stage(StrEnum):
    """Where a node is, to its supervisor's knowledge."""

    ABSENT = "absent"
    """Not heard yet."""
    PRESENT = "present"
    """Heard; not active yet."""
    ACTIVE = "active"
    LOST = "lost"
    """It was active and its heartbeat ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a node may take."""

    lost_s: float
    """Without a heartbeat for longer an active node is lost [s]."""
    transition_s: float
    """Longest transition [s]."""


class ManagedNode:
    """One node under supervision.

    Args:
        node: The supervisor's own node, for the clients.
        name: Of the managed node, in the same namespace.
        patience: How long it may take.
    """

    def __init__(self, node: Node, name: str, patience: Patience) -> None:
        self.name, self._patience = name, patience
        self._change: Client = node.create_client(ChangeState, f"{name}/change_state")
        self._ask: Client = node.create_client(GetState, f"{name}/get_state")
        self._heard_ns: int | None = None
        self._pending: tuple[Future, int, str] | None = None
        self._pauses = Backoff(1.0, 8.0)
        self._look_ns = 0
        self._next: int | None = None
        self.stage = Stage.ABSENT
        self.wanted = True
        """Whether it is to be brought up."""
        self.trouble = ""
        """What went wrong last, "" when nothing."""

    def heard(self, t_ns: int) -> bool:
        """Notes a heartbeat at `t_ns` [ns]; returns whether the node came back by it."""
        back = self.stage is Stage.LOST
        self._heard_ns = t_ns
        if self.stage in (Stage.ABSENT, Stage.LOST):
            self.stage = Stage.PRESENT
            self._look_ns = 0
        return back

    def check(self, t_ns: int) -> bool:
        """Returns whether the node has just been lost at `t_ns` [ns]: said once."""
        silent_s = self.silent_s(t_ns)
        if self.stage not in (Stage.ACTIVE, Stage.PRESENT) or silent_s <= self._allowed_s():
            return False
        was_active = self.stage is Stage.ACTIVE
        self._drop_pending()
        if not was_active:
            self.stage = Stage.ABSENT
            return False
        self.stage, self.wanted = Stage.LOST, False
        self.trouble = f"no heartbeat for {silent_s:.2f} s"
        return True

    def silent_s(self, t_ns: int) -> float:
        """Returns how long it has not been heard at `t_ns` [ns], in seconds; infinite when never."""
        return float("inf") if self._heard_ns is None else (t_ns - self._heard_ns) * 1e-9

    def want(self) -> None:
        """Wants it up, after all that went wrong."""
        self.wanted, self.trouble = True, ""
        self._pauses.reset()

    def tend(self, t_ns: int, *, may_rise: bool) -> None:
        """Moves it one step on at `t_ns` [ns].

        Args:
            t_ns: Now, monotonic [ns].
            may_rise: Whether those before it in the order are up.
        """
        if self._pending is not None:
            self._answered(t_ns)
        elif self.stage in (Stage.PRESENT, Stage.ACTIVE) and t_ns >= self._look_ns and self._ask.service_is_ready():
            self._look_ns = t_ns + _LOOK_NS
            self._request(self._ask.call_async(GetState.Request()), t_ns, ASK_S, "state")
        elif self.stage is Stage.PRESENT and self._next is not None and self.wanted and may_rise:
            self._rise(t_ns, self._next)

    def _rise(self, t_ns: int, transition: int) -> None:
        if not self._change.service_is_ready() or not self._pauses.due(t_ns):
            return
        what = "configure" if transition == Transition.TRANSITION_CONFIGURE else "activate"
        log.info("%s: %s", self.name, what)
        asked = self._change.call_async(ChangeState.Request(transition=Transition(id=transition)))
        self._request(asked, t_ns, self._patience.transition_s, what)

    def _request(self, asked: Future, t_ns: int, patience_s: float, what: str) -> None:
        self._pending = asked, t_ns + round(patience_s * 1e9), what

    def _answered(self, t_ns: int) -> None:
        if self._pending is None:
            return
        asked, until_ns, what = self._pending
        if not asked.done() and t_ns < until_ns:
            return
        self._pending = None
        if not asked.done():
            self.trouble = f"no answer to {what} in time"
            self._forget(asked)
            log.error("%s: %s", self.name, self.trouble)
        elif what == "state":
            self._learn(asked.result().current_state.id)
        elif asked.result().success:
            self.trouble, self._next, self._look_ns = "", None, 0
            self._pauses.reset()
        else:
            self.trouble = f"refused to {what}; the reason is in its log"
            log.error("%s %s", self.name, self.trouble)
            self._look_ns = 0

    def _learn(self, state: int) -> None:
        self._next = {
            State.PRIMARY_STATE_UNCONFIGURED: Transition.TRANSITION_CONFIGURE,
            State.PRIMARY_STATE_INACTIVE: Transition.TRANSITION_ACTIVATE,
        }.get(state)
        active = state == State.PRIMARY_STATE_ACTIVE
        if active and self.stage is not Stage.ACTIVE:
            log.info("%s is active", self.name)
            self.wanted, self.trouble = True, ""
        if not active and self.stage is Stage.ACTIVE:
            self.wanted, self.trouble = False, "somebody else took it out of the state active"
        self.stage = Stage.ACTIVE if active else Stage.PRESENT

    def _allowed_s(self) -> float:
        """Returns how long it may be silent: while it is in a transition it may be busy."""
        return self._patience.lost_s if self.stage is Stage.ACTIVE else self._patience.transition_s

    def _drop_pending(self) -> None:
        if self._pending is not None:
            self._forget(self._pending[0])
        self._pending, self._next, self._look_ns = None, None, 0

    def _forget(self, asked: Future) -> None:
        self._change.remove_pending_request(asked)
        self._ask.remove_pending_request(asked)
