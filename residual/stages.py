"""What stage templates are made of: nodes of the tree, one stage, and the distances that fit a sub-task's things.

Called by `residual.templates`, which puts the stages of every manner and failure mode in order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from core.recovery import RecoveryStage
from core.rewards import RewardNode


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
    """The stages of one manner and mode in order, and what a step costs."""

    stages: tuple[StageTemplate, ...]
    costs: tuple[RewardNode, ...]
    """The mask switches them on and off."""
    guards: tuple[RewardNode, ...] = ()
    """Costs that stay whatever the mask says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Distances that fit the things of one sub-task; the defaults fit things of a few centimetres on a plate."""

    grip_up_m: float = 0.0
    """How far above its centre the target is grasped [m]."""
    rest_m: float = 0.03
    """Height of the target's centre when it lies on the table [m]."""
    goal_radius_m: float = 0.066
    """A target this near to the goal in the plane is on it [m]."""
    goal_height_m: float = 0.05
    """A target whose centre is at most this far above the goal's is on it [m]."""
    rim_m: float = 0.02
    """Height of the rim of a hole above the goal's centre [m]."""
    tip_m: float = 0.03
    """Depth of the target's lower end below its centre [m]."""
    depth_m: float = 0.03
    """How far below the rim the lower end of an inserted target is [m]."""
    slide_rad: float = 3.14
    """Direction, about z of the base, in which something that slides opens [rad]."""
    slid_m: float = 0.1
    """Displacement of the target from the goal, in that direction, at which a slide is done [m]."""
    goal_slides: bool = False
    """Whether the goal gives way a little when it is touched, as a drawer does."""
    turns_rad: tuple[float, ...] = ()
    """Headings of the tool from the target's at which the fingers fit round it; empty when any does [rad]."""

    @property
    def near_m(self) -> float:
        """Distance from the target's centre at which the tool has it [m]."""
        return 0.03 + self.grip_up_m


def numbered(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the names in order, the second of a kind as NAME#2: a recovery may have two stages of one name."""
    seen: dict[str, int] = {}
    labels = []
    for name in map(str, names):
        seen[name] = seen.get(name, 0) + 1
        labels.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(labels)


def leaf(term: str, weight: float = 1.0, **params: float | str) -> RewardNode:
    """Returns a leaf of the tree with the given parameters, the others at their defaults."""
    return RewardNode(kind="term", term=term, weight=weight, params=params)


def both(*children: RewardNode, weight: float = 1.0) -> RewardNode:
    """Returns the weighted sum of `children`."""
    return RewardNode(kind="and", weight=weight, children=children)


def only_if(body: RewardNode, condition: RewardNode, weight: float = 1.0) -> RewardNode:
    """Returns `body` times `condition`."""
    return RewardNode(kind="if", weight=weight, children=(body, condition))


def either(*children: RewardNode, weight: float = 1.0) -> RewardNode:
    """Returns the largest of `children`."""
    return RewardNode(kind="or", weight=weight, children=children)


def leaves(node: RewardNode) -> Iterator[RewardNode]:
    """Yields the leaves of a tree, left to right."""
    if node.kind == "term":
        yield node
    for child in node.children:
        yield from leaves(child)


def held(fit: Fit) -> RewardNode:
    """Returns whether the target is in the hand."""
    return leaf("held", role="target", near_m=fit.near_m)


def at_target(fit: Fit, radius_m: float = 0.02) -> RewardNode:
    """Returns whether the tool is where the target is grasped."""
    return leaf("near", role="target", radius_m=radius_m + fit.grip_up_m)


def fetch(fit: Fit) -> tuple[StageTemplate, ...]:
    """Returns approach, align and grasp: the tool goes to the target with an open hand, and closes it."""
    closer = leaf("approach", 0.4, scale_m=0.05, height_m=fit.grip_up_m)
    opened = leaf("grasp_open", 0.2, near_m=fit.near_m)
    above = (leaf("align", 0.4),) if not fit.turns_rad else (leaf("align", 0.2), _fitting(fit))
    return (
        StageTemplate(
            stage=RecoveryStage.APPROACH,
            value=both(leaf("approach", 0.8, height_m=fit.grip_up_m), opened, weight=0.14),
            gate=leaf("upright"),
            reached=at_target(fit, 0.07),
        ),
        StageTemplate(
            stage=RecoveryStage.ALIGN,
            value=both(closer, *above, opened, weight=0.1),
            gate=leaf("upright"),
            reached=at_target(fit),
        ),
        StageTemplate(
            stage=RecoveryStage.GRASP,
            value=leaf("grasp_close", 0.13, near_m=fit.near_m),
            gate=at_target(fit),
            reached=held(fit),
        ),
    )


def _fitting(fit: Fit) -> RewardNode:
    """Returns whether the fingers' heading fits the target, for the best of the headings that do."""
    turns = [leaf("align_heading", role="target", turn_rad=turn) for turn in fit.turns_rad]
    return replace(turns[0], weight=0.2) if len(turns) == 1 else either(*turns, weight=0.2)


def released(fit: Fit, where: RewardNode) -> RewardNode:
    """Returns whether the target was let go of where `where` holds."""
    return only_if(leaf("released", role="target", near_m=fit.near_m), where)


def let_go(fit: Fit, where: RewardNode) -> tuple[StageTemplate, ...]:
    """Returns release and resume: the hand opens where `where` holds, and goes away."""
    free = released(fit, where)
    away = leaf("retreat", distance_m=0.08 + fit.grip_up_m)
    return (
        StageTemplate(
            stage=RecoveryStage.RELEASE,
            value=leaf("released", 0.08, near_m=fit.near_m),
            gate=where,
            reached=free,
        ),
        StageTemplate(
            stage=RecoveryStage.RESUME,
            value=leaf("retreat", 0.15, distance_m=0.08 + fit.grip_up_m),
            gate=free,
            reached=only_if(away, free),
        ),
    )
