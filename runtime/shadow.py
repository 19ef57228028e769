"""Watching without driving: what a run may do with the arm, and doors that let measurements in and no command out.

`build_loop` puts the shadow in for every mode but DRIVE; the runtime node uses it for its beat, over an arm it muted.
"""

from contextlib import AbstractContextManager
from dataclasses import replace
from enum import StrEnum
from types import TracebackType
from typing import Self

from core.arm import ArmState
from core.arrays import Floats
from core.errors import DeviceFault
from core.flow import Observation
from core.ports import JointArm, Robot
from core.robots import EE_DELTA, ActionSpace


class RunMode(StrEnum):
    """What a run may do with the arm."""

    DRIVE = "drive"
    """Commands are sent."""
    SHADOW = "shadow"
    """Someone else drives a live arm; what the policy would have sent is decided, guarded and recorded, never sent."""
    READONLY = "readonly"
    """As SHADOW; the arm is not even armed, and its own node is told to send nothing either."""

    @property
    def sends(self) -> bool:
        """Whether commands reach the arm."""
        return self is RunMode.DRIVE


class ShadowRobot:
    """Reads a robot and never tells it anything, not even to hold; implements `core.ports.Robot` and `Stream`.

    In a shadowed step `asked` and `commanded` are what *would* have been sent; `arrived.sent` is the hold that was. An
    arm that does not follow is no fault here: `Observation.fault` is empty.

    Entering and leaving enter and leave the robot underneath. That arms and holds a real arm, so a real arm underneath
    must be muted (`MuteArm`).

    Args:
        robot: Where observations come from.
        space: The action space.
    """

    def __init__(self, robot: Robot, space: ActionSpace = EE_DELTA) -> None:
        self._robot, self._space = robot, space
        self._opening = 1.0

    def __enter__(self) -> Self:
        if isinstance(self._robot, AbstractContextManager):
            self._robot.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if isinstance(self._robot, AbstractContextManager):
            self._robot.__exit__(kind, error, tb)

    def read(self) -> Observation:
        """Returns what the robot measures now; raises what it raises."""
        obs = self._robot.read()
        self._opening = obs.gripper_command
        return replace(obs, fault="", collision=False) if obs.fault else obs

    def send(self, action: Floats) -> Floats:
        """Sends nothing and says so: returns the action (A,) that moves nothing and keeps the gripper.

        Raises:
            ContractError: Wrong shape, NaN or infinity, as the robot itself would.
        """
        self._space.validate("action", action, slack=float("inf"))
        return self._space.still(self._opening)

    def emit(self, *, late: bool) -> None:
        """Sends nothing.

        Args:
            late: Makes no difference.
        """

    def hold(self) -> None:
        """Does nothing: who drives the arm decides when it holds."""


class MuteArm:
    """Passes on what an arm measures and no command to it but a stop; implements `core.ports.JointArm`.

    Args:
        arm: Linked by its owner.
    """

    def __init__(self, arm: JointArm) -> None:
        self._arm = arm

    def state(self) -> ArmState:
        """Returns the newest measurement; raises what the arm raises."""
        return self._arm.state()

    def arm(self) -> None:
        """Does nothing: who only watches needs no armed arm."""

    def stream(self, joint_target: Floats, gripper_opening: float) -> Floats:  # noqa: ARG002, the port's signature
        """Sends nothing; returns where the joints are (J,) [rad].

        Args:
            joint_target: Makes no difference.
            gripper_opening: Makes no difference.
        """
        return self._arm.state().joint_pos

    def hold(self) -> None:
        """Does nothing."""

    def stop(self) -> None:
        """Stops the arm: an emergency stop is obeyed whoever drives."""
        self._arm.stop()

    def reset_stop(self) -> None:
        """Refuses.

        Raises:
            DeviceFault: Always; whoever drives the arm resets it.
        """
        raise _watching("reset a stop")

    def clear_fault(self, *, by_person: bool) -> None:  # noqa: ARG002, the port's signature
        """Refuses.

        Args:
            by_person: Makes no difference.

        Raises:
            DeviceFault: Always; whoever drives the arm clears its faults.
        """
        raise _watching("clear a fault")


def _watching(what: str) -> DeviceFault:
    return DeviceFault(f"cannot {what}: this run only watches", device="arm", remedy="ask whoever drives the arm")
