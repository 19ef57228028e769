"""From a descriptor to a compiled reward, and every refusal on the way."""

from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.failures import FailureMode
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.rewards import RewardMask, RewardNode
from core.subtasks import STAGES_OF, Manner
from regrasp.task_registry import find_task
from residual.compile import Origin, compile_reward
from residual.fitting import fit_of
from residual.library import LIBRARY
from residual.masks import MASKS, default_mask
from residual.outline import outlines, own_value
from residual.stages import Fit, both, either, leaf, leaves, only_if
from residual.templates import MODES, find_template

PAIRS = [(manner, mode) for manner in Manner for mode in MODES]


def descriptor(
    mode: FailureMode = FailureMode.DROP,
    stage: RecoveryStage | None = None,
    drop: frozenset[str] = frozenset(),
    manner: Manner = Manner.PLACE,
) -> RecoveryDescriptor:
    mask, first = default_mask(mode, manner), find_template(manner, mode).stages[0].stage
    return RecoveryDescriptor(
        report_id="probe-17", mode=mode, stage=stage or first, target="apple", obstacles=("block",),
        mask=replace(mask, active=mask.active - drop), confidence=0.9, model_id="probe@1",
    )  # fmt: skip


def value_terms(mode: FailureMode) -> set[str]:
    spec = compile_reward(descriptor(mode))
    return {n.term for s in spec.stages for n in leaves(own_value(s))}


@pytest.mark.parametrize(("manner", "mode"), PAIRS)
def test_every_mode_compiles_in_every_manner(manner: Manner, mode: FailureMode) -> None:
    spec = compile_reward(descriptor(mode, manner=manner), manner=manner)
    assert sum(s.value.weight for s in spec.stages) == pytest.approx(1.0)
    assert spec.library == LIBRARY.id
    assert MASKS[manner][mode] == default_mask(mode, manner).active
    before = {FailureMode.WRONG_OBJECT: 1, FailureMode.COLLISION: 1}.get(mode, 0)
    own = [RecoveryStage(s.stage) for s in spec.stages][before:]
    assert [s for s in own if s is not RecoveryStage.RESUME] == [s for s in STAGES_OF[manner] if s in own]


@pytest.mark.parametrize("manner", list(Manner))
def test_the_documented_stages_are_those_that_are_compiled(manner: Manner) -> None:
    page = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text()
    stages = " ".join(s.stage for s in compile_reward(descriptor(manner=manner), manner=manner).stages)
    assert f"| `{manner}` | {stages} |" in page


def test_every_manner_has_a_reward_of_its_own() -> None:
    specs = {m: compile_reward(descriptor(FailureMode.SLIP, manner=m), manner=m) for m in Manner}
    assert len({s.hash for s in specs.values()}) == len(Manner)
    assert {s.provenance["manner"] for s in specs.values()} == {str(m) for m in Manner}


def test_modes_use_different_terms() -> None:
    assert "clearance" in value_terms(FailureMode.COLLISION)
    assert "clearance" not in value_terms(FailureMode.DROP)
    assert "standing" in value_terms(FailureMode.TOPPLED)
    costs = {m: {n.term for n in leaves(compile_reward(descriptor(m)).costs)} for m in MODES}
    assert "collision_force" in costs[FailureMode.COLLISION]
    assert "collision_force" not in costs[FailureMode.MISSED_GRASP]
    assert "intrusion" in costs[FailureMode.WRONG_OBJECT]
    assert "slipped" in costs[FailureMode.SLIP]


def test_the_same_descriptor_gives_the_same_hash_whoever_made_it() -> None:
    first = compile_reward(descriptor())
    other = replace(descriptor(), report_id="vlm-3", model_id="other@2", confidence=0.4)
    second = compile_reward(other, origin=Origin(prompt_sha256="12ab", frames_sha256="34cd"))
    assert first.hash == second.hash
    asked = {k: second.provenance[k] for k in ("model_id", "prompt_sha256", "frames_sha256", "library")}
    assert asked == {"model_id": "other@2", "prompt_sha256": "12ab", "frames_sha256": "34cd", "library": LIBRARY.id}
    assert first.provenance["prompt_sha256"] == ""


def test_another_parameter_gives_another_hash() -> None:
    changed = compile_reward(descriptor(), parameters={"lift": {"height_m": 0.12}})
    assert changed.hash != compile_reward(descriptor()).hash
    heights = {n.params["height_m"] for s in changed.stages for n in leaves(s.value) if n.term == "lift"}
    assert heights == {0.12}


def test_a_reward_fits_the_things_of_its_task() -> None:
    info = find_task("peg_in_hole").info
    fit = fit_of(info, info.subtasks[0])
    spec = compile_reward(descriptor(manner=Manner.INSERT), manner=Manner.INSERT, fit=fit)
    inserted = next(n for s in spec.stages for n in leaves(s.value) if n.term == "insertion")
    assert inserted.params["rim_m"] == pytest.approx(0.021)
    assert inserted.params["tip_m"] == pytest.approx(0.045)
    assert inserted.params["depth_m"] == pytest.approx(0.025)
    assert fit.grip_up_m == pytest.approx(0.021)


@pytest.mark.parametrize(("k", "slid_m"), [(0, 0.233), (2, 0.148)])
def test_what_slides_is_done_where_its_sub_task_says(k: int, slid_m: float) -> None:
    info = find_task("tidy_drawer").info
    fit = fit_of(info, info.subtasks[k].filled("ball", "lime"))
    assert fit.slide_rad == pytest.approx(3.14)
    assert fit.slid_m == pytest.approx(slid_m, abs=1e-3)


def test_a_sub_task_without_a_box_keeps_the_usual_distances_and_a_strange_target_is_refused() -> None:
    info = find_task("wipe_board").info
    assert fit_of(info, info.subtasks[0]).goal_radius_m == Fit().goal_radius_m
    with pytest.raises(ConfigError, match=r"has no object '\{target\}'"):
        fit_of(find_task("fruit_on_plate").info, find_task("fruit_on_plate").info.subtasks[0])


def test_a_term_that_the_mask_leaves_out_is_gone_and_the_others_take_its_weight() -> None:
    spec = compile_reward(descriptor(drop=frozenset({"grasp_open"})))
    approach = own_value(spec.stages[0])
    assert {n.term for n in leaves(approach)} == {"approach"}
    assert sum(n.weight for n in approach.children) == pytest.approx(1.0)


def test_a_later_stage_drops_the_stages_before_it() -> None:
    spec = compile_reward(descriptor(stage=RecoveryStage.TRANSPORT))
    assert [s.stage for s in spec.stages] == ["transport", "place", "release", "resume"]


def test_no_mask_switches_off_what_keeps_the_goal_in_its_place() -> None:
    free = {n for n in default_mask(FailureMode.DROP).active if LIBRARY.term(n).kind == "penalty"}
    spec = compile_reward(
        descriptor(drop=frozenset(free | {"disturbed"})), parameters={"disturbed": {"role": "distractor"}}
    )
    assert [(n.term, n.params["role"]) for n in spec.costs.children] == [("disturbed", "goal")]


def test_a_tree_takes_the_place_of_a_stages_own_with_weights_that_sum_to_one() -> None:
    own = both(leaf("lift", 3.0), only_if(leaf("upright"), either(leaf("held"), leaf("lift")), weight=1.0))
    mask = replace(default_mask(FailureMode.DROP), active=default_mask(FailureMode.DROP).active | {"upright", "held"})
    spec = compile_reward(replace(descriptor(), mask=mask), trees={RecoveryStage.LIFT: own})
    lift = next(p for p in outlines(spec) if p.stage == "lift")
    assert [c.weight for c in lift.value.children] == [0.75, 0.25]
    assert lift.value.children[0].params == LIBRARY.term("lift").bind({})
    assert lift.weight == pytest.approx(next(p.weight for p in outlines(compile_reward(descriptor()))
                                             if p.stage == "lift"))  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "tree", "message"),
    [
        ("lift", leaf("still"), "uses term 'still', which the mask leaves out"),
        ("lift", leaf("effort"), "'effort' is a penalty"),
        ("lift", leaf("lifft"), "did you mean 'lift'"),
        ("lift", both(leaf("lift", 0.0)), "sum to 0"),
        ("wipe", leaf("lift"), "unknown recovery stage of a reward tree 'wipe'"),
    ],
)
def test_a_tree_that_cannot_drive_its_stage_is_refused(stage: str, tree: RewardNode, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compile_reward(descriptor(), trees={RecoveryStage(stage): tree})


def test_an_unknown_term_names_the_nearest() -> None:
    bad = replace(descriptor(), mask=RewardMask(library=LIBRARY.id, active=frozenset({"aproach"})))
    with pytest.raises(ConfigError, match=r"unknown reward term 'aproach'; did you mean 'approach'"):
        compile_reward(bad)


def test_another_library_is_refused() -> None:
    bad = replace(descriptor(), mask=RewardMask(library="regrasp@9", active=frozenset()))
    with pytest.raises(ConfigError, match="regrasp@9"):
        compile_reward(bad)


def test_a_stage_that_nothing_drives_is_unreachable() -> None:
    with pytest.raises(ConfigError, match=r"stage 'lift' is unreachable.*activate at least one of lift"):
        compile_reward(descriptor(drop=frozenset({"lift"})))


def test_a_mode_without_template_and_a_foreign_stage_are_refused() -> None:
    with pytest.raises(ConfigError, match="failure mode with a reward template for 'place' 'stalled'"):
        compile_reward(replace(descriptor(), mode=FailureMode.STALLED))
    with pytest.raises(ConfigError, match="unknown recovery stage of this mode 'wipe'"):
        compile_reward(descriptor(stage=RecoveryStage.WIPE))
    with pytest.raises(ConfigError, match="failure mode with a reward template"):
        default_mask(FailureMode.STALLED)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"approach": {"scale_m": float("inf")}}, "finite number"),
        ({"approach": {"scale_m": 3.0}}, r"finite number in \[0.01, 1\]"),
        ({"approach": {"speed": 3.0}}, "unknown parameter of reward term 'approach'"),
        ({"aproach": {"scale_m": 0.1}}, "did you mean 'approach'"),
        ({"transport": {"goal": "target"}}, "role and goal both 'target'"),
        ({"approach": {"role": "distractor"}, "disturbed": {"role": "distractor"}}, "sought and to be kept clear of"),
        ({"retreat": {"distance_m": 0.04}, "released": {"near_m": 0.05}}, "lies inside near_m"),
        ({"lower": {"height_m": 0.04}}, "does not exceed on_goal"),
    ],
)
def test_unbounded_and_contradictory_parameters_are_refused(
    parameters: dict[str, dict[str, float | str]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        compile_reward(descriptor(FailureMode.MISSED_GRASP), parameters=parameters)


def test_a_target_that_is_also_an_obstacle_is_refused() -> None:
    with pytest.raises(ConfigError, match="both the target and an obstacle"):
        compile_reward(replace(descriptor(), obstacles=("apple",)))
