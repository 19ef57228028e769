"""The door between the wire (`sim.twin.server`) and the simulated control box (`sim.twin.box`).

Everything here is SI and radians; millimetres and byte orders end in the wire layer. All calls come from one thread,
the twin's event loop; none blocks. Poses are six numbers: x y z [m] and roll pitch yaw [rad], fixed axes
(R = Rz(yaw) Ry(pitch) Rx(roll)), of the tool centre point (with the TCP offset) in base (with the world offset).
Angles that the client left open arrive as NaN or infinity and mean "as it is". Source: UFACTORY xArm user manual.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from core.arrays import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """Speed and acceleration of one planned move."""

    speed: float
    """[rad/s] for joint moves, [m/s] for straight ones."""
    acceleration: float
    """[rad/s^2] or [m/s^2]."""
    radius: float = -1.0
    """Blend radius [m or rad]; negative stops at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the on-box safety and the tool are set to; read back by the wire."""

    tcp_offset: Floats
    """Shape (6,) [m, rad], flange to tool centre point."""
    load_kg: float
    load_com: Floats
    """Shape (3,) [m]."""
    world_offset: Floats
    """Shape (6,) [m, rad]."""
    gravity: Floats
    """Direction, shape (3,)."""
    collision_sensitivity: int
    """0 (off) to 5."""
    teach_sensitivity: int
    """1 to 5."""
    collision_rebound: bool
    self_collision: bool
    tool_model: int
    reduced: bool
    fence: bool
    fence_low: Floats
    """Shape (3,) [m]."""
    fence_high: Floats
    """Shape (3,) [m]."""
    reduced_tcp_speed: float
    """[m/s]."""
    reduced_joint_speed: float
    """[rad/s]."""
    reduced_joint_range: Floats
    """Shape (7, 2) [rad]."""
    tcp_jerk: float
    """[m/s^3]."""
    tcp_acceleration: float
    """Largest [m/s^2]."""
    joint_jerk: float
    """[rad/s^3]."""
    joint_acceleration: float
    """Largest [rad/s^2]."""
    allow_approximate: bool
    continuous_cartesian: bool
    simulation: bool
    """Whether the client set the box to simulation; stays False unless asked."""
    ft_enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxState:
    """One instant of the box, all that replies and reports are made of."""

    t_ns: int
    """Monotonic [ns]."""
    mode: int
    state: int
    """As reported: 1 in motion, 2 ready, 3 paused, 4 stopped, 5 changed, 6 decelerating."""
    error: int
    warning: int
    queued: int
    """Commands waiting or running (cmdnum)."""
    enabled: tuple[bool, ...]
    """Servo on, by joint."""
    released: tuple[bool, ...]
    """Brake released, by joint."""
    joint_pos: Floats
    """Measured, shape (7,) [rad]."""
    joint_vel: Floats
    """Measured, shape (7,) [rad/s]."""
    joint_effort: Floats
    """Of the servos, shape (7,) [N m]."""
    joint_target: Floats
    """Commanded, shape (7,) [rad]."""
    pose: Floats
    """Measured, shape (6,) [m, rad]."""
    tcp_speed: float
    """[m/s]."""
    wrench: Floats
    """External force and torque at the tool, shape (6,) [N, N m]."""
    settings: Settings
    gripper_opening_m: float
    """Between the pads [m]."""
    gripper_moving: bool
    gripper_holds: bool
    """Whether the pads met something before they reached their target."""
    gripper_error: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """A queued command began or ended: what feedback frames tell."""

    number: int
    """As returned when it was queued."""
    kind: int
    """1 began, 2 ended or was discarded, 4 another trigger."""
    code: int
    """0 done, 1 failed, 2 discarded."""
    t_ns: int


class Box(Protocol):
    """The simulated control box. Queueing calls return the command's number; others return True when accepted.

    A refused call (wrong mode, not ready, out of range) changes nothing but `error` or `warning`. The number of a
    refused queueing call is 0.
    """

    def now(self) -> BoxState:
        """Returns how the box is at this instant; cheap, it is called for every reply."""
        ...

    def standing(self) -> tuple[int, int, bool]:
        """Returns error, warning, and whether it can move: the status of every reply, so nothing is worked out here."""
        ...

    def on_task(self, listener: Callable[[TaskEvent], None]) -> None:
        """Has `listener` called when a queued command begins and ends, from the event loop's thread."""
        ...

    def enable(self, joint: int, on: bool) -> None:
        """Servo of joint 1 to 7, or 8 for all, on or off."""
        ...

    def set_state(self, state: int) -> bool:
        """Asks for a state: 0 ready, 3 pause, 4 stop, 6 decelerated stop."""
        ...

    def set_mode(self, mode: int) -> bool:
        """Changes the mode, which aborts motion and leads to state 5 from ready."""
        ...

    def clear_error(self) -> bool:
        """Clears the error if its cause is gone."""
        ...

    def clear_warning(self) -> None:
        """Clears the warning."""
        ...

    def warn(self, code: int) -> None:
        """Raises a warning, e.g. 13 for an unknown command."""
        ...

    def move_joints(self, target: Floats, motion: Motion, *, relative: bool = False) -> int:
        """Queues a joint move to, or by, `target` (7,) [rad]."""
        ...

    def move_line(self, pose: Floats, motion: Motion, *, in_tool: bool = False, relative: bool = False) -> int:
        """Queues a straight move.

        Args:
            pose: Goal (6,), or with `relative` what is added to each of the six numbers.
            motion: Speed and acceleration.
            in_tool: `pose` is in the tool frame where the move begins.
            relative: `pose` is added to the pose where the move begins.
        """
        ...

    def move_circle(self, through: Floats, to: Floats, share: float, motion: Motion) -> int:
        """Queues an arc from here through `through` (6,) and `to` (6,), for `share` of the whole circle, 1 is once."""
        ...

    def move_home(self, motion: Motion) -> int:
        """Queues a joint move to all joints at zero."""
        ...

    def pause(self, seconds: float) -> int:
        """Queues standing still [s]."""
        ...

    def servo_joints(self, target: Floats) -> bool:
        """Takes the newest joint target (7,) [rad] of mode 1."""
        ...

    def servo_pose(self, pose: Floats, *, in_tool: bool) -> bool:
        """Takes the newest tool pose (6,) of mode 1, in base or in the present tool frame."""
        ...

    def joint_velocity(self, velocity: Floats, duration_s: float) -> bool:
        """Velocity (7,) [rad/s] for `duration_s` [s]; 0 is for ever."""
        ...

    def tcp_velocity(self, velocity: Floats, *, in_tool: bool, duration_s: float) -> bool:
        """Velocity (6,) [m/s, rad/s] for `duration_s` [s]; 0 is for ever."""
        ...

    def inverse(self, pose: Floats) -> Floats | None:
        """Joint positions (7,) [rad] of a tool pose, None without a solution."""
        ...

    def forward(self, joint_pos: Floats) -> Floats:
        """Tool pose (6,) of joint positions (7,) [rad]."""
        ...

    def over_joint_limit(self, joint_pos: Floats) -> bool:
        """Whether joint positions (7,) [rad] are out of range."""
        ...

    def over_tcp_limit(self, pose: Floats) -> bool:
        """Whether a tool pose (6,) is outside the boundary in force."""
        ...

    def configure(self, settings: Settings, *, resets: bool) -> bool:
        """Takes new settings; `resets` when the real box aborts motion and goes to state 5 by such a change."""
        ...

    def gripper_enable(self, on: bool) -> None:
        """Gripper motor on or off."""
        ...

    def gripper_speed(self, rpm: float) -> None:
        """Speed of the coming gripper moves [r/min]."""
        ...

    def gripper_move(self, opening_m: float) -> None:
        """Moves to an opening between the pads [m] at the set speed; the force is limited, contact ends it."""
        ...

    def gripper_clear(self) -> None:
        """Clears the gripper's error."""
        ...

    def answering(self) -> bool:
        """False while a stall or an unplugged cable is injected: the wire then says nothing."""
        ...
