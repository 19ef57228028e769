"""Laws of masks, trees and compiled rewards."""

import functools
import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.failures import FailureMode
from core.recovery import RecoveryDescriptor
from core.rewards import RewardMask, RewardNode, RewardSpec, StageReward
from core.robots import EE_DELTA
from core.subtasks import Manner
from core.worlds import Injection, WorldState
from residual.compile import compile_reward
from residual.library import LIBRARY
from residual.reward import CompiledReward
from residual.spec_io import spec_from_json, spec_to_json
from residual.templates import find_template
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld

N = 6
MODES = (
    FailureMode.MISSED_GRASP, FailureMode.DROP, FailureMode.TARGET_MOVED, FailureMode.WRONG_OBJECT,
    FailureMode.COLLISION,
)  # fmt: skip
NEEDED = {"approach", "grasp_close", "lift", "transport", "lower", "released", "retreat", "avoid"}
"""With these every stage of every template is driven."""


def descriptor(mode: FailureMode, active: frozenset[str]) -> RecoveryDescriptor:
    return RecoveryDescriptor(
        report_id="r", mode=mode, stage=find_template(Manner.PLACE, mode).stages[0].stage, target="apple", obstacles=(),
        mask=RewardMask(library=LIBRARY.id, active=active), confidence=1.0, model_id="m",
    )  # fmt: skip


@functools.cache
def recoveries(mode: FailureMode) -> tuple[WorldState, ...]:
    """N worlds in which the expert meets a failure and mends it, one state a control step from the failure on."""
    world, expert = BatchWorld(FruitOnPlate(), N), FruitExpert()
    world.reset(np.arange(N), np.arange(N) + 40)
    for i in range(N):
        world.inject(i, Injection(mode=mode), seed=i)
    states = []
    for _ in range(150):
        states.append(world.state())
        world.step(expert.act(states[-1]))
    struck = max(round(world.injected_at(i) / EE_DELTA.dt_s) for i in range(N))
    return tuple(states[struck + 1 :])


masks = st.builds(
    lambda extra: frozenset(NEEDED | extra),
    st.sets(st.sampled_from(sorted(LIBRARY.terms)), max_size=len(LIBRARY.terms)),
)


@settings(max_examples=15, deadline=None)
@given(mode=st.sampled_from(MODES), active=masks)
def test_any_sufficient_mask_compiles_the_same_twice_and_survives_json(
    mode: FailureMode, active: frozenset[str]
) -> None:
    spec = compile_reward(descriptor(mode, active))
    assert spec.hash == compile_reward(descriptor(mode, active)).hash
    assert spec_from_json(spec_to_json(spec)).hash == spec.hash


@settings(max_examples=12, deadline=None)
@given(mode=st.sampled_from(MODES), active=masks)
def test_the_potential_lies_in_zero_to_one_and_costs_are_never_positive(
    mode: FailureMode, active: frozenset[str]
) -> None:
    reward, states = CompiledReward(compile_reward(descriptor(mode, active))), recoveries(mode)
    memory = reward.memory(N, EE_DELTA.size)
    reward.begin(states[0], memory, np.arange(N))
    for prev, state in zip(states[:40:9], states[9:49:9], strict=False):
        phi = reward.potential(state)
        assert ((phi >= 0) & (phi <= 1 + 1e-9)).all()
        r = reward.evaluate(prev, state, np.ones((N, EE_DELTA.size)), memory)
        assert np.isfinite(r).all()
    still = reward.memory(N, EE_DELTA.size)
    reward.begin(states[0], still, np.arange(N))
    assert (reward.evaluate(states[0], states[0], np.zeros((N, EE_DELTA.size)), still) <= 0).all()


def test_rewards_telescope_the_shaped_part_is_what_phi_gained() -> None:
    mode = FailureMode.DROP
    free = compile_reward(descriptor(mode, frozenset(NEEDED | {"off_table"})))
    reward, states = CompiledReward(free), recoveries(mode)
    memory = reward.memory(N, EE_DELTA.size)
    reward.begin(states[0], memory, np.arange(N))
    no, still = np.zeros(N, dtype=bool), np.zeros((N, EE_DELTA.size))
    rewards = [reward.evaluate(a, b, still, memory, no) for a, b in itertools.pairwise(states[:30])]
    gained = reward.potential(states[29]) - reward.potential(states[0])
    assert np.sum(rewards, axis=0) == pytest.approx(free.scale * gained)


@settings(max_examples=40, deadline=None)
@given(a=st.floats(0, 1), b=st.floats(0, 1), weight=st.floats(0, 1))
def test_and_or_and_if_keep_values_in_zero_to_one(a: float, b: float, weight: float) -> None:
    state = recoveries(FailureMode.DROP)[0]
    opening = replace(state, gripper_opening=np.full(N, a), gripper_command=np.full(N, b))
    left = RewardNode(kind="term", term="grasp_open", weight=weight)
    right = RewardNode(kind="term", term="released", weight=1.0 - weight)
    values = {}
    for kind in ("and", "or", "if"):
        node = RewardNode(kind=kind, children=(left, right))
        always = RewardNode(kind="term", term="always")
        stage = StageReward(stage="grasp", value=node, gate=always, done=always)
        costs = RewardNode(kind="and", children=(RewardNode(kind="term", term="elapsed"),))
        spec = RewardSpec(library=LIBRARY.id, stages=(stage,), costs=costs, scale=1.0)
        values[kind] = CompiledReward(spec).potential(opening)
        assert ((values[kind] >= 0) & (values[kind] <= 1 + 1e-9)).all()
    assert (values["or"] >= values["and"] - 1e-9).all()
    assert (values["if"] <= values["or"] + 1e-9).all()
