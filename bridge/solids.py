"""The solid of each kind of object: how it is put where it is seen, how it may lie, what lies on it.

Used by `bridge.explanations`.
"""

from collections.abc import Sequence

import numpy as np

from bridge.boxes import fit_box
from bridge.known import Known
from bridge.silhouette import CHECK_PX, SEARCH_PX, Belief, Fit, Rays, fit_disc, fit_sphere
from core.arrays import Floats
from core.tasks import ObjectInfo

_FLAT_M = 0.03
"""Only what is lower than this has something lying on it [m]."""


def fit_thing(
    thing: ObjectInfo,
    rays: Sequence[Rays],
    size_m: Floats,
    belief: Belief,
    widths_px: Sequence[float] = SEARCH_PX,
) -> Fit:
    """Puts a thing where its outlines are.

    Args:
        thing: What it is.
        rays: One set per camera that sees it, all in one frame.
        size_m: Half extents as it lies in that frame, shape (3,) [m].
        belief: Where it may be.
        widths_px: Of the weight function, one for each step of the search.
    """
    if thing.shape == "sphere":
        return fit_sphere(rays, float(size_m[0]), belief, widths_px)
    if thing.shape == "disc":
        return fit_disc(rays, size_m, belief, widths_px)
    return fit_box(rays, size_m, belief, widths_px)


def fit_near(thing: ObjectInfo, rays: Sequence[Rays], size_m: Floats, belief: Belief) -> Fit:
    """Fits what most probably is where it was: one step is enough then."""
    fit = fit_thing(thing, rays, size_m, belief, CHECK_PX)
    return fit if fit.neat else fit_thing(thing, rays, size_m, belief)


def floor_of(thing: ObjectInfo) -> float | None:
    """Returns how high above its centre others lie on a thing, None when nothing does."""
    if thing.floor_m is not None or thing.graspable or thing.vanishes:
        return thing.floor_m
    return float(thing.size_m[2]) if thing.shape in ("disc", "box") and thing.size_m[2] < _FLAT_M else None


def sides_of(thing: ObjectInfo, usual: Floats) -> tuple[Floats, ...]:
    """Returns the half extents of a thing as it may lie, shape (3,) each, `usual` (3,) first."""
    x, y, z = thing.size_m
    if not thing.graspable or thing.shape not in ("box", "built"):
        return (usual,)
    ways = [(x, y, z), (min(y, z), max(y, z), x), (min(x, z), max(x, z), y)]
    rest = {way: None for way in ways if way[2] != usual[2]}
    return (usual, *(np.array(way) for way in rest))


def headings_of(size_m: Floats) -> Floats:
    """Returns headings from which the search finds any heading of a box of half extents (3,) [m], shape (H,) [rad]."""
    return np.arange(2 if abs(size_m[0] - size_m[1]) < 1e-4 else 4) * np.pi / 4


def is_over(fit: Fit, floor: Known, info: ObjectInfo, *, spare_m: float) -> bool:
    """Whether a thing's centre is over a floor, or less than `spare_m` beside it."""
    offset = (fit.pos - floor.pos)[:2]
    if info.shape == "disc":
        return bool(np.linalg.norm(offset) < info.size_m[0] + spare_m)
    cosine, sine = np.cos(floor.yaw_rad), np.sin(floor.yaw_rad)
    aside = np.abs(np.array([[cosine, sine], [-sine, cosine]]) @ offset)
    return bool((aside < info.size_m[:2] + spare_m).all())
