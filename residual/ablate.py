"""Rewards with one part taken out, for ablations only: a trained product never uses them. Called by `train`."""

from dataclasses import replace

from core.rewards import RewardNode, RewardSpec
from residual.compile import written_out
from residual.library import LIBRARY, Library
from residual.stages import both, leaf, leaves

LEVEL_SCALE = 0.05
"""Scale of the potential where it is paid at every step: an episode earns about what its differences would."""

PENALTY_WEIGHT = 0.02
"""Of penalties that nobody selected: what `elapsed` weighs."""


def without_gates(spec: RewardSpec) -> RewardSpec:
    """Returns the reward with every stage open from the start: its own gate, and that those before it are done.

    Which stage a recovery is stuck at is then not known any more: it is always the last.
    """
    always = RewardNode(kind="term", term="always")
    before = tuple(replace(s, gate=always, done=always) for s in spec.stages[:-1])
    return replace(spec, stages=(*before, replace(spec.stages[-1], gate=always)))


def without_shaping(spec: RewardSpec) -> RewardSpec:
    """Returns the reward that pays the potential itself at every step, not what it gains."""
    stages = tuple(replace(s, pays="level") for s in spec.stages)
    return replace(spec, stages=stages, scale=spec.scale * LEVEL_SCALE)


def with_all_terms(spec: RewardSpec, library: Library = LIBRARY) -> RewardSpec:
    """Returns the reward without a selection: every value term in every stage, equally, and every penalty.

    Gates and exits of the stages stay, and so do the costs there are; further penalties weigh what time does.

    Args:
        spec: As compiled from a mask.
        library: Whose terms.
    """
    values = [name for name, term in library.terms.items() if term.kind == "value"]
    every = both(*(leaf(name, 1.0 / len(values)) for name in values))
    stages = tuple(
        replace(s, value=RewardNode(kind="or", weight=s.value.weight, children=(every, s.done))) for s in spec.stages
    )
    charged = {n.term for n in leaves(spec.costs)}
    others = [n for n, term in library.terms.items() if term.kind == "penalty" and n not in charged]
    costs = both(*spec.costs.children, *(leaf(name, PENALTY_WEIGHT) for name in others))
    return written_out(replace(spec, stages=stages, costs=costs), library)
