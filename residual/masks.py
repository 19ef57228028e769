"""The default reward mask of each failure mode. Called by diagnosers' wiring when a model names only the mode."""

from collections.abc import Mapping
from types import MappingProxyType

from core.errors import unknown_name
from core.failures import FailureMode
from core.rewards import RewardMask
from residual.library import LIBRARY

_PICK = {"approach", "align", "grasp_open", "grasp_close", "lift"}
_PLACE = {"transport", "lower", "released", "retreat"}
_COSTS = {"elapsed", "effort", "jerkiness", "off_table"}

MASKS: Mapping[FailureMode, frozenset[str]] = MappingProxyType(
    {
        FailureMode.MISSED_GRASP: frozenset(_PICK | _PLACE | _COSTS | {"disturbed"}),
        FailureMode.DROP: frozenset(_PICK | _PLACE | _COSTS | {"speeding"}),
        FailureMode.TARGET_MOVED: frozenset(_PICK | _PLACE | _COSTS | {"disturbed"}),
        FailureMode.WRONG_OBJECT: frozenset(_PICK | _PLACE | _COSTS | {"intrusion"}),
        FailureMode.COLLISION: frozenset(
            _PICK | _PLACE | _COSTS | {"avoid", "clearance", "intrusion", "collision_force"}
        ),
    }
)
"""Active terms by mode; every name is in `LIBRARY`."""


def default_mask(mode: FailureMode) -> RewardMask:
    """Returns the mask for `mode`, or raises `ConfigError` when that mode has none."""
    if mode not in MASKS:
        raise unknown_name("failure mode with a reward mask", str(mode), map(str, MASKS))
    return RewardMask(library=LIBRARY.id, active=MASKS[mode])
