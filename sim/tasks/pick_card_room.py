"""Where there is room among cards: for a card on tray or table, and for the fingers beside a card.

Called by `sim.tasks.pick_card_expert`. Letters: N worlds, C cards, K spots, P points, G ways to grasp.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats, Ints
from sim.tasks.hand import Barrier, length, wrap
from sim.tasks.pick_card import BLOCK, CARD_M, CARDS, TRAY

FINGER_M, FINGER_ROOM_M = np.array([0.044, 0.051, 0.058]), 0.015
"""Where an open finger is, from the middle of the hand, and the room it needs about that."""
PALM_M, PALM_ROOM_M = np.array([0.0, 0.015, 0.028]), 0.032
"""The same of the palm, which only a block is high enough for."""
FIRM = 4.0
"""How much worse it is to reach into a block than into a card, which yields."""
EDGE_M = 0.008
"""The room fingers need beside the tray, for a card that lies on the table."""
WAYS = ((0.0, 0.0), (0.0, 0.016), (0.0, -0.016), (np.pi / 2, 0.0), (np.pi / 2, 0.009), (np.pi / 2, -0.009))
"""Ways to grasp a card, the best first: how the hand is turned against it [rad], how far from its middle [m]."""
WORSE_M = 0.004
"""A way is taken only when it leaves the hand this much more room than the ones before it."""
SLOPE_M = 0.1
"""A grasp along a slope is as bad as so much less room, times the sine of the slope."""
TRAY_SPOTS = np.stack(np.meshgrid(*[np.linspace(-0.069, 0.069, 7)] * 2), axis=-1).reshape(-1, 2)
"""Places on the tray, from its middle [m]."""
TABLE_SPOTS = np.stack(np.meshgrid(np.linspace(0.32, 0.60, 9), np.linspace(-0.30, 0.28, 14)), axis=-1).reshape(-1, 2)
"""Places on the table for a wrong card [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What lies where, and which card is to be handled."""

    cards: Floats
    """Centres, shape (N, C, 3) [m]."""
    turns: Floats
    """Orientations as matrices, shape (N, C, 3, 3)."""
    named: Ints
    """The card that the instruction names, shape (N,)."""
    piece: Ints
    """The card to handle, shape (N,)."""
    tray: Floats
    """Shape (N, 3) [m]."""
    barrier: Barrier

    def of(self, cards: Floats) -> Floats:
        """Returns the values (N, ...) of the card to handle, from those of all cards (N, C, ...)."""
        return np.asarray(cards[np.arange(len(self.piece)), self.piece])

    @property
    def pos(self) -> Floats:
        """Where the card to handle is, shape (N, 3) [m]."""
        return self.of(self.cards)

    @property
    def lies(self) -> Floats:
        """Heading of its long side, shape (N,) [rad]."""
        return self.of(headings(self.turns))

    @property
    def rise(self) -> Floats:
        """Height of its centre above what it stands or lies on, shape (N,) [m]."""
        return np.asarray(np.abs(self.of(self.turns)[:, 2]) @ CARD_M)

    @property
    def ground(self) -> Floats:
        """Height of what it belongs on, shape (N,) [m]."""
        return np.where(self.piece == self.named, self.tray[:, 2] + TRAY.size_m[2], self.barrier.table)

    @property
    def others(self) -> Bools:
        """Which cards are not to be handled, shape (N, C)."""
        return np.asarray(np.arange(len(CARDS)) != self.piece[:, None])


def headings(turns: Floats) -> Floats:
    """Returns headings of the long sides (...) [rad] of cards with orientations (..., 3, 3)."""
    return np.asarray(np.arctan2(turns[..., 1, 0], turns[..., 0, 0]))


def free_spot(layout: Layout) -> Floats:
    """Returns where the card to handle goes, shape (N, 2) [m]: on the tray, or on the table when not the named one."""
    mine = layout.piece == layout.named
    on_tray = _spot_on_tray(layout)
    return on_tray if mine.all() else np.where(mine[:, None], on_tray, _spot_on_table(layout))


def _spot_on_tray(layout: Layout) -> Floats:
    far = length(TRAY_SPOTS)
    cost = far + np.where(far > 0.07, 1.0, 0.0) + 0.05 * TRAY_SPOTS[:, 0]
    return _cheapest(layout, layout.tray[:, None, :2] + TRAY_SPOTS, cost + np.zeros((len(layout.tray), 1)))


def _spot_on_table(layout: Layout) -> Floats:
    here = layout.pos[:, None, :2]
    spots = np.concatenate([np.broadcast_to(TABLE_SPOTS, (len(here), *TABLE_SPOTS.shape)), here], axis=1)
    cost = length(spots - here)
    for thing, keep in ((layout.tray, 0.17), (layout.barrier.pos, 0.15)):
        cost = cost + 1.0 * (length(spots - thing[:, None, :2]) < keep)
    return _cheapest(layout, spots, cost)


def _cheapest(layout: Layout, spots: Floats, cost: Floats) -> Floats:
    """Returns the cheapest (N, 2) of `spots` (N, K, 2) [m] where no other card leaves too little room."""
    along, across = np.abs(spots[:, :, None] - layout.cards[:, None, :, :2]).transpose(3, 0, 1, 2)
    taken = ((along < 0.068) & (across < 0.052)) | ((along < 0.048) & (across < 0.085))
    cost = cost + (taken & layout.others[:, None]).sum(axis=2)
    return np.asarray(spots[np.arange(len(spots)), np.argmin(cost, axis=1)])


def grasp_way(layout: Layout) -> tuple[Floats, Floats]:
    """Returns the way to grasp that leaves the hand most room: its heading (N,) [rad], where, from the card (N, 3) [m].

    Across the short side when that fits and is level, as it is not where a card leans against something.
    """
    yaw, shift, lack = _rated(layout, WAYS[:1])
    if (lack > WORSE_M).any():
        yaw, shift, lack = _rated(layout, WAYS)
    best, rows = np.argmin(lack, axis=0), np.arange(len(layout.pos))
    return yaw[best, rows], shift[best, rows]


def _rated(layout: Layout, ways: tuple[tuple[float, float], ...]) -> tuple[Floats, Floats, Floats]:
    """Returns headings (G, N) [rad] and places (G, N, 3) [m] of ways to grasp, and how bad they are (G, N) [m]."""
    slope = SLOPE_M * np.abs(layout.of(layout.turns)[:, 2])
    grasps = [_way(layout, turn, shift) for turn, shift in ways]
    lack = [
        WORSE_M * k + slope[:, 0 if way[0] else 1] + _lack(layout, *grasp)
        for k, (way, grasp) in enumerate(zip(ways, grasps, strict=True))
    ]
    return np.array([yaw for yaw, _ in grasps]), np.array([shift for _, shift in grasps]), np.array(lack)


def _way(layout: Layout, turn: float, shift: float) -> tuple[Floats, Floats]:
    yaw = wrap(layout.lies + turn)
    return yaw, shift * np.stack([np.cos(yaw), np.sin(yaw), np.zeros(len(yaw))], axis=1)


def _lack(layout: Layout, yaw: Floats, shift: Floats) -> Floats:
    """Returns how far an open hand would reach into other things, shape (N,) [m]."""
    middle = layout.pos
    fingers, palm = _points(middle + shift, yaw, FINGER_M), _points(middle + shift, yaw, PALM_M)
    beside = layout.others & (layout.cards[..., 2] > middle[:, None, 2] - 0.006)
    total, lies = np.zeros(len(yaw)), headings(layout.turns)
    for k in range(len(CARDS)):
        gap = _gap(fingers, layout.cards[:, k], lies[:, k], CARD_M)
        total += np.where(beside[:, k], _short_of(gap, FINGER_ROOM_M), 0.0)
    for points, room_m in ((fingers, FINGER_ROOM_M), (palm, PALM_ROOM_M)):
        gap = _gap(points, layout.barrier.pos, layout.barrier.heading, BLOCK.size_m)
        total += np.where(layout.barrier.stands, FIRM * _short_of(gap, room_m), 0.0)
    edge = length(fingers - layout.tray[:, None, :2]) - TRAY.size_m[0]
    low = middle[:, 2] < layout.tray[:, 2] + CARD_M[2]
    return np.asarray(total + np.where(low, _short_of(edge, EDGE_M), 0.0))


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


def _short_of(gap: Floats, room_m: float) -> Floats:
    """Returns by how much gaps (N, P) [m] fall short of `room_m`, summed, shape (N,) [m]."""
    return np.asarray(np.maximum(0.0, room_m - gap).sum(axis=1))
