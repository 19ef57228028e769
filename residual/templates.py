"""Stage templates of a recovery, one sequence per manner and failure mode, before a mask. Called by `compile`.

Distances fit a hand that grasps things of a few centimetres; a descriptor's parameters override them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from core.errors import unknown_name
from core.failures import FailureMode
from core.recovery import RecoveryStage
from core.rewards import RewardNode
from core.subtasks import Manner


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTemplate:
    """One stage: what drives it, when it opens, when it is reached."""

    stage: RecoveryStage
    value: RewardNode
    """Its weight is the stage's share of the potential; the mask switches its leaves on and off."""
    gate: RewardNode
    """Entry predicate; structural, the mask does not touch it."""
    reached: RewardNode
    """Own exit predicate, structural; the compiler also counts every later stage's as an exit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The stages of one mode in order, and what a step costs."""

    stages: tuple[StageTemplate, ...]
    costs: tuple[RewardNode, ...]


def leaf(term: str, weight: float = 1.0, **params: float | str) -> RewardNode:
    """Returns a leaf of the tree with the given parameters, the others at their defaults."""
    return RewardNode(kind="term", term=term, weight=weight, params=params)


def both(*children: RewardNode, weight: float = 1.0) -> RewardNode:
    """Returns the weighted sum of `children`."""
    return RewardNode(kind="and", weight=weight, children=children)


def only_if(body: RewardNode, condition: RewardNode, weight: float = 1.0) -> RewardNode:
    """Returns `body` times `condition`."""
    return RewardNode(kind="if", weight=weight, children=(body, condition))


def leaves(node: RewardNode) -> Iterator[RewardNode]:
    """Yields the leaves of a tree, left to right."""
    if node.kind == "term":
        yield node
    for child in node.children:
        yield from leaves(child)


_AT_TARGET = leaf("near", role="target")
_HELD = leaf("held", role="target")
_ON_GOAL = leaf("on_goal", role="target", goal="goal")
_LET_GO = only_if(leaf("released", role="target"), _ON_GOAL)
_CLEAR = leaf("clearance", role="obstacle", height_m=0.16)

_APPROACH = StageTemplate(
    stage=RecoveryStage.APPROACH,
    value=both(leaf("approach", 0.8), leaf("grasp_open", 0.2), weight=0.14),
    gate=leaf("upright"),
    reached=leaf("near", role="target", radius_m=0.07),
)
_ALIGN = StageTemplate(
    stage=RecoveryStage.ALIGN,
    value=both(leaf("approach", 0.4, scale_m=0.05), leaf("align", 0.4), leaf("grasp_open", 0.2), weight=0.1),
    gate=leaf("upright"),
    reached=_AT_TARGET,
)
_GRASP = StageTemplate(
    stage=RecoveryStage.GRASP, value=leaf("grasp_close", 0.13), gate=_AT_TARGET, reached=_HELD
)  # fmt: skip
_LIFT = StageTemplate(
    stage=RecoveryStage.LIFT, value=leaf("lift", 0.12), gate=_HELD, reached=only_if(leaf("lift"), _HELD)
)
_TRANSPORT = StageTemplate(
    stage=RecoveryStage.TRANSPORT,
    value=leaf("transport", 0.2),
    gate=_HELD,
    reached=only_if(leaf("over_goal"), _HELD),
)
_PLACE = StageTemplate(
    stage=RecoveryStage.PLACE, value=leaf("lower", 0.1), gate=leaf("over_goal"), reached=_ON_GOAL
)  # fmt: skip
_RELEASE = StageTemplate(stage=RecoveryStage.RELEASE, value=leaf("released", 0.08), gate=_ON_GOAL, reached=_LET_GO)
_RESUME = StageTemplate(
    stage=RecoveryStage.RESUME,
    value=leaf("retreat", 0.15),
    gate=_LET_GO,
    reached=only_if(leaf("retreat"), _LET_GO),
)
_PICK_AND_PLACE = (_APPROACH, _ALIGN, _GRASP, _LIFT, _TRANSPORT, _PLACE, _RELEASE, _RESUME)

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
_TRANSPORT_OVER = StageTemplate(
    stage=RecoveryStage.TRANSPORT,
    value=leaf("transport", 0.2),
    gate=only_if(_HELD, _CLEAR),
    reached=only_if(leaf("over_goal"), _HELD),
)

_COSTS = (
    leaf("elapsed", 0.02),
    leaf("effort", 0.02),
    leaf("jerkiness", 0.03),
    leaf("off_table", 2.0, role="target"),
)

_NOT_DISTURBED = leaf("disturbed", 0.05, role="distractor")

_PLACE_MODES = {
    FailureMode.MISSED_GRASP: Template(stages=_PICK_AND_PLACE, costs=(*_COSTS, _NOT_DISTURBED)),
    FailureMode.SLIP: Template(stages=_PICK_AND_PLACE, costs=(*_COSTS, leaf("speeding", 0.02))),
    FailureMode.DROP: Template(stages=_PICK_AND_PLACE, costs=(*_COSTS, leaf("speeding", 0.02))),
    FailureMode.TARGET_MOVED: Template(stages=_PICK_AND_PLACE, costs=(*_COSTS, _NOT_DISTURBED)),
    FailureMode.MISALIGNED: Template(stages=_PICK_AND_PLACE, costs=(*_COSTS, _NOT_DISTURBED)),
    FailureMode.TOPPLED: Template(stages=_PICK_AND_PLACE, costs=(*_COSTS, _NOT_DISTURBED)),
    FailureMode.WRONG_OBJECT: Template(
        stages=(_LEAVE_DISTRACTOR, *_PICK_AND_PLACE),
        costs=(*_COSTS, leaf("intrusion", 0.02, role="distractor", margin_m=0.04)),
    ),
    FailureMode.COLLISION: Template(
        stages=(
            _LEAVE_OBSTACLE, _APPROACH, _ALIGN, _GRASP, _LIFT, _TRANSPORT_OVER, _PLACE, _RELEASE, _RESUME,
        ),
        costs=(*_COSTS, leaf("collision_force", 0.1), leaf("intrusion", 0.05)),
    ),
}  # fmt: skip

TEMPLATES: Mapping[Manner, Mapping[FailureMode, Template]] = MappingProxyType(
    {Manner.PLACE: MappingProxyType(_PLACE_MODES)}
)
"""What can be compiled, by manner and mode; a mode without a template has no trained recovery."""


def find_template(manner: Manner, mode: FailureMode) -> Template:
    """Returns the template of a failure in a sub-task of that manner, or raises `ConfigError` naming the nearest."""
    if manner not in TEMPLATES:
        raise unknown_name("manner with reward templates", str(manner), map(str, TEMPLATES))
    if mode not in TEMPLATES[manner]:
        raise unknown_name(f"failure mode with a reward template for {str(manner)!r}", str(mode),
                           map(str, TEMPLATES[manner]))  # fmt: skip
    return TEMPLATES[manner][mode]
