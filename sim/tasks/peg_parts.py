"""The peg, its socket and the block in the way: sizes, bodies, and how far one is inside the other.

Used by the task `peg_in_hole`, its injectors and its demonstrator. The socket is four walls round a square hole that
goes down to the table, with a funnel of four slanted boxes at the rim: a peg whose axis is less than 8 mm off, along
both sides of the hole, slides in when it is let give way. Below the funnel 1 mm is left on each side of the peg.
"""

import mujoco
import numpy as np

from core.arrays import Floats
from core.tasks import ObjectInfo

PEG = ObjectInfo(
    name="peg",
    words=("red peg", "red pin"),
    shape="box",
    size_m=np.array([0.012, 0.012, 0.045]),
    rgb=np.array([0.86, 0.10, 0.06]),
    graspable=True,
)
SOCKET = ObjectInfo(
    name="socket",
    words=("hole", "green socket", "green hole"),
    shape="built",
    size_m=np.array([0.024, 0.024, 0.021]),
    rgb=np.array([0.06, 0.58, 0.20]),
    graspable=False,
)
BLOCK = ObjectInfo(
    name="block",
    words=(),
    shape="box",
    size_m=np.array([0.02, 0.06, 0.10]),
    rgb=np.array([0.12, 0.26, 0.85]),
    graspable=False,
)
PEG_KG = 0.10
FOOT_M = 0.018
"""How far the peg's centre of mass lies below its middle: a steel foot, so that it lands on it and stands [m]."""
HOLE_M = 0.013
"""Half width of the hole [m]."""
WALL_M = 0.010
"""Thickness of its walls [m]."""
FUNNEL_M = 0.008
"""Width, and height, of the funnel at the rim: it slants at 45 degrees [m]."""
_SLAB_M = 0.004
"""Thickness of the slanted boxes [m]."""
_STIFF_S = 0.01
"""Time constant of the peg's contacts, the shortest for steps of 5 ms: with MuJoCo's usual 0.02 s the peg creeps 6 mm
along the pads on its way to the socket, with this one 3 mm [s]."""
_SLIDING = (0.25, 0.005, 0.0001)
"""Friction of the socket: polished plastic; sliding (dimensionless), torsional and rolling [m]."""


def add_socket(spec: mujoco.MjSpec) -> None:
    """Adds the socket's body, placed like everything fixed; its centre is half way up.

    Args:
        spec: The cell so far.
    """
    body = spec.worldbody.add_body(name=SOCKET.name, mocap=True)
    half, rim = SOCKET.size_m[0], SOCKET.size_m[2]
    wall = np.array([WALL_M / 2, HOLE_M + WALL_M, rim - FUNNEL_M / 2])
    for k in range(4):
        turn = k * np.pi / 2
        name = f"{SOCKET.name}_geom" if k == 0 else f"{SOCKET.name}_wall{k}"
        _box(body, name, np.array([HOLE_M + WALL_M / 2, 0.0, -FUNNEL_M / 2]), wall, turn=turn, slant=0.0)
        middle = np.array([HOLE_M + FUNNEL_M / 2, 0.0, rim - FUNNEL_M / 2])
        inside = _SLAB_M / 2 / 2**0.5 * np.array([1.0, 0.0, -1.0])
        slab = np.array([FUNNEL_M / 2**0.5, half, _SLAB_M / 2])
        _box(body, f"{SOCKET.name}_funnel{k}", middle + inside, slab, turn=turn, slant=-np.pi / 4)


def add_foot(spec: mujoco.MjSpec) -> None:
    """Gives the peg its mass and a low centre of it, and a hard surface.

    Args:
        spec: The cell, with the peg in it.
    """
    body, (x, y, z) = spec.body(PEG.name), PEG.size_m
    body.mass, body.ipos, body.explicitinertial = PEG_KG, [0.0, 0.0, -FOOT_M], True
    long_way = PEG_KG / 3.0 * (y**2 + (z - FOOT_M) ** 2)
    body.inertia = [long_way, long_way, PEG_KG / 3.0 * (x**2 + y**2)]
    geom = spec.geom(f"{PEG.name}_geom")
    geom.condim, geom.priority, geom.solref = 4, 1, [_STIFF_S, 1.0]


def _box(body: mujoco.MjsBody, name: str, pos: Floats, size: Floats, *, turn: float, slant: float) -> None:
    """Adds a box that is slanted about y, and then turned about z with its place."""
    about_z = np.array([np.cos(turn / 2), 0.0, 0.0, np.sin(turn / 2)])
    quat = np.zeros(4)
    mujoco.mju_mulQuat(quat, about_z, np.array([np.cos(slant / 2), 0.0, np.sin(slant / 2), 0.0]))
    turned = np.zeros(3)
    mujoco.mju_rotVecQuat(turned, pos, about_z)
    body.add_geom(
        name=name, type=mujoco.mjtGeom.mjGEOM_BOX, pos=turned, quat=quat, size=size, rgba=[*SOCKET.rgb, 1.0],
        friction=list(_SLIDING), condim=3, priority=2,
    )  # fmt: skip


def depth_m(peg: Floats, socket: Floats) -> Floats:
    """Returns how far the lower end of an upright peg is below the socket's rim, shape (...,) [m]; negative above it.

    Args:
        peg: Its centre, shape (..., 3) [m].
        socket: Its centre, shape (..., 3) [m].
    """
    return np.asarray(socket[..., 2] + SOCKET.size_m[2] - peg[..., 2] + PEG.size_m[2])


def aside_m(peg: Floats, socket: Floats) -> Floats:
    """Returns how far the peg's axis is off the hole's, along the side where it is more, shape (...,) [m].

    Args:
        peg: Its centre, shape (..., 3) [m].
        socket: Its centre, shape (..., 3) [m]; its sides are those of the base.
    """
    return np.asarray(np.abs((peg - socket)[..., :2]).max(axis=-1))
