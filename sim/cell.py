"""The cell as a MuJoCo model: xArm 7, parallel gripper, table, and the objects of one task, all of primitive shapes.

Called by `sim.world` (physics) and `sim.cameras` (pictures). Arm links do not collide; hand, fingers, objects and table
do. Fruit are free bodies; what cannot be grasped (plate, block) stands fixed on the table and is placed by the task.

Why these physics settings: `sim.grasp_gate` lifts a fruit 12 cm and holds it for 3 s under 5 mm of shaking; a setting
passes with at most 2 mm of slip, at nominal friction and at 0.7 of it (8 worlds, 5 ms steps, 10 a control step):

    integrator    iterations/line search   impratio   worst slip
    discrete      50/50 (in use)           10         0.6 mm
    discrete      50/10                    10         0.6 mm
    discrete      50/50                    1          6.5 mm, fails
    implicitfast  50/50                    10         1.1 mm
    implicitfast  50/10                    10         fruit shoots out, fails

The speed is the same within 5 %: 7,400 control steps per processor second with 64 worlds (`regrasp bench sim`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np

from core.arrays import Floats, Ints
from core.kinematics import HOME_RAD, TCP_OFFSET_M, quat_from_matrix
from core.robots import EE_DELTA
from core.tasks import ObjectInfo
from sim.arm_parts import STROKE_M as STROKE_M  # noqa: PLC0414  # the cell and its stroke are asked for together
from sim.arm_parts import add_actuators, add_arm, add_hand

PARKED_M = np.array([0.45, 0.9, -0.5])
"""Where absent objects wait, below the table [m]."""
SUBSTEPS = 10
"""Physics steps in one control period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraPlace:
    """Where a camera is bolted on, and what it looks at."""

    name: str
    mount: str
    """"base" or "tcp"."""
    pos: tuple[float, float, float]
    """In its mount [m]."""
    look_at: tuple[float, float, float]
    """Point in the middle of the image, in its mount [m]."""
    up: tuple[float, float, float]
    """Direction, in its mount, that is up in the image."""
    fovy_rad: float
    """Vertical field of view; images are square [rad]."""


CAMERAS = (
    CameraPlace(
        name="front", mount="base", pos=(1.12, 0.0, 0.80), look_at=(0.40, 0.0, 0.09), up=(0, 0, 1), fovy_rad=0.80
    ),
    CameraPlace(
        name="wrist", mount="tcp", pos=(0.075, 0.0, -0.135), look_at=(0.02, 0.0, 0.03), up=(1, 0, 0), fovy_rad=1.30
    ),
)
"""The fixed camera faces the arm from beyond the table; the wrist camera rides on the hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicsSettings:
    """Time step, integrator and solver; the defaults are those that hold a grasp (tests/unit/test_sim_grasp.py)."""

    integrator: mujoco.mjtIntegrator = mujoco.mjtIntegrator.mjINT_DISCRETE
    iterations: int = 50
    """Solver iterations at most."""
    ls_iterations: int = 50
    """Line-search iterations at most; 10 makes fruit shoot out of the hand."""
    impratio: float = 10.0
    """Stiffness of friction against that of the normal force."""
    fruit_condim: int = 6
    """Contact dimensions of fruit: 6 resists spinning and rolling."""


FRUIT_FRICTION = (1.0, 0.02, 0.002)
"""Sliding (dimensionless), torsional and rolling [m]."""
FRUIT_DENSITY = 1000.0
"""[kg/m^3]."""
FRUIT_DAMPING = 0.0008
"""Of the free joint, air and skin [N s/m, N m s/rad]."""

_TABLE, _FLOOR = [0.80, 0.76, 0.69, 1.0], [0.35, 0.36, 0.38, 1.0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slide:
    """An object that slides along a line in something placed, as a drawer does, or is part of one that does."""

    qpos: int
    """Its position index."""
    qvel: int
    """Its velocity index."""
    parent: int
    """What it slides in: index among the placed bodies; that one is never turned."""
    offset: Floats
    """Its centre, from the parent's, when the joint is at 0, shape (3,) [m]."""
    axis: Floats
    """Unit direction of the joint, shape (3,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A compiled cell and where to find things in its state."""

    model: mujoco.MjModel
    objects: tuple[ObjectInfo, ...]
    free_qpos: Ints
    """First position index of each object's free joint, -1 for a fixed one, shape (O,)."""
    free_qvel: Ints
    """First velocity index, -1 for a fixed one, shape (O,)."""
    mocap: Ints
    """Index among the placed (fixed) bodies, -1 for a free or sliding one, shape (O,)."""
    slides: tuple[Slide | None, ...]
    """How each sliding object is guided, None for the others."""
    material_geoms: Ints
    """Geometries whose friction the domain scales: objects and finger pads."""
    grip_geoms: Ints
    """Those among them that meet in a grip: the pads, and what they grasp. The rougher of two surfaces rules a contact,
    so that both have to be scaled; what lies on the table still has the table's friction."""
    object_bodies: Ints
    """Bodies whose mass the domain scales."""
    touch: slice
    """Sensor values [N]: net contact force of the hand with the table, then with each object, 3 each."""
    pads: slice
    """Sensor values: number of contacts of the left, then the right pad with each object (2 * O)."""
    pressed: slice
    """Sensor values [N]: net contact force of the two objects that are pressed together, 3 or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """Where everything in one cell is: all that a picture needs."""

    qpos: Floats
    """Generalised positions of arm, fingers and free objects, MuJoCo's order, shape (nq,)."""
    placed_pos: Floats
    """Centres of the placed objects, shape (P, 3) [m]."""
    placed_quat_wxyz: Floats
    """Their orientation in MuJoCo's order, shape (P, 4)."""


def build_cell(
    objects: tuple[ObjectInfo, ...],
    settings: PhysicsSettings | None = None,
    *,
    furnish: Callable[[mujoco.MjSpec], None] | None = None,
    pressed: tuple[str, str] | None = None,
) -> Cell:
    """Compiles the cell with `objects` on its table.

    Args:
        objects: What the task needs; graspable ones move freely, the others are placed or slide in something placed.
        settings: Physics settings, the gated ones when None.
        furnish: Adds the bodies of the objects whose shape is "built".
        pressed: Two objects whose contact force is measured.
    """
    settings = settings or PhysicsSettings()
    spec = mujoco.MjSpec()
    _options(spec, settings)
    _room(spec)
    hand = add_hand(spec, add_arm(spec))
    _cameras(spec, hand)
    for thing in objects:
        if thing.shape != "built":
            _object(spec, thing, settings)
    if furnish is not None:
        furnish(spec)
    add_actuators(spec)
    _sensors(spec, objects, pressed)
    return _indexed(spec.compile(), objects, pressed)


def _options(spec: mujoco.MjSpec, settings: PhysicsSettings) -> None:
    spec.modelname = "regrasp_cell"
    spec.compiler.degree = False
    option = spec.option
    option.timestep = EE_DELTA.dt_s / SUBSTEPS
    option.integrator = settings.integrator
    option.iterations, option.ls_iterations = settings.iterations, settings.ls_iterations
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = settings.impratio
    option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    spec.visual.quality.shadowsize = 0
    spec.visual.quality.offsamples = 0
    spec.visual.quality.numslices, spec.visual.quality.numstacks = 20, 12
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 640
    spec.visual.map.znear, spec.visual.map.zfar = 0.01, 4.0
    spec.stat.extent, spec.stat.center = 1.0, [0.4, 0.0, 0.2]
    light = spec.visual.headlight
    light.ambient, light.diffuse, light.specular = [0.50] * 3, [0.25] * 3, [0.0] * 3


def _room(spec: mujoco.MjSpec) -> None:
    world = spec.worldbody
    world.add_light(
        name="lamp", type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[0.6, 0.4, 2.0], dir=[-0.25, -0.2, -1.0],
        diffuse=[0.45] * 3, ambient=[0.0] * 3, specular=[0.1] * 3, castshadow=False,
    )  # fmt: skip
    world.add_geom(
        name="table", type=mujoco.mjtGeom.mjGEOM_BOX, pos=[0.35, 0, -0.02], size=[0.50, 0.60, 0.02], rgba=_TABLE,
        friction=list(FRUIT_FRICTION), condim=3,
    )  # fmt: skip
    world.add_geom(
        name="floor", type=mujoco.mjtGeom.mjGEOM_BOX, pos=[0.35, 0, -0.8], size=[2.0, 2.0, 0.02], rgba=_FLOOR, condim=3
    )


def _cameras(spec: mujoco.MjSpec, hand: mujoco.MjsBody) -> None:
    for place in CAMERAS:
        parent, offset = (hand, [0, 0, TCP_OFFSET_M]) if place.mount == "tcp" else (spec.worldbody, [0, 0, 0])
        turn = camera_axes(place) * [1.0, -1.0, -1.0]
        parent.add_camera(
            name=place.name, pos=np.add(place.pos, offset), quat=quat_from_matrix(turn)[[3, 0, 1, 2]],
            fovy=np.degrees(place.fovy_rad),
        )  # fmt: skip


def camera_axes(place: CameraPlace) -> Floats:
    """Returns OpenCV's camera axes (right, down, forward) as columns, in the camera's mount, shape (3, 3)."""
    forward = np.subtract(place.look_at, place.pos)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, place.up)
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def _object(spec: mujoco.MjSpec, thing: ObjectInfo, settings: PhysicsSettings) -> None:
    body = spec.worldbody.add_body(name=thing.name, pos=PARKED_M, mocap=not thing.graspable)
    shape = {
        "sphere": mujoco.mjtGeom.mjGEOM_SPHERE, "disc": mujoco.mjtGeom.mjGEOM_CYLINDER, "box": mujoco.mjtGeom.mjGEOM_BOX
    }[thing.shape]  # fmt: skip
    size = [thing.size_m[0], thing.size_m[2], 0.0] if thing.shape == "disc" else list(thing.size_m)
    body.add_geom(
        name=f"{thing.name}_geom", type=shape, size=size, rgba=[*thing.rgb, 1.0], density=FRUIT_DENSITY,
        friction=list(FRUIT_FRICTION), condim=settings.fruit_condim if thing.graspable else 3,
    )  # fmt: skip
    if thing.graspable:
        body.add_joint(
            name=f"{thing.name}_free", type=mujoco.mjtJoint.mjJNT_FREE, damping=[FRUIT_DAMPING] * 3, armature=0.0
        )


def _sensors(spec: mujoco.MjSpec, objects: tuple[ObjectInfo, ...], pressed: tuple[str, str] | None) -> None:
    """Net force of the hand with the table and every object, touches of each pad with every object, pressing force."""
    subtree, geom, body = mujoco.mjtObj.mjOBJ_XBODY, mujoco.mjtObj.mjOBJ_GEOM, mujoco.mjtObj.mjOBJ_BODY
    force, found, net = 1 << 1, 1 << 0, 3
    for other, kind in (("table", geom), *((o.name, body) for o in objects)):
        spec.add_sensor(
            name=f"hand_{other}", type=mujoco.mjtSensor.mjSENS_CONTACT, objtype=subtree, objname="hand",
            reftype=kind, refname=other, intprm=[force, net, 1],
        )  # fmt: skip
    for side in ("left", "right"):
        for o in objects:
            spec.add_sensor(
                name=f"{side}_{o.name}", type=mujoco.mjtSensor.mjSENS_CONTACT, objtype=geom, objname=f"{side}_pad",
                reftype=body, refname=o.name, intprm=[found, 0, 1],
            )  # fmt: skip
    if pressed is not None:
        spec.add_sensor(
            name="pressed", type=mujoco.mjtSensor.mjSENS_CONTACT, objtype=body, objname=pressed[0],
            reftype=body, refname=pressed[1], intprm=[force, net, 1],
        )  # fmt: skip


def _indexed(model: mujoco.MjModel, objects: tuple[ObjectInfo, ...], pressed: tuple[str, str] | None) -> Cell:
    names = [o.name for o in objects]
    joints = [mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, f"{n}_free") for n in names]
    bodies = np.array([model.body(n).id for n in names], dtype=np.int64)
    geoms = [model.geom(f"{n}_geom").id for n in names]
    pads = [model.geom(f"{side}_pad").id for side in ("left", "right")]
    forces = 3 * (1 + len(names))
    touches = forces + 2 * len(names)
    return Cell(
        model=model,
        objects=objects,
        free_qpos=np.array([model.jnt_qposadr[j] if j >= 0 else -1 for j in joints], dtype=np.int64),
        free_qvel=np.array([model.jnt_dofadr[j] if j >= 0 else -1 for j in joints], dtype=np.int64),
        mocap=np.array(model.body_mocapid[bodies], dtype=np.int64),
        slides=tuple(_slide(model, int(body)) for body in bodies),
        material_geoms=np.array(geoms + pads, dtype=np.int64),
        grip_geoms=np.array([g for g, o in zip(geoms, objects, strict=True) if o.graspable] + pads, dtype=np.int64),
        object_bodies=bodies.astype(np.int64),
        touch=slice(0, forces),
        pads=slice(forces, touches),
        pressed=slice(touches, touches + 3 * (pressed is not None)),
    )


def _slide(model: mujoco.MjModel, body: int) -> Slide | None:
    """Returns how a body slides, by its own joint or by that of the body it is part of."""
    offset = np.zeros(3)
    while model.body_jntnum[body] == 0 and model.body_mocapid[body] < 0 and body > 0:
        offset += model.body_pos[body]
        body = int(model.body_parentid[body])
    joint, parent = int(model.body_jntadr[body]), int(model.body_parentid[body])
    if joint < 0 or model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_SLIDE:
        return None
    return Slide(
        qpos=int(model.jnt_qposadr[joint]),
        qvel=int(model.jnt_dofadr[joint]),
        parent=int(model.body_mocapid[parent]),
        offset=offset + model.body_pos[body],
        axis=np.array(model.jnt_axis[joint]),
    )


def home_qpos(cell: Cell) -> Floats:
    """Returns generalised positions with the arm at home, the gripper open and free objects parked, shape (nq,)."""
    qpos = np.array(cell.model.qpos0)
    qpos[:7] = HOME_RAD
    qpos[7:9] = STROKE_M / 2
    return qpos
