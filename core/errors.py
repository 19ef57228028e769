"""The error tree. A task that goes wrong is a `FailureReport`; a system that goes wrong is one of these.

    RegraspError
    +-- ConfigError             a flag, name or file the user wrote is wrong
    +-- ContractError           a value breaks its shape, range, unit or type
    +-- ArtifactError           a checkpoint, card or episode is damaged or foreign
    +-- DeviceError             robot or camera; carries device, code and remedy
    |   +-- DeviceNotConnected  (also ConnectionError)
    |   +-- DeviceTimeout       (also TimeoutError)
    |   +-- DeviceFault
    +-- ServiceError            a model endpoint
        +-- ServiceTimeout      (also TimeoutError)
        +-- BadAnswer
Every message says what, the value, what is allowed and what to do.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class RegraspError(Exception):
    """Base of every error this project raises on purpose."""


class ConfigError(RegraspError):
    """What the user asked for does not exist or cannot be combined."""


class ContractError(RegraspError, ValueError):
    """A value does not keep its shape, range, unit or type."""


class ArtifactError(RegraspError):
    """A file that should be ours is damaged, foreign or of another version."""


class DeviceError(RegraspError):
    """A device refused, failed or went away.

    Args:
        message: What happened.
        device: Which device, e.g. "xarm 192.168.1.213".
        code: The vendor's code, 0 when there is none.
        remedy: What the operator should do next.
    """

    def __init__(self, message: str, *, device: str, code: int = 0, remedy: str) -> None:
        super().__init__(f"{device}: {message} (code {code}); {remedy}")
        self.device, self.code, self.remedy = device, code, remedy


class DeviceNotConnected(DeviceError, ConnectionError):
    """The device was used before it was connected, or the link is gone."""


class DeviceTimeout(DeviceError, TimeoutError):
    """The device did not answer in time."""


class DeviceFault(DeviceError):
    """The device is in a fault that needs a rule or a person to clear."""


class ServiceError(RegraspError):
    """A model endpoint failed."""


class ServiceTimeout(ServiceError, TimeoutError):
    """A model endpoint did not answer before its deadline."""


class BadAnswer(ServiceError):
    """A model endpoint answered something that does not validate."""


def unknown_name(kind: str, name: str, allowed: Iterable[str]) -> ConfigError:
    """Builds the error for an unknown name, naming the nearest allowed one.

    Args:
        kind: What the name names, e.g. "reward term".
        name: What was given.
        allowed: Every name that would have been accepted.

    Returns:
        A `ConfigError` ready to be raised.
    """
    names = sorted(allowed)
    near = get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"unknown {kind} {name!r}; {hint}allowed: {', '.join(names)}")
