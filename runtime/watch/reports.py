"""How a detector writes a report. Called by every detector."""

from core.failures import FailureMode, FailureReport, Severity
from core.flow import Step

SURE = 0.9
"""Confidence of a rule over measured values that leaves little room for doubt."""
LIKELY = 0.7
"""Confidence of a rule that ordinary motion can trip."""


def report_of(
    step: Step,
    detector: str,
    mode: FailureMode,
    *,
    confidence: float,
    evidence: dict[str, float],
    severity: Severity = Severity.HOLD,
) -> FailureReport:
    """Returns a report about `step`, named after the detector and the step.

    Args:
        step: Where it was seen.
        detector: Who saw it.
        mode: What it looks like.
        confidence: Probability that something is wrong, [0, 1].
        evidence: Measured values; keys end in their unit.
        severity: What it asks of the loop.
    """
    return FailureReport(
        id=f"{detector}-{step.index}",
        t_ns=step.arrived.now_ns,
        detector=detector,
        mode=mode,
        severity=severity,
        confidence=confidence,
        evidence=evidence,
    )
