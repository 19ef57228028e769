"""The cell's motion controller for N worlds: end-effector deltas in, joint and gripper targets per physics step out.

Called by `sim.world`. It stands for the arm's own servo mode: the commanded pose integrates the deltas and is kept near
the real tool; one inverse-kinematics step a control period turns it into joint targets, which reach the servos after
the action latency.
"""

from dataclasses import dataclass, fields

import numpy as np

from core.arrays import Floats, Ints
from core.kinematics import forward, ik_step
from core.robots import EE_DELTA
from core.servo import lead
from core.transforms import quat_conjugate, quat_multiply, rotvec_from_quat
from sim.cell import STROKE_M, SUBSTEPS
from sim.rows import put_row, take_row

MEMORY = 40
"""Physics steps of pending commands kept: latency up to 200 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """Targets and pending commands of N worlds; the arrays are written in place."""

    goal_pos: Floats
    """Shape (N, 3) [m]."""
    goal_quat_xyzw: Floats
    """Shape (N, 4)."""
    joint_target: Floats
    """Shape (N, 7) [rad]."""
    command: Floats
    """Commanded gripper opening, shape (N,)."""
    pending: Floats
    """Servo targets by physics step, oldest first, shape (N, MEMORY + SUBSTEPS, 8) [rad, m]."""

    @staticmethod
    def blank(n: int) -> "Controller":
        """Returns a controller of `n` worlds that must be `start`ed."""
        return Controller(
            goal_pos=np.zeros((n, 3)),
            goal_quat_xyzw=np.tile([1.0, 0.0, 0.0, 0.0], (n, 1)),
            joint_target=np.zeros((n, 7)),
            command=np.ones(n),
            pending=np.zeros((n, MEMORY + SUBSTEPS, 8)),
        )

    def start(self, ids: Ints, joint_pos: Floats, tcp_pos: Floats, tcp_quat_xyzw: Floats) -> None:
        """Makes worlds `ids` hold where they are, gripper open.

        Args:
            ids: World indices, shape (M,).
            joint_pos: Shape (M, 7) [rad].
            tcp_pos: Shape (M, 3) [m].
            tcp_quat_xyzw: Shape (M, 4).
        """
        self.goal_pos[ids], self.goal_quat_xyzw[ids] = tcp_pos, tcp_quat_xyzw
        self.joint_target[ids], self.command[ids] = joint_pos, 1.0
        self.pending[ids, :, :7] = joint_pos[:, None]
        self.pending[ids, :, 7] = STROKE_M

    def hold(self, ids: Ints, joint_pos: Floats, tcp_pos: Floats, tcp_quat_xyzw: Floats) -> None:
        """Makes worlds `ids` hold where all worlds (N, ...) are now, and keeps their gripper command."""
        self.goal_pos[ids], self.goal_quat_xyzw[ids] = tcp_pos[ids], tcp_quat_xyzw[ids]
        self.joint_target[ids] = joint_pos[ids]
        self.pending[ids, :, :7] = joint_pos[ids][:, None]
        self.pending[ids, :, 7] = self.command[ids][:, None] * STROKE_M

    def servo_targets(self, actions: Floats, tcp_pos: Floats, tcp_quat_xyzw: Floats, latency: Ints) -> Floats:
        """Returns servo targets of the coming control period, shape (N, SUBSTEPS, 8) [rad, m].

        Args:
            actions: Clipped actions (N, A), in `EE_DELTA` units.
            tcp_pos: Where the tool is, shape (N, 3) [m].
            tcp_quat_xyzw: How it is turned, shape (N, 4).
            latency: Delay in physics steps, shape (N,).
        """
        self.goal_pos[:], self.goal_quat_xyzw[:] = lead(
            self.goal_pos, self.goal_quat_xyzw, actions, tcp_pos, tcp_quat_xyzw
        )
        target = ik_step(self.joint_target, self.goal_pos, self.goal_quat_xyzw)
        share = np.arange(1, SUBSTEPS + 1)[:, None] / SUBSTEPS
        self.pending[:, :-SUBSTEPS] = self.pending[:, SUBSTEPS:]
        self.pending[:, -SUBSTEPS:, :7] = self.joint_target[:, None] + share * (target - self.joint_target)[:, None]
        self.pending[:, -SUBSTEPS:, 7] = actions[:, 6:] * STROKE_M
        self.joint_target[:], self.command[:] = target, actions[:, 6]
        rows = MEMORY + np.arange(SUBSTEPS) - latency[:, None]
        return np.asarray(self.pending[np.arange(len(rows))[:, None], rows])

    def follow(self, targets: Floats) -> Floats:
        """Takes over servo targets (N, 8) [rad, m] from outside and returns the actions (N, A) they amount to."""
        pos, quat = forward(targets[:, :7])
        turn = rotvec_from_quat(quat_multiply(quat, quat_conjugate(self.goal_quat_xyzw)))
        actions = EE_DELTA.clip(np.concatenate([pos - self.goal_pos, turn, targets[:, 7:] / STROKE_M], axis=1))
        self.goal_pos[:], self.goal_quat_xyzw[:], self.joint_target[:] = pos, quat, targets[:, :7]
        self.pending[:], self.command[:] = targets[:, None], actions[:, 6]
        return actions

    def row(self, i: int) -> Floats:
        """Returns world `i` as one vector."""
        return take_row(self._arrays(), i)

    def put(self, i: int, row: Floats) -> None:
        """Puts a vector from `row` back into world `i`."""
        put_row(self._arrays(), i, row)

    def _arrays(self) -> list[Floats]:
        return [getattr(self, f.name) for f in fields(self)]


def latency_steps(latency_s: Floats) -> Ints:
    """Returns action latencies (N,) [s] in physics steps."""
    step_s = EE_DELTA.dt_s / SUBSTEPS
    return np.clip(np.rint(latency_s / step_s), 0, MEMORY).astype(np.int64)
