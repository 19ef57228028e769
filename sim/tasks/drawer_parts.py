"""The cabinet, its drawer and the drawer's handle: sizes, bodies, and how far the drawer is open.

Used by the task `tidy_drawer`, its injectors and its demonstrator. The drawer slides out towards the robot. Its floor
falls to the middle by 13 degrees from both sides, so that a ball comes to lie where open fingers fit beside it. The
cabinet is known by its back, a solid slab; the roof is clear, so that what is in the closed drawer can be seen. A catch
under the roof may come down when the drawer is pulled, and stops its back; pushing the drawer home lifts it again.
"""

import mujoco
import numpy as np

from core.arrays import Bools, Floats
from core.tasks import Guide, ObjectInfo

CABINET = ObjectInfo(
    name="cabinet",
    words=(),
    shape="built",
    size_m=np.array([0.010, 0.072, 0.030]),
    rgb=np.array([0.10, 0.26, 0.85]),
    graspable=False,
)
RANGE_M = 0.13
"""How far the drawer slides."""
DRAWER_IN_CABINET_M = np.array([-0.075, 0.0, -0.006])
"""Centre of the closed drawer, from the cabinet's [m]."""
HANDLE_IN_DRAWER_M = np.array([-0.058, 0.0, 0.038])
"""Centre of the handle, a tab on the drawer's front, from the drawer's [m]."""
HANDLE_IN_CABINET_M = DRAWER_IN_CABINET_M + HANDLE_IN_DRAWER_M
"""Centre of the handle when the drawer is closed, from the cabinet's [m]."""
FLOOR_M = -0.016
"""Height of the floor's lowest line, from the drawer's centre [m]."""
CAUGHT_M = 0.045
"""How far open the drawer gets when the catch is down."""
_OUT = np.array([-1.0, 0.0, 0.0])
"""The way the drawer opens."""
_CATCH_SIZE_M = np.array([0.004, 0.030, 0.006])
DRAWER = ObjectInfo(
    name="drawer",
    words=(),
    shape="built",
    size_m=np.array([0.063, 0.062, 0.0215]),
    rgb=np.array([0.66, 0.12, 0.68]),
    graspable=False,
    guide=Guide(parent="cabinet", offset_m=DRAWER_IN_CABINET_M, axis=_OUT, range_m=(0.0, RANGE_M)),
    floor_m=FLOOR_M,
)
CATCH_IN_CABINET_M = DRAWER_IN_CABINET_M + np.array(
    [DRAWER.size_m[0] - 0.006 - CAUGHT_M - _CATCH_SIZE_M[0], 0.0, 0.019]
)
"""Centre of the catch that is down, from the cabinet's: below the roof, in the way of the drawer's back [m]."""
HANDLE = ObjectInfo(
    name="handle",
    words=(),
    shape="built",
    size_m=np.array([0.006, 0.011, 0.018]),
    rgb=np.array([0.96, 0.80, 0.05]),
    graspable=False,
    guide=Guide(parent="cabinet", offset_m=HANDLE_IN_CABINET_M, axis=_OUT, range_m=(0.0, RANGE_M)),
)
CATCH = ObjectInfo(
    name="catch",
    words=(),
    shape="box",
    size_m=_CATCH_SIZE_M,
    rgb=np.array([0.05, 0.74, 0.78]),
    graspable=False,
    vanishes=True,
    guide=Guide(parent="cabinet", offset_m=CATCH_IN_CABINET_M, axis=_OUT, range_m=(-0.03, 0.03)),
)
INSIDE_LOW_M, INSIDE_HIGH_M = np.array([-0.050, -0.054, -0.018]), np.array([0.050, 0.054, 0.016])
"""A small thing whose centre is in this box about the drawer's centre lies in the drawer [m]."""
FREED_M = 0.018
"""A drawer that is pushed farther in than this lifts the catch."""
WALL_TOP_M = 0.0215
"""Height of the drawer's rim above its centre [m]."""
_FALL_RAD = np.radians(13.0)
"""Slant of the two halves of the drawer's floor."""
_DRAWER_KG = 0.35
_FRICTION_N = 3.0
"""Force below which the drawer stays where it is."""
_DAMPING = 5.0
"""Of the slide [N s/m]."""
_CLEAR, _GREY = [0.45, 0.50, 0.55, 0.10], [0.70, 0.71, 0.73, 1.0]


def add_cabinet(spec: mujoco.MjSpec) -> None:
    """Adds cabinet, drawer and handle; the cabinet is placed like everything fixed.

    Furniture meets hand and balls, never other furniture or the table.

    Args:
        spec: The cell so far.
    """
    cabinet = spec.worldbody.add_body(name=CABINET.name, mocap=True)
    solid = [*CABINET.rgb, 1.0]
    _box(cabinet, "cabinet_geom", (0, 0, 0), tuple(CABINET.size_m), solid)
    for side in (-1.0, 1.0):
        _box(cabinet, "", (-0.072, side * 0.0685, -0.005), (0.062, 0.0035, 0.025), _GREY)
    _box(cabinet, "", (-0.061, 0, 0.0215), (0.051, 0.072, 0.0015), _CLEAR)
    drawer = cabinet.add_body(name=DRAWER.name, pos=DRAWER_IN_CABINET_M)
    drawer.add_joint(
        name="drawer_slide", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[-1, 0, 0], range=[0, RANGE_M], limited=True,
        damping=[_DAMPING, 0, 0], frictionloss=_FRICTION_N,
    )  # fmt: skip
    _drawer(drawer)
    handle = drawer.add_body(name=HANDLE.name, pos=HANDLE_IN_DRAWER_M)
    _box(handle, "handle_geom", (0, 0, 0), tuple(HANDLE.size_m), [*HANDLE.rgb, 1.0], kg=0.03)
    for part in (DRAWER.name, HANDLE.name):
        spec.add_exclude(name=f"{part}_table", bodyname1="world", bodyname2=part)


def _drawer(drawer: mujoco.MjsBody) -> None:
    rgba, kg = [*DRAWER.rgb, 1.0], _DRAWER_KG / 6
    half_x, half_y, half_z = DRAWER.size_m
    _box(drawer, "drawer_geom", (-half_x + 0.005, 0, 0), (0.005, half_y, half_z), rgba, kg=kg)
    _box(drawer, "", (half_x - 0.003, 0, 0), (0.003, half_y, half_z), rgba, kg=kg)
    middle, length = 0.002, half_x - 0.008
    for side in (-1.0, 1.0):
        _box(drawer, "", (middle, side * (half_y - 0.003), 0), (length, 0.003, half_z), rgba, kg=kg)
        width, thick = 0.5 * (half_y - 0.006), 0.003
        pos = (
            middle,
            side * (width + thick * np.sin(_FALL_RAD)),
            FLOOR_M + width * np.tan(_FALL_RAD) - thick * np.cos(_FALL_RAD),
        )
        tilt = [np.cos(_FALL_RAD / 2), side * np.sin(_FALL_RAD / 2), 0.0, 0.0]
        _box(drawer, "", pos, (length, width / np.cos(_FALL_RAD), thick), rgba, kg=kg, quat=tilt)


def _box(
    body: mujoco.MjsBody,
    name: str,
    pos: tuple[float, ...],
    size: tuple[float, ...],
    rgba: list[float],
    *,
    kg: float = 0.0,
    quat: list[float] | None = None,
) -> None:
    geom = body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, pos=pos, size=size, rgba=rgba, quat=quat or [1.0, 0.0, 0.0, 0.0], mass=kg,
        contype=0, conaffinity=1, condim=4, friction=[1.0, 0.02, 0.002],
    )  # fmt: skip
    if name:
        geom.name = name


def open_m(handle: Floats, cabinet: Floats) -> Floats:
    """Returns how far the drawer is open, shape (N,) [m].

    Args:
        handle: Centre of the handle, shape (N, 3) [m].
        cabinet: Centre of the cabinet, shape (N, 3) [m].
    """
    return np.asarray(cabinet[:, 0] + HANDLE_IN_CABINET_M[0] - handle[:, 0])


def inside(thing: Floats, drawer: Floats) -> Bools:
    """Returns whether things whose centres are at `thing` (N, 3) lie in drawers at `drawer` (N, 3) [m], shape (N,)."""
    offset = thing - drawer
    return np.asarray(((offset >= INSIDE_LOW_M) & (offset <= INSIDE_HIGH_M)).all(axis=1))
