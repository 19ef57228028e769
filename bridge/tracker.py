"""Where the objects are, from the camera images and the known camera poses. Built by `regrasp`, called once a tick.

What it assumes, and what it does where that fails:
- every object has a vivid colour of its own (`ColourTable` refuses others); the cell, table and robot are greyish;
- sizes and shapes are those of the task's `ObjectInfo`: spheres, upright discs, upright boxes;
- the cameras are where the bundle says; a wrist camera is where the tool was when its image was taken;
- what is not held rests on the table plane or on the plate (the goal disc): its height is known, so one view is enough.
  A thing in free fall is misplaced along the line of sight until it lands;
- what is held moves with the tool. Held is what the fingers are stopped by, within reach of the tool centre point, as
  long as the images agree with that better than with its lying somewhere. While nothing shows it, it is carried along;
- a hand, a finger or the image border may cover part of an outline; what is left of it is matched to the known size;
- most of what is neither object nor robot in an image is the table, so where it shows nothing can be covered.
Objects never seen are absent. One that is not seen any more stays where it was and loses confidence with age, nearly
all of it at once when the bare table shows where it should be.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from bridge.blobs import ColourTable
from bridge.boxes import fit_box
from bridge.shots import Shot, View, views_of
from bridge.silhouette import Belief, Fit, fit_disc, fit_sphere
from bridge.tool_path import ToolPath
from core.arrays import Floats, in_range
from core.calibration import CalibrationBundle
from core.errors import ConfigError, ContractError
from core.flow import Observation
from core.scene import SceneState, TrackedObject
from core.tasks import ObjectInfo, TaskInfo
from core.transforms import Pose


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

    def __post_init__(self) -> None:
        in_range("min_support", self.min_support, 0.0, 1.0)
        in_range("stopped_opening", self.stopped_opening, 0.0, 1.0)
        lengths = ("reach_m", "rest_sigma_m", "stay_sigma_m", "grip_sigma_m", "loose_sigma_m")
        for name in ("min_area_px", "half_life_s", *lengths):
            in_range(name, getattr(self, name), 1e-6, 1e6)


class _State(Enum):
    RESTING = "resting"
    """On the table or the plate."""
    HELD = "held"
    """Moves with the tool."""
    LOOSE = "loose"
    """Was let go and has not been seen to rest since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is remembered of one object."""

    pos: Floats
    """In the tool's frame when held, else in base, shape (3,) [m]."""
    state: _State
    yaw_rad: float
    t_ns: int
    """When it was last seen."""
    confidence: float


class ColourTracker:
    """Finds a task's objects by colour and geometry; implements `core.ports.Tracker`.

    Args:
        bundle: Cameras and table of the cell; only cameras whose images arrive are used.
        task: Objects with their colours and sizes.
        config: How willing it is to believe.

    Raises:
        ConfigError: Two objects look alike or one is grey, or the bundle has no camera.
    """

    def __init__(self, bundle: CalibrationBundle, task: TaskInfo, config: TrackerConfig | None = None) -> None:
        if not bundle.cameras:
            raise ConfigError(f"the calibration of {bundle.cell!r} has no camera; measure one before tracking")
        self._bundle, self._config = bundle, config or TrackerConfig()
        self._plate = next((o for o in task.objects if o.name == task.goal and o.shape == "disc"), None)
        self._objects = sorted(task.objects, key=lambda o: o is not self._plate)  # others may rest on the plate
        self._colours = ColourTable(task.objects)
        self.reset()

    def reset(self) -> None:
        """Forgets what was seen: a new episode starts."""
        self._known: dict[str, _Known] = {}
        self._image_t_ns: dict[str, int] = {}
        self._path = ToolPath()

    def track(self, obs: Observation) -> SceneState:
        """Returns where everything is, from the images that are new since the last call and from where the tool is.

        Args:
            obs: Images by camera, their capture times, the tool's pose and the gripper's opening.

        Raises:
            ContractError: An image does not have the size its camera was calibrated for.
        """
        tool = Pose(pos=obs.tcp_pos_in_base, quat_xyzw=obs.tcp_quat_xyzw_in_base)
        self._path.add(obs.t_ns, tool)
        stopped = obs.gripper_opening - obs.gripper_command > self._config.stopped_opening
        if not stopped:
            self._let_go(tool)
        shots = self._look(obs)
        views = [views_of(shot) for shot in shots]
        for thing in self._objects:
            seen = [v[thing.name] for v in views if thing.name in v]
            if not (seen and self._found(thing, seen, stopped)) and thing.name in self._known:
                self._miss(thing, shots)
        return SceneState(t_ns=obs.t_ns, objects=self._believed(obs.t_ns, tool), source="image")

    def _let_go(self, tool: Pose) -> None:
        for name, known in self._known.items():
            if known.state is _State.HELD:
                self._known[name] = replace(known, pos=tool.apply(known.pos), state=_State.LOOSE)

    def _look(self, obs: Observation) -> list[Shot]:
        shots = []
        for name, camera in self._bundle.cameras.items():
            t_ns = obs.image_t_ns.get(name, obs.t_ns)
            if name not in obs.images or self._image_t_ns.get(name) == t_ns:
                continue
            self._image_t_ns[name] = t_ns
            if obs.images[name].shape[:2] != (camera.height_px, camera.width_px):
                raise ContractError(
                    f"image {name!r} is {obs.images[name].shape[1]} x {obs.images[name].shape[0]} px, its camera was "
                    f"calibrated for {camera.width_px} x {camera.height_px}; send that size or calibrate again"
                )
            tool = self._path.at(t_ns)
            picture = self._colours.look(obs.images[name], self._config.min_area_px)
            shots.append(Shot(camera=camera, pose=camera.in_base(tool), tool=tool, t_ns=t_ns, picture=picture))
        return shots

    def _found(self, thing: ObjectInfo, views: list[View], stopped: bool) -> bool:
        """Believes the best explanation of what is seen; False when none is worth believing."""
        state, fit = min(self._explanations(thing, views, stopped), key=lambda e: e[1].cost - _BONUS[e[0]])
        if fit.support < self._config.min_support:
            return False
        self._known[thing.name] = _Known(
            pos=fit.pos,
            state=state,
            yaw_rad=fit.yaw_rad,
            t_ns=max(v.t_ns for v in views),
            confidence=_confidence(fit),
        )
        return True

    def _miss(self, thing: ObjectInfo, shots: list[Shot]) -> None:
        known, spread = self._known[thing.name], 0.5 * thing.size_m.min() * _CROSS
        held = known.state is _State.HELD
        if any(s.shows_table_at((s.tool.apply(known.pos) if held else known.pos) + spread) for s in shots):
            self._known[thing.name] = replace(known, confidence=_GONE * known.confidence)

    def _explanations(self, thing: ObjectInfo, views: list[View], stopped: bool) -> Iterator[tuple[_State, Fit]]:
        """Yields what may have become of a thing that is seen; the cheapest will be believed."""
        known, config = self._known.get(thing.name), self._config
        if stopped and self._may_be_held(thing, views[0].tool):
            yield _State.HELD, self._fit_held(thing, views, known)
        if known is not None and known.state is _State.RESTING:
            sigma = np.array([config.stay_sigma_m, config.stay_sigma_m, config.rest_sigma_m])
            stays = _fit(thing, views, Belief(mean=known.pos, sigma=sigma), known.yaw_rad)
            yield _State.RESTING, stays
            if stays.explains:
                return
        yield _State.RESTING, self._fit_resting(thing, views)
        if known is not None and known.state is _State.LOOSE:
            somewhere = Belief(mean=_best(views).at_size(thing.size_m[0]), sigma=np.full(3, config.loose_sigma_m))
            yield _State.LOOSE, _fit(thing, views, somewhere, known.yaw_rad)

    def _may_be_held(self, thing: ObjectInfo, tool: Pose) -> bool:
        holding = next((n for n, k in self._known.items() if k.state is _State.HELD), thing.name)
        known = self._known.get(thing.name)
        if not thing.graspable or thing.shape != "sphere" or holding != thing.name:
            return False
        if known is None or known.state is _State.HELD:
            return True
        return float(np.linalg.norm(known.pos - tool.pos)) < 2.0 * self._config.reach_m

    def _fit_held(self, thing: ObjectInfo, views: list[View], known: _Known | None) -> Fit:
        if known is not None and known.state is _State.HELD:
            belief = Belief(mean=known.pos, sigma=np.full(3, self._config.grip_sigma_m))
        else:
            belief = Belief(mean=np.zeros(3), sigma=np.full(3, 0.5 * self._config.reach_m))
        return fit_sphere([v.rays.seen_from(v.tool) for v in views], thing.size_m[0], belief)

    def _fit_resting(self, thing: ObjectInfo, views: list[View]) -> Fit:
        """Puts a thing anywhere on the table, or on the plate when that is where it is seen."""
        table = self._bundle.table_height_m
        fit = self._fit_at_height(thing, views, table + thing.size_m[2])
        plate = self._known.get(self._plate.name) if self._plate is not None else None
        if self._plate is None or plate is None or not thing.graspable:
            return fit
        radius_m, half_height_m = self._plate.size_m[0], self._plate.size_m[2]
        if np.linalg.norm((fit.pos - plate.pos)[:2]) > radius_m + thing.size_m[0]:
            return fit
        raised = self._fit_at_height(thing, views, table + 2 * half_height_m + thing.size_m[2])
        return raised if np.linalg.norm((raised.pos - plate.pos)[:2]) < radius_m else fit

    def _fit_at_height(self, thing: ObjectInfo, views: list[View], height_m: float) -> Fit:
        belief = Belief(
            mean=_best(views).on_plane(height_m), sigma=np.array([np.inf, np.inf, self._config.rest_sigma_m])
        )
        headings = np.arange(4) * np.pi / 4 if thing.shape == "box" else (0.0,)
        return min((_fit(thing, views, belief, yaw) for yaw in headings), key=lambda f: f.cost)

    def _believed(self, t_ns: int, tool: Pose) -> dict[str, TrackedObject]:
        found = {}
        for name, known in self._known.items():
            age_s = max(0, t_ns - known.t_ns) * 1e-9
            found[name] = TrackedObject(
                pos_in_base=tool.apply(known.pos) if known.state is _State.HELD else known.pos,
                t_ns=known.t_ns,
                confidence=known.confidence * 0.5 ** (age_s / self._config.half_life_s),
            )
        return found


_BONUS = {_State.HELD: 2.0, _State.RESTING: 0.0, _State.LOOSE: -2.0}
"""At even odds, fingers that are stopped hold the thing, and a thing that was let go lies [squared deviations]."""
_CROSS = np.array([[0.0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
_GONE = 0.05
"""What is left of the confidence when the bare table shows where a thing was thought to be."""


def _best(views: list[View]) -> View:
    """Returns the view that shows most, and least cut off."""
    return max(views, key=lambda v: v.blob.area_px * (1.01 - v.blob.clipped))


def _fit(thing: ObjectInfo, views: list[View], belief: Belief, yaw_rad: float) -> Fit:
    rays = [v.rays for v in views]
    if thing.shape == "sphere":
        return fit_sphere(rays, thing.size_m[0], belief)
    if thing.shape == "disc":
        return fit_disc(rays, thing.size_m, belief)
    return fit_box(rays, thing.size_m, belief, yaw_rad)


def _confidence(fit: Fit) -> float:
    """Half an outline in full sharpness is certain; less of it, or 1 cm of doubt, lowers the confidence."""
    return float(min(1.0, 2.0 * fit.support) / (1.0 + (fit.sigma_m / 0.01) ** 2))
