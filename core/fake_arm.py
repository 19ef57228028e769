"""An arm that is product: it follows every target at once, without physics. Use it in your own tests.

with FakeArm(clock) as arm:
    arm.arm()
    arm.stream(target, 1.0)
"""

from types import TracebackType
from typing import Self

import numpy as np

from core.arm import ArmMode, ArmState, ArmStatus, Clearing
from core.arrays import Floats, floats, in_range
from core.clock import Clock
from core.errors import DeviceError, DeviceFault, DeviceNotConnected
from core.kinematics import HOME_RAD, forward

_DEVICE = "FakeArm"


class FakeArm:
    """A `core.ports.JointArm` in memory.

    Args:
        clock: Stamps its measurements.
        attempts: Automatic clearings it allows.
    """

    def __init__(self, clock: Clock, *, attempts: int = 3) -> None:
        self._clock, self._attempts = clock, attempts
        self._mode = ArmMode.OFFLINE
        self._fault_code = 0
        self._clearing: Clearing | None = None
        self._joints: Floats = np.array(HOME_RAD)
        self._opening = 1.0
        self.sent: list[Floats] = []
        """Every joint target it was sent (J,) [rad]."""
        self.holds = 0
        """How often it was told to hold."""

    def __enter__(self) -> Self:
        self._mode = ArmMode.IDLE
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.hold()
        self._mode = ArmMode.OFFLINE

    def state(self) -> ArmState:
        """Returns where it is, measured now.

        Raises:
            DeviceNotConnected: Not entered.
        """
        if self._mode is ArmMode.OFFLINE:
            raise DeviceNotConnected("not linked", device=_DEVICE, remedy="enter it with `with`")
        pos, quat = forward(self._joints[None])
        status = ArmStatus(
            mode=self._mode,
            fault_code=self._fault_code,
            fault=f"fault {self._fault_code}" if self._fault_code else "",
            clearing=self._clearing,
            attempts_left=self._attempts,
            simulated=True,
        )
        return ArmState(
            t_ns=self._clock.now_ns(),
            joint_pos=self._joints,
            joint_vel=np.zeros(7),
            joint_effort=np.zeros(7),
            tcp_pos_in_base=pos[0],
            tcp_quat_xyzw_in_base=quat[0],
            gripper_opening=self._opening,
            status=status,
        )

    def arm(self) -> None:
        """Makes it follow.

        Raises:
            DeviceFault: Stopped or in a fault.
        """
        if self._mode not in (ArmMode.IDLE, ArmMode.READY):
            raise DeviceFault(f"is {self._mode}", device=_DEVICE, code=self._fault_code, remedy="clear or reset first")
        self._mode = ArmMode.READY

    def stream(self, joint_target: Floats, gripper_opening: float) -> Floats:
        """Goes to `joint_target` (J,) [rad] at once.

        Raises:
            DeviceError: Not armed.
        """
        if self._mode is not ArmMode.READY:
            raise DeviceError(f"is {self._mode}, not ready", device=_DEVICE, remedy="arm it first")
        self._joints = floats("joint_target [rad]", joint_target, (7,))
        self._opening = in_range("gripper_opening", gripper_opening, 0.0, 1.0)
        self.sent.append(self._joints)
        return self._joints

    def hold(self) -> None:
        """Counts the call; a fake never drifts."""
        self.holds += 1

    def stop(self) -> None:
        """Latches a stop."""
        self._mode = ArmMode.STOPPED

    def reset_stop(self) -> None:
        """Releases a latched stop; it is idle then."""
        if self._mode is ArmMode.STOPPED:
            self._mode = ArmMode.IDLE

    def clear_fault(self, *, by_person: bool) -> None:
        """Clears the fault if who asks may.

        Raises:
            DeviceFault: The fault's class or the budget forbids it.
        """
        if self._mode is not ArmMode.FAULT:
            return
        if self._clearing is Clearing.NEVER or (not by_person and self._clearing is not Clearing.AUTOMATIC):
            raise DeviceFault("may not be cleared so", device=_DEVICE, code=self._fault_code, remedy="ask a person")
        if not by_person and not self._attempts:
            raise DeviceFault("no attempts left", device=_DEVICE, code=self._fault_code, remedy="ask a person")
        self._attempts -= not by_person
        self._mode, self._fault_code, self._clearing = ArmMode.IDLE, 0, None

    def fail(self, code: int, clearing: Clearing) -> None:
        """Puts it into a fault, as a controller would."""
        self._mode, self._fault_code, self._clearing = ArmMode.FAULT, code, clearing

    def push(self, joint_pos: Floats) -> None:
        """Puts it somewhere else, as an outer force would, shape (J,) [rad]."""
        self._joints = floats("joint_pos [rad]", joint_pos, (7,))
