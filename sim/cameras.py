"""Pictures of the cell from its two cameras, and the calibration a perfect measurement of them would give.

Called by `sim.robot`, `sim.demos` and the wiring. Rendering is MuJoCo's classic renderer without shadows, reflections
or multisampling: on a CPU these cost ten times the picture itself. An OpenGL context exists only while a `CellCameras`
is open. The backend is `osmesa` unless MUJOCO_GL says `egl`. About 2,000 pictures per processor second at 96 pixels,
1,300 at 192.
"""

import copy
import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import mujoco
import numpy as np

from core.arrays import Floats, Image, floats
from core.calibration import CalibrationBundle, CameraModel
from core.errors import ConfigError, ContractError, unknown_name
from core.kinematics import quat_from_matrix
from core.transforms import Pose, quat_from_rotvec, quat_multiply
from sim.cell import CAMERAS, Bodies, CameraPlace, camera_axes
from sim.world import BatchWorld

CAMERA_NAMES = tuple(place.name for place in CAMERAS)
"""Every camera of the cell."""
WORKSPACE_LOW_M, WORKSPACE_HIGH_M = np.array([0.22, -0.38, 0.005]), np.array([0.68, 0.38, 0.45])
"""Box the tool may be in [m]."""
_BACKENDS = ("osmesa", "egl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """How the cell is lit in one picture."""

    brightness: float = 1.0
    """Of every light, dimensionless."""
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Red, green and blue of every light, dimensionless."""

    @staticmethod
    def random(rng: np.random.Generator) -> "Light":
        """Returns the light of a random hour: brightness 0.8 to 1.2, each colour within 6 %."""
        tint = rng.uniform(0.94, 1.06, 3)
        return Light(brightness=float(rng.uniform(0.8, 1.2)), tint=(float(tint[0]), float(tint[1]), float(tint[2])))


DAYLIGHT = Light()
"""The light of the nominal cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSlip:
    """How far a camera sits from where the calibration says that it is."""

    shift_m: Floats
    """In its mount's axes, shape (3,) [m]."""
    turn_rad: Floats
    """Rotation vector in its mount's axes, about the camera itself, shape (3,) [rad]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shift_m", floats("shift_m [m]", self.shift_m, (3,)))
        object.__setattr__(self, "turn_rad", floats("turn_rad [rad]", self.turn_rad, (3,)))


class CellCameras:
    """Renders worlds; open it with `with`.

    Args:
        world: A world of the cell to be shown.
        size_px: Width and height of every picture [px].
    """

    def __init__(self, world: BatchWorld, *, size_px: int = 192) -> None:
        if not 16 <= size_px <= 1024:
            raise ContractError(f"size_px is {size_px}; allowed [16, 1024]")
        self._size_px = size_px
        self._nominal = world.cell.model
        self._model = copy.copy(self._nominal)
        self._model.vis.global_.offwidth = self._model.vis.global_.offheight = size_px
        self._data = mujoco.MjData(self._model)
        self._scene = mujoco.MjvScene(self._model, maxgeom=200)
        self._option, self._view = mujoco.MjvOption(), mujoco.MjvCamera()
        self._rect = mujoco.MjrRect(0, 0, size_px, size_px)
        self._gl: mujoco.GLContext | None = None
        self._context: mujoco.MjrContext | None = None

    @property
    def size_px(self) -> int:
        """Width and height of every picture [px]."""
        return self._size_px

    def __enter__(self) -> Self:
        self._gl = _gl_context(self._size_px)
        self._gl.make_current()
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        for flag in ("SHADOW", "REFLECTION", "SKYBOX", "FOG", "HAZE"):
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = 0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def slip(self, slips: Mapping[str, CameraSlip]) -> None:
        """Mounts the cameras wrongly from now on; those not named sit where they belong.

        Args:
            slips: By camera.

        Raises:
            ConfigError: No camera has such a name.
        """
        nominal = self._nominal
        self._model.cam_pos[:], self._model.cam_quat[:] = nominal.cam_pos, nominal.cam_quat
        for name, slip in slips.items():
            if name not in CAMERA_NAMES:
                raise unknown_name("camera", name, CAMERA_NAMES)
            index = self._model.camera(name).id
            was = nominal.cam_quat[index][[1, 2, 3, 0]]
            self._model.cam_pos[index] = nominal.cam_pos[index] + slip.shift_m
            turned = quat_multiply(quat_from_rotvec(slip.turn_rad), was)
            self._model.cam_quat[index] = turned[[3, 0, 1, 2]]

    def close(self) -> None:
        """Frees the OpenGL context; may be called twice."""
        if self._gl is None or self._context is None:
            return
        self._gl.make_current()
        self._context.free()
        self._gl.free()
        self._gl = self._context = None

    def render(
        self, world: BatchWorld, i: int, names: Sequence[str] = CAMERA_NAMES, light: Light = DAYLIGHT
    ) -> dict[str, Image]:
        """Returns pictures of world `i` by camera, each (size_px, size_px, 3) uint8 RGB.

        Args:
            world: A world of the same cell.
            i: World index.
            names: Which cameras.
            light: How the cell is lit.

        Raises:
            ConfigError: No camera has such a name.
            ContractError: Used before it was opened, or after it was closed.
        """
        return self.show(world.bodies(i), names, light)

    def show(self, bodies: Bodies, names: Sequence[str] = CAMERA_NAMES, light: Light = DAYLIGHT) -> dict[str, Image]:
        """Returns pictures by camera as `render` does, of bodies noted down earlier."""
        for name in names:
            if name not in CAMERA_NAMES:
                raise unknown_name("camera", name, CAMERA_NAMES)
        if self._gl is None or self._context is None:
            raise ContractError("cameras are closed; open them with `with CellCameras(...) as cameras`")
        self._gl.make_current()
        self._data.qpos[:] = bodies.qpos
        self._data.mocap_pos[:], self._data.mocap_quat[:] = bodies.placed_pos, bodies.placed_quat_wxyz
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        return {name: self._picture(name, light, self._context) for name in names}

    def _picture(self, name: str, light: Light, context: mujoco.MjrContext) -> Image:
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._view.fixedcamid = self._model.camera(name).id
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, self._data, self._option, None, self._view, everything, self._scene)
        if light is not DAYLIGHT:
            scale = light.brightness * np.array(light.tint)
            for lamp in self._scene.lights[: self._scene.nlight]:
                lamp.ambient, lamp.diffuse = lamp.ambient * scale, lamp.diffuse * scale
        pixels = np.empty((self._size_px, self._size_px, 3), dtype=np.uint8)
        mujoco.mjr_render(self._rect, self._scene, context)
        mujoco.mjr_readPixels(pixels, None, self._rect, context)
        return np.ascontiguousarray(pixels[::-1])


def calibration_bundle(size_px: int) -> CalibrationBundle:
    """Returns the cell's true geometry, as a perfect calibration would measure it.

    Args:
        size_px: Width and height of the pictures [px].
    """
    return CalibrationBundle(
        cell="simulated xarm7",
        cameras={place.name: _camera_model(place, size_px) for place in CAMERAS},
        workspace_low=WORKSPACE_LOW_M,
        workspace_high=WORKSPACE_HIGH_M,
        table_height_m=0.0,
        held_out_error_px=0.0,
        measured_on="2026-11-20",
    )


def _camera_model(place: CameraPlace, size_px: int) -> CameraModel:
    focal = 0.5 * size_px / np.tan(place.fovy_rad / 2)
    middle = (size_px - 1) / 2
    return CameraModel(
        name=place.name,
        width_px=size_px,
        height_px=size_px,
        intrinsics=np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]]),
        mount=place.mount,
        pose=Pose(pos=np.array(place.pos), quat_xyzw=quat_from_matrix(camera_axes(place))),
    )


def _gl_context(size_px: int) -> mujoco.GLContext:
    backend = os.environ.get("MUJOCO_GL", "") or "osmesa"
    if backend not in _BACKENDS:
        raise ConfigError(f"MUJOCO_GL is {backend!r}; allowed for offscreen pictures: {', '.join(_BACKENDS)}")
    try:
        module = importlib.import_module(f"mujoco.{backend}")
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"no OpenGL library for {backend!r} ({error}); install it (Debian: libosmesa6)") from error
    return module.GLContext(size_px, size_px)
