"""The scripted demonstrator of `pick_card`: looks at the present state only, so it recovers from any of them.

Called for demonstrations, warm starts and the authority test. Each step it decides anew which card to handle: one that
it holds, else one that lies on the named card, else the named one. That card is fetched and carried to the tray when it
is the named one, else to a free spot of the table. The hand closes across the short side of a card, or across the long
one where its fingers would not fit beside it. Letters: N worlds, C cards.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.worlds import WorldState
from sim.cell import STROKE_M
from sim.tasks.hand import Barrier, Plan, acted, choose, cross, heading, length, long_side, wrap, yaw_of
from sim.tasks.pick_card import BLOCK, CARD_M, CARDS, ON_TRAY_M, TRAY

GRIP = np.array([0.0, 0.0, 0.008])
"""Where the tool is, from the centre of a card it grasps: its finger tips reach 12 mm below the tool [m]."""
GRASP_M, GRASP_RAD = np.array([0.012, 0.004]), 0.15
"""The hand closes when it is this little beside and above where it grasps, and turned otherwise."""
HELD_M = 0.026
"""A card this near to its place between stopped fingers is held."""
WIDTH_SLACK = np.array([-0.12, 0.05])
"""How much less and more open than a card is wide a hand that holds it is."""
FINGER_M, FINGER_ROOM_M = np.array([0.044, 0.051, 0.058]), 0.015
"""Where an open finger is, from the middle of the hand, and the room it needs about that."""
PALM_M, PALM_ROOM_M = np.array([0.0, 0.03, 0.052]), 0.035
"""The same of the palm, which only a block is high enough for."""
SOFT_M, SOFTLY = 0.05, 0.65
"""The last bit of the way down, and the share of the usual speed at which it is gone."""
TIPS_M, UNSTICK_M = 0.015, 0.006
"""A tool lower than this above a surface may have its finger tips on it, where friction keeps the hand from opening;
so far up it is told to go meanwhile."""
EDGE_M = 0.008
"""The room fingers need beside the tray, for a card that lies on the table."""
BESIDE_M = 0.004
"""The hand closes across the short side unless the long one gives its fingers this much more room."""
ON_TRAY_SPOTS = np.stack(np.meshgrid(np.linspace(-0.069, 0.069, 7), np.linspace(-0.069, 0.069, 7)), axis=-1).reshape(
    -1, 2
)
"""Places on the tray, from its middle [m]."""
TABLE_SPOTS = np.stack(np.meshgrid(np.linspace(0.32, 0.60, 9), np.linspace(-0.30, 0.28, 14)), axis=-1).reshape(-1, 2)
"""Places on the table for a wrong card [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """The state, by what matters."""

    tcp: Floats
    yaw: Floats
    """Heading of the tool, shape (N,) [rad]."""
    opening: Floats
    command: Floats
    cards: Floats
    """Shape (N, C, 3) [m]."""
    headings: Floats
    """Of their long sides, shape (N, C) [rad]."""
    named: Ints
    """The card that the instruction names, shape (N,)."""
    piece: Ints
    """The card to handle, shape (N,)."""
    held: Bools
    """Whether the hand is closed on it, shape (N,)."""
    tray: Floats
    barrier: Barrier

    def of(self, cards: Floats) -> Floats:
        """Returns the values (N, ...) of the card to handle."""
        return np.asarray(cards[np.arange(len(self.piece)), self.piece])

    @property
    def lying(self) -> Floats:
        """Height of what the card to handle belongs on, shape (N,) [m]."""
        return np.where(self.piece == self.named, self.tray[:, 2] + TRAY.size_m[2], self.barrier.table)

    @property
    def others(self) -> Bools:
        """Which cards are not to be handled, shape (N, C)."""
        return np.asarray(np.arange(len(CARDS)) != self.piece[:, None])


class CardExpert:
    """Puts the named card on the tray from any state; implements `core.ports.Expert`."""

    def act(self, state: WorldState) -> Floats:
        """Returns actions (N, A), in `EE_DELTA` units.

        Args:
            state: Ground truth of `pick_card` worlds.
        """
        view = _view(state)
        plan = choose(_carry(view), _fetch(view), view.held)
        plan = choose(_let_go(view), plan, _letting_go(view))
        plan = choose(_leave(view), plan, _on_tray(view))
        return acted(plan, state)


def _view(state: WorldState) -> _View:
    count, rows = len(CARDS), np.arange(len(state.roles))
    cards, headings = state.object_pos_in_base[:, :count], long_side(state.object_quat_xyzw_in_base[:, :count])
    tray, yaw, named = state.of("goal"), heading(state), state.roles[:, 0]
    held = _held(state, cards, headings - yaw[:, None])
    piece = np.where(held.any(axis=1), held.argmax(axis=1), _topmost(cards, named))
    quat = state.object_quat_xyzw_in_base[rows, state.roles[:, 3]]
    table = tray[:, 2] - TRAY.size_m[2]
    return _View(
        tcp=state.tcp_pos_in_base,
        yaw=yaw,
        opening=state.gripper_opening,
        command=state.gripper_command,
        cards=cards,
        headings=headings,
        named=named,
        piece=piece,
        held=np.asarray(held.any(axis=1)),
        tray=tray,
        barrier=Barrier(
            pos=state.of("obstacle"), heading=yaw_of(quat), half_height_m=float(BLOCK.size_m[2]), table=table
        ),
    )


def _held(state: WorldState, cards: Floats, turned: Floats) -> Bools:
    """Returns on which cards the hand is closed, at most one, shape (N, C)."""
    gap = length(state.tcp_pos_in_base[:, None] - cards - GRIP)
    width = np.where(np.abs(np.cos(turned)) > np.sqrt(0.5), 2 * CARD_M[1], 2 * CARD_M[0])
    excess = state.gripper_opening[:, None] - width / STROKE_M
    fits = (gap < HELD_M) & (excess > WIDTH_SLACK[0]) & (excess < WIDTH_SLACK[1])
    return np.asarray(fits & (gap == gap.min(axis=1, keepdims=True)))


def _topmost(cards: Floats, named: Ints) -> Ints:
    """Returns the card that lies on the named one, or the named one where none does, shape (N,)."""
    rows = np.arange(len(named))
    offset = cards - cards[rows, named][:, None]
    above = (length(offset[..., :2]) < 0.06) & (offset[..., 2] > 0.6 * CARD_M[2])
    return np.where(above.any(axis=1), np.argmax(np.where(above, cards[..., 2], -1.0), axis=1), named)


def _fetch(view: _View) -> Plan:
    """Open above the card, turned as it lies, down, close."""
    goal = view.of(view.cards) + GRIP
    yaw = _grasp_yaw(view)
    gap, turn = view.tcp - goal, np.abs(wrap(yaw - view.yaw))
    closing = (view.command < 0.5) & (view.opening > 0.4) & (length(gap) < HELD_M)
    there = (length(gap[:, :2]) < GRASP_M[0]) & (gap[:, 2] < GRASP_M[1]) & (turn < GRASP_RAD)
    close = closing | (there & (view.opening > 0.9))
    pos = cross(view.tcp, goal, view.barrier, lift=0.09, clear=0.05, over=0.05)
    ready = (view.opening > 0.9) & (turn < 0.15)
    pos[:, 2] = np.where(ready | close, pos[:, 2], np.maximum(pos[:, 2], goal[:, 2] + 0.05))
    pos = _gently(view, np.where(close[:, None], goal, pos))
    return Plan(pos=pos, yaw=yaw, grip=np.where(close, 0.0, 1.0))


def _carry(view: _View) -> Plan:
    """Up, over the spot, long side along x, down, open."""
    spot, pos = _spot(view), view.of(view.cards)
    top = view.lying + CARD_M[2]
    goal = np.concatenate([spot, top[:, None] + 0.003], axis=1) + view.tcp - pos
    way = cross(view.tcp, goal, view.barrier, lift=0.10, clear=0.05, over=0.075)
    down = (length(pos[:, :2] - spot) < 0.015) & (pos[:, 2] < top + 0.008)
    return Plan(pos=_gently(view, way), yaw=view.yaw - wrap(view.of(view.headings)), grip=np.where(down, 1.0, 0.0))


def _gently(view: _View, pos: Floats) -> Floats:
    """Returns way points (N, 3) [m] that are not so far down that the arm, which lags behind, goes through them."""
    down = np.maximum(0.0, view.tcp[:, 2] - pos[:, 2])
    softened = np.maximum(SOFTLY * down, down - SOFT_M * (1.0 - SOFTLY))
    return np.column_stack([pos[:, :2], pos[:, 2] + down - softened])


def _letting_go(view: _View) -> Bools:
    """Returns where the hand is opening round a card, shape (N,)."""
    near = (length(view.tcp[:, None] - view.cards - GRIP) < HELD_M).any(axis=1)
    return np.asarray(near & (view.command > 0.5) & (view.opening < 0.9))


def _let_go(view: _View) -> Plan:
    """Open, where the hand is."""
    pos = _unstuck(view)
    return Plan(pos=pos, yaw=view.yaw, grip=np.ones(len(pos)))


def _unstuck(view: _View) -> Floats:
    """Returns where the tool is (N, 3) [m], or a little higher where its fingers may be stuck on a surface."""
    pos = view.tcp.copy()
    pos[:, 2] += np.where(view.tcp[:, 2] - view.lying < TIPS_M, UNSTICK_M, 0.0)
    return pos


def _leave(view: _View) -> Plan:
    """Open, then straight up."""
    pos = _unstuck(view)
    near = length((view.tcp - view.of(view.cards))[:, :2]) < 0.12
    pos[:, 2] = np.where((view.opening > 0.8) & near, np.maximum(pos[:, 2], view.tray[:, 2] + 0.15), pos[:, 2])
    return Plan(pos=pos, yaw=view.yaw, grip=np.ones(len(pos)))


def _on_tray(view: _View) -> Bools:
    """Returns where the named card lies where it belongs, shape (N,)."""
    pos = view.of(view.cards)
    low = np.abs(pos[:, 2] - view.lying - CARD_M[2]) < 0.006
    inside = length((pos - view.tray)[:, :2]) < ON_TRAY_M - 0.002
    held_elsewhere = view.held & (length(pos[:, :2] - _spot(view)) > 0.02)
    return np.asarray((view.piece == view.named) & low & inside & ~held_elsewhere)


def _spot(view: _View) -> Floats:
    """Returns where the card to handle goes, shape (N, 2) [m]."""
    here = view.of(view.cards)[:, None, :2]
    on_tray = view.tray[:, None, :2] + ON_TRAY_SPOTS
    far = length(ON_TRAY_SPOTS) + np.where(length(ON_TRAY_SPOTS) > 0.07, 1.0, 0.0)
    tray = _cheapest(view, on_tray, far + 0.05 * on_tray[..., 0])
    spots = np.concatenate([np.broadcast_to(TABLE_SPOTS, (len(here), *TABLE_SPOTS.shape)), here], axis=1)
    cost = length(spots - here)
    for thing, keep in ((view.tray, 0.17), (view.barrier.pos, 0.15)):
        cost = cost + 1.0 * (length(spots - thing[:, None, :2]) < keep)
    return np.where((view.piece == view.named)[:, None], tray, _cheapest(view, spots, cost))


def _cheapest(view: _View, spots: Floats, cost: Floats) -> Floats:
    """Returns the cheapest (N, 2) of `spots` (N, K, 2) [m] where no other card leaves too little room."""
    across, along = np.abs(spots[:, :, None] - view.cards[:, None, :, :2]).transpose(3, 0, 1, 2)
    taken = ((across < 0.068) & (along < 0.052)) | ((across < 0.048) & (along < 0.085))
    cost = cost + (taken & view.others[:, None]).sum(axis=2)
    return np.asarray(spots[np.arange(len(spots)), np.argmin(cost, axis=1)])


def _grasp_yaw(view: _View) -> Floats:
    """Returns the heading that closes across the short side, or across the long one for want of room, (N,) [rad]."""
    short = wrap(view.of(view.headings))
    long = wrap(short + np.pi / 2)
    return np.where(_crowding(view, long) + BESIDE_M < _crowding(view, short), long, short)


def _crowding(view: _View, yaw: Floats) -> Floats:
    """Returns how far into other things an open hand with heading `yaw` (N,) would reach at the card, (N,) [m]."""
    middle = view.of(view.cards)
    fingers, palm = _points(middle, yaw, FINGER_M), _points(middle, yaw, PALM_M)
    beside = view.others & (view.cards[..., 2] > middle[:, None, 2] - 0.006)
    total = np.zeros(len(yaw))
    for k in range(len(CARDS)):
        gap = _gap(fingers, view.cards[:, k], view.headings[:, k], CARD_M)
        total += np.where(beside[:, k], _lacking(gap, FINGER_ROOM_M), 0.0)
    gap = _gap(palm, view.barrier.pos, view.barrier.heading, BLOCK.size_m)
    total += np.where(view.barrier.stands, _lacking(gap, PALM_ROOM_M), 0.0)
    edge = length(fingers - view.tray[:, None, :2]) - TRAY.size_m[0]
    low = middle[:, 2] < view.tray[:, 2] + CARD_M[2]
    return np.asarray(total + np.where(low, _lacking(edge, EDGE_M), 0.0))


def _points(middle: Floats, yaw: Floats, reach: Floats) -> Floats:
    """Returns points `reach` (P,) [m] to both sides of hands at `middle` (N, 3), shape (N, 2 P, 2) [m]."""
    side = np.stack([-np.sin(yaw), np.cos(yaw)], axis=1)
    return np.asarray(middle[:, None, :2] + np.concatenate([reach, -reach])[:, None] * side[:, None])


def _gap(points: Floats, pos: Floats, lies: Floats, half: Floats) -> Floats:
    """Returns how far points (N, P, 2) are from boxes at `pos` (N, 3), their x axes along `lies` (N,), (N, P) [m]."""
    offset = points - pos[:, None, :2]
    cosine, sine = np.cos(lies)[:, None], np.sin(lies)[:, None]
    along = np.abs(cosine * offset[..., 0] + sine * offset[..., 1]) - half[0]
    across = np.abs(cosine * offset[..., 1] - sine * offset[..., 0]) - half[1]
    return np.asarray(np.hypot(np.maximum(along, 0.0), np.maximum(across, 0.0)))


def _lacking(gap: Floats, room_m: float) -> Floats:
    """Returns by how much gaps (N, P) [m] fall short of `room_m`, summed, shape (N,) [m]."""
    return np.asarray(np.maximum(0.0, room_m - gap).sum(axis=1))
