"""The lint: rewards that can be hacked are found out by name; every shipped reward passes where its failure happens."""

import functools
from dataclasses import dataclass, replace

import numpy as np
import pytest

from core.errors import ConfigError
from core.failures import FailureMode
from core.ports import Expert
from core.recovery import RecoveryDescriptor
from core.rewards import LintReport, RewardSpec, StageReward
from core.robots import EE_DELTA
from core.scene import SceneState
from core.subtasks import Manner, SubTask
from core.worlds import FailureState, Injection
from regrasp.task_registry import find_task
from residual.compile import compile_reward
from residual.fitting import fit_of
from residual.lint import lint_reward
from residual.masks import default_mask
from residual.probes import Probing, Recorded, pushed, record_all
from residual.reward import CompiledReward
from residual.stages import Fit, both, leaf
from residual.templates import MODES, find_template
from sim.world import BatchWorld

N = 5
BELIEF = SceneState(t_ns=0, objects={}, source="truth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Failures of one sub-task, and what was seen of them."""

    probing: Probing
    recorded: Recorded
    fit: Fit
    manner: Manner


@functools.cache
def moments(task: str, mode: FailureMode | None) -> tuple[BatchWorld, Expert, dict[int, list[FailureState]]]:
    """Returns N moments of every sub-task of a task: when the failure has struck, or when it has just become due."""
    entry = find_task(task)
    world, expert = BatchWorld(entry.make(), N), entry.expert()
    world.reset(np.arange(N), np.arange(N) + 40)
    for i in range(N if mode else 0):
        world.inject(i, Injection(mode=mode or FailureMode.DROP), seed=i)
    caught: dict[tuple[int, int], FailureState] = {}
    for _ in range(entry.info.episode_steps):
        state = world.state()
        struck = np.array([world.injected_at(i) for i in range(N)]) + 2 * EE_DELTA.dt_s
        due = (state.time_s >= struck) if mode else np.ones(N, dtype=bool)
        for i in np.flatnonzero(due & ~state.success).tolist():
            k = int(state.subtask[i])
            if k < len(entry.info.subtasks) and (k, i) not in caught:
                caught[k, i] = _failure(world, i, k)
        if state.success.all() or (mode and len({i for _, i in caught}) == N):
            break
        world.step(expert.act(state))
    return world, expert, {k: [s for (at, _), s in caught.items() if at == k] for k in range(len(entry.info.subtasks))}


@functools.cache
def case(task: str, mode: FailureMode | None, k: int, steps: int, rollouts: int = 12) -> Case:
    """Returns what was seen from the moments of one sub-task."""
    world, expert, caught = moments(task, mode)
    info = find_task(task).info
    probing = Probing(
        world=world, expert=expert, states=caught[k], steps=steps, subtasks=len(info.subtasks), rollouts=rollouts
    )
    sub: SubTask = info.course(world.instruction(0)).subtasks[k]
    return Case(probing=probing, recorded=record_all(probing), fit=fit_of(info, sub), manner=sub.manner)


def _failure(world: BatchWorld, i: int, k: int) -> FailureState:
    return FailureState(
        snapshot=world.snapshot(i), mode=FailureMode.DROP, seed=i, age_s=0.1, queue=None, belief=BELIEF, subtask=k
    )


def spec_of(mode: FailureMode, found: Case) -> RewardSpec:
    asked = RecoveryDescriptor(
        report_id="r", mode=mode, stage=find_template(found.manner, mode).stages[0].stage, target="", obstacles=(),
        mask=default_mask(mode, found.manner), confidence=1.0, model_id="m",
    )  # fmt: skip
    return compile_reward(asked, manner=found.manner, fit=found.fit)


def fruit() -> Case:
    return case("fruit_on_plate", FailureMode.DROP, 0, 70, rollouts=50)


def lint(spec: RewardSpec, found: Case | None = None) -> LintReport:
    found = found or fruit()
    return lint_reward(spec, found.probing, recorded=found.recorded)


def failed(report: LintReport) -> set[str]:
    return {c.name for c in report.failed}


SAME = (FailureMode.MISSED_GRASP, FailureMode.TARGET_MOVED, FailureMode.MISALIGNED)
"""Failures that are mended, on a plate, by one and the same reward."""


def test_some_failures_share_a_reward() -> None:
    assert len({spec_of(mode, fruit()).hash for mode in SAME}) == 1
    assert len({spec_of(mode, fruit()).hash for mode in MODES}) == len(MODES) - len(SAME) + 1


@pytest.mark.parametrize("mode", [m for m in MODES if m not in SAME[1:]])
def test_the_shipped_reward_of_every_mode_passes_on_the_simulated_fruit(mode: FailureMode) -> None:
    struck = mode in (FailureMode.WRONG_OBJECT, FailureMode.COLLISION)
    found = case("fruit_on_plate", mode, 0, 70) if struck else fruit()
    report = lint(spec_of(mode, found), found)
    assert report.ok, report.failed
    assert report.successes >= N - 1
    assert report.rollouts >= (12 if struck else 50)


@pytest.mark.parametrize(
    ("task", "k", "mode"),
    [
        ("peg_in_hole", 0, FailureMode.JAM),
        ("wipe_board", 1, FailureMode.SLIP),
        ("tidy_drawer", 0, FailureMode.MISSED_GRASP),
        ("tidy_drawer", 1, FailureMode.DROP),
        ("tidy_drawer", 2, FailureMode.COLLISION),
    ],
)
def test_the_shipped_rewards_of_every_manner_pass_on_their_tasks(task: str, k: int, mode: FailureMode) -> None:
    found = case(task, None, k, 90)
    report = lint(spec_of(mode, found), found)
    assert report.ok, report.failed


def test_a_reward_that_pays_for_hovering_above_the_target_is_found_out() -> None:
    spec = spec_of(FailureMode.DROP, fruit())
    above = replace(spec.stages[0], value=leaf("approach", spec.stages[0].value.weight, height_m=0.1), pays="level")
    found = failed(lint(replace(spec, stages=(above, *spec.stages[1:]))))
    assert "success beats hovering in the best state that is no success" in found
    assert "success beats standing still" in found
    assert "phi rises along successes" not in found


def test_a_reward_that_pays_for_shaking_is_found_out() -> None:
    spec = spec_of(FailureMode.DROP, fruit())
    found = failed(lint(replace(spec, stages=tuple(replace(s, pays="rise") for s in spec.stages))))
    assert {"success beats shaking", "success beats going to and fro"} <= found
    assert "success beats standing still" not in found


def test_a_reward_that_pays_for_pushing_the_goal_to_the_target_is_found_out() -> None:
    spec = spec_of(FailureMode.DROP, fruit())
    near_goal = StageReward(
        stage="transport", value=leaf("transport"), gate=leaf("always"), done=leaf("over_goal", radius_m=0.066)
    )  # fmt: skip
    costs = both(leaf("elapsed", 0.02), leaf("off_table", 2.0))
    assert failed(lint(replace(spec, stages=(near_goal,), costs=costs))) == {"moving the goal earns nothing"}


def test_the_pushed_goal_moves_alone_and_only_in_one_of_the_two_made_up_runs() -> None:
    with_goal, without = pushed(fruit().recorded.expert)
    for role in ("target", "distractor"):
        assert with_goal.flat.of(role) == pytest.approx(without.flat.of(role))
    last = with_goal.flat.of("goal")[-N:] - with_goal.flat.of("target")[-N:]
    assert last[:, :2] == pytest.approx(0.0)
    assert without.flat.of("goal")[-N:] == pytest.approx(without.flat.of("goal")[:N])
    assert with_goal.flat.tcp_pos_in_base == pytest.approx(without.flat.tcp_pos_in_base)


def test_a_goal_without_its_guard_may_be_pushed() -> None:
    spec = spec_of(FailureMode.DROP, fruit())
    unguarded = both(*(c for c in spec.costs.children if c.params.get("role") != "goal"))
    assert "moving the goal earns nothing" in failed(lint(replace(spec, costs=unguarded)))


def test_progress_of_the_wrong_sign_and_a_stage_that_is_never_reached_are_named() -> None:
    spec = spec_of(FailureMode.DROP, fruit())
    away = replace(spec.stages[1], value=leaf("retreat", spec.stages[1].value.weight, distance_m=0.1))
    never = replace(
        spec.stages[2], done=leaf("gone"), gate=leaf("gone"), value=leaf("gone", spec.stages[2].value.weight)
    )
    found = failed(lint(replace(spec, stages=(spec.stages[0], away, never, *spec.stages[3:]))))
    assert "sign of retreat(target) in stage align" in found
    assert "stage grasp is reached" in found


def test_the_wrong_role_earns_a_success_less_than_its_rivals() -> None:
    spec = spec_of(FailureMode.DROP, fruit())
    other = StageReward(
        stage="approach", value=leaf("approach", role="distractor", scale_m=0.3), gate=leaf("always"),
        done=leaf("near", role="distractor"),
    )  # fmt: skip
    found = failed(lint(replace(spec, stages=(other,), scale=50.0)))
    assert {"stage approach is reached", "success beats random policies"} <= found


def test_costs_that_outweigh_progress_weights_and_parameters_that_disagree_are_named() -> None:
    spec = spec_of(FailureMode.DROP, fruit())
    heavy = both(leaf("elapsed", 0.5), *spec.costs.children[1:])
    assert "costs leave half of what a success earns" in failed(lint(replace(spec, costs=heavy)))
    doubled = replace(spec.stages[0], value=both(leaf("approach"), leaf("upright"), weight=0.5))
    found = lint(replace(spec, stages=(doubled, *spec.stages[1:])))
    assert {"weights of the stages sum to 1", "weights inside stage approach sum to 1"} <= failed(found)
    crossed = both(*spec.costs.children, leaf("disturbed", 0.1, role="target"))
    assert "parameters agree" in failed(lint(replace(spec, costs=crossed)))


def test_probing_without_a_recovery_says_so() -> None:
    found = fruit()
    with pytest.raises(ConfigError, match="recovers from none of 5 failure states within 3 steps"):
        record_all(replace(found.probing, steps=3))
    with pytest.raises(ConfigError, match="probed from 0 failure states"):
        replace(found.probing, states=[])


def test_an_attempt_keeps_its_roles_and_earns_the_bonus_alone_when_its_sub_task_is_done() -> None:
    found = case("tidy_drawer", None, 1, 90)
    reward = CompiledReward(spec_of(FailureMode.DROP, found))
    state = found.recorded.expert.flat.take(np.arange(N))
    memory = reward.memory(N, EE_DELTA.size)
    reward.begin(state, memory, np.arange(N))
    still = np.zeros((N, EE_DELTA.size))
    swapped = replace(state, roles=state.roles[:, [1, 0, 2, 3]])
    assert reward.evaluate(state, swapped, still, memory) == pytest.approx(-0.02)
    assert reward.evaluate(state, swapped, still, memory, np.ones(N, dtype=bool)) == pytest.approx(5.0 - 0.02)
    assert memory.potential.sum(axis=0) == pytest.approx(reward.potential(state))
