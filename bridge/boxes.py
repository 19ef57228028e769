"""Where a box must be for its outline to look as it does. Used by `bridge.explanations`.

Between the floor and the lid of the box a ray runs over a stretch of floor, seen from above; it passes through the box
exactly when this stretch crosses the box's rectangle. Two convex figures are apart by the largest gap along the normals
of their sides, so two sides of the rectangle and the stretch's own normal decide.
Source: the separating axis theorem, e.g. Ericson (2005), Real-Time Collision Detection, section 5.2.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bridge.silhouette import Belief, Bundle, Fit, Rays, fitted
from core.arrays import Floats

_FARTHEST_M = 3.0
"""A ray is followed no further than this."""
_RISE_M = 1e-4
"""Step of the finite difference over height."""
_KNOWN_M = 2e-3
"""A height that is believed more surely than this is not fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretches:
    """What lies between floor and lid of each ray, seen from above."""

    middle: Floats
    """Shape (M, 2) [m]."""
    half: Floats
    """From the middle to one end, shape (M, 2) [m]."""
    normal: Floats
    """Unit, shape (M, 2)."""

    @staticmethod
    def of(bundle: Bundle, height_m: float, half_m: float) -> "_Stretches":
        """Returns the stretches of all rays for a box whose centre is at `height_m` and that is twice `half_m` high."""
        rise = bundle.directions[:, 2]
        rise = np.where(np.abs(rise) < 1e-6, -1e-6, rise)
        depths = (np.array([[height_m - half_m], [height_m + half_m]]) - bundle.origins[:, 2]) / rise
        depths = np.clip(np.sort(depths, axis=0), 0.0, _FARTHEST_M)
        ends = bundle.origins[:, :2] + depths[..., None] * bundle.directions[:, :2]
        half = 0.5 * (ends[1] - ends[0])
        normal = half[:, ::-1] * [-1.0, 1.0]
        normal /= np.maximum(np.sqrt((normal**2).sum(axis=1)), 1e-9)[:, None]
        return _Stretches(middle=0.5 * (ends[1] + ends[0]), half=half, normal=normal)

    def gaps(self, place: Floats, size_m: Floats) -> tuple[Floats, Floats, Floats]:
        """Returns how far each ray passes outside a box.

        Args:
            place: x and y [m] of the box, ..., heading [rad] last.
            size_m: Half extents, shape (3,) [m].

        Returns:
            The gap of each ray (M,) [m], the axis it was measured along (M, 2), pointing at the box, and how fast the
            gap grows with the heading (M,) [m/rad].
        """
        cosine, sine = np.cos(place[-1]), np.sin(place[-1])
        sides = np.array([[cosine, -sine], [sine, cosine]])
        offset, (x, y, _) = place[:2] - self.middle, size_m
        (a, b), (h, k), (n, m) = (offset @ sides).T, (self.half @ sides).T, (self.normal @ sides).T
        toward = np.array([a, b, (offset * self.normal).sum(axis=1)])
        reach = np.array([np.abs(h) + x, np.abs(k) + y, np.abs(n) * x + np.abs(m) * y])
        side, turn = np.sign(toward), np.sign(np.array([h, k, n, m]))
        grows = np.array([side[0] * b - turn[0] * k, turn[1] * h - side[1] * a, turn[3] * n * y - turn[2] * m * x])
        gap = np.abs(toward) - reach
        widest, rows = np.argmax(gap, axis=0), np.arange(len(offset))
        axis = np.where((widest < 2)[:, None], sides.T[np.minimum(widest, 1)], self.normal)
        return gap[widest, rows], axis * side[widest, rows][:, None], grows[widest, rows]


def fit_box(views: Sequence[Rays], size_m: Floats, belief: Belief, widths_px: Sequence[float]) -> Fit:
    """Puts a box where its outlines are; the outlines give position and heading.

    Args:
        views: One set of rays per camera that sees it, in a frame whose z is along an edge of the box.
        size_m: Half extents, shape (3,) [m].
        belief: Where it may be; a height believed to 2 mm is kept, a heading is found from within 0.5 rad.
        widths_px: Of the weight function, one for each step of the search.
    """
    bundle = Bundle.of(views)
    rises = bool(belief.sigma[2] > _KNOWN_M)
    level = _Stretches.of(bundle, float(belief.mean[2]), float(size_m[2]))

    def offsets(place: Floats) -> tuple[Floats, Floats]:
        px = bundle.pixel_size(place[:3])
        here = _Stretches.of(bundle, float(place[2]), float(size_m[2])) if rises else level
        gap, axis, grows = here.gaps(place, size_m)
        slope = np.zeros((len(gap), 4))
        slope[:, :2], slope[:, 3] = axis, grows
        if rises:
            above = _Stretches.of(bundle, float(place[2]) + _RISE_M, float(size_m[2]))
            slope[:, 2] = (above.gaps(place, size_m)[0] - gap) / _RISE_M
        return gap / px, slope / px[:, None]

    outline_m = 4.0 * float(np.linalg.norm(size_m))
    return fitted(bundle, offsets, belief, widths_px, outline_m=outline_m, yaw_rad=belief.yaw_rad)
