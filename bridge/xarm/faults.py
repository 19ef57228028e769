"""The controller's errors: what each means, what to do, and who may clear it. Called by the arm and its recovery.

Source: UFACTORY xArm user manual, controller error codes; meanings in own words. The class is a decision of this
project; its reason stands beside each entry. What the table does not know is for a person.
"""

from dataclasses import dataclass

from core.arm import Clearing
from core.errors import DeviceFault

FELT_COLLISION = 31
"""Code by which the controller says that it felt a collision."""
AUTO, PERSON, NEVER = Clearing.AUTOMATIC, Clearing.OPERATOR, Clearing.NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One error of the controller."""

    code: int
    meaning: str
    remedy: str
    clearing: Clearing
    why: str
    """Why it is in that class."""

    def as_error(self, device: str) -> DeviceFault:
        """Returns it as the error to raise."""
        return DeviceFault(f"{self.meaning} [clearing: {self.clearing}]", device=device, code=self.code,
                           remedy=self.remedy)  # fmt: skip


_ROWS = (
    (1, "emergency stop button of the control box is pressed", "look at the cell, release the button, clear, re-arm",
     PERSON, "a person pressed it, so a person ends it"),
    (2, "emergency stop input of the control box is open", "find out what opened it, close it, clear, re-arm",
     PERSON, "another safety device asked for it"),
    (3, "emergency stop of the three-state switch", "release the switch, clear, re-arm",
     PERSON, "a person pressed it"),
    (10, "a servo reports an error", "look at the servo codes in the vendor's tool",
     PERSON, "hardware: the cause must be seen first"),
    *((10 + joint, f"servo of joint {joint} reports an error", "look at the servo code in the vendor's tool",
       PERSON, "hardware: the cause must be seen first") for joint in range(1, 8)),
    (18, "no answer from the force-torque sensor", "check its cable, or switch the sensor off in the configuration",
     PERSON, "a sensor that the limits count on is missing"),
    (19, "no answer from the end effector", "check the gripper's cable and baud rate",
     PERSON, "what is gripped may have been dropped"),
    (21, "no inverse kinematics", "lead the arm elsewhere",
     AUTO, "a command was refused; the arm stands still and nothing was hit"),
    (22, "about to collide with itself", "lead the arm elsewhere; by hand in manual mode if it stays",
     AUTO, "predicted, not felt: the arm stopped before; it starts again at the measured pose"),
    (23, "a joint passed its limit", "lead the joint back; in the vendor's tool if it stays",
     AUTO, "the arm stopped at the limit; our wall lets it only go back"),
    (24, "a joint would be too fast", "lead it slower or farther from a singularity",
     AUTO, "a command was refused; nothing was hit"),
    (25, "planning failed", "lead it slower or elsewhere",
     AUTO, "a command was refused; nothing was hit"),
    (26, "the controller's real-time system failed", "restart the control box; ask the vendor if it stays",
     PERSON, "the controller itself is in doubt"),
    (27, "the controller had no reply from a part of the arm", "restart the control box",
     PERSON, "communication inside the arm is in doubt"),
    (28, "no answer from the end module", "restart the control box, check the gripper",
     PERSON, "what is gripped may have been dropped"),
    (29, "another error of the controller", "see the controller's log", PERSON, "unknown"),
    (30, "measured speed over the limit", "ask the vendor",
     PERSON, "the arm moved faster than told"),
    (FELT_COLLISION, "collision: more current than the motion explains",
     "look what was hit; check load and sensitivity",
     AUTO, "felt contact is this project's daily work: it stops, and goes on at the measured pose, a few times only"),
    (32, "a circle could not be computed", "correct the command", PERSON, "this program draws no circles"),
    (33, "the controller's inputs and outputs failed", "check their wiring, restart", PERSON, "hardware"),
    (34, "recording took too long", "stop recording", PERSON, "this program records nothing on the box"),
    (35, "the tool reached the safety boundary", "lead it back inside; by hand in manual mode if it stays",
     AUTO, "the fence worked and the arm stands; our own box lies inside the fence and leads back"),
    (36, "too many delayed commands", "wait", PERSON, "this program sends none"),
    (37, "unexpected motion in manual mode", "check load and mounting", PERSON, "load or mounting is set wrong"),
    (38, "a joint angle is implausible", "switch off with the emergency stop, ask the vendor",
     NEVER, "the arm does not know where it is"),
    (39, "power board: no communication", "switch off, ask the vendor", NEVER, "power is out of control"),
    (40, "no joint path to the target", "lead it elsewhere", PERSON, "planned moves are not ours"),
    (50, "force-torque sensor: reading failed", "check the sensor", PERSON, "a sensor limits count on is missing"),
    (51, "force-torque sensor: mode failed", "check the sensor", PERSON, "a sensor limits count on is missing"),
    (52, "force-torque sensor: zero failed", "set its zero with the tool free", PERSON, "its values mean nothing"),
    (53, "force-torque sensor: overload", "look what was hit, check the sensor", PERSON, "it may be damaged"),
    (60, "the tool would be too fast", "lead it slower",
     AUTO, "a command was refused; nothing was hit"),
    (110, "base board: no communication", "switch off, ask the vendor", NEVER, "the arm's own wiring failed"),
    (111, "control box bus: no communication", "switch off, ask the vendor", NEVER, "the box's own wiring failed"),
)  # fmt: skip
_TABLE = {
    code: Fault(code=code, meaning=meaning, remedy=remedy, clearing=clearing, why=why)
    for code, meaning, remedy, clearing, why in _ROWS
}


def fault(code: int) -> Fault:
    """Returns what is known of an error of the controller, also for codes nobody documented.

    Args:
        code: As read from the controller, not 0.
    """
    return _TABLE.get(code) or Fault(
        code=code,
        meaning="an error that is not in the table",
        remedy="look it up in the vendor's manual, then clear it by hand",
        clearing=PERSON,
        why="unknown means hold",
    )


def known_faults() -> tuple[Fault, ...]:
    """Returns every entry of the table, by code."""
    return tuple(_TABLE.values())
