"""The physical cell of the twin in real time: one world of a task, moved by servo targets 5 ms at a time.

Called by `sim.twin.box`, which commands it, and by `sim.twin.control`, which resets and pushes it. The effort expected
of the servos without touching anything comes from the inverse dynamics of an arm with nothing around it; what the
servos really give, gravity included, is that less the torque that contacts and pushes exert. (MuJoCo's own figure of
the servos' effort is not used: where a servo is at its limit its integrator gives more than that.)
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from core.arrays import Floats
from core.errors import unknown_name
from core.robots import EE_DELTA
from core.scene import SceneRoles
from core.worlds import Injection, WorldState
from sim.cell import STROKE_M, SUBSTEPS, Bodies, build_cell
from sim.task import Task
from sim.world import BatchWorld

STEP_S = EE_DELTA.dt_s / SUBSTEPS
"""One physics step, and the box's cycle [s]."""
SETTLING_S = 0.025
"""Time constant with which external torque is smoothed [s]."""
_FORCES = ("constraint", "smooth", "passive", "bias", "actuator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A force on a body for a while."""

    body: int
    force_n: Floats
    """In base, at the body's centre of mass, shape (3,) [N]."""
    until_s: float
    """Simulated time [s]."""


class Expected:
    """The effort that servos need by themselves: an arm with its gripper, touching nothing."""

    def __init__(self) -> None:
        self._model = build_cell(()).model
        for kind in ("CONTACT", "LIMIT", "EQUALITY"):
            self._model.opt.disableflags |= int(getattr(mujoco.mjtDisableBit, f"mjDSBL_{kind}"))
        self._data = mujoco.MjData(self._model)

    def efforts(self, pos: Floats, vel: Floats, acc: Floats) -> tuple[Floats, Floats]:
        """Returns servo effort without, and effort against gravity, each (7,) [N m].

        Args:
            pos: Joints and fingers, shape (9,) [rad, m].
            vel: Their speeds, shape (9,).
            acc: Their accelerations, shape (9,).
        """
        self._data.qpos[:], self._data.qvel[:], self._data.qacc[:] = pos, vel, acc
        mujoco.mj_inverse(self._model, self._data)
        return self._data.qfrc_inverse[:7].copy(), self._data.qfrc_gravcomp[:7].copy()


class Plant:
    """One world of a task in steps of 5 ms.

    Args:
        task: What is on the table.
    """

    def __init__(self, task: Task) -> None:
        self._world = BatchWorld(task, 1)
        self._qpos, self._qvel, self._xfrc = (self._world.field(n)[0] for n in ("qpos", "qvel", "xfrc_applied"))
        self._forces = [self._world.field(f"qfrc_{name}")[0, :7] for name in _FORCES]
        self._time = self._world.field("time")
        self._expected = Expected()
        self._pushes: list[Push] = []
        self._still()

    def _still(self) -> None:
        self.joint_effort: Floats = np.zeros(7)
        """Of the servos, shape (7,) [N m]."""
        self.strain: Floats = np.zeros(7)
        """Torque on the joints from outside, smoothed, shape (7,) [N m]."""

    @property
    def world(self) -> BatchWorld:
        """The world, for cameras."""
        return self._world

    @property
    def joint_pos(self) -> Floats:
        """Measured, a copy, shape (7,) [rad]."""
        return np.array(self._qpos[:7])

    @property
    def joint_vel(self) -> Floats:
        """Measured, a copy, shape (7,) [rad/s]."""
        return np.array(self._qvel[:7])

    @property
    def opening_m(self) -> float:
        """Between the pads [m]."""
        return float(min(max(self._qpos[7] + self._qpos[8], 0.0), STROKE_M))

    @property
    def opening_speed(self) -> float:
        """[m/s]."""
        return float(self._qvel[7] + self._qvel[8])

    def step(self, joint_target: Floats, opening_m: float) -> None:
        """Runs one physics step.

        Args:
            joint_target: Where the servos are to be, shape (7,) [rad].
            opening_m: Where the gripper is to be, between the pads [m].
        """
        self._apply_pushes()
        pos, vel = self._qpos[:9].copy(), self._qvel[:9].copy()
        self._world.drive(np.append(joint_target, opening_m)[None, None])
        expected, gravity = self._expected.efforts(pos, vel, (self._qvel[:9] - vel) / STEP_S)
        outside = self._outside()
        self.joint_effort = expected - outside + gravity
        self.strain = self.strain + (outside - self.strain) * (STEP_S / (SETTLING_S + STEP_S))

    def reset(self, seed: int, injection: Injection | None) -> None:
        """Starts a new episode as the in-process evaluation does with the same seed and failure."""
        one = np.array([0])
        self._pushes.clear()
        self._xfrc[:] = 0.0
        self._world.reset(one, np.array([seed]))
        self._world.inject(0, injection, seed=seed)
        self._still()

    def push(self, body: str, force_n: Floats, duration_s: float) -> None:
        """Pushes a body, from the next step on.

        Args:
            body: Its name, e.g. "link4", "hand" or an object of the task.
            force_n: In base, shape (3,) [N].
            duration_s: For how long [s].

        Raises:
            ConfigError: No body has such a name.
        """
        model = self._world.cell.model
        names = [model.body(i).name for i in range(1, model.nbody)]
        if body not in names:
            raise unknown_name("body", body, names)
        until = float(self._time[0]) + duration_s
        self._pushes.append(Push(body=model.body(body).id, force_n=force_n, until_s=until))

    def bodies(self) -> Bodies:
        """Returns where everything is, for pictures."""
        return self._world.bodies(0)

    def truth(self) -> WorldState:
        """Returns the ground truth of the last full control period, for tests and scoring."""
        return self._world.state()

    def instruction(self) -> str:
        """Returns what the policy is told."""
        return self._world.instruction(0)

    def roles(self) -> SceneRoles:
        """Returns who is who."""
        return self._world.roles(0)

    def injected_at(self) -> float | None:
        """Returns when the failure struck [s of simulated time], None before."""
        at = self._world.injected_at(0)
        return None if np.isnan(at) else at

    @property
    def time_s(self) -> float:
        """Simulated time since the reset [s]."""
        return float(self._time[0])

    def _outside(self) -> Floats:
        """Returns the torque of contacts and pushes on the joints in the last step, shape (7,) [N m]."""
        constraint, smooth, passive, bias, actuator = self._forces
        return np.asarray(constraint + smooth - passive + bias - actuator)

    def _apply_pushes(self) -> None:
        if not self._pushes:
            return
        self._xfrc[:] = 0.0
        now = float(self._time[0])
        self._pushes = [push for push in self._pushes if push.until_s > now]
        for push in self._pushes:
            self._xfrc[push.body, :3] += push.force_n
