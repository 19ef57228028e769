"""The scripted demonstrator of `pick_card`: looks at the present state only, so it recovers from any of them.

Called for demonstrations, warm starts and the authority test. Each step it decides anew which card to handle: one that
it holds, else one that lies on the named card, else the named one. That card is knocked over where it stands on edge,
fetched and carried to the tray when it is the named one, else to a free spot of the table. Letters: N worlds, C cards.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.transforms import matrix_from_quat
from core.worlds import WorldState
from sim.cell import STROKE_M
from sim.tasks.hand import Barrier, Plan, acted, away, choose, cross, heading, length, wrap, yaw_of
from sim.tasks.pick_card import BLOCK, CARD_M, CARDS, DONE_M, FLAT, ON_TRAY_M, TRAY
from sim.tasks.pick_card_room import Layout, free_spot, grasp_way

GRIP = np.array([0.0, 0.0, 0.008])
"""Where the tool is, from the centre of a card it grasps: its finger tips reach 12 mm below the tool [m]."""
GRASP_M, GRASP_RAD = np.array([0.012, 0.004]), 0.15
"""The hand closes when it is this little beside and above where it grasps, and turned otherwise."""
NEAR_M = 0.026
"""A closing hand this near to where it grasps goes on closing."""
HELD_M = np.array([0.036, 0.015, 0.020])
"""A card whose centre is this near to its place between stopped fingers, along and across the pads and up, is held."""
WIDTH_SLACK = np.array([-0.12, 0.05])
"""How much less and more open than a card is wide a hand that holds it is."""
SOFT_M, SOFTLY = 0.05, 0.65
"""The last bit of the way down, and the share of the usual speed at which it is gone."""
TIPS_M, UNSTICK_M = 0.015, 0.006
"""A tool lower than this above a surface may have its finger tips on it, where friction keeps the hand from opening;
so far up it is told to go meanwhile."""
UPRIGHT = 0.7
"""Cosine of the tilt from which a card stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """The state, by what matters."""

    tcp: Floats
    yaw: Floats
    """Heading of the tool, shape (N,) [rad]."""
    opening: Floats
    command: Floats
    held: Bools
    """Whether the hand is closed on the card to handle, shape (N,)."""
    layout: Layout
    spot: Floats
    """Where that card goes, shape (N, 2) [m]."""


class CardExpert:
    """Puts the named card on the tray from any state; implements `core.ports.Expert`."""

    def act(self, state: WorldState) -> Floats:
        """Returns actions (N, A), in `EE_DELTA` units.

        Args:
            state: Ground truth of `pick_card` worlds.
        """
        view = _view(state)
        plan = choose(_topple(view), _fetch(view), _stands(view))
        plan = choose(_carry(view), plan, view.held)
        plan = choose(_let_go(view), plan, _letting_go(view))
        plan = choose(_leave(view), plan, _on_tray(view))
        return acted(plan, state)


def _view(state: WorldState) -> _View:
    cards, turns = state.object_pos_in_base[:, : len(CARDS)], matrix_from_quat(state.object_quat_xyzw_in_base)
    tray, named, yaw = state.of("goal"), state.roles[:, 0], heading(state)
    held = _held(state, cards, turns[:, : len(CARDS)], yaw)
    layout = Layout(
        cards=cards,
        turns=turns[:, : len(CARDS)],
        named=named,
        piece=np.where(held.any(axis=1), held.argmax(axis=1), _topmost(cards, named)),
        tray=tray,
        barrier=_barrier(state, tray[:, 2] - TRAY.size_m[2]),
    )
    return _View(
        tcp=state.tcp_pos_in_base,
        yaw=yaw,
        opening=state.gripper_opening,
        command=state.gripper_command,
        held=np.asarray(held.any(axis=1)),
        layout=layout,
        spot=free_spot(layout),
    )


def _barrier(state: WorldState, table: Floats) -> Barrier:
    quat = state.object_quat_xyzw_in_base[np.arange(len(table)), state.roles[:, 3]]
    return Barrier(pos=state.of("obstacle"), heading=yaw_of(quat), half_height_m=float(BLOCK.size_m[2]), table=table)


def _held(state: WorldState, cards: Floats, turns: Floats, yaw: Floats) -> Bools:
    """Returns on which cards the hand is closed, at most one, shape (N, C)."""
    side = np.stack([-np.sin(yaw), np.cos(yaw), np.zeros(len(yaw))], axis=1)
    squeezed = np.abs(np.einsum("ncij,ni->ncj", turns, side)).argmax(axis=2)
    excess = state.gripper_opening[:, None] - 2 * CARD_M[squeezed] / STROKE_M
    gap = _from_hand(state.tcp_pos_in_base, yaw, cards)
    fits = (gap < 1.0) & (excess > WIDTH_SLACK[0]) & (excess < WIDTH_SLACK[1])
    return np.asarray(fits & (gap == gap.min(axis=1, keepdims=True)))


def _from_hand(tcp: Floats, yaw: Floats, cards: Floats) -> Floats:
    """Returns how far cards (N, C, 3) are from their place in the hand; below 1 they are in it, shape (N, C)."""
    offset = tcp[:, None] - cards - GRIP
    cosine, sine = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    along = cosine * offset[..., 0] + sine * offset[..., 1]
    across = cosine * offset[..., 1] - sine * offset[..., 0]
    return np.asarray(np.abs(np.stack([along, across, offset[..., 2]], axis=-1) / HELD_M).max(axis=-1))


def _topmost(cards: Floats, named: Ints) -> Ints:
    """Returns the card that lies on the named one, or the named one where none does, shape (N,)."""
    offset = cards - cards[np.arange(len(named)), named][:, None]
    above = (length(offset[..., :2]) < 0.06) & (offset[..., 2] > 0.6 * CARD_M[2])
    return np.where(above.any(axis=1), np.argmax(np.where(above, cards[..., 2], -1.0), axis=1), named)


def _fetch(view: _View) -> Plan:
    """Open above the card, turned as it lies, down, close."""
    yaw, beside = grasp_way(view.layout)
    goal = view.layout.pos + beside + GRIP
    gap, turn = view.tcp - goal, np.abs(wrap(yaw - view.yaw))
    closing = (view.command < 0.5) & (view.opening > 0.4) & (length(gap) < NEAR_M)
    there = (length(gap[:, :2]) < GRASP_M[0]) & (gap[:, 2] < GRASP_M[1]) & (turn < GRASP_RAD)
    close = closing | (there & (view.opening > 0.9))
    pos = cross(view.tcp, goal, view.layout.barrier, lift=0.09, clear=0.05, over=0.05)
    ready = (view.opening > 0.9) & (turn < 0.15)
    pos[:, 2] = np.where(ready | close, pos[:, 2], np.maximum(pos[:, 2], goal[:, 2] + 0.05))
    pos = _gently(view, np.where(close[:, None], goal, pos))
    return Plan(pos=pos, yaw=yaw, grip=np.where(close, 0.0, 1.0))


def _carry(view: _View) -> Plan:
    """Up, over the spot, long side along x, down, open."""
    pos, top = view.layout.pos, view.layout.ground + view.layout.rise
    goal = np.concatenate([view.spot, top[:, None] + 0.003], axis=1) + view.tcp - pos
    way = cross(view.tcp, goal, view.layout.barrier, lift=0.10, clear=0.05, over=0.075)
    down = (length(pos[:, :2] - view.spot) < 0.015) & (pos[:, 2] < top + 0.008)
    return Plan(pos=_gently(view, way), yaw=view.yaw - wrap(view.layout.lies), grip=np.where(down, 1.0, 0.0))


def _gently(view: _View, pos: Floats) -> Floats:
    """Returns way points (N, 3) [m] that are not so far down that the arm, which lags behind, goes through them."""
    down = np.maximum(0.0, view.tcp[:, 2] - pos[:, 2])
    softened = np.maximum(SOFTLY * down, down - SOFT_M * (1.0 - SOFTLY))
    return np.column_stack([pos[:, :2], pos[:, 2] + down - softened])


def _stands(view: _View) -> Bools:
    """Returns where the card to handle stands on its edge, shape (N,)."""
    return np.asarray(np.abs(view.layout.of(view.layout.turns)[:, 2, 2]) < UPRIGHT)


def _topple(view: _View) -> Plan:
    """The closed hand down before a face of the card, then through it."""
    pos, face = view.layout.pos, view.layout.of(view.layout.turns)[:, :2, 2]
    inward = ((view.layout.tray - pos)[:, :2] * face).sum(axis=1) > 0.0
    face = np.where(inward[:, None], face, -face) / np.maximum(length(face), 1e-6)[:, None]
    offset = (view.tcp - pos)[:, :2]
    along = (offset * face).sum(axis=1)
    before = (length(offset - along[:, None] * face) < 0.02) & (along < 0.0) & (along > -0.09)
    push = before & (view.tcp[:, 2] < pos[:, 2] + 0.035) & (view.opening < 0.1)
    goal = np.column_stack([pos[:, :2] - 0.06 * face, pos[:, 2] + 0.018])
    way = cross(view.tcp, goal, view.layout.barrier, lift=0.10, clear=0.08, over=0.05)
    through = np.column_stack([pos[:, :2] + 0.03 * face, goal[:, 2]])
    return Plan(
        pos=np.where(push[:, None], through, _gently(view, way)), yaw=np.zeros(len(pos)), grip=np.zeros(len(pos))
    )


def _letting_go(view: _View) -> Bools:
    """Returns where the hand is opening round a card, shape (N,)."""
    near = (_from_hand(view.tcp, view.yaw, view.layout.cards) < 1.0).any(axis=1)
    return np.asarray(near & (view.command > 0.5) & (view.opening < 0.9))


def _let_go(view: _View) -> Plan:
    """Open, where the hand is, but away from a block that leaves the fingers no room."""
    pos, block = _unstuck(view), view.layout.barrier
    low = block.stands & (view.tcp[:, 2] < 2 * block.half_height_m) & (length((view.tcp - block.pos)[:, :2]) < 0.11)
    pos[:, :2] += np.where(low[:, None], away(view.tcp, block), 0.0)
    return Plan(pos=pos, yaw=view.yaw, grip=np.ones(len(pos)))


def _unstuck(view: _View) -> Floats:
    """Returns where the tool is (N, 3) [m], or a little higher where its fingers may be stuck on a surface."""
    pos = view.tcp.copy()
    pos[:, 2] += np.where(view.tcp[:, 2] - view.layout.ground < TIPS_M, UNSTICK_M, 0.0)
    return pos


def _leave(view: _View) -> Plan:
    """Open, then straight up."""
    pos = _unstuck(view)
    near = length((view.tcp - view.layout.pos)[:, :2]) < 0.12
    high = np.maximum(pos[:, 2], view.layout.tray[:, 2] + 0.15)
    pos[:, 2] = np.where((view.opening > 0.8) & near, high, pos[:, 2])
    return Plan(pos=pos, yaw=view.yaw, grip=np.ones(len(pos)))


def _on_tray(view: _View) -> Bools:
    """Returns where the named card lies where it belongs, shape (N,)."""
    layout = view.layout
    low = np.abs(layout.pos[:, 2] - layout.ground - CARD_M[2]) < 0.006
    flat = np.abs(layout.of(layout.turns)[:, 2, 2]) > FLAT
    offset = (layout.pos - layout.tray)[:, :2]
    inside = (length(offset) < ON_TRAY_M - 0.002) & (np.abs(offset).max(axis=1) < DONE_M - 0.002)
    held_elsewhere = view.held & (length(layout.pos[:, :2] - view.spot) > 0.02)
    return np.asarray((layout.piece == layout.named) & low & flat & inside & ~held_elsewhere)
