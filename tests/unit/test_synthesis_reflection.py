"""A model that reflects on a training and edits its scenes, and the table that stands in for it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import ConfigError
from core.fakes import FakeChat
from core.ports import ChatAnswer
from core.rewards import RewardMask
from residual.curriculum import SceneEdit
from residual.masks import default_mask
from residual.outline import outlines, told
from residual.reflection import Digest, Ending
from residual.synthesis import reward_of
from residual.synthesis_parse import (
    parse_scene,
)
from residual.synthesis_reflect import Adviser, ModelReflector
from residual.synthesis_table import TableSynthesiser
from synthesis_answers import ANSWERS, CASE, CHOSEN, ROLES


def a_digest(wins: int, mask: RewardMask, stuck: str = "lift") -> Digest:
    endings = [Ending(success=i < wins, stuck="" if i < wins else stuck) for i in range(10)]
    return Digest(
        mode=CASE.mode, manner=CASE.manner, mask=mask, default=default_mask(CASE.mode), endings=tuple(endings)
    )


def an_adviser(answers: Sequence[str | ChatAnswer], root: Path) -> tuple[Adviser, FakeChat]:
    chat = FakeChat(answers)
    return Adviser(chat, clock=ManualClock(), deadline_s=9.0, root=root), chat


def test_a_model_reflects_on_what_still_fails_and_its_trees_come_with_its_mask(tmp_path: Path) -> None:
    adviser, chat = an_adviser(ANSWERS[1:], tmp_path)
    first, mask = TableSynthesiser().synthesise(CASE), default_mask(CASE.mode)
    reflector = ModelReflector(adviser, CASE, first)
    revision = reflector.reflect(a_digest(3, mask))
    assert revision is not None
    assert revision.mask.active == frozenset(CHOSEN)
    assert "with avoid, intrusion" in revision.why
    assert "30% of the last 10 recoveries succeed; 100% of the failures are stuck at stage 'lift'" in chat.prompts[0]
    assert "Active at present are align, align_heading, approach" in chat.prompts[0]
    assert len(chat.prompts) == 3
    changed = reflector.recompile(revision.mask)
    assert "or(avoid(obstacle), lift(target))" in told(outlines(changed)[0].value)
    assert ModelReflector(adviser, CASE, first).recompile(revision.mask).hash == changed.hash
    fewer = replace(revision.mask, active=revision.mask.active - {"effort"})
    assert "effort" not in {c.term for c in reflector.recompile(fewer).costs.children}
    assert reflector.recompile(mask).hash == reward_of(CASE, first).hash


def test_a_reflection_on_record_is_not_asked_for_again(tmp_path: Path) -> None:
    mask = default_mask(CASE.mode)
    for answers in (ANSWERS[1:], ["nobody may ask me"]):
        adviser, chat = an_adviser(answers, tmp_path)
        assert ModelReflector(adviser, CASE, TableSynthesiser().synthesise(CASE)).reflect(a_digest(3, mask)) is not None
    assert chat.prompts == []


def test_a_silent_model_leaves_reflection_to_the_table_and_it_is_written_down(tmp_path: Path) -> None:
    adviser, _ = an_adviser([ChatAnswer(text="", error="status 500")], tmp_path)
    mask = default_mask(CASE.mode)
    revision = ModelReflector(adviser, CASE, TableSynthesiser().synthesise(CASE)).reflect(a_digest(3, mask))
    assert revision is not None
    assert revision.mask.active == mask.active - {"effort"}
    assert "no model: selection: status 500" in revision.why
    assert adviser.notes == ["the table answered: selection: status 500"]


def test_no_model_is_asked_while_recoveries_succeed_and_one_that_changes_nothing_changes_nothing(
    tmp_path: Path,
) -> None:
    adviser, chat = an_adviser(["never"], tmp_path)
    first, mask = TableSynthesiser().synthesise(CASE), default_mask(CASE.mode)
    assert ModelReflector(adviser, CASE, first).reflect(a_digest(10, mask)) is None
    assert chat.prompts == []
    same = json.dumps({"terms": [{"term": t} for t in sorted(mask.active)]})
    adviser, _ = an_adviser([same, '{"stages": {}}', '{"parts": {}}'], tmp_path)
    assert ModelReflector(adviser, CASE, first).reflect(a_digest(3, mask)) is None


def test_a_model_edits_a_scene_within_what_is_allowed(tmp_path: Path) -> None:
    good = '{"edits": [{"kind": "remove", "role": "obstacle"}, {"kind": "longer", "role": "", "reason": "slow"}]}'
    adviser, _ = an_adviser([good], tmp_path)
    assert adviser.edits(CASE) == (SceneEdit(kind="remove", role="obstacle"), SceneEdit(kind="longer"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ('{"kind": "remove", "role": "goal"}', "may not remove the goal"),
        ('{"kind": "remove", "role": "target"}', "may not remove the target"),
        ('{"kind": "remove"}', "exactly removals name a role"),
        ('{"kind": "teleport", "role": ""}', "unknown answer.edits"),
        ('{"kind": "remove", "role": "table"}', "role of a scene edit"),
    ],
)
def test_an_edit_that_is_not_allowed_is_asked_again_and_then_left_to_the_table(
    edit: str, message: str, tmp_path: Path
) -> None:
    adviser, chat = an_adviser([f'{{"edits": [{edit}]}}'], tmp_path)
    assert adviser.edits(CASE) == (SceneEdit(kind="steady"), SceneEdit(kind="remove", role="obstacle"))
    assert message in chat.prompts[1]
    assert "the table edits the scene" in adviser.notes[0]


def test_removing_somebody_who_is_not_there_is_refused() -> None:
    case = replace(CASE, roles=replace(ROLES, distractor=""))
    with pytest.raises(ConfigError, match="there is no distractor here"):
        parse_scene('{"edits": [{"kind": "remove", "role": "distractor"}]}', case)
