"""Old or missing sensing. Put into the panel by `standard_watches`."""

from core.failures import FailureMode, FailureReport
from core.flow import Step
from runtime.config import WatchLimits
from runtime.watch.reports import SURE, report_of


class Freshness:
    """Reports SENSING_LOST when the robot's reading or a camera's image is stale or missing.

    Args:
        cameras: Names that must deliver.
        limits: Oldest allowed ages.
    """

    def __init__(self, cameras: tuple[str, ...], limits: WatchLimits) -> None:
        self._cameras, self._limits = cameras, limits

    def update(self, step: Step) -> FailureReport | None:
        """Returns a report when something is too old in this step."""
        now, obs = step.arrived.now_ns, step.observation
        robot_age = (now - obs.t_ns) * 1e-9
        ages = [(now - obs.image_t_ns[c]) * 1e-9 for c in self._cameras if c in obs.image_t_ns]
        missing = len(self._cameras) - len(ages)
        image_age = max(ages, default=0.0)
        if robot_age <= self._limits.robot_age_s and image_age <= self._limits.image_age_s and not missing:
            return None
        evidence = {"robot_age_s": robot_age, "image_age_s": image_age, "missing_cameras_count": float(missing)}
        return report_of(step, "freshness", FailureMode.SENSING_LOST, confidence=SURE, evidence=evidence)

    def reset(self) -> None:
        """Does nothing: ages are measured, not remembered."""
