"""The simulated control box over one physical cell: commands, measurements, settings and gripper.

Implements `sim.twin.face.Box` for the wire; `sim.twin.process` calls `cycle` every 5 ms; `sim.twin.control` injects
faults and starts episodes. All from the event loop's thread.
"""

from collections.abc import Callable

import numpy as np

from core.arrays import Floats
from core.clock import Clock
from core.kinematics import HOME_RAD
from core.worlds import Injection
from sim.twin.cabinet import STOPPED, Cabinet
from sim.twin.face import BoxState, Motion, Settings, TaskEvent
from sim.twin.faults import ERRORS, STALL_S, Faults
from sim.twin.followers import JointGoal, JointVelocity, LineGoal, Streaming, TcpVelocity
from sim.twin.gripper import Gripper
from sim.twin.legs import arc_plan, joint_plan, line_plan, wait_plan
from sim.twin.limits import COLLISION, JOINT_LIMIT, Bounds, collides, fence_depth
from sim.twin.measured import Measured
from sim.twin.motion import JOINT_GOALS, JOINT_RATES, SERVO, TCP_GOALS, TCP_RATES
from sim.twin.pace import joint_pace, tcp_pace
from sim.twin.plant import Plant
from sim.twin.pose import flange, matrix_pose, pose_matrix, solve_flange
from sim.twin.trace import Trace

NO_SOLUTION = 21
"""Error: no joints for a pose."""
CARRIED_RAD = 0.1
"""Servo targets farther than this from an arm that was just put elsewhere are not meant for it [rad]."""
_SEEDS = tuple(HOME_RAD + np.array(turn) for turn in ((1.5, 0.5, 0, 0.5, 0, 0, 0), (-1.5, 0.5, 0, 0.5, 0, 0, 0)))


class SimBox:
    """A control box with an arm; implements `sim.twin.face.Box`. It is switched on with its servos off.

    Args:
        plant: The physical cell.
        clock: The machine's monotonic clock.
    """

    def __init__(self, plant: Plant, clock: Clock) -> None:
        self.plant, self.faults, self.trace = plant, Faults(clock), Trace()
        self._clock, self._t_ns = clock, clock.now_ns()
        self._listeners: list[Callable[[TaskEvent], None]] = []
        self._cabinet = Cabinet(lambda: plant.joint_pos, self.faults, self._tell)
        self._gripper, self._measured = Gripper(), Measured(plant)
        self._now: BoxState | None = None
        self._carried = False

    def cycle(self) -> None:
        """Runs one cycle of 5 ms: motion, physics, what was felt, trace."""
        self._t_ns, self._now = self._clock.now_ns(), None
        box, plant = self._cabinet, self.plant
        target = box.move()
        plant.step(target, self._gripper.step(plant.opening_m, plant.opening_speed))
        self._measured.renew()
        if box.watching and collides(plant.strain, box.settings.collision_sensitivity):
            box.trip(COLLISION)
        self.trace.put(self._t_ns, self._measured.joint_pos, target, (box.state, box.mode, box.error))

    def new_episode(self, seed: int, injection: Injection | None) -> None:
        """Puts another scene on the table and the arm where it starts, with the box ready and still.

        No real arm is ever carried elsewhere in an instant: until a client gets ready again, servo targets that are
        farther than `CARRIED_RAD` from the arm are taken for those of the episode before, and ignored.
        """
        self.faults.clear()
        self.plant.reset(seed, injection)
        self._cabinet.start_over()
        self._carried = True
        self._gripper.place(self.plant.opening_m)
        self._measured.renew()
        self._now = None

    def inject(self, kind: str, duration_s: float) -> None:
        """Makes a fault happen whose kind the wire's process does not have to know of.

        Args:
            kind: One of `sim.twin.faults.ERRORS`, "mode_drop" or "stall".
            duration_s: How long its cause lasts [s]; 0 is as short as it can be.
        """
        self._now = None
        if kind == "mode_drop":
            self._cabinet.lose_mode()
        elif kind == "stall":
            self.faults.silence(duration_s or STALL_S)
        else:
            self.faults.cause(ERRORS[kind], duration_s)
            self._cabinet.trip(ERRORS[kind])

    def power_cycle(self) -> None:
        """Is switched off and on: brakes hold, settings and queue are forgotten."""
        self._cabinet.switch_on()
        self._gripper.error, self._now = 0, None

    def now(self) -> BoxState:
        """Returns how the box is at this instant."""
        if self._now is None:
            self._now = self._look()
        return self._now

    def standing(self) -> tuple[int, int, bool]:
        """Returns error, warning, and whether the arm can move."""
        box = self._cabinet
        return box.error, box.warning, box.state < STOPPED and all(box.enabled)

    def on_task(self, listener: Callable[[TaskEvent], None]) -> None:
        """Has `listener` called when a queued command begins and ends."""
        self._listeners.append(listener)

    def enable(self, joint: int, on: bool) -> None:
        """Servo of joint 1 to 7, or 8 for all, on or off."""
        self._now = None
        self._cabinet.enable(joint, on)

    def set_state(self, state: int) -> bool:
        """Asks for a state: 0 ready, 3 pause, 4 stop, 6 decelerated stop."""
        self._now, self._carried = None, False
        return self._cabinet.set_state(state)

    def set_mode(self, mode: int) -> bool:
        """Changes the mode, which aborts motion and leads to state 5 from ready."""
        self._now = None
        return self._cabinet.set_mode(mode)

    def clear_error(self) -> bool:
        """Clears the error if its cause is gone."""
        self._now = None
        return self._cabinet.clear_error()

    def clear_warning(self) -> None:
        """Clears the warning."""
        self._cabinet.warning, self._now = 0, None

    def warn(self, code: int) -> None:
        """Raises a warning."""
        self._cabinet.warning, self._now = code, None

    def move_joints(self, target: Floats, motion: Motion, *, relative: bool = False) -> int:
        """Queues a joint move, or in mode 6 goes there at once."""
        self._now = None
        pace, box = joint_pace(motion, self._cabinet.settings), self._cabinet
        if not box.may(JOINT_GOALS):
            return box.queue(joint_plan(target, pace, relative=relative))
        now = box.mover.target
        goal = now + target if relative else np.where(np.isfinite(target), target, now)
        follower = self._engaged(JOINT_GOALS, goal)
        if not isinstance(follower, JointGoal):
            return 0
        follower.put(goal, pace.speed, pace.acceleration)
        return box.new_goal()

    def move_line(self, pose: Floats, motion: Motion, *, in_tool: bool = False, relative: bool = False) -> int:
        """Queues a straight move, or in mode 7 goes there at once."""
        self._now = None
        pace, box = tcp_pace(motion, self._cabinet.settings), self._cabinet

        def goal(tool: Floats) -> Floats:
            return placed(tool, pose, in_tool=in_tool, relative=relative)

        if not box.may(TCP_GOALS):
            return box.queue(line_plan(goal, pace, box.mover.frames, lambda m: self._solve(m) is not None))
        end = goal(self._tool_target())
        follower = self._engaged(TCP_GOALS, self._solve(end))
        if not isinstance(follower, LineGoal):
            return 0
        follower.put(end, pace.speed, pace.acceleration)
        return box.new_goal()

    def move_circle(self, through: Floats, to: Floats, share: float, motion: Motion) -> int:
        """Queues an arc from here through two poses, for `share` of the whole circle."""
        self._now = None
        pace, frames = tcp_pace(motion, self._cabinet.settings), self._cabinet.mover.frames
        return self._cabinet.queue(arc_plan(through, to, share, pace, frames))

    def move_home(self, motion: Motion) -> int:
        """Queues a joint move to all joints at zero."""
        self._now = None
        pace = joint_pace(motion, self._cabinet.settings)
        return self._cabinet.queue(joint_plan(np.zeros(7), pace, relative=False))

    def pause(self, seconds: float) -> int:
        """Queues standing still [s]."""
        self._now = None
        return self._cabinet.queue(wait_plan(seconds))

    def servo_joints(self, target: Floats) -> bool:
        """Takes the newest joint target of mode 1; out of range it stops with an error."""
        goal = np.where(np.isfinite(target), target, self._cabinet.mover.target)
        return self._cabinet.may(SERVO) and self._stream(goal)

    def servo_pose(self, pose: Floats, *, in_tool: bool) -> bool:
        """Takes the newest tool pose of mode 1; without a solution it stops with an error."""
        if not self._cabinet.may(SERVO):
            return False
        return self._stream(self._solve(placed(self._tool_target(), pose, in_tool=in_tool, relative=False)))

    def joint_velocity(self, velocity: Floats, duration_s: float) -> bool:
        """Velocity (7,) [rad/s] of mode 4 for a time [s], at most that of the arm."""
        if not self._cabinet.may(JOINT_RATES):
            return False
        most = Bounds.of(self._cabinet.settings).joint_speed
        follower = self._engaged(JOINT_RATES, self._cabinet.mover.target)
        if isinstance(follower, JointVelocity):
            follower.put(np.clip(_finite(velocity), -most, most), duration_s)
        return True

    def tcp_velocity(self, velocity: Floats, *, in_tool: bool, duration_s: float) -> bool:
        """Velocity (6,) [m/s, rad/s] of mode 5 for a time [s], at most that of the tool."""
        if not self._cabinet.may(TCP_RATES):
            return False
        most, wanted = Bounds.of(self._cabinet.settings).tcp_speed, _finite(velocity)
        follower = self._engaged(TCP_RATES, self._cabinet.mover.target)
        if isinstance(follower, TcpVelocity):
            share = min(1.0, most / max(float(np.linalg.norm(wanted[:3])), 1e-9))
            follower.put(wanted * share, duration_s, in_tool=in_tool)
        return True

    def inverse(self, pose: Floats) -> Floats | None:
        """Returns joint positions (7,) of a tool pose, None without a solution."""
        return self._solve(pose_matrix(pose)) if np.isfinite(pose).all() else None

    def forward(self, joint_pos: Floats) -> Floats:
        """Returns the tool pose (6,) of joint positions (7,)."""
        return matrix_pose(self._cabinet.mover.frames.tool_of(flange(joint_pos)[0]))

    def over_joint_limit(self, joint_pos: Floats) -> bool:
        """Returns whether joint positions (7,) are out of the range in force."""
        return Bounds.of(self._cabinet.settings).over(joint_pos)

    def over_tcp_limit(self, pose: Floats) -> bool:
        """Returns whether a tool pose (6,) is outside the fence, when it is on."""
        frames, settings = self._cabinet.mover.frames, self._cabinet.settings
        tool = frames.tool_position(frames.flange_of(pose_matrix(pose)))
        return settings.fence and fence_depth(tool, settings) > 0

    def configure(self, settings: Settings, *, resets: bool) -> bool:
        """Takes new settings; with `resets` motion is aborted."""
        self._now = None
        self._cabinet.take(settings)
        if resets:
            self._cabinet.abort()
        return True

    def gripper_enable(self, on: bool) -> None:
        """Gripper motor on or off."""
        self._gripper.enabled = on

    def gripper_speed(self, rpm: float) -> None:
        """Speed of the coming gripper moves [r/min]."""
        self._gripper.rpm = max(rpm, 1.0)

    def gripper_move(self, opening_m: float) -> None:
        """Moves to an opening between the pads [m] at the set speed; contact ends it."""
        self._now = None
        self._gripper.move(opening_m)

    def gripper_clear(self) -> None:
        """Clears the gripper's error."""
        self._gripper.error, self._now = 0, None

    def answering(self) -> bool:
        """Returns False while a stall or an unplugged cable is injected."""
        return not self.faults.silent()

    def _engaged(self, mode: int, goal: Floats | None) -> object:
        """Returns the follower of a mode, or None after an error when the goal (7,) is none or out of range."""
        code = NO_SOLUTION if goal is None else JOINT_LIMIT if self.over_joint_limit(goal) else 0
        if not code:
            return self._cabinet.mover.engage(mode)
        self._cabinet.trip(code)
        self._now = None
        return None

    def _stream(self, goal: Floats | None) -> bool:
        if goal is not None and self._carried:
            self._carried = bool(np.abs(goal - self._cabinet.mover.target).max() > CARRIED_RAD)
        if self._carried:
            return False
        follower = self._engaged(SERVO, goal)
        if goal is None or not isinstance(follower, Streaming):
            return False
        follower.put(goal)
        return True

    def _tool_target(self) -> Floats:
        mover = self._cabinet.mover
        return mover.frames.tool_of(flange(mover.target)[0])

    def _solve(self, tool: Floats) -> Floats | None:
        box = self._cabinet
        bounds, goal = Bounds.of(box.settings), box.mover.frames.flange_of(tool)
        return solve_flange(goal, (box.mover.target, *_SEEDS), bounds.joint_low, bounds.joint_high)

    def _tell(self, number: int, kind: int, code: int) -> None:
        event = TaskEvent(number=number, kind=kind, code=code, t_ns=self._clock.now_ns())
        for listener in self._listeners:
            listener(event)

    def _look(self) -> BoxState:
        box, measured, gripper = self._cabinet, self._measured, self._gripper
        pose, speed, wrench = measured.tool(box.mover.frames)
        enabled = tuple(box.enabled)
        return BoxState(
            t_ns=self._t_ns,
            mode=box.mode,
            state=box.state,
            error=box.error,
            warning=box.warning,
            queued=box.queued,
            enabled=enabled,
            released=enabled,
            joint_pos=measured.joint_pos,
            joint_vel=measured.joint_vel,
            joint_effort=measured.joint_effort,
            joint_target=box.mover.target.copy(),
            pose=pose,
            tcp_speed=speed,
            wrench=wrench,
            settings=box.settings,
            gripper_opening_m=gripper.opening_m,
            gripper_moving=gripper.moving,
            gripper_holds=gripper.holds,
            gripper_error=gripper.error,
        )


def placed(tool: Floats, pose: Floats, *, in_tool: bool, relative: bool) -> Floats:
    """Returns the tool matrix (4, 4) that a commanded pose means.

    Args:
        tool: The tool where the command begins, shape (4, 4).
        pose: Shape (6,) [m, rad]; what is not finite stays as it is.
        in_tool: `pose` is in the tool's own frame.
        relative: `pose` is added to the numbers of the tool's pose.
    """
    if in_tool:
        return np.asarray(tool @ pose_matrix(_finite(pose)))
    now = matrix_pose(tool)
    return pose_matrix(now + _finite(pose) if relative else np.where(np.isfinite(pose), pose, now))


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, 0.0)
