"""The panel every loop starts with. Called by `build_loop`; a new detector of ours gets its line here."""

from core.flow import Phase
from core.probe import ProbeWeights
from core.robots import ActionSpace
from core.subtasks import Course
from runtime.config import RuntimeConfig
from runtime.watch.fault import ControllerFault
from runtime.watch.freshness import Freshness
from runtime.watch.grasp import GraspLost
from runtime.watch.panel import Watch
from runtime.watch.probe import ProbeDetector
from runtime.watch.refused import RefusedChunk
from runtime.watch.reversal import Reversal
from runtime.watch.stall import Stall
from runtime.watch.tracking import TrackingError

_ACTIVE = frozenset({Phase.RUNNING, Phase.DIAGNOSING, Phase.RECOVERING, Phase.OPERATOR})
_POLICY = frozenset({Phase.RUNNING, Phase.DIAGNOSING, Phase.RECOVERING})


def standard_watches(
    config: RuntimeConfig,
    space: ActionSpace,
    course: Course,
    cameras: tuple[str, ...],
    probe: ProbeWeights | None,
    *,
    drives: bool = True,
) -> tuple[Watch, ...]:
    """Returns the standard detectors with their debouncing, most specific first.

    Args:
        config: Limits of every detector.
        space: The action space.
        course: What the robot was told to do.
        cameras: Cameras that must deliver.
        probe: The embedded probe, None when there is none.
        drives: Whether commands reach the arm; if not, whatever compares them with its motion is left out.
    """
    limits, table = config.watch, config.guard.table_height_m
    watches = [
        Watch(name="fault", detector=ControllerFault(limits), phases=_ACTIVE),
        Watch(name="freshness", detector=Freshness(cameras, limits), need=2, window=3, phases=_ACTIVE),
        Watch(name="refused", detector=RefusedChunk(space, config.chunk_slack), phases=_POLICY),
        Watch(name="grasp", detector=GraspLost(course, config.hand, limits, table_height_m=table), need=2, window=3),
        Watch(name="reversal", detector=Reversal(space, limits)),
    ]
    if drives:
        watches += [
            Watch(name="tracking", detector=TrackingError(space, limits), need=3, window=4),
            Watch(name="stall", detector=Stall(space, limits)),
        ]
    if drives and probe is not None:
        detector = ProbeDetector(probe, course, pace=config.pace)
        watches.append(Watch(name="probe", detector=detector, need=limits.probe_need, window=limits.probe_window))
    return tuple(watches)
