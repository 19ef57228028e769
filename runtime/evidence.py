"""The last seconds, kept for a diagnoser: steps without images, and a few images per camera. Called by the loop."""

from collections import deque
from dataclasses import replace

from core.arrays import Image
from core.failures import FailureReport
from core.flow import Step
from core.ports import Evidence


class EvidenceWindow:
    """A ring bounded by ticks and by images.

    Args:
        ticks: Steps kept.
        images: Images kept per camera, spread over those steps.
    """

    def __init__(self, *, ticks: int, images: int) -> None:
        self._steps: deque[Step] = deque(maxlen=ticks)
        self._images: deque[dict[str, Image]] = deque(maxlen=images)
        self._every = max(1, ticks // images)

    def reset(self) -> None:
        """Forgets everything."""
        self._steps.clear()
        self._images.clear()

    def add(self, step: Step) -> None:
        """Takes one finished step."""
        images = step.observation.images
        if images and self._is_kept(step):
            self._images.append(dict(images))
        self._steps.append(replace(step, observation=replace(step.observation, images={})) if images else step)

    def show(self, report: FailureReport, task: str, latest: Step) -> Evidence:
        """Returns what a diagnoser is shown about `report`; `latest` was just added, and its images come last."""
        frames = list(self._images)
        if not self._is_kept(latest):
            frames = [*frames, dict(latest.observation.images)][-(self._images.maxlen or 1) :]
        cameras = dict.fromkeys(name for frame in frames for name in frame)
        return Evidence(
            report=report,
            task=task,
            instruction=latest.observation.instruction,
            steps=tuple(self._steps),
            images={name: tuple(frame[name] for frame in frames if name in frame) for name in cameras},
        )

    def _is_kept(self, step: Step) -> bool:
        return step.index % self._every == 0
