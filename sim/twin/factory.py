"""Settings of a box that was just switched on. Used by `sim.twin.cabinet`."""

import numpy as np

from core.kinematics import XARM7
from sim.twin.face import Settings
from sim.twin.followers import JOINT_ACCELERATION, TCP_ACCELERATION


def factory_settings() -> Settings:
    """Returns the settings of a new box: no tool, fence off, collision sensitivity 3.

    Source: UFACTORY xArm user manual for the values it states; the rest is our choice.
    """
    return Settings(
        tcp_offset=np.zeros(6),
        load_kg=0.0,
        load_com=np.zeros(3),
        world_offset=np.zeros(6),
        gravity=np.array([0.0, 0.0, -1.0]),
        collision_sensitivity=3,
        teach_sensitivity=3,
        collision_rebound=False,
        self_collision=True,
        tool_model=0,
        reduced=False,
        fence=False,
        fence_low=np.array([-0.7, -0.7, -0.4]),
        fence_high=np.array([0.7, 0.7, 1.1]),
        reduced_tcp_speed=0.25,
        reduced_joint_speed=float(np.deg2rad(45.0)),
        reduced_joint_range=np.stack([XARM7.joint_low, XARM7.joint_high], axis=1),
        tcp_jerk=100.0,
        tcp_acceleration=TCP_ACCELERATION,
        joint_jerk=500.0,
        joint_acceleration=JOINT_ACCELERATION,
        allow_approximate=False,
        continuous_cartesian=False,
        simulation=False,
        ft_enabled=False,
    )
