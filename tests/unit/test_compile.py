"""From a descriptor to a compiled reward, and every refusal on the way."""

import json
from dataclasses import replace

import pytest

from core.errors import ArtifactError, ConfigError
from core.failures import FailureMode
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.rewards import RewardMask, RewardNode
from core.subtasks import Manner
from residual.compile import compile_reward
from residual.library import LIBRARY
from residual.masks import MASKS as MASKS_OF
from residual.masks import default_mask
from residual.spec_io import descriptor_from_json, descriptor_to_json, spec_from_json, spec_to_json
from residual.stages import leaves
from residual.templates import MODES, find_template

MASKS = MASKS_OF[Manner.PLACE]


def descriptor(
    mode: FailureMode = FailureMode.DROP, stage: RecoveryStage | None = None, drop: set[str] | None = None
) -> RecoveryDescriptor:
    mask, first = default_mask(mode), find_template(Manner.PLACE, mode).stages[0].stage
    return RecoveryDescriptor(
        report_id="probe-17", mode=mode, stage=stage or first, target="apple",
        obstacles=("block",), mask=replace(mask, active=mask.active - (drop or set())), confidence=0.9,
        model_id="probe@1",
    )  # fmt: skip


def value_terms(mode: FailureMode, **kwargs: set[str]) -> set[str]:
    spec = compile_reward(descriptor(mode, **kwargs))
    return {n.term for s in spec.stages for n in leaves(s.value.children[0])}


def test_every_mode_with_a_mask_compiles_from_its_first_stage() -> None:
    assert set(MASKS) == set(MODES)
    for mode in MASKS:
        spec = compile_reward(descriptor(mode))
        assert sum(s.value.weight for s in spec.stages) == pytest.approx(1.0)
        assert spec.library == LIBRARY.id


def test_modes_use_different_terms() -> None:
    assert "clearance" in value_terms(FailureMode.COLLISION)
    assert "clearance" not in value_terms(FailureMode.DROP)
    costs = {m: {n.term for n in leaves(compile_reward(descriptor(m)).costs)} for m in MASKS}
    assert "collision_force" in costs[FailureMode.COLLISION]
    assert "collision_force" not in costs[FailureMode.MISSED_GRASP]
    assert "intrusion" in costs[FailureMode.WRONG_OBJECT]
    assert len({compile_reward(descriptor(m)).hash for m in costs}) == 7


def test_the_same_descriptor_gives_the_same_hash_whoever_made_it() -> None:
    first = compile_reward(descriptor())
    second = compile_reward(replace(descriptor(), report_id="vlm-3", model_id="other@2", confidence=0.4))
    assert first.hash == second.hash
    assert first.provenance != second.provenance


def test_another_parameter_gives_another_hash() -> None:
    changed = compile_reward(descriptor(), parameters={"lift": {"height_m": 0.12}})
    assert changed.hash != compile_reward(descriptor()).hash
    heights = {n.params["height_m"] for s in changed.stages for n in leaves(s.value) if n.term == "lift"}
    assert heights == {0.12}


def test_a_term_that_the_mask_leaves_out_is_gone_and_the_others_take_its_weight() -> None:
    spec = compile_reward(descriptor(drop={"grasp_open"}))
    approach = spec.stages[0].value.children[0]
    assert {n.term for n in leaves(approach)} == {"approach"}
    assert sum(n.weight for n in approach.children) == pytest.approx(1.0)


def test_a_later_stage_drops_the_stages_before_it() -> None:
    spec = compile_reward(descriptor(stage=RecoveryStage.TRANSPORT))
    assert [s.stage for s in spec.stages] == ["transport", "place", "release", "resume"]


def test_a_mask_without_costs_compiles_to_costs_of_weight_zero() -> None:
    mask = default_mask(FailureMode.DROP)
    free = {n for n in mask.active if LIBRARY.term(n).kind == "penalty"}
    spec = compile_reward(descriptor(drop=free))
    assert [n.weight for n in spec.costs.children] == [0.0]


def test_an_unknown_term_names_the_nearest() -> None:
    bad = replace(descriptor(), mask=RewardMask(library="regrasp@2", active=frozenset({"aproach"})))
    with pytest.raises(ConfigError, match=r"unknown reward term 'aproach'; did you mean 'approach'"):
        compile_reward(bad)


def test_another_library_is_refused() -> None:
    bad = replace(descriptor(), mask=RewardMask(library="regrasp@9", active=frozenset()))
    with pytest.raises(ConfigError, match="regrasp@9"):
        compile_reward(bad)


def test_a_stage_that_nothing_drives_is_unreachable() -> None:
    with pytest.raises(ConfigError, match=r"stage 'lift' is unreachable.*activate at least one of lift"):
        compile_reward(descriptor(drop={"lift"}))


def test_a_mode_without_template_and_a_foreign_stage_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown failure mode with a reward template for 'place' 'stalled'"):
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


def test_descriptor_and_spec_survive_the_way_through_json() -> None:
    asked = descriptor(FailureMode.COLLISION)
    assert descriptor_from_json(descriptor_to_json(asked)) == asked
    spec = compile_reward(asked)
    read = spec_from_json(spec_to_json(spec))
    assert read.hash == spec.hash
    assert dict(read.provenance) == dict(spec.provenance)


def test_a_descriptor_without_mask_gets_the_default_of_its_mode() -> None:
    read = descriptor_from_json('{"mode": "drop", "stage": "approach", "target": "lemon"}')
    assert read.mask == default_mask(FailureMode.DROP)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "JSON list"),
        ('{"mode": "dropp", "stage": "approach"}', "did you mean 'drop'"),
        ('{"mode": "drop", "stage": "aproach"}', "did you mean 'approach'"),
        ('{"mode": "drop", "stage": "approach", "modes": 1}', "unknown descriptor key 'modes'"),
        ('{"mode": "drop", "stage": "approach", "target": 1}', "write a text"),
        ('{"mode": "drop", "stage": "approach", "obstacles": "block"}', "list of names"),
        ('{"mode": "drop", "stage": "approach", "mask": ["lift"]}', "mask is"),
        ('{"mode": "drop", "stage": "approach", "confidence": 7}', r"allowed \[0.0, 1.0\]"),
        ('{"mode": "drop", "stage": "approach", "confidence": null}', "descriptor:"),
    ],
)
def test_a_wrong_descriptor_is_refused_in_plain_words(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        descriptor_from_json(text)


def test_an_edited_or_foreign_spec_is_refused() -> None:
    data = json.loads(spec_to_json(compile_reward(descriptor())))
    data["spec"]["scale"] = 99.0
    with pytest.raises(ArtifactError, match="it was edited"):
        spec_from_json(json.dumps(data))
    for text in ("{", '{"format": "other@1"}', '{"format": "regrasp-reward@1"}', "[]"):
        with pytest.raises(ArtifactError):
            spec_from_json(text)


def test_a_penalty_cannot_be_a_node_of_a_stage() -> None:
    node = RewardNode(kind="term", term="effort")
    assert LIBRARY.term(node.term).kind == "penalty"
