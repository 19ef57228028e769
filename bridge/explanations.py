"""What may have become of a thing that is seen: it stayed, lies somewhere, is held, or was let go. Used by
`bridge.tracker`, which believes the cheapest.

A thing that lies is at a height that is known: on the table, or on the floor of something fixed that lies below it
(`ObjectInfo.floor_m`, the upper side of discs and of flat boxes). One that is joined to another (`ObjectInfo.guide`)
is on the line that its guide leaves it. Boxes lie on any of their sides.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bridge.known import Explanation, Known, State, gripped, heading_in
from bridge.shots import View, best, crossing
from bridge.silhouette import Belief, Fit
from bridge.solids import fit_near, fit_thing, floor_of, headings_of, is_over, sides_of
from core.arrays import Floats, in_range
from core.tasks import Guide, ObjectInfo


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


_DRAWN_IN = np.array([0.008, 0.0015, 0.006])
"""How far a thing is moved along the pads, across and up, as the fingers close on it [m]."""
_TURNS_RAD = (-0.06, 0.06, -0.2, 0.2)
"""How far a thing may turn in the hand from one image to the next; the first two do while it fits well [rad]."""
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
        self._floors = {o.name: (o, f) for o in things if (f := floor_of(o)) is not None}
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
        if stopped and self._may_be_held(thing, views, known):
            rides = self._held(thing, views, own)
            yield rides
            if own is not None and own.state is State.HELD and rides.fit.neat:
                return
        if own is not None and own.state is State.RESTING:
            stays = self._stays(thing, views, own)
            yield stays
            if stays.fit.explains:
                return
        yield from self._moved(thing, views, known)

    def _moved(self, thing: ObjectInfo, views: Sequence[View], known: Mapping[str, Known]) -> Iterator[Explanation]:
        """Yields where else a thing may be: lying on the same side, in the air, or lying on another side."""
        own = known.get(thing.name)
        usual, *others = sides_of(thing, thing.size_m if own is None else own.size_m)
        rests = self._resting(thing, views, known, usual)
        yield rests
        explained = rests.fit.explains or not thing.graspable
        if own is not None and (own.state is State.LOOSE or not explained):
            loose = self._loose(thing, views, own)
            yield loose
            explained = explained or loose.fit.explains
        if not explained:
            yield from (self._resting(thing, views, known, side) for side in others)

    def _may_be_held(self, thing: ObjectInfo, views: Sequence[View], known: Mapping[str, Known]) -> bool:
        """Whether a thing was near the tool, or two cameras see it there."""
        holding = next((n for n, k in known.items() if k.state is State.HELD), thing.name)
        own, reach_m = known.get(thing.name), 2.0 * self._config.reach_m
        if not thing.graspable or holding != thing.name:
            return False
        if own is None or own.state is State.HELD or np.linalg.norm(own.pos - views[0].tool.pos) < reach_m:
            return True
        return len(views) > 1 and float(np.linalg.norm(crossing(views) - views[0].tool.pos)) < reach_m

    def _held(self, thing: ObjectInfo, views: Sequence[View], own: Known | None) -> Explanation:
        if own is None or own.state is not State.HELD:
            return self._gripped(thing, views, own)
        rides = self._rides(thing, views, own, own.tilt_rad)
        if thing.shape == "sphere" or (rides.fit.neat and not own.tilt_rad):
            return rides
        turns = _TURNS_RAD[:2] if rides.fit.neat else _TURNS_RAD
        turned = [self._rides(thing, views, own, own.tilt_rad + turn) for turn in turns]
        return min((rides, *turned), key=lambda e: e.cost)

    def _gripped(self, thing: ObjectInfo, views: Sequence[View], own: Known | None) -> Explanation:
        """Puts a thing between the fingers that have just closed on it."""
        tool = views[0].tool
        mean, sigma = np.zeros(3), np.full(3, 0.5 * self._config.reach_m)
        size, yaw = thing.size_m, 0.0
        if own is not None and thing.shape != "sphere":
            size, yaw = own.size_m, heading_in(tool, own.yaw_rad)
            local = tool.inverse().apply(own.pos)
            if np.linalg.norm(local) < 2.0 * self._config.reach_m:
                mean, sigma = local * [1.0, 0.0, 1.0], _DRAWN_IN
        rays = [v.rays.seen_from(v.tool) for v in views]
        return Explanation(
            state=State.HELD, size_m=size, fit=fit_thing(thing, rays, size, Belief(mean=mean, sigma=sigma, yaw_rad=yaw))
        )

    def _rides(self, thing: ObjectInfo, views: Sequence[View], own: Known, tilt_rad: float) -> Explanation:
        """Looks for a held thing where it was in the hand."""
        mean, sigma = own.pos, np.full(3, self._config.grip_sigma_m)
        if thing.shape != "sphere":
            mean, sigma = mean * [1.0, 0.0, 1.0], np.array([sigma[0], _BETWEEN_M, sigma[2]])
        rays = [v.rays.seen_from(gripped(v.tool, tilt_rad)) for v in views]
        fit = fit_near(thing, rays, own.size_m, Belief(mean=mean, sigma=sigma, yaw_rad=own.yaw_rad))
        return Explanation(state=State.HELD, size_m=own.size_m, fit=fit, tilt_rad=tilt_rad)

    def _stays(self, thing: ObjectInfo, views: Sequence[View], own: Known) -> Explanation:
        belief = Belief(
            mean=own.pos,
            sigma=np.array([self._config.stay_sigma_m, self._config.stay_sigma_m, self._config.rest_sigma_m]),
            yaw_rad=own.yaw_rad,
            yaw_sigma_rad=self._yaw_sigma(thing),
        )
        fit = fit_near(thing, [v.rays for v in views], own.size_m, belief)
        return Explanation(state=State.RESTING, size_m=own.size_m, fit=fit)

    def _loose(self, thing: ObjectInfo, views: Sequence[View], own: Known) -> Explanation:
        x, y, z = thing.size_m
        radius_m = x if thing.shape == "sphere" else np.sqrt((x * y + y * z + z * x) * 2 / np.pi)
        mean = best(views).at_size(radius_m)
        if thing.shape != "sphere" and (len(views) > 1 or own.state is State.LOOSE):
            mean = own.pos if own.state is State.LOOSE else crossing(views)
        belief = Belief(mean=mean, sigma=np.full(3, self._config.loose_sigma_m), yaw_rad=own.yaw_rad)
        fit = fit_thing(thing, [v.rays for v in views], own.size_m, belief)
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
            fit = fit_near(thing, rays, thing.size_m, stays)
            if fit.explains:
                return Explanation(state=State.RESTING, size_m=thing.size_m, fit=fit)
        free = on_line(best(views).on_plane(float(start[2])), np.inf)
        return Explanation(state=State.RESTING, size_m=thing.size_m, fit=fit_thing(thing, rays, thing.size_m, free))

    def _resting(
        self, thing: ObjectInfo, views: Sequence[View], known: Mapping[str, Known], size_m: Floats
    ) -> Explanation:
        """Puts a thing anywhere on the table, or on what lies there when that is where it is seen."""
        fit = self._at_height(thing, views, size_m, self._table)
        for name, (under, floor_m) in self._floors.items() if thing.graspable or thing.vanishes else ():
            spare_m = float(size_m.max())
            if name == thing.name or name not in known or not is_over(fit, known[name], under, spare_m=spare_m):
                continue
            raised = self._at_height(thing, views, size_m, float(known[name].pos[2]) + floor_m)
            if is_over(raised, known[name], under, spare_m=0.0):
                fit = raised
                break
        return Explanation(state=State.RESTING, size_m=size_m, fit=fit)

    def _at_height(self, thing: ObjectInfo, views: Sequence[View], size: Floats, floor_m: float) -> Fit:
        """Puts a thing anywhere on a level floor."""
        belief = Belief(
            mean=best(views).on_plane(floor_m + float(size[2])),
            sigma=np.array([np.inf, np.inf, self._config.rest_sigma_m]),
            yaw_sigma_rad=self._yaw_sigma(thing),
        )
        boxy = thing.shape in ("box", "built") and thing.name not in self._straight
        rays = [v.rays for v in views]
        headings = headings_of(size) if boxy else (0.0,)
        return min(
            (fit_thing(thing, rays, size, replace(belief, yaw_rad=yaw)) for yaw in headings), key=lambda f: f.cost
        )

    def _yaw_sigma(self, thing: ObjectInfo) -> float:
        return _STRAIGHT_RAD if thing.name in self._straight else np.inf


_GUIDED_M, _STRAIGHT_RAD = 0.001, 0.01
"""How well across its guide a thing's place is known [m], and the heading of what is never turned [rad]."""
