"""Rewards with one part taken out, for ablations only: a trained product never uses them. Called by `train`."""

from dataclasses import replace

from core.rewards import RewardNode, RewardSpec

LEVEL_SCALE = 0.05
"""Scale of the potential where it is paid at every step: an episode earns about what its differences would."""


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
