"""Descriptors and compiled rewards as files: read back as written, every defect named with its place, compared."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import ArtifactError, ConfigError
from core.failures import FailureMode
from core.recovery import RecoveryStage
from core.rewards import LintCheck, LintReport
from core.subtasks import Manner
from regrasp.cli import main
from residual.compile import compile_reward
from residual.lint import linted, require_lint
from residual.masks import default_mask
from residual.outline import tell_spec
from residual.reading import Spot
from residual.spec_diff import spec_diff
from residual.spec_io import descriptor_from_json, descriptor_to_json, node_from, spec_from_json, spec_to_json
from residual.stages import leaf

ASKED = '{"mode": "drop", "stage": "approach", "target": "lemon", "obstacles": ["block"], "confidence": 0.7}'
SPEC = compile_reward(descriptor_from_json(ASKED))
PASSED = LintCheck(name="phi gains along successes", value=0.8, needed=0.02)
FAILED = LintCheck(name="success beats shaking", value=float("-inf"), needed=1e-6, note="smallest at discount 1")


def test_a_descriptor_survives_the_way_through_json() -> None:
    asked = descriptor_from_json(ASKED)
    assert descriptor_from_json(descriptor_to_json(asked)) == asked
    assert asked.mask == default_mask(FailureMode.DROP)
    assert descriptor_from_json(ASKED, Manner.WIPE).mask == default_mask(FailureMode.DROP, Manner.WIPE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "descriptor is not JSON"),
        ("[" * 100_000, "descriptor is not JSON"),
        ("[]", r"descriptor: \[\] stands here; give an object"),
        ('{"mode": "dropp", "stage": "approach"}', "descriptor.mode 'dropp'; did you mean 'drop'"),
        ('{"mode": "drop", "stage": "aproach"}', "descriptor.stage 'aproach'; did you mean 'approach'"),
        ('{"mode": "drop"}', "descriptor: key 'stage' is missing"),
        ('{"mode": "drop", "stage": "approach", "modes": 1}', "unknown key of descriptor 'modes'; did you mean 'mode'"),
        ('{"mode": "drop", "stage": "approach", "target": 1}', "descriptor.target: 1 stands here; give a text"),
        ('{"mode": "drop", "stage": "approach", "obstacles": "block"}', "descriptor.obstacles.*give a list"),
        ('{"mode": "drop", "stage": "approach", "obstacles": ["a", 7]}', r"descriptor.obstacles\[1\]: 7 stands here"),
        ('{"mode": "drop", "stage": "approach", "mask": ["lift"]}', "descriptor.mask.*give an object"),
        ('{"mode": "drop", "stage": "approach", "mask": {"library": "a@1"}}', "descriptor.mask: key 'active' is miss"),
        ('{"mode": "drop", "stage": "approach", "confidence": 7}', r"descriptor.confidence: 7 .* number in \[0, 1\]"),
        ('{"mode": "drop", "stage": "approach", "confidence": null}', "descriptor.confidence: null stands here"),
        ('{"mode": "drop", "stage": "approach", "confidence": true}', "descriptor.confidence: true stands here"),
        ('{"mode": "drop", "stage": "approach", "confidence": NaN}', "descriptor.confidence: NaN stands here"),
    ],
)
def test_a_wrong_descriptor_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        descriptor_from_json(text)


def test_a_spec_survives_the_way_through_json_with_its_lint_outside_of_the_hash() -> None:
    report = LintReport(checks=(PASSED, FAILED), successes=12, rollouts=55)
    spec = linted(SPEC, report)
    read = spec_from_json(spec_to_json(spec))
    assert read.hash == SPEC.hash == spec.hash
    assert dict(read.provenance) == dict(SPEC.provenance)
    assert read.lint == report
    assert spec_from_json(spec_to_json(SPEC)).lint is None


def _spoil(change: Callable[[dict[str, Any]], None]) -> str:
    data = json.loads(spec_to_json(linted(SPEC, LintReport(checks=(PASSED,), successes=1, rollouts=50))))
    change(data)
    return json.dumps(data)


def _set(*path: str | int, to: object) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        place: Any = data
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("format", to="other@1"), "reward spec.format is 'other@1'; this version reads 'regrasp-reward@2'"),
        (_set("spec", "library", to="regrasp@1"), "'regrasp@1' is not known here"),
        (_set("spec", "scale", to=99.0), "it was edited"),
        (_set("spec", "scale", to=-1.0), r"spec.spec.scale: -1.0 stands here; give a number in \[0, 1000\]"),
        (_set("spec", "stages", to={}), "spec.spec.stages.*give a list"),
        (_set("spec", "stages", 2, "stage", to="gasp"), r"spec.stages\[2\].stage 'gasp'; did you mean 'grasp'"),
        (_set("spec", "stages", 0, "pays", to="levels"), r"stages\[0\].pays 'levels'; did you mean 'level'"),
        (_set("spec", "stages", 1, "gate", "kind", to="xor"), r"stages\[1\].gate.kind 'xor'; did you mean 'or'"),
        (_set("spec", "stages", 1, "gate", "children", to=[]), r"stages\[1\].gate: reward node 'or' with 0 children"),
        (_set("spec", "costs", "children", 0, "term", to="elapsedd"), r"costs.children\[0\]: .*mean 'elapsed'"),
        (_set("spec", "costs", "children", 1, "params", to={"x_m": 1}), r"costs.children\[1\]: unknown parameter"),
        (_set("spec", "costs", "children", 1, "weight", to="big"), r'costs.children\[1\].weight: "big" stands here'),
        (_set("lint", "ok", to=False), "spec.lint.ok: false stands here; give true, as the checks say"),
        (_set("lint", "successes", to=-1), "spec.lint.successes: -1 stands here; give a whole number"),
        (_set("provenance", "mode", to=3), "spec.provenance.mode: 3 stands here; give a text"),
        (_set("extra", to=1), "unknown key of reward spec 'extra'"),
    ],
)
def test_a_malformed_spec_is_refused_with_its_place(change: Callable[[dict[str, Any]], None], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        spec_from_json(_spoil(change))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
def test_what_is_no_spec_at_all_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match="recompile it"):
        spec_from_json(text)


def test_a_tree_of_a_model_needs_only_what_it_says() -> None:
    held: dict[str, Any] = {"kind": "term", "term": "held"}
    data = {"kind": "and", "children": [{"kind": "term", "term": "lift", "weight": 2}, held]}
    node = node_from(Spot("answer.tree", data))
    assert [c.weight for c in node.children] == [2.0, 1.0]
    held["term"] = "hold"
    with pytest.raises(ConfigError, match=r"answer.tree.children\[1\]: .*did you mean 'held'"):
        node_from(Spot("answer.tree", data))


def test_a_spec_that_failed_or_was_not_linted_is_trained_on_only_by_force() -> None:
    good = linted(SPEC, LintReport(checks=(PASSED,), successes=1, rollouts=50))
    bad = linted(SPEC, LintReport(checks=(PASSED, FAILED), successes=1, rollouts=50))
    assert require_lint(good, force=False) == "passed"
    with pytest.raises(ConfigError, match=r"success beats shaking: -inf, at least 1e-06 needed.*--force"):
        require_lint(bad, force=False)
    assert require_lint(bad, force=True).startswith("forced: success beats shaking")
    with pytest.raises(ConfigError, match="it was never linted"):
        require_lint(SPEC, force=False)
    assert not LintReport(checks=(), successes=0, rollouts=0).ok


def test_a_diff_names_what_came_what_went_and_what_changed() -> None:
    asked = descriptor_from_json(ASKED)
    poorer = replace(asked, mask=replace(asked.mask, active=asked.mask.active - {"align", "speeding"}))
    after = compile_reward(poorer, parameters={"lift": {"height_m": 0.12}})
    told = [str(c) for c in spec_diff(SPEC, after)]
    assert "removed stage align, value: align(target): weight 0.4, role target, scale_m 0.03" in told
    assert "removed costs: speeding: weight 0.02, limit_m_s 0.5" in told
    assert "changed stage lift, value: lift(target): height_m 0.08 -> 0.12" in told
    assert "changed stage align, value: grasp_open(target): weight 0.2 -> 0.333333" in told
    assert any(line.startswith("added   costs") for line in map(str, spec_diff(after, SPEC)))
    assert spec_diff(SPEC, spec_from_json(spec_to_json(SPEC))) == ()


def test_a_diff_sees_stages_gates_and_ways_of_paying() -> None:
    late = compile_reward(replace(descriptor_from_json(ASKED), stage=RecoveryStage.LIFT))
    gone = [c.where for c in spec_diff(SPEC, late) if c.kind == "removed"]
    assert {"stage approach", "stage grasp, gate: near(target)"} <= set(gone)
    open_stage = replace(SPEC.stages[3], gate=leaf("always"), pays="level")
    changed = replace(SPEC, stages=(*SPEC.stages[:3], open_stage, *SPEC.stages[4:]))
    told = [str(c) for c in spec_diff(SPEC, changed)]
    assert "changed stage lift: pays progress -> level" in told
    assert any(line.startswith("added   stage lift, gate: always") for line in told)


def test_a_spec_is_told_as_a_tree() -> None:
    text = tell_spec(linted(SPEC, LintReport(checks=(PASSED, FAILED), successes=12, rollouts=55)))
    assert SPEC.hash in text
    assert "align: 0.098 of the potential, pays for progress" in text
    assert "0.400 align [role target, scale_m 0.03]" in text
    assert "lint: 1 of 2 checks passed, against 12 successes" in text
    assert "success beats shaking: -inf" in text
    assert "not probed yet" in tell_spec(SPEC)


def test_the_commands_compile_and_compare_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "drop.json").write_text(ASKED)
    (tmp_path / "slip.json").write_text(ASKED.replace("drop", "slip"))
    for name in ("drop", "slip"):
        out = str(tmp_path / f"{name}_spec.json")
        assert main(["compile", str(tmp_path / f"{name}.json"), "--task", "sort_two", "--out", out]) == 0
    assert "approach: 0.137 of the potential" in capsys.readouterr().out
    one, two = str(tmp_path / "drop_spec.json"), str(tmp_path / "slip_spec.json")
    assert main(["spec-diff", one, one]) == 0
    assert "the same reward" in capsys.readouterr().out
    assert main(["spec-diff", one, two]) == 1
    assert "added   costs: slipped(target)" in capsys.readouterr().out
    assert main(["compile", str(tmp_path / "drop.json"), "--task", "sort_two", "--subtask", "2"]) == 2
    assert "sub-tasks 0 to 1" in capsys.readouterr().err
    assert main(["spec-diff", one, str(tmp_path / "drop.json")]) == 2
    assert "drop.json: reward spec.format is None" in capsys.readouterr().err
