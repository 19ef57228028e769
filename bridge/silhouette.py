"""Where a solid of known size must be for its outline to look as it does. Used by `bridge.tracker`.

An outline pixel is a ray that grazes the solid. The fits below move the solid until the rays graze it, over the rays of
all cameras at once, so apparent size, two views and what is already believed all weigh in by their precision. Something
in front can only eat into an outline, and never where it borders the bare table: other rays that pass through the solid
are taken for covered and lose their weight (Geman-McClure), all else pulls.
Source: iteratively reweighted Gauss-Newton, Holland and Welsch (1977).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.transforms import Pose, matrix_from_quat

SEARCH_PX, CHECK_PX = (4.0, 1.0, 1.0), (1.0,)
"""Width of the weight function at each step, to find something or to see whether it is where it was [px]."""
_EDGE_PX, _EDGE_SIGMA_PX = 0.45, 0.6
"""Centres of outline pixels lie about this far inside the true edge, in one image more, in another less [px].

What blur, glare and colour thresholds add is the same all round: size alone says little of a small thing's distance.
"""
_ANYWHERE, _ANY_HEADING = 1e-3, 1e-3
"""Precision of knowing nothing [1/m^2, 1/rad^2]; keeps the equations solvable."""
_SMALL_PX = 0.7
"""A step that moves no ray further than this past the solid's edge need not be measured again [px]."""
_GRAZES_PX = 1.5
"""A ray this close to the edge supports the fit [px]."""
_CIRCLE_PIXELS = 4.0 * 2.0**0.5
"""Pixels in the 8-connected outline of a circle, per pixel of radius."""
_SLANTED = 0.85
"""An outline seen at a slant is shorter than one seen straight on by about this much."""
_CORRELATION = 2.0
"""Neighbouring outline pixels err together: so many count as one measurement."""
_EXPLAINED, _NEAT = 1.5, 0.5
"""Mean cost of a measurement up to which a fit explains what is seen: covered rays cost up to 1, others up to 9; and up
to which nothing better can be hoped for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rays:
    """The outline of one object in one camera, as rays."""

    origin: Floats
    """Centre of projection, shape (3,) [m]."""
    directions: Floats
    """Unit vectors, shape (M, 3)."""
    bare: Bools
    """Whether nothing can cover the object at this ray, shape (M,)."""
    pixel_rad: float
    """Angle that one pixel spans [rad]."""
    stride: int
    """Every so many outline pixels became a ray."""

    def seen_from(self, frame: Pose) -> "Rays":
        """Returns the same rays, given in base, in the axes of `frame`."""
        back = frame.inverse()
        return Rays(
            origin=back.apply(self.origin),
            directions=self.directions @ matrix_from_quat(back.quat_xyzw).T,
            bare=self.bare,
            pixel_rad=self.pixel_rad,
            stride=self.stride,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What is believed of a position before looking: a Gaussian."""

    mean: Floats
    """Shape (3,) [m]; where the search starts."""
    sigma: Floats
    """Standard deviations along the axes, shape (3,) [m]; infinite where nothing is known."""
    yaw_rad: float = 0.0
    """Heading of what has one, where the search starts [rad]."""
    yaw_sigma_rad: float = np.inf
    """Standard deviation of the heading, of what has one [rad]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A solid put in its place."""

    pos: Floats
    """Centre, shape (3,) [m]."""
    sigma_m: float
    """Largest standard deviation of the centre along an axis [m]."""
    support: float
    """Largest share, over the cameras, of the full outline that is seen where it should be, [0, 1]."""
    cost: float
    """How badly outline and belief fit, in squared standard deviations."""
    measurements: float
    """Independent measurements in the outline."""
    yaw_rad: float = 0.0
    """Heading of a box about z."""

    @property
    def explains(self) -> bool:
        """Whether what is seen is what would be seen if the solid were here, partly covered perhaps."""
        return self.cost < _EXPLAINED * self.measurements

    @property
    def neat(self) -> bool:
        """Whether there is no need to look for anything better."""
        return self.cost < _NEAT * self.measurements

    @property
    def credit(self) -> float:
        """How far what is seen is explained, [0, 1]."""
        return min(1.0, _EXPLAINED * self.measurements / max(self.cost, 1e-9))


def fit_sphere(views: Sequence[Rays], radius_m: float, belief: Belief, widths_px: Sequence[float] = SEARCH_PX) -> Fit:
    """Puts a sphere of known radius where its outlines are.

    Args:
        views: One set of rays per camera that sees it, all in one frame.
        radius_m: Radius [m].
        belief: Where it may be, in the same frame.
        widths_px: Of the weight function, one for each step of the search.
    """
    bundle = Bundle.of(views)

    def offsets(place: Floats) -> tuple[Floats, Floats]:
        to_pos = place - bundle.origins
        depth = np.einsum("ij,ij->i", to_pos, bundle.directions)
        to_axis = to_pos - depth[:, None] * bundle.directions
        distance = np.maximum(np.sqrt(np.einsum("ij,ij->i", to_axis, to_axis)), 1e-6)
        px = bundle.pixel_rad * np.maximum(depth, 1e-3)
        return (distance - radius_m) / px, to_axis / (distance * px)[:, None]

    return fitted(bundle, offsets, belief, widths_px, outline_m=_CIRCLE_PIXELS * radius_m)


def fit_disc(views: Sequence[Rays], size_m: Floats, belief: Belief, widths_px: Sequence[float] = SEARCH_PX) -> Fit:
    """Puts an upright disc where its outlines are; its height must be believed, the outlines give x and y.

    A grazing ray touches the rim of the top or of the bottom, whichever it passes closer to the axis.

    Args:
        views: One set of rays per camera that sees it, in a frame whose z is up.
        size_m: Radius, radius, half height, shape (3,) [m].
        belief: Where it may be.
        widths_px: Of the weight function, one for each step of the search.
    """
    bundle = Bundle.of(views)
    rims = np.stack([bundle.at_height(belief.mean[2] + side * size_m[2]) for side in (1.0, -1.0)])
    rows = np.arange(rims.shape[1])

    def offsets(place: Floats) -> tuple[Floats, Floats]:
        from_ray = place[:2] - rims
        distances = np.maximum(np.sqrt(np.einsum("kij,kij->ki", from_ray, from_ray)), 1e-6)
        nearer = np.argmin(distances, axis=0)
        distance, px = distances[nearer, rows], bundle.pixel_size(place)
        slope = np.zeros((len(rows), 3))
        slope[:, :2] = from_ray[nearer, rows] / (distance * px)[:, None]
        return (distance - size_m[0]) / px, slope

    return fitted(bundle, offsets, belief, widths_px, outline_m=_CIRCLE_PIXELS * _SLANTED * size_m[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Rays of several cameras, one row each."""

    origins: Floats
    """Shape (M, 3) [m]."""
    directions: Floats
    """Unit, shape (M, 3)."""
    bare: Bools
    """Shape (M,)."""
    pixel_rad: Floats
    """Shape (M,) [rad]."""
    stride: Floats
    """Outline pixels that each ray stands for, shape (M,)."""
    camera: Ints
    """Number of the camera of each ray, ascending, shape (M,)."""

    @staticmethod
    def of(views: Sequence[Rays]) -> "Bundle":
        """Returns the rays of all views in one."""
        counts = [len(v.directions) for v in views]
        return Bundle(
            origins=np.repeat([v.origin for v in views], counts, axis=0),
            directions=np.concatenate([v.directions for v in views]),
            bare=np.concatenate([v.bare for v in views]),
            pixel_rad=np.repeat([v.pixel_rad for v in views], counts),
            stride=np.repeat([float(v.stride) for v in views], counts),
            camera=np.repeat(np.arange(len(views)), counts),
        )

    def pixel_size(self, place: Floats) -> Floats:
        """Returns how large a pixel of each ray is at `place` (3,), shape (M,) [m]."""
        away = place - self.origins
        return np.asarray(self.pixel_rad * np.sqrt(np.einsum("ij,ij->i", away, away)))

    def at_height(self, height_m: float) -> Floats:
        """Returns where the rays cross a level plane, shape (M, 2) [m]; far away where they never do."""
        depth = (height_m - self.origins[:, 2]) / np.minimum(self.directions[:, 2], -1e-3)
        return np.asarray(self.origins[:, :2] + depth[:, None] * self.directions[:, :2], dtype=np.float64)


def fitted(
    bundle: Bundle,
    offsets: Callable[[Floats], tuple[Floats, Floats]],
    belief: Belief,
    widths_px: Sequence[float],
    *,
    outline_m: float,
    yaw_rad: float | None = None,
) -> Fit:
    """Moves a solid until the rays graze it.

    Args:
        bundle: The rays.
        offsets: Gives, for a place (P,), how far each ray passes outside the solid (M,) [px], negative when through it,
            and the slope of that (M, P) [px/m]. A place is a centre [m], followed by a heading [rad] when it has one.
        belief: Where the centre may be.
        widths_px: Of the weight function, one for each step of the search.
        outline_m: Length of the whole outline, in pixels of 1 m.
        yaw_rad: Heading at which the search starts, None for a solid without heading.
    """
    start, precision, columns = _start(bundle, belief, yaw_rad)
    size, weight = start.size - columns.shape[1], bundle.stride / _CORRELATION
    guess = start
    for width in widths_px:
        z, slope = offsets(guess[:size])
        z, slope = z + columns @ guess[size:], np.concatenate([slope, columns], axis=1)
        pull = slope * (_trust(z, bundle.bare, width) * weight)[:, None]
        matrix = pull.T @ slope
        matrix.ravel()[:: len(guess) + 1] += precision
        spread = np.linalg.inv(matrix)
        step = spread @ (precision * (start - guess) - pull.T @ z)
        guess, shift = guess + step, slope @ step
    z = z + shift if np.abs(shift).max() < _SMALL_PX else offsets(guess[:size])[0] + columns @ guess[size:]
    expected = outline_m / bundle.pixel_size(guess[:3])
    grazing = np.bincount(bundle.camera, bundle.stride * (np.abs(z) < _GRAZES_PX) / expected)
    return Fit(
        pos=guess[:3],
        sigma_m=float(spread.diagonal()[:3].max() ** 0.5),
        support=float(min(1.0, grazing.max())),
        cost=float(weight @ _price(z, bundle.bare) + precision @ (guess - start) ** 2),
        measurements=float(weight.sum()),
        yaw_rad=0.0 if yaw_rad is None else float(guess[3]),
    )


def _start(bundle: Bundle, belief: Belief, yaw_rad: float | None) -> tuple[Floats, Floats, Floats]:
    """Returns first guess (P + C,), its precisions (P + C,), and which camera's edge each ray has, shape (M, C)."""
    cameras = int(bundle.camera[-1]) + 1
    heading = np.zeros(0) if yaw_rad is None else np.array([yaw_rad])
    start = np.concatenate([belief.mean, heading, np.full(cameras, _EDGE_PX)])
    vague = np.full(heading.size, belief.yaw_sigma_rad**-2.0 + _ANY_HEADING)
    precision = np.concatenate([belief.sigma**-2.0 + _ANYWHERE, vague, np.full(cameras, _EDGE_SIGMA_PX**-2.0)])
    return start, precision, (bundle.camera[:, None] == np.arange(cameras)).astype(np.float64)


def _trust(z: Floats, bare: Bools, width: float) -> Floats:
    """Geman-McClure where something may cover the solid, Cauchy where nothing can."""
    square = (z / width) ** 2
    return np.where((z < 0) & ~bare, (1.0 + square) ** -2.0, 1.0 / (1.0 + square / 16.0))


def _price(z: Floats, bare: Bools) -> Floats:
    square = z**2
    return square / (1.0 + square * np.where((z < 0) & ~bare, 1.0, 1.0 / 9.0))
