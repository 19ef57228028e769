"""Which box the twin claims to be: firmware, serial numbers, and what that firmware knows.

Called by `sim.twin.server` and the register handlers. The version gates are those that the xarm-python-sdk 1.18.4 has
in its code; what the real firmware did at these versions beyond that is not known here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import unknown_name

Version = tuple[int, int, int]

SINCE: Mapping[int, Version] = {
    83: (1, 8, 100), 107: (2, 7, 100), 200: (1, 8, 3), 230: (2, 3, 0), 231: (2, 3, 0), 232: (2, 3, 0),
    233: (2, 3, 0), 234: (2, 3, 0), 253: (2, 0, 102), 254: (2, 0, 102),
}  # fmt: skip
"""Functions that came later, by number, with the first firmware that knows them."""
UNTIL: Mapping[int, Version] = {150: (1, 8, 3)}
"""Functions that went away, with the first firmware that does not know them any more."""
MODE_SINCE: Mapping[int, Version] = {
    0: (0, 0, 0), 1: (0, 0, 0), 2: (0, 0, 0), 4: (1, 6, 9), 5: (1, 6, 9), 6: (1, 10, 0), 7: (1, 11, 0)
}  # fmt: skip
"""Modes that a client may ask for, with the first firmware that has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One kind of control box with an xArm 7."""

    firmware: Version
    arm_serial: str = "XS130300000001"
    """14 characters; 2 to 5 are digits, 1303 gives the joint limits of `core.kinematics.XARM7`."""
    box_serial: str = "AC130400000001"

    @property
    def name(self) -> str:
        """The firmware as people write it, e.g. v2.6.0."""
        return "v" + ".".join(map(str, self.firmware))

    @property
    def version_text(self) -> str:
        """What the version register says: axes, type, serial numbers, firmware."""
        return f"7,7,{self.arm_serial[:6]},{self.box_serial[:6]},{self.name}"

    def knows(self, fun: int) -> bool:
        """Whether this firmware has function `fun`, of those that ever were."""
        return self.firmware >= SINCE.get(fun, (0, 0, 0)) and (fun not in UNTIL or self.firmware < UNTIL[fun])

    def has_mode(self, mode: int) -> bool:
        """Whether this firmware has a mode."""
        return mode in MODE_SINCE and self.firmware >= MODE_SINCE[mode]

    @property
    def has_force_sensor(self) -> bool:
        """Whether reports of port 30003 carry the force sensor."""
        return self.knows(200)

    @property
    def joint_state_flags(self) -> bool:
        """Whether the upper half of the count of register 42 holds flags."""
        return self.firmware >= (2, 6, 107)


IDENTITIES: Mapping[str, Identity] = {
    i.name: i for i in (Identity(firmware=(1, 5, 0)), Identity(firmware=(2, 6, 0)), Identity(firmware=(2, 7, 103)))
}
"""The boxes that the twin is tested as."""


def identity(name: str) -> Identity:
    """Returns an identity by its firmware, e.g. "v2.6.0".

    Raises:
        ConfigError: There is none of this name.
    """
    if name not in IDENTITIES:
        raise unknown_name("firmware", name, IDENTITIES)
    return IDENTITIES[name]
