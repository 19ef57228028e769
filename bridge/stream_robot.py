"""Any joint-streamed arm behind the loop's `Robot` door: end-effector actions in, joint points out, one every beat.

Called by the wiring: the loop reads and sends at 20 Hz, the beat calls `emit` at 100 Hz. An action leads the tool as
it does in the simulated cell (`core.servo`, `core.kinematics`), and its way is cut into one point a beat. The way
starts at the point emitted last, so a beat that was missed delays the motion and never makes it jump. After anything
that stopped the arm, targets start again at the measured pose.
"""

from types import TracebackType
from typing import Self

import numpy as np

from bridge.sight import Frame, ImageSource, Sight
from core.arm import ArmMode, ArmState
from core.arrays import Floats
from core.clock import Clock
from core.errors import DeviceNotConnected
from core.flow import Observation
from core.kinematics import forward, ik_step
from core.ports import JointArm
from core.robots import EE_DELTA
from core.servo import REACH_M, follow, lead


class StreamRobot:
    """An xArm 7 in real time; implements `core.ports.Robot` and `core.ports.Stream`.

    Args:
        arm: The arm; linked by its owner, armed when this robot is entered.
        images: Where pictures come from; None: no pictures.
        clock: The loop's clock.
        instruction: What the robot is told to do.
        beats: Points in which an action's way is cut: beats in one control period.
        reach_m: Farthest the commanded position may run ahead of the tool [m]: by its lag more than in simulation.
        pace: Share of the trained speed at which the loop sends actions; the arm then lags as much more in time.
    """

    def __init__(
        self, arm: JointArm, images: ImageSource | None, clock: Clock, *,
        instruction: str, beats: int, reach_m: float = REACH_M, pace: float = 1.0,
    ) -> None:  # fmt: skip
        self._arm, self._images, self._clock = arm, images, clock
        self._instruction, self._beats, self._reach_m = instruction, beats, reach_m
        self._pace = pace
        self._sight = Sight()
        self._entered = False
        self._way: _Way | None = None
        self._gripper = 1.0
        self._since_ns = 0

    def __enter__(self) -> Self:
        self._sight.reset()
        self._since_ns = self._clock.now_ns()
        state = self._arm.state()
        if state.status.mode is ArmMode.IDLE:
            self._arm.arm()
            state = self._arm.state()
        self._gripper = float(np.clip(state.gripper_opening, 0.0, 1.0))
        self._way, self._entered = None, True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.hold()
        self._entered = False

    def read(self) -> Observation:
        """Returns what is known now, with the times it is from.

        Raises:
            DeviceNotConnected: Not entered, or the arm never spoke.
        """
        self._require_entered()
        state = self._arm.state()
        frames = self._look(state)
        return Observation(
            t_ns=state.t_ns,
            joint_pos=state.joint_pos,
            joint_vel=state.joint_vel,
            tcp_pos_in_base=state.tcp_pos_in_base,
            tcp_quat_xyzw_in_base=state.tcp_quat_xyzw_in_base,
            gripper_opening=state.gripper_opening,
            gripper_command=self._gripper,
            wrench_in_tcp=state.wrench_in_tcp,
            images={name: frame.image for name, frame in frames.items()},
            image_t_ns={name: frame.t_ns for name, frame in frames.items()},
            instruction=self._instruction,
            fault=_trouble(state),
            collision=state.status.collision,
        )

    def send(self, action: Floats) -> Floats:
        """Makes `action` (A,) the one that the coming beats follow; returns what is truly followed (A,).

        Raises:
            ContractError: Wrong shape, NaN or infinity; nothing moves then.
            DeviceNotConnected: Not entered.
        """
        self._require_entered()
        state = self._arm.state()
        sent = EE_DELTA.clip(EE_DELTA.validate("action", action, slack=np.inf))
        if state.status.mode is not ArmMode.READY:
            self._way = None
            return EE_DELTA.still(self._gripper)
        way = self._way or _Way.at(state)
        pos, quat = self._led(way, sent, state)
        self._gripper = float(sent[-1])
        self._way = way.next(pos, quat)
        return sent

    def emit(self, *, late: bool) -> None:
        """Sends the next point of the present action; at its end, or when the beat is late, the last one again.

        Args:
            late: Whether this beat began too late: the arm waits then, it does not catch up.

        Raises:
            DeviceError: The arm is gone. One that is there but does not follow is told nothing.
        """
        if self._way is None:
            return
        if self._arm.state().status.mode is not ArmMode.READY:
            self._way = None
            return
        if not late:
            self._way.advance(self._beats, self._pace)
        self._arm.stream(self._way.point, self._gripper)

    def hold(self) -> None:
        """Stops where it is and keeps the gripper; the next action starts at the pose measured then."""
        self._way = None
        self._arm.hold()

    def _led(self, way: "_Way", action: Floats, state: ArmState) -> tuple[Floats, Floats]:
        """Returns the tool pose that an action leads to: (1, 3) [m] and (1, 4).

        An action leads the arm that policies were trained on, which a model follows here; the real one, which lags
        more, bounds by how much it may be ahead.
        """
        tool_pos, tool_quat = forward(way.trained[None])
        pos, quat = lead(way.goal_pos, way.goal_quat, action[None], tool_pos, tool_quat)
        ahead = pos[0] - state.tcp_pos_in_base
        length = float(np.linalg.norm(ahead))
        return (state.tcp_pos_in_base + ahead * min(1.0, self._reach_m / max(length, 1e-9)))[None], quat

    def _look(self, state: ArmState) -> dict[str, Frame]:
        """Returns the pictures taken since it was entered: what was before is another scene."""
        newest = {} if self._images is None else self._images.newest()
        fresh = {name: frame for name, frame in newest.items() if frame.t_ns >= self._since_ns}
        return dict(self._sight.look(fresh, state.joint_pos))

    def _require_entered(self) -> None:
        if not self._entered:
            raise DeviceNotConnected("used before it was connected", device="robot", remedy="enter it with `with`")


class _Way:
    """Where the tool is led, the joint points on the way there, and where the trained-on arm would be by now."""

    def __init__(
        self, goal_pos: Floats, goal_quat: Floats, *, start: Floats, target: Floats, trained: Floats
    ) -> None:  # fmt: skip
        self.goal_pos, self.goal_quat = goal_pos, goal_quat
        self._start, self._target = start, target
        self._beat = 0
        self.point = self.led = start
        self.trained = trained

    @staticmethod
    def at(state: ArmState) -> "_Way":
        """Returns the way of an arm that stays where it was measured."""
        here = np.array(state.joint_pos)
        tool = state.tcp_pos_in_base[None], state.tcp_quat_xyzw_in_base[None]
        return _Way(*tool, start=here, target=here, trained=here)

    def next(self, goal_pos: Floats, goal_quat: Floats) -> "_Way":
        """Returns the way from the point sent last to a new goal (1, 3) [m], (1, 4)."""
        target = ik_step(self._target[None], goal_pos, goal_quat)[0]
        return _Way(goal_pos, goal_quat, start=self.led, target=target, trained=self.trained)

    def advance(self, beats: int, pace: float) -> None:
        """Moves the point on by one of `beats`; at the end of the way it comes to rest there.

        The arm that policies were trained on lags behind what it is led to. At a share of its speed it must lag so much
        longer for the way to be the same, of which the real servos bring their own part: the point is led by the rest.
        """
        self._beat = min(self._beat + 1, beats)
        led = self._start + (self._target - self._start) * (self._beat / beats)
        self.led = led
        self.trained = follow(self.trained, led, pace * EE_DELTA.dt_s / beats)
        self.point = self.trained + pace * (led - self.trained)


def _trouble(state: ArmState) -> str:
    status = state.status
    if status.mode is ArmMode.READY:
        return ""
    return status.fault or f"the arm is {status.mode}"
