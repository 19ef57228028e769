"""The embedded probe as a detector: P(failure) from features of the last 3.2 s. Wired by `standard_watches`."""

from collections import deque

import numpy as np

from core.arrays import Floats
from core.errors import ArtifactError, ContractError
from core.failures import FailureMode, FailureReport
from core.flow import Step
from core.probe import ProbeWeights
from core.subtasks import Course
from runtime.watch.features import FIXED, LAYOUT, WINDOW, probe_features
from runtime.watch.reports import report_of
from runtime.watch.trained_time import in_trained_time, ticks_per_trained


def check_layout(weights: ProbeWeights) -> int:
    """Returns how many policy features the probe was trained on.

    Raises:
        ArtifactError: It was trained on another feature layout.
    """
    size = len(weights.mean) - len(FIXED)
    if weights.layout != LAYOUT or size < 0:
        raise ArtifactError(
            f"probe {weights.name} was trained on layout {weights.layout!r} with {len(weights.mean)} features; "
            f"this build computes {LAYOUT!r} with {len(FIXED)} and the policy's; train the probe again"
        )
    return size


def judged(weights: ProbeWeights, features: Floats | None) -> Floats | None:
    """Returns probabilities (L,), None when there is nothing the probe could judge by.

    Raises:
        ContractError: The policy gives another number of image features than the probe was trained on.
    """
    if features is None:
        return None
    if len(features) != len(weights.mean):
        raise ContractError(
            f"probe {weights.name} reads {len(weights.mean) - len(FIXED)} image features of {weights.policy}; "
            f"the policy gives {len(features) - len(FIXED)}; train the probe for this policy"
        )
    return weights.probabilities(features)


class ProbeDetector:
    """Speaks in every tick in which P(failure) exceeds the probe's threshold; the panel debounces.

    Args:
        weights: The trained probe.
        course: What the robot was told to do.
        pace: Share of the trained speed at which the arm moves, (0, 1].

    Raises:
        ArtifactError: The probe was trained on another feature layout.
    """

    def __init__(self, weights: ProbeWeights, course: Course, *, pace: float = 1.0) -> None:
        check_layout(weights)
        self._weights, self._course, self._pace = weights, course, pace
        self._window: deque[Step] = deque(maxlen=WINDOW * ticks_per_trained(pace))

    def update(self, step: Step) -> FailureReport | None:
        """Returns a report naming the likeliest failure when the probe thinks that something is wrong."""
        self._window.append(step)
        probabilities = judged(self._weights, probe_features(in_trained_time(self._window, self._pace), self._course))
        if probabilities is None:
            return None
        nominal = self._weights.nominal_index
        wrong = 1.0 - float(probabilities[nominal])
        if wrong <= self._weights.threshold:
            return None
        likeliest = int(np.argmax(np.where(np.arange(len(probabilities)) == nominal, -1.0, probabilities)))
        mode = FailureMode(self._weights.labels[likeliest])
        evidence = {"failure_probability_1": wrong, "mode_probability_1": float(probabilities[likeliest])}
        return report_of(step, "probe", mode, confidence=wrong, evidence=evidence)

    def reset(self) -> None:
        """Forgets the window."""
        self._window.clear()
