"""Failure modes, severities and the report a detector raises."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from core.arrays import in_range


class FailureMode(StrEnum):
    """What went wrong; one enum on the wire, in the dataset and in the report."""

    MISSED_GRASP = "missed_grasp"
    SLIP = "slip"
    DROP = "drop"
    TARGET_MOVED = "target_moved"
    WRONG_OBJECT = "wrong_object"
    COLLISION = "collision"
    JAM = "jam"
    MISALIGNED = "misaligned"
    TOPPLED = "toppled"
    STALLED = "stalled"
    OUT_OF_REACH = "out_of_reach"
    CONTROLLER_FAULT = "controller_fault"
    SENSING_LOST = "sensing_lost"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    """What a report asks of the loop; ordered by `rank`."""

    NOTE = "note"
    """Record it."""
    SLOW = "slow"
    """Go on at reduced speed."""
    HOLD = "hold"
    """Hold the arm and diagnose."""
    STOP = "stop"
    """Hold the arm until a person resets it."""

    @property
    def rank(self) -> int:
        """Position from mild to grave, 0..3."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReport:
    """One detector's finding at one instant."""

    id: str
    """Unique within the episode, e.g. "probe-17"."""
    t_ns: int
    """When it was raised [ns]."""
    detector: str
    """Which detector raised it."""
    mode: FailureMode
    """Suspected mode; UNKNOWN when the detector cannot tell."""
    severity: Severity
    """What it asks of the loop."""
    confidence: float
    """Calibrated probability that something is wrong, [0, 1]."""
    evidence: Mapping[str, float] = field(default_factory=dict)
    """Measured values behind it; every key ends in its unit, e.g. "tracking_error_m"."""

    def __post_init__(self) -> None:
        in_range("confidence", self.confidence, 0.0, 1.0)
        object.__setattr__(self, "mode", FailureMode(self.mode))
        object.__setattr__(self, "severity", Severity(self.severity))
        object.__setattr__(self, "evidence", MappingProxyType(dict(self.evidence)))
