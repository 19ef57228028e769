"""Stage templates of a recovery, one sequence per manner and failure mode, before a mask. Called by `compile`.

The manner gives the stages, the failure mode what comes before them, how some of them change, and what a step costs.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from core.errors import unknown_name
from core.failures import FailureMode
from core.recovery import RecoveryStage
from core.rewards import RewardNode
from core.subtasks import Manner
from residual.stages import (
    Fit,
    StageTemplate,
    Template,
    at_target,
    both,
    either,
    fetch,
    held,
    leaf,
    let_go,
    only_if,
)

MODES = (
    FailureMode.MISSED_GRASP, FailureMode.SLIP, FailureMode.DROP, FailureMode.TARGET_MOVED, FailureMode.WRONG_OBJECT,
    FailureMode.COLLISION, FailureMode.JAM, FailureMode.MISALIGNED, FailureMode.TOPPLED,
)  # fmt: skip
"""Failures that a trained recovery can mend."""

DROP_M = 0.04
"""A target that is let go of at most this far above where it should lie counts as brought there [m]."""
_CLEAR = leaf("clearance", role="obstacle", height_m=0.16)


def _lift(fit: Fit) -> StageTemplate:
    up = leaf("lift", rest_m=fit.rest_m)
    return StageTemplate(
        stage=RecoveryStage.LIFT,
        value=replace(up, weight=0.12),
        gate=held(fit),
        reached=only_if(up, held(fit)),
    )


def _transport(fit: Fit, radius_m: float) -> StageTemplate:
    return StageTemplate(
        stage=RecoveryStage.TRANSPORT,
        value=leaf("transport", 0.2),
        gate=held(fit),
        reached=only_if(leaf("over_goal", radius_m=radius_m), held(fit)),
    )


def _place(fit: Fit) -> tuple[StageTemplate, ...]:
    over = 0.68 * fit.goal_radius_m
    on_goal = leaf("on_goal", radius_m=fit.goal_radius_m, height_m=fit.goal_height_m)
    side = {"half_x_m": fit.goal_radius_m, "half_y_m": fit.goal_radius_m}
    low_over = leaf("is_inside", **side, low_m=-0.1, high_m=fit.goal_height_m + DROP_M)
    carry = _transport(fit, over)
    carry = replace(carry, reached=either(carry.reached, low_over))
    place = StageTemplate(
        stage=RecoveryStage.PLACE,
        value=leaf("lower", 0.1),
        gate=leaf("over_goal", radius_m=over),
        reached=on_goal,
    )
    return (*fetch(fit), _lift(fit), carry, place, *let_go(fit, on_goal))


def _insert(fit: Fit) -> tuple[StageTemplate, ...]:
    hole = {"rim_m": fit.rim_m, "tip_m": fit.tip_m, "depth_m": fit.depth_m}
    deep = leaf("insertion", **hole)
    insert = StageTemplate(
        stage=RecoveryStage.INSERT,
        value=both(leaf("lower", 0.15), leaf("centred", 0.25), leaf("insertion", 0.6, **hole), weight=0.25),
        gate=leaf("over_goal", radius_m=0.02),
        reached=deep,
    )
    return (*fetch(fit), _lift(fit), _transport(fit, 0.02), insert, *let_go(fit, deep))


def _wipe(fit: Fit) -> tuple[StageTemplate, ...]:
    has, over = held(fit), leaf("over_goal", radius_m=0.02)
    raised = _lift(fit)
    raised = replace(raised, reached=either(raised.reached, only_if(leaf("over_goal", radius_m=0.06), has)))
    wipe = StageTemplate(
        stage=RecoveryStage.WIPE,
        value=both(leaf("lower", 0.5), leaf("pressing", 0.5, low_n=4.0, high_n=15.0), weight=0.3),
        gate=only_if(over, has),
        reached=leaf("gone", role="goal"),
    )
    return (*fetch(fit), raised, _transport(fit, 0.02), wipe)


def _pull(fit: Fit) -> tuple[StageTemplate, ...]:
    travel_m = 0.1
    slide = {"heading_rad": fit.slide_rad, "closed_m": fit.slid_m - travel_m, "travel_m": travel_m}
    opened = leaf("is_open", **slide)
    pull = StageTemplate(stage=RecoveryStage.PULL, value=replace(opened, weight=0.4), gate=held(fit), reached=opened)
    release, _ = let_go(fit, opened)
    return (*fetch(fit), pull, release)


def _push(fit: Fit) -> tuple[StageTemplate, ...]:
    back = _turned_back(fit.slide_rad)
    closed = leaf("is_closed", heading_rad=fit.slide_rad, closed_m=fit.slid_m, travel_m=0.1)
    ready = at_target(fit, 0.04)
    approach = StageTemplate(
        stage=RecoveryStage.APPROACH,
        value=both(leaf("behind", 0.6, heading_rad=back, scale_m=0.12), leaf("hand_closed", 0.4), weight=0.4),
        gate=leaf("upright"),
        reached=ready,
    )
    push = StageTemplate(stage=RecoveryStage.PUSH, value=replace(closed, weight=0.6), gate=ready, reached=closed)
    return approach, push


def _turned_back(heading_rad: float) -> float:
    return heading_rad - 3.14 if heading_rad > 0 else heading_rad + 3.14


def _guards(fit: Fit) -> tuple[RewardNode, ...]:
    """Returns what is charged whatever the mask: a goal that moves, or it would pay to push it to the target.

    A mm costs 0.4, and 0.12 where the goal is a thing that slides: a hand that fills a drawer touches it.
    """
    return (leaf("disturbed", 3.0 if fit.goal_slides else 10.0, role="goal", scale_m=0.025),)


_STAGES = MappingProxyType(
    {Manner.PLACE: _place, Manner.INSERT: _insert, Manner.WIPE: _wipe, Manner.PULL: _pull, Manner.PUSH: _push}
)

_LEAVE_DISTRACTOR = StageTemplate(
    stage=RecoveryStage.RELEASE,
    value=both(leaf("released", 0.7, role="distractor"), leaf("retreat", 0.3, role="distractor"), weight=0.12),
    gate=leaf("always"),
    reached=leaf("released", role="distractor"),
)
_LEAVE_OBSTACLE = StageTemplate(
    stage=RecoveryStage.RETREAT,
    value=both(leaf("avoid", 0.4), leaf("clearance", 0.6, height_m=0.16), weight=0.12),
    gate=leaf("always"),
    reached=_CLEAR,
)
_BEFORE = MappingProxyType(
    {FailureMode.WRONG_OBJECT: (_LEAVE_DISTRACTOR,), FailureMode.COLLISION: (_LEAVE_OBSTACLE,)}
)  # fmt: skip

_COSTS = (
    leaf("elapsed", 0.02),
    leaf("effort", 0.02),
    leaf("jerkiness", 0.03),
    leaf("off_table", 2.0, role="target"),
)
"""Of every mode."""
_KEEP_OTHERS = leaf("disturbed", 0.05, role="distractor")
_COSTS_OF: Mapping[FailureMode, tuple[RewardNode, ...]] = MappingProxyType(
    {
        FailureMode.MISSED_GRASP: (_KEEP_OTHERS,),
        FailureMode.SLIP: (leaf("slipped", 0.05),),
        FailureMode.DROP: (leaf("speeding", 0.02),),
        FailureMode.TARGET_MOVED: (_KEEP_OTHERS,),
        FailureMode.WRONG_OBJECT: (leaf("intrusion", 0.02, role="distractor", margin_m=0.04),),
        FailureMode.COLLISION: (leaf("collision_force", 0.1), leaf("intrusion", 0.05)),
        FailureMode.JAM: (leaf("collision_force", 0.05),),
        FailureMode.MISALIGNED: (_KEEP_OTHERS,),
        FailureMode.TOPPLED: (_KEEP_OTHERS,),
    }
)


def _changed(stage: StageTemplate, mode: FailureMode) -> StageTemplate:
    """Returns a stage as a failure mode needs it."""
    if mode is FailureMode.COLLISION and stage.stage is RecoveryStage.TRANSPORT:
        return replace(stage, gate=only_if(stage.gate, _CLEAR))
    if mode is FailureMode.TOPPLED and stage.stage in (RecoveryStage.PLACE, RecoveryStage.INSERT):
        weight = stage.value.weight
        value = both(replace(stage.value, weight=0.7), leaf("standing", 0.3, role="target"), weight=weight)
        return replace(stage, value=value)
    return stage


def find_template(manner: Manner, mode: FailureMode, fit: Fit | None = None) -> Template:
    """Returns the stages and costs of a failure in a sub-task of that manner.

    Args:
        manner: How the sub-task is done.
        mode: What failed.
        fit: Distances that fit its things; those of small things on a plate when None.

    Raises:
        ConfigError: No recovery is trained for that mode; names the nearest that there is.
    """
    if mode not in MODES:
        raise unknown_name(f"failure mode with a reward template for {str(manner)!r}", str(mode), map(str, MODES))
    fit = fit or Fit()
    stages = _STAGES[manner](fit)
    stages = (*_BEFORE.get(mode, ()), *(_changed(s, mode) for s in stages))
    return Template(stages=stages, costs=(*_COSTS, *_COSTS_OF[mode]), guards=_guards(fit))
