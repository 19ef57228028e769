"""What may have become of a thing that is seen: it stayed, lies somewhere, is held, or was let go. Used by
`bridge.tracker`, which believes the cheapest.

A thing that lies is at a height that is known: on the table, or on the floor of something fixed that lies below it
(`ObjectInfo.floor_m`, the upper side of discs and of flat boxes). One that is joined to another (`ObjectInfo.guide`)
is on the line that its guide leaves it. Boxes lie on any of their sides.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from bridge.boxes import fit_box
from bridge.shots import View
from bridge.silhouette import CHECK_PX, SEARCH_PX, Belief, Fit, Rays, fit_disc, fit_sphere
from core.arrays import Floats, in_range
from core.tasks import Guide, ObjectInfo
from core.transforms import Pose, quat_conjugate, quat_rotate


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerConfig:
    """How willing the tracker is to believe."""

    min_area_px: float = 6.0
    """Smaller coloured regions are noise [px]."""
    min_support: float = 0.12
    """Share of an outline that must be where it should be for an estimate to count, [0, 1]."""
    half_life_s: float = 2.0
    """Confidence halves in this time while a thing is not seen [s]."""
    reach_m: float = 0.03
    """A held thing's centre is at most this far from the tool centre point [m]."""
    stopped_opening: float = 0.08
    """The fingers are stopped by something when they stay this much wider than commanded, [0, 1]."""
    rest_sigma_m: float = 0.001
    """How well the height of resting things is known [m]."""
    stay_sigma_m: float = 0.004
    """How far a resting thing is nudged from one image to the next [m]."""
    grip_sigma_m: float = 0.003
    """How far a held thing slips in the hand from one image to the next [m]."""
    loose_sigma_m: float = 0.03
    """How well its apparent size alone places a thing in free fall [m]."""
    bare_pictures: int = 2
    """A thing that can vanish has done so when so many pictures show nothing where it was."""

    def __post_init__(self) -> None:
        in_range("min_support", self.min_support, 0.0, 1.0)
        in_range("stopped_opening", self.stopped_opening, 0.0, 1.0)
        lengths = ("reach_m", "rest_sigma_m", "stay_sigma_m", "grip_sigma_m", "loose_sigma_m")
        for name in ("min_area_px", "half_life_s", "bare_pictures", *lengths):
            in_range(name, getattr(self, name), 1e-6, 1e6)


class State(Enum):
    """What a thing is doing."""

    RESTING = "resting"
    """On the table or on something fixed, or joined to it."""
    HELD = "held"
    """Moves with the tool."""
    LOOSE = "loose"
    """Was let go and has not been seen to rest since."""
    GONE = "gone"
    """Has vanished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is remembered of one object."""

    pos: Floats
    """In the tool's frame when held, else in base, shape (3,) [m]."""
    state: State
    size_m: Floats
    """Half extents as it lies, the last one upright, shape (3,) [m]."""
    yaw_rad: float
    """Heading in the frame of `pos`."""
    t_ns: int
    """When it was last seen."""
    confidence: float
    bare: int = 0
    """Pictures since then that show nothing where it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What may have become of a thing, and how well that fits."""

    state: State
    size_m: Floats
    """Half extents as it lies, shape (3,) [m]."""
    fit: Fit

    @property
    def cost(self) -> float:
        """How badly it fits, with what is more likely before one looks made cheaper."""
        return self.fit.cost - _BONUS[self.state]


_BONUS = {State.HELD: 2.0, State.RESTING: 0.0, State.LOOSE: -2.0}
"""At even odds, fingers that are stopped hold the thing, and a thing that was let go lies [squared deviations]."""
_FLAT_M = 0.03
"""Only what is lower than this has something lying on it [m]."""
_DRAWN_IN = np.array([0.008, 0.0015, 0.006])
"""How far a thing is moved along the pads, across and up, as the fingers close on it [m]."""
_BETWEEN_M = 0.0015
"""How far the middle of a held thing is from the middle between the fingers [m]."""


class Explainer:
    """Explains what is seen of a task's things.

    Args:
        things: All objects of the task.
        table_height_m: Height of the table top [m].
        config: How willing it is to believe.
    """

    def __init__(self, things: Sequence[ObjectInfo], table_height_m: float, config: TrackerConfig) -> None:
        self._table, self._config = table_height_m, config
        self._floors = {o.name: (o, f) for o in things if (f := _floor(o)) is not None}
        self._straight = {o.guide.parent for o in things if o.guide} | {o.name for o in things if o.guide}

    @property
    def floors(self) -> tuple[str, ...]:
        """Names of things that others lie on."""
        return tuple(self._floors)

    def explanations(
        self, thing: ObjectInfo, views: Sequence[View], known: Mapping[str, Known], *, stopped: bool
    ) -> Iterator[Explanation]:
        """Yields what may have become of a thing.

        Args:
            thing: What is seen.
            views: Where it is seen.
            known: What is known of all objects.
            stopped: Whether something stops the fingers.
        """
        own = known.get(thing.name)
        if thing.guide is not None:
            if thing.guide.parent in known:
                yield self._guided(thing, thing.guide, views, (known[thing.guide.parent].pos, own))
            return
        if stopped and self._may_be_held(thing, views[0].tool, known):
            rides = self._held(thing, views, own)
            yield rides
            if own is not None and own.state is State.HELD and rides.fit.explains:
                return
        if own is not None and own.state is State.RESTING:
            stays = self._stays(thing, views, own)
            yield stays
            if stays.fit.explains:
                return
        yield self._resting(thing, views, known)
        if own is not None and own.state is State.LOOSE:
            yield self._loose(thing, views, own)

    def _may_be_held(self, thing: ObjectInfo, tool: Pose, known: Mapping[str, Known]) -> bool:
        holding = next((n for n, k in known.items() if k.state is State.HELD), thing.name)
        own = known.get(thing.name)
        if not thing.graspable or holding != thing.name:
            return False
        if own is None or own.state is State.HELD:
            return True
        return float(np.linalg.norm(own.pos - tool.pos)) < 2.0 * self._config.reach_m

    def _held(self, thing: ObjectInfo, views: Sequence[View], own: Known | None) -> Explanation:
        tool, rides = views[0].tool, own is not None and own.state is State.HELD
        mean, sigma = np.zeros(3), np.full(3, 0.5 * self._config.reach_m)
        size, yaw = thing.size_m, 0.0
        if own is not None and (rides or thing.shape != "sphere"):
            mean, size = (own.pos if rides else tool.inverse().apply(own.pos)), own.size_m
            yaw = own.yaw_rad if rides else heading_in(tool, own.yaw_rad)
            sigma = np.full(3, self._config.grip_sigma_m) if rides else _DRAWN_IN
        if thing.shape != "sphere":
            mean, sigma = mean * [1.0, 0.0, 1.0], np.append(sigma, 0)[[0, 3, 2]] + [0.0, _BETWEEN_M, 0.0]
        belief = Belief(mean=mean, sigma=sigma)
        rays = [v.rays.seen_from(v.tool) for v in views]
        fit = (_fit_near if rides else _fit)(thing, rays, size, belief, yaw)
        return Explanation(state=State.HELD, size_m=size, fit=fit)

    def _stays(self, thing: ObjectInfo, views: Sequence[View], own: Known) -> Explanation:
        belief = Belief(
            mean=own.pos,
            sigma=np.array([self._config.stay_sigma_m, self._config.stay_sigma_m, self._config.rest_sigma_m]),
            yaw_sigma_rad=self._yaw_sigma(thing),
        )
        fit = _fit_near(thing, [v.rays for v in views], own.size_m, belief, own.yaw_rad)
        return Explanation(state=State.RESTING, size_m=own.size_m, fit=fit)

    def _loose(self, thing: ObjectInfo, views: Sequence[View], own: Known) -> Explanation:
        x, y, z = thing.size_m
        radius_m = x if thing.shape == "sphere" else np.sqrt((x * y + y * z + z * x) * 2 / np.pi)
        belief = Belief(mean=best(views).at_size(radius_m), sigma=np.full(3, self._config.loose_sigma_m))
        fit = _fit(thing, [v.rays for v in views], own.size_m, belief, own.yaw_rad)
        return Explanation(state=State.LOOSE, size_m=own.size_m, fit=fit)

    def _guided(
        self, thing: ObjectInfo, guide: Guide, views: Sequence[View], where: tuple[Floats, Known | None]
    ) -> Explanation:
        """Puts a thing on the line that its guide leaves it, where it was or anywhere else."""
        start, rays = where[0] + guide.offset_m, [v.rays for v in views]
        along = (np.abs(guide.axis) > 0.5) & (guide.range_m[1] > guide.range_m[0])

        def on_line(pos: Floats, sigma_m: float) -> Belief:
            shift = np.clip((pos - start) @ guide.axis, *guide.range_m)
            sigma = np.where(along, sigma_m, _GUIDED_M)
            return Belief(mean=start + shift * guide.axis, sigma=sigma, yaw_sigma_rad=_STRAIGHT_RAD)

        if where[1] is not None and where[1].state is State.RESTING:
            stays = on_line(where[1].pos, self._config.stay_sigma_m)
            fit = _fit(thing, rays, thing.size_m, stays, 0.0, CHECK_PX)
            if fit.explains:
                return Explanation(state=State.RESTING, size_m=thing.size_m, fit=fit)
        free = on_line(best(views).on_plane(float(start[2])), np.inf)
        return Explanation(state=State.RESTING, size_m=thing.size_m, fit=_fit(thing, rays, thing.size_m, free, 0.0))

    def _resting(self, thing: ObjectInfo, views: Sequence[View], known: Mapping[str, Known]) -> Explanation:
        """Puts a thing anywhere on the table, or on what lies there when that is where it is seen."""
        lies = self._lying(thing, views, self._table)
        if not thing.graspable and not thing.vanishes:
            return lies
        for name, (under, floor_m) in self._floors.items():
            if name == thing.name or name not in known or not _over(lies, known[name], under, spare_m=_spare(thing)):
                continue
            raised = self._lying(thing, views, float(known[name].pos[2]) + floor_m)
            if _over(raised, known[name], under, spare_m=0.0):
                return raised
        return lies

    def _lying(self, thing: ObjectInfo, views: Sequence[View], floor_m: float) -> Explanation:
        """Puts a thing on a level floor, on the side on which it usually lies or else on the one that fits best."""
        found: list[Explanation] = []
        for size in _sides(thing):
            fit = self._at_height(thing, views, size, floor_m + float(size[2]))
            found.append(Explanation(state=State.RESTING, size_m=size, fit=fit))
            if fit.explains:
                break
        return min(found, key=lambda e: e.cost)

    def _at_height(self, thing: ObjectInfo, views: Sequence[View], size: Floats, height_m: float) -> Fit:
        belief = Belief(
            mean=best(views).on_plane(height_m),
            sigma=np.array([np.inf, np.inf, self._config.rest_sigma_m]),
            yaw_sigma_rad=self._yaw_sigma(thing),
        )
        boxy = thing.shape in ("box", "built") and thing.name not in self._straight
        rays = [v.rays for v in views]
        headings = _headings(size) if boxy else (0.0,)
        return min((_fit(thing, rays, size, belief, yaw) for yaw in headings), key=lambda f: f.cost)

    def _yaw_sigma(self, thing: ObjectInfo) -> float:
        return _STRAIGHT_RAD if thing.name in self._straight else np.inf


_GUIDED_M, _STRAIGHT_RAD = 0.001, 0.01
"""How well across its guide a thing's place is known [m], and the heading of what is never turned [rad]."""


def heading_in(frame: Pose, yaw_rad: float) -> float:
    """Returns a heading about z of base, as one about z of `frame`, whose z must be upright or upside down."""
    x, y, _ = quat_rotate(quat_conjugate(frame.quat_xyzw), np.array([np.cos(yaw_rad), np.sin(yaw_rad), 0.0]))
    return float(np.arctan2(y, x))


def heading_out(frame: Pose, yaw_rad: float) -> float:
    """Returns a heading about z of `frame`, as one about z of base; the inverse of `heading_in`."""
    x, y, _ = quat_rotate(frame.quat_xyzw, np.array([np.cos(yaw_rad), np.sin(yaw_rad), 0.0]))
    return float(np.arctan2(y, x))


def best(views: Sequence[View]) -> View:
    """Returns the view that shows most, and least cut off."""
    return max(views, key=lambda v: v.blob.area_px * (1.01 - v.blob.clipped))


def _fit(
    thing: ObjectInfo,
    rays: Sequence[Rays],
    size_m: Floats,
    belief: Belief,
    yaw_rad: float,
    widths_px: Sequence[float] = SEARCH_PX,
) -> Fit:
    if thing.shape == "sphere":
        return fit_sphere(rays, float(size_m[0]), belief, widths_px)
    if thing.shape == "disc":
        return fit_disc(rays, size_m, belief, widths_px)
    return fit_box(rays, size_m, belief, yaw_rad, widths_px)


def _fit_near(thing: ObjectInfo, rays: Sequence[Rays], size_m: Floats, belief: Belief, yaw_rad: float) -> Fit:
    """Fits what most probably is where it was: one step is enough then."""
    fit = _fit(thing, rays, size_m, belief, yaw_rad, CHECK_PX)
    return fit if fit.explains else _fit(thing, rays, size_m, belief, yaw_rad)


def _floor(thing: ObjectInfo) -> float | None:
    """Returns how high above its centre others lie on a thing, None when nothing does."""
    if thing.floor_m is not None or thing.graspable or thing.vanishes:
        return thing.floor_m
    return float(thing.size_m[2]) if thing.shape in ("disc", "box") and thing.size_m[2] < _FLAT_M else None


def _sides(thing: ObjectInfo) -> tuple[Floats, ...]:
    """Returns the half extents of a thing as it may lie, shape (3,) each, the usual way first."""
    x, y, z = thing.size_m
    if not thing.graspable or thing.shape not in ("box", "built"):
        return (thing.size_m,)
    ways = {(x, y, z): None, (min(y, z), max(y, z), x): None, (min(x, z), max(x, z), y): None}
    return tuple(np.array(way) for way in ways)


def _headings(size_m: Floats) -> Floats:
    return np.arange(2 if abs(size_m[0] - size_m[1]) < 1e-4 else 4) * np.pi / 4


def _spare(thing: ObjectInfo) -> float:
    return float(max(thing.size_m))


def _over(lies: Explanation, floor: Known, info: ObjectInfo, *, spare_m: float) -> bool:
    """Whether a thing's centre is over a floor, or less than `spare_m` beside it."""
    offset = (lies.fit.pos - floor.pos)[:2]
    if info.shape == "disc":
        return bool(np.linalg.norm(offset) < info.size_m[0] + spare_m)
    cosine, sine = np.cos(floor.yaw_rad), np.sin(floor.yaw_rad)
    aside = np.abs(np.array([[cosine, sine], [-sine, cosine]]) @ offset)
    return bool((aside < info.size_m[:2] + spare_m).all())
