"""A perfect joint-controlled arm in memory, for tests and for users' own: it is where it was told to be, at once."""

from types import TracebackType
from typing import Self

import numpy as np

from core.arm import ArmMode, ArmState, ArmStatus, Clearing
from core.arrays import Floats, floats
from core.clock import Clock
from core.errors import DeviceFault, DeviceNotConnected
from core.kinematics import HOME_RAD, XARM7, forward

COOLDOWN_S = 0.5
"""How long a stop stays latched at least [s]."""


class FakeArm:
    """An xArm 7 that obeys perfectly; implements `core.ports.JointArm`. Faults are what a test makes of them.

    Args:
        clock: Where time comes from.
        joint_pos: Where it stands at first, shape (7,) [rad]; default: home.
    """

    def __init__(self, clock: Clock, joint_pos: Floats = HOME_RAD) -> None:
        self._clock = clock
        self._pos = floats("joint_pos [rad]", joint_pos, (len(XARM7.joint_names),)).copy()
        self._opening = 1.0
        self._mode = ArmMode.OFFLINE
        self._fault: Clearing | None = None
        self._stopped_ns = 0
        self.sent: list[Floats] = []
        """Every target it was given, clipped to its joint limits, oldest first, (7,) [rad]."""
        self.holds = 0
        """How often it was told to hold."""

    def __enter__(self) -> Self:
        self._mode = ArmMode.IDLE
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._mode = ArmMode.OFFLINE

    def fail(self, clearing: Clearing) -> None:
        """Makes it report a fault of that class."""
        self._fault, self._mode = clearing, ArmMode.FAULT

    def state(self) -> ArmState:
        """Returns where it stands, at the clock's time."""
        self._require_link()
        pos, quat = forward(self._pos[None])
        return ArmState(
            t_ns=self._clock.now_ns(),
            joint_pos=self._pos,
            joint_vel=np.zeros(7),
            joint_effort=np.zeros(7),
            tcp_pos_in_base=pos[0],
            tcp_quat_xyzw_in_base=quat[0],
            gripper_opening=self._opening,
            status=ArmStatus(
                mode=self._mode,
                fault_code=31 if self._fault else 0,
                fault="made by a test" if self._fault else "",
                clearing=self._fault,
                attempts_left=1,
                simulated=True,
            ),
        )

    def arm(self) -> None:
        """Makes it ready; it stays where it is."""
        self._require_link()
        if self._mode not in (ArmMode.IDLE, ArmMode.READY):
            raise self._refusal("arm", "clear the fault or reset the stop first")
        self._mode = ArmMode.READY

    def stream(self, joint_target: Floats, gripper_opening: float) -> Floats:
        """Goes to a target (7,) [rad], clipped to the joint limits; one that is not finite changes nothing."""
        self._require_link()
        if self._mode is not ArmMode.READY:
            raise self._refusal("stream", "arm it first")
        asked = floats("joint_target [rad]", joint_target, self._pos.shape, finite=False)
        if np.isfinite(asked).all():
            self._pos = np.clip(asked, XARM7.joint_low, XARM7.joint_high)
        if np.isfinite(gripper_opening):
            self._opening = float(np.clip(gripper_opening, 0.0, 1.0))
        self.sent.append(self._pos.copy())
        return self._pos.copy()

    def hold(self) -> None:
        """Counts the call; a fake never drifts."""
        self.holds += 1

    def stop(self) -> None:
        """Latches a stop."""
        self._require_link()
        self._mode, self._stopped_ns = ArmMode.STOPPED, self._clock.now_ns()

    def reset_stop(self) -> None:
        """Releases the stop after its cool-down."""
        if self._mode is not ArmMode.STOPPED:
            return
        if self._clock.now_ns() - self._stopped_ns < COOLDOWN_S * 1e9:
            raise self._refusal("reset_stop", f"wait {COOLDOWN_S} s after the stop")
        self._mode = ArmMode.IDLE if self._fault is None else ArmMode.FAULT

    def clear_fault(self, *, by_person: bool) -> None:
        """Clears the fault if its class allows who asks."""
        self._require_link()
        if self._fault is None:
            return
        if self._fault is Clearing.NEVER or (self._fault is Clearing.OPERATOR and not by_person):
            raise self._refusal("clear_fault", "a person or the vendor is needed")
        self._fault, self._mode = None, ArmMode.IDLE

    def _require_link(self) -> None:
        if self._mode is ArmMode.OFFLINE:
            raise DeviceNotConnected("used before it was linked", device="FakeArm", remedy="enter it with `with`")

    def _refusal(self, what: str, remedy: str) -> DeviceFault:
        return DeviceFault(f"{what} while {self._mode}", device="FakeArm", remedy=remedy)
