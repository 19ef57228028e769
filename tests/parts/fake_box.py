"""A test double of the twin's box: an arm without dynamics that is wherever it was last told to be, at once.

It keeps the box's rules that the wire depends on: states and modes, refusal when not ready, joint limits (C23), command
numbers and their events.
"""

import time
from collections.abc import Callable

import numpy as np

from core.arrays import Floats
from core.kinematics import XARM7
from sim.twin.face import BoxState, Motion, Settings, TaskEvent
from sim.twin.pose import Frames, flange, matrix_pose, pose_matrix, solve_flange

START = np.array([0.0, -0.247, 0.0, 0.909, 0.0, 1.15644, 0.0])


def settings() -> Settings:
    return Settings(
        tcp_offset=np.zeros(6), load_kg=0.0, load_com=np.zeros(3), world_offset=np.zeros(6),
        gravity=np.array([0.0, 0.0, -1.0]), collision_sensitivity=3, teach_sensitivity=3, collision_rebound=False,
        self_collision=True, tool_model=0, reduced=False, fence=False, fence_low=np.full(3, -2.0),
        fence_high=np.full(3, 2.0), reduced_tcp_speed=0.1, reduced_joint_speed=0.5,
        reduced_joint_range=np.stack([XARM7.joint_low, XARM7.joint_high], axis=1), tcp_jerk=1.0, tcp_acceleration=50.0,
        joint_jerk=20.0, joint_acceleration=20.0, allow_approximate=False, continuous_cartesian=False,
        simulation=False, ft_enabled=False,
    )  # fmt: skip


class FakeBox:
    """Implements `sim.twin.face.Box`."""

    def __init__(self) -> None:
        self.mode, self.state, self.error, self.warning = 0, 4, 0, 0
        self.on = [False] * 7
        self.joints, self.velocity = START.copy(), np.zeros(7)
        self.set = settings()
        self.opening, self.gripper_error = 0.084, 0
        self.silent = False
        self.number = 0
        self.listeners: list[Callable[[TaskEvent], None]] = []

    def now(self) -> BoxState:
        flags = tuple(self.on)
        return BoxState(
            t_ns=time.monotonic_ns(), mode=self.mode, state=self.state, error=self.error, warning=self.warning,
            queued=0, enabled=flags, released=flags, joint_pos=self.joints, joint_vel=self.velocity,
            joint_effort=np.arange(7) * 0.5, joint_target=self.joints, pose=self.forward(self.joints), tcp_speed=0.0,
            wrench=np.array([1.0, 2.0, 3.0, 0.1, 0.2, 0.3]), settings=self.set, gripper_opening_m=self.opening,
            gripper_moving=False, gripper_holds=False, gripper_error=self.gripper_error,
        )  # fmt: skip

    def standing(self) -> tuple[int, int, bool]:
        return self.error, self.warning, self.state < 4 and all(self.on)

    def on_task(self, listener: Callable[[TaskEvent], None]) -> None:
        self.listeners.append(listener)

    def enable(self, joint: int, on: bool) -> None:
        for i in range(7) if joint == 8 else [joint - 1]:
            self.on[i] = on
        self._reset()

    def set_state(self, state: int) -> bool:
        if self.error and state != 4:
            return False
        self.state = {0: 2, 3: 3, 4: 4, 6: 4}.get(state, self.state)
        return True

    def set_mode(self, mode: int) -> bool:
        self.mode = mode
        self._reset()
        return True

    def clear_error(self) -> bool:
        self.error = 0
        self._reset()
        return True

    def clear_warning(self) -> None:
        self.warning = 0

    def warn(self, code: int) -> None:
        self.warning = code

    def move_joints(self, target: Floats, motion: Motion, *, relative: bool = False) -> int:
        goal = self.joints + target if relative else np.where(np.isfinite(target), target, self.joints)
        return self._queue(goal, (0, 6))

    def move_line(self, pose: Floats, motion: Motion, *, in_tool: bool = False, relative: bool = False) -> int:
        here = self.forward(self.joints)
        goal = here + pose if relative else np.where(np.isfinite(pose), pose, here)
        if in_tool:
            goal = matrix_pose(pose_matrix(here) @ pose_matrix(pose))
        return self._queue(self.inverse(goal), (0, 7))

    def move_circle(self, through: Floats, to: Floats, share: float, motion: Motion) -> int:
        return self._queue(self.inverse(to), (0,))

    def move_home(self, motion: Motion) -> int:
        return self._queue(np.zeros(7), (0,))

    def pause(self, seconds: float) -> int:
        return self._queue(self.joints, (0,))

    def servo_joints(self, target: Floats) -> bool:
        return self._queue(target, (1,)) > 0

    def servo_pose(self, pose: Floats, *, in_tool: bool) -> bool:
        return self._queue(self.inverse(pose), (1,)) > 0

    def joint_velocity(self, velocity: Floats, duration_s: float) -> bool:
        self.velocity = velocity if self._ready((4,)) else np.zeros(7)
        return self._ready((4,))

    def tcp_velocity(self, velocity: Floats, *, in_tool: bool, duration_s: float) -> bool:
        return self._ready((5,))

    def inverse(self, pose: Floats) -> Floats | None:
        goal = self._frames().flange_of(pose_matrix(pose))
        return solve_flange(goal, (self.joints,), XARM7.joint_low, XARM7.joint_high)

    def forward(self, joint_pos: Floats) -> Floats:
        return matrix_pose(self._frames().tool_of(flange(joint_pos)[0]))

    def over_joint_limit(self, joint_pos: Floats) -> bool:
        return bool(((joint_pos < XARM7.joint_low) | (joint_pos > XARM7.joint_high)).any())

    def over_tcp_limit(self, pose: Floats) -> bool:
        return bool(((pose[:3] < self.set.fence_low) | (pose[:3] > self.set.fence_high)).any())

    def configure(self, settings: Settings, *, resets: bool) -> bool:
        self.set = settings
        if resets:
            self._reset()
        return True

    def gripper_enable(self, on: bool) -> None:
        pass

    def gripper_speed(self, rpm: float) -> None:
        pass

    def gripper_move(self, opening_m: float) -> None:
        self.opening = opening_m

    def gripper_clear(self) -> None:
        self.gripper_error = 0

    def answering(self) -> bool:
        return not self.silent

    def fail(self, code: int) -> None:
        """Raises an error of the box."""
        self.error, self.state = code, 4

    def _reset(self) -> None:
        self.state = 4 if self.state == 4 else 5

    def _frames(self) -> Frames:
        return Frames.of(self.set.tcp_offset, self.set.world_offset)

    def _ready(self, modes: tuple[int, ...]) -> bool:
        return self.mode in modes and self.state < 4 and all(self.on) and not self.error

    def _queue(self, goal: Floats | None, modes: tuple[int, ...]) -> int:
        if not self._ready(modes):
            return 0
        if goal is None or self.over_joint_limit(goal):
            self.fail(21 if goal is None else 23)
            return 0
        self.joints = goal
        self.number += 1
        for kind in (1, 2):
            for listener in self.listeners:
                listener(TaskEvent(number=self.number, kind=kind, code=0, t_ns=time.monotonic_ns()))
        return self.number
