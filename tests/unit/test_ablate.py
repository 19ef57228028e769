"""Rewards with one part taken out differ from the whole one in that part alone."""

from dataclasses import replace

import numpy as np
import pytest

from core.rewards import RewardNode
from core.worlds import WorldState
from held_fruit import compiled
from residual.ablate import LEVEL_SCALE, with_all_terms, without_gates, without_shaping
from residual.library import LIBRARY
from residual.reward import CompiledReward
from residual.stages import leaves
from term_scenes import GOAL, N, from_goal, scene

SPEC = compiled()
ALWAYS = RewardNode(kind="term", term="always")


def lying_beside_the_goal() -> WorldState:
    """A thing that nobody holds, at several distances from the goal; roles in the order of the objects."""
    state = scene(target=from_goal(0.08, 0.1, 0.12, 0.15, 0.2), goal=GOAL)
    return replace(state, roles=np.tile(np.arange(4), (N, 1)))


def standing_still(reward: CompiledReward) -> np.ndarray:
    state, memory = lying_beside_the_goal(), reward.memory(N, 7)
    reward.begin(state, memory, np.arange(N))
    return reward.evaluate(state, state, np.zeros((N, 7)), memory)


def test_without_gates_every_stage_pays_before_its_turn() -> None:
    state, gated, free = lying_beside_the_goal(), CompiledReward(SPEC), CompiledReward(without_gates(SPEC))
    alone = [CompiledReward(replace(SPEC, stages=(replace(s, gate=ALWAYS),))).potential(state) for s in SPEC.stages]
    assert free.potential(state) == pytest.approx(np.sum(alone, axis=0))
    assert (free.potential(state) - gated.potential(state)).max() > 0.05
    assert (free.potential(state) >= gated.potential(state)).all()
    assert (free.spec.costs, free.spec.scale) == (SPEC.costs, SPEC.scale)


def test_without_shaping_the_potential_itself_is_paid_at_every_step() -> None:
    shaped, level = CompiledReward(SPEC), CompiledReward(without_shaping(SPEC))
    paid = LEVEL_SCALE * SPEC.scale * shaped.potential(lying_beside_the_goal())
    assert paid.max() > 0.01
    assert standing_still(level) - standing_still(shaped) == pytest.approx(paid)
    assert (standing_still(shaped) <= 0.0).all()


def test_an_ablated_reward_is_another_reward() -> None:
    assert len({SPEC.hash, without_gates(SPEC).hash, without_shaping(SPEC).hash}) == 3


def test_with_all_terms_every_stage_is_driven_by_every_value_and_every_penalty_is_charged() -> None:
    spec = with_all_terms(SPEC)
    values = {name for name, term in LIBRARY.terms.items() if term.kind == "value"}
    penalties = {name for name, term in LIBRARY.terms.items() if term.kind == "penalty"}
    assert all(values <= {n.term for n in leaves(s.value)} for s in spec.stages)
    assert {n.term for n in leaves(spec.costs)} == penalties
    assert [(s.gate, s.done) for s in spec.stages] == [(s.gate, s.done) for s in SPEC.stages]
    potential = CompiledReward(spec).potential(lying_beside_the_goal())
    assert ((potential >= 0.0) & (potential <= 1.0)).all()


def test_a_reward_of_all_terms_is_not_the_selected_one() -> None:
    assert with_all_terms(SPEC).hash != SPEC.hash
