"""Where an upright box must be for its outline to look as it does. Used by `bridge.tracker`.

Between the floor and the lid of the box a ray runs over a stretch of floor, seen from above; it passes through the box
exactly when this stretch crosses the box's rectangle. Two convex figures are apart by the largest gap along the normals
of their sides, so two sides of the rectangle and the stretch's own normal decide.
Source: the separating axis theorem, e.g. Ericson (2005), Real-Time Collision Detection, section 5.2.1.
"""

from collections.abc import Sequence

import numpy as np

from bridge.silhouette import Belief, Bundle, Fit, Rays, fitted
from core.arrays import Floats

_FARTHEST_M = 3.0
"""A ray is followed no further than this."""
_TURN_RAD = 1e-3
"""Step of the finite difference over the heading."""


def fit_box(views: Sequence[Rays], size_m: Floats, belief: Belief, yaw_rad: float) -> Fit:
    """Puts an upright box where its outlines are; its height must be believed, the outlines give x, y and heading.

    Args:
        views: One set of rays per camera that sees it, in a frame whose z is up.
        size_m: Half extents, shape (3,) [m].
        belief: Where it may be.
        yaw_rad: Heading at which the search starts; it finds the right one from within about 0.5 rad.
    """
    bundle = Bundle.of(views)
    ends = _over_floor(bundle, belief.mean[2] - size_m[2], belief.mean[2] + size_m[2])
    middle, half = 0.5 * (ends[1] + ends[0]), 0.5 * (ends[1] - ends[0])
    normal = np.stack([-half[:, 1], half[:, 0]], axis=1)
    normal /= np.maximum(np.sqrt((normal**2).sum(axis=1)), 1e-9)[:, None]

    def gaps(place: Floats) -> tuple[Floats, Floats]:
        """Returns the gap of each ray (M,) [m] and the axis it was measured along (M, 2), pointing at the box."""
        cosine, sine = np.cos(place[3]), np.sin(place[3])
        sides = np.array([[cosine, sine], [-sine, cosine]])
        axes = np.stack([np.broadcast_to(sides[0], normal.shape), np.broadcast_to(sides[1], normal.shape), normal])
        toward = np.einsum("kij,ij->ki", axes, place[:2] - middle)
        reach = np.abs(np.einsum("kij,ij->ki", axes, half)) + np.abs(axes @ sides.T) @ size_m[:2]
        gap = np.abs(toward) - reach
        widest, rows = np.argmax(gap, axis=0), np.arange(len(middle))
        return gap[widest, rows], axes[widest, rows] * np.sign(toward[widest, rows])[:, None]

    def offsets(place: Floats) -> tuple[Floats, Floats]:
        px = bundle.pixel_size(place[:3])
        (gap, axis), (turned, _) = gaps(place), gaps(place + np.array([0.0, 0.0, 0.0, _TURN_RAD]))
        slope = np.zeros((len(gap), 4))
        slope[:, :2], slope[:, 3] = axis, (turned - gap) / _TURN_RAD
        return gap / px, slope / px[:, None]

    return fitted(bundle, offsets, belief, outline_m=4.0 * float(np.linalg.norm(size_m)), yaw_rad=yaw_rad)


def _over_floor(bundle: Bundle, low_m: float, high_m: float) -> Floats:
    """Returns where each ray is between two heights: x and y of both ends of the stretch, shape (2, M, 2) [m]."""
    rise = bundle.directions[:, 2]
    rise = np.where(np.abs(rise) < 1e-6, -1e-6, rise)
    depths = (np.array([[low_m], [high_m]]) - bundle.origins[:, 2]) / rise
    depths = np.clip(np.sort(depths, axis=0), 0.0, _FARTHEST_M)
    return np.asarray(bundle.origins[:, :2] + depths[..., None] * bundle.directions[:, :2], dtype=np.float64)
