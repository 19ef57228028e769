"""The simulated arm's own parts: xArm 7 links, parallel gripper, servos. Called by `sim.cell`.

Link frames, masses, centres of mass and effort limits are UFACTORY's (model 3); link inertias are our estimate, a
uniform ball of 9 cm radius of gyration each, which the 0.1 kg m^2 of motor inertia outweighs.
Source: UFACTORY xArm 7 user manual and URDF; UFACTORY xArm Gripper manual (84 mm stroke, 30 N, 0.802 kg).
"""

import mujoco
import numpy as np

from core.kinematics import LINK_POS_M, LINK_ROLL_RAD, TCP_OFFSET_M, XARM7

STROKE_M = 0.084
"""Opening between the pads at `gripper_opening` 1 [m]."""
MASS_KG = np.array([2.382, 1.869, 1.6383, 1.7269, 1.3203, 1.325, 0.17])
COM_M = 1e-3 * np.array(
    [
        [-0.2, 29.05, -12.33],
        [0.22, -128.56, 17.35],
        [46.6, -24.63, -7.68],
        [70.47, -115.75, 12.0],
        [-0.32, 16.04, -26.0],
        [64.69, 32.78, 21.41],
        [0.0, -6.77, -10.98],
    ]
)
GYRATION_M = 0.09
ARMATURE = 0.1
"""Motor inertia seen at a joint [kg m^2]."""
EFFORT_NM = np.array([50.0, 50.0, 30.0, 30.0, 30.0, 20.0, 20.0])
KP = np.array([2500.0, 2500.0, 1500.0, 1500.0, 1500.0, 1000.0, 1000.0])
"""Servo stiffness [N m/rad]; softer values lag 0.1 s behind."""
KV = np.array([120.0, 120.0, 70.0, 70.0, 70.0, 40.0, 40.0])
"""Servo damping [N m s/rad]."""

GRIP_N = 20.0
"""Largest force of one pad [N]; the gripper is rated 30 N."""
GRIP_KP = 800.0
"""Gripper stiffness [N/m of opening]."""
FINGER_DAMPING = 60.0
"""[N s/m]; the full stroke then takes about a quarter of a second."""
PAD_FRICTION = (1.0, 0.02, 0.002)
"""Sliding (dimensionless), torsional and rolling [m]."""
_WHITE, _GREY, _DARK = [0.92, 0.92, 0.93, 1.0], [0.62, 0.64, 0.66, 1.0], [0.16, 0.16, 0.17, 1.0]
_SHELLS: tuple[tuple[tuple[float, ...], float], ...] = (
    ((0, 0, -0.15, 0, 0, 0.0), 0.055),
    ((0, 0, 0, 0, -0.20, 0), 0.052),
    ((0, 0, 0.0, 0.0525, 0, 0), 0.052),
    ((0, 0, 0, 0.0775, -0.20, 0), 0.048),
    ((0.0, -0.14, 0, 0, 0, 0), 0.045),
    ((0, 0, 0, 0.076, 0.03, 0), 0.044),
    ((0, 0, -0.04, 0, 0, -0.012), 0.038),
)
"""Capsule of each link for the eye: from, to (link frame) and radius [m]."""


def add_arm(spec: mujoco.MjSpec) -> mujoco.MjsBody:
    """Adds the seven links to a cell and returns the last, the flange."""
    body = spec.worldbody.add_body(name="link_base")
    _shell(body, "base", (0, 0, 0.0, 0, 0, 0.10), 0.06, _GREY)
    for i, (pos, roll) in enumerate(zip(LINK_POS_M, LINK_ROLL_RAD, strict=True)):
        body = body.add_body(name=f"link{i + 1}", pos=pos, quat=[np.cos(roll / 2), np.sin(roll / 2), 0, 0], gravcomp=1)
        body.mass, body.ipos, body.explicitinertial = MASS_KG[i], COM_M[i], True
        body.inertia = np.full(3, MASS_KG[i] * GYRATION_M**2)
        body.add_joint(
            name=f"joint{i + 1}", type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1], armature=ARMATURE,
            range=[XARM7.joint_low[i], XARM7.joint_high[i]], limited=True,
        )  # fmt: skip
        ends, radius = _SHELLS[i]
        _shell(body, f"link{i + 1}", ends, radius, _WHITE if i % 2 == 0 else _GREY)
    return body


def _shell(body: mujoco.MjsBody, name: str, ends: tuple[float, ...], radius: float, rgba: list[float]) -> None:
    body.add_geom(
        name=f"{name}_shell", type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=ends, size=[radius, 0, 0], rgba=rgba,
        contype=0, conaffinity=0, mass=0,
    )  # fmt: skip


def add_hand(spec: mujoco.MjSpec, flange: mujoco.MjsBody) -> mujoco.MjsBody:
    """Adds the parallel gripper to the flange and returns the hand, without cameras."""
    hand = flange.add_body(name="hand", gravcomp=1)
    hand.mass, hand.ipos, hand.explicitinertial = 0.702, [0, 0, 0.048], True
    hand.inertia = [8e-4, 6e-4, 6e-4]
    box = mujoco.mjtGeom.mjGEOM_BOX
    hand.add_geom(name="palm", type=box, pos=[0, 0, 0.055], size=[0.028, 0.052, 0.050], rgba=_DARK, condim=3)
    hand.add_site(name="tcp", pos=[0, 0, TCP_OFFSET_M], size=[0.004] * 3, group=4)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        finger = hand.add_body(name=f"{side}_finger", pos=[0, 0, TCP_OFFSET_M], gravcomp=1)
        finger.mass, finger.explicitinertial, finger.inertia = 0.05, True, [4e-5, 4e-5, 2e-5]
        finger.add_joint(
            name=f"{side}_slide", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, sign, 0], range=[0, STROKE_M / 2],
            limited=True, damping=[FINGER_DAMPING, 0, 0], armature=0.1,
        )  # fmt: skip
        finger.add_geom(
            name=f"{side}_pad", type=box, pos=[0, sign * 0.006, -0.006], size=[0.012, 0.006, 0.018], rgba=_GREY,
            friction=list(PAD_FRICTION), condim=4, priority=0,
        )  # fmt: skip
        finger.add_geom(
            name=f"{side}_rod", type=box, pos=[0, sign * 0.011, -0.045], size=[0.010, 0.005, 0.024], rgba=_DARK,
            condim=3,
        )  # fmt: skip
    spec.add_equality(
        name="fingers_mirror", type=mujoco.mjtEq.mjEQ_JOINT, name1="left_slide", name2="right_slide",
        data=[0, 1, *[0] * 10],
    )  # fmt: skip
    opening = spec.add_tendon(name="opening")
    opening.wrap_joint("left_slide", 1.0)
    opening.wrap_joint("right_slide", 1.0)
    return hand


def add_actuators(spec: mujoco.MjSpec) -> None:
    """Adds the joint servos and the gripper's, in the order of commands."""
    for i in range(7):
        servo = spec.add_actuator(name=f"servo{i + 1}", target=f"joint{i + 1}", trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.set_to_position(kp=KP[i], kv=KV[i])
        servo.forcerange, servo.forcelimited = [-EFFORT_NM[i], EFFORT_NM[i]], True
    grip = spec.add_actuator(name="grip", target="opening", trntype=mujoco.mjtTrn.mjTRN_TENDON)
    grip.set_to_position(kp=GRIP_KP, kv=0.0)
    grip.forcerange, grip.forcelimited = [-GRIP_N, GRIP_N], True
    grip.ctrlrange, grip.ctrllimited = [0.0, STROKE_M], True
