"""Distances of a reward's stages from what a task says of a sub-task: its things' sizes and when it is done.

Called wherever a reward is compiled for a known task: training, synthesis, tests of the templates.
"""

import numpy as np

from core.errors import ConfigError
from core.subtasks import Manner, SubTask, Where
from core.tasks import ObjectInfo, TaskInfo
from residual.stages import Fit

PAD_UP_M = 0.024
"""The fingers' pads reach this far above the tool centre point [m]: things that stand higher are grasped higher up."""
GRASPED_M = 0.036
"""Half of the widest thing that the fingers go round [m]."""
_ALONG = ((3.14, 0.0), (-1.57, 1.57))
"""Headings of the negative and the positive x axis, then of the y axis [rad]."""


def fit_of(info: TaskInfo, sub: SubTask) -> Fit:
    """Returns the distances that fit one sub-task.

    Args:
        info: Its task.
        sub: Of a course, so that it names true objects.

    Raises:
        ConfigError: The sub-task's target is not an object of the task.
    """
    target = _thing(info, sub.roles.target)
    radius_m, height_m = _on_goal(sub)
    goal = _thing(info, sub.roles.goal) if sub.roles.goal else None
    rim_m = float(goal.size_m[2]) if goal else 0.0
    slide_rad, slid_m = _slide(sub)
    return Fit(
        grip_up_m=max(0.0, float(target.size_m[2]) - PAD_UP_M),
        rest_m=float(target.size_m[2]),
        goal_radius_m=radius_m,
        goal_height_m=height_m,
        rim_m=rim_m,
        tip_m=float(target.size_m[2]),
        depth_m=max(0.005, rim_m + float(target.size_m[2]) - height_m),
        slide_rad=slide_rad,
        slid_m=slid_m,
        goal_slides=bool(goal and goal.guide and goal.guide.range_m[0] < goal.guide.range_m[1]),
        turns_rad=_turns(target),
    )


def _thing(info: TaskInfo, name: str) -> ObjectInfo:
    for thing in info.objects:
        if thing.name == name:
            return thing
    raise ConfigError(f"task {info.name!r} has no object {name!r}; it has {', '.join(o.name for o in info.objects)}")


def _turns(thing: ObjectInfo) -> tuple[float, ...]:
    """Returns the headings at which the fingers fit round a thing, as the hand opens wide enough; () when all do."""
    if thing.shape in ("sphere", "disc"):
        return ()
    sides = ((float(thing.size_m[1]), 0.0), (float(thing.size_m[0]), 1.57))
    return tuple(turn for half_m, turn in sides if half_m <= GRASPED_M) or (0.0,)


def _box(sub: SubTask) -> Where | None:
    """Returns the box of the target about the goal in which the sub-task is done, None when it has none."""
    boxes = (w for w in sub.done if w.thing == sub.roles.target and w.anchor == sub.roles.goal and w.anchor)
    return next(boxes, None)


def _on_goal(sub: SubTask) -> tuple[float, float]:
    """Returns radius and height of being on the goal [m], the defaults where the sub-task does not say."""
    box, fit = _box(sub), Fit()
    if box is None or not np.isfinite([*box.low[:2], *box.high]).all():
        return fit.goal_radius_m, fit.goal_height_m
    return float(np.min([-box.low[:2], box.high[:2]])), float(box.high[2])


def _slide(sub: SubTask) -> tuple[float, float]:
    """Returns in which direction the target opens [rad], and how far from the goal along it a slide is done [m]."""
    box, fit = _box(sub), Fit()
    if box is None or sub.manner not in (Manner.PULL, Manner.PUSH):
        return fit.slide_rad, fit.slid_m
    for axis, (down, up) in enumerate(_ALONG):
        low, high = float(box.low[axis]), float(box.high[axis])
        if np.isfinite(low) != np.isfinite(high):
            negative = np.isfinite(high) == (sub.manner is Manner.PULL)
            edge = high if np.isfinite(high) else low
            return (down, -edge) if negative else (up, edge)
    return fit.slide_rad, fit.slid_m
