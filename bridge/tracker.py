"""Where the objects are, from the camera images and the known camera poses. Built by `regrasp`, called once a tick.

What it assumes, and what it does where that fails:
- every object has a vivid colour of its own (`ColourTable` refuses others); the cell, table and robot are greyish;
- sizes and shapes are those of the task's `ObjectInfo`: spheres, upright discs, boxes that lie on any of their sides;
  what is built of several parts is seen as the box that holds it;
- the cameras are where the bundle says; a wrist camera is where the tool was when its image was taken;
- what is not held rests on the table plane, on something fixed or in it: its height is known, so one view is enough.
  What is joined to another thing (`ObjectInfo.guide`) is on the line that its guide leaves it. A thing in free fall is
  misplaced along the line of sight until it lands, unless two cameras see it;
- what is held moves with the tool. Held is what the fingers are stopped by, within reach of the tool centre point, as
  long as the images agree with that better than with its lying somewhere. Boxes are held in the middle between the
  fingers, may shift along them and turn about the line from finger to finger. While nothing shows it, a held thing is
  carried along;
- a hand, a finger or the image border may cover part of an outline; what is left of it is matched to the known size;
- most of what is neither object nor robot in an image is the table, so where it shows nothing can be covered.
Objects never seen are absent. One that is not seen any more stays where it was and loses confidence with age, nearly
all of it at once when the bare table shows where it should be. One that can vanish (`ObjectInfo.vanishes`) has done so
when two pictures show bare table or board in its place, even in part: it is reported below the table, for sure.
"""

from dataclasses import replace

import numpy as np

from bridge.blobs import ColourTable
from bridge.explanations import Explainer, TrackerConfig
from bridge.known import Known, State, heading_out
from bridge.shots import Shot, View, views_of
from bridge.silhouette import Fit
from bridge.tool_path import ToolPath
from core.arrays import Floats
from core.calibration import CalibrationBundle
from core.errors import ConfigError, ContractError
from core.flow import Observation
from core.scene import SceneState, TrackedObject
from core.tasks import ObjectInfo, TaskInfo
from core.transforms import Pose

_GONE = 0.05
"""What is left of the confidence when the bare table shows where a thing was thought to be."""
_BELOW_M = -0.5
"""Height at which what has vanished is reported [m]."""
_CROSS = np.array([[0.0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
_GRID = np.stack(np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 5), [0.0]), axis=-1).reshape(-1, 3)
"""Points all over the middle plane of a thing, in half extents."""
_FEW, _EDGE_M = 4, 0.004
"""So many points this far inside its edges suffice to see that a thing that does not show has vanished; [m]."""


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
        self._objects = _in_order(task.objects)
        self._explainer = Explainer(task.objects, bundle.table_height_m, self._config)
        self._colours = ColourTable(task.objects)
        self.reset()

    def reset(self) -> None:
        """Forgets what was seen: a new episode starts."""
        self._known: dict[str, Known] = {}
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
            if known.state is State.HELD:
                yaw_rad = heading_out(tool, known.yaw_rad)
                pos = known.in_base(tool, known.pos)
                self._known[name] = replace(known, pos=pos, yaw_rad=yaw_rad, tilt_rad=0.0, state=State.LOOSE)

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
        possible = list(self._explainer.explanations(thing, views, self._known, stopped=stopped))
        likely = min(possible, key=lambda e: e.cost, default=None)
        if likely is None or likely.fit.support < self._config.min_support:
            return False
        self._known[thing.name] = Known(
            pos=likely.fit.pos,
            state=likely.state,
            size_m=likely.size_m,
            yaw_rad=likely.fit.yaw_rad,
            t_ns=max(v.t_ns for v in views),
            confidence=_confidence(likely.fit),
            tilt_rad=likely.tilt_rad,
        )
        return True

    def _miss(self, thing: ObjectInfo, shots: list[Shot]) -> None:
        """Doubts that a thing still is where no image shows it."""
        known = self._known[thing.name]
        if known.state is State.GONE:
            return
        here = _places(thing, known)
        floors = self._explainer.floors if thing.vanishes else ()
        least = _FEW if thing.vanishes else len(here)
        empty = [s for s in shots if s.bare_at(known.in_base(s.tool, here), floors).sum() >= least]
        if not empty:
            return
        bare = known.bare + len(empty)
        known = replace(known, confidence=_GONE * known.confidence, bare=bare)
        if thing.vanishes and bare >= self._config.bare_pictures:
            below = known.pos * [1.0, 1.0, 0.0] + [0.0, 0.0, _BELOW_M]
            known = replace(known, state=State.GONE, pos=below, t_ns=empty[-1].t_ns, confidence=1.0)
        self._known[thing.name] = known

    def _believed(self, t_ns: int, tool: Pose) -> dict[str, TrackedObject]:
        found = {}
        for name, known in self._known.items():
            age_s = 0.0 if known.state is State.GONE else max(0, t_ns - known.t_ns) * 1e-9
            found[name] = TrackedObject(
                pos_in_base=known.in_base(tool, known.pos),
                t_ns=known.t_ns,
                confidence=known.confidence * 0.5 ** (age_s / self._config.half_life_s),
            )
        return found


def _in_order(things: tuple[ObjectInfo, ...]) -> list[ObjectInfo]:
    """Returns what others stand on, lie on or are joined to before the others."""
    parents = [o.guide.parent for o in things if o.guide is not None]
    return sorted(things, key=lambda o: (o.graspable, o.vanishes, o.guide is not None, o.name not in parents))


def _places(thing: ObjectInfo, known: Known) -> Floats:
    """Returns points in the middle of a thing, all over one that can vanish, in the frame of its place, (M, 3) [m]."""
    if not thing.vanishes:
        return known.pos + 0.5 * float(thing.size_m.min()) * _CROSS
    cosine, sine = np.cos(known.yaw_rad), np.sin(known.yaw_rad)
    turn = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(known.pos + np.maximum(known.size_m - _EDGE_M, 0.0) * _GRID @ turn)


def _confidence(fit: Fit) -> float:
    """Half an outline in full sharpness is certain; less of it, 1 cm of doubt, or a poor fit lowers the confidence."""
    return float(fit.credit * min(1.0, 2.0 * fit.support) / (1.0 + (fit.sigma_m / 0.01) ** 2))
