"""Scenes are eased while hardly anything succeeds, by edits that leave the goal what it is."""

import math
from collections.abc import Sequence

import pytest

from core.errors import ConfigError
from core.manner import Manner
from residual.curriculum import Curriculum, SceneEdit, easing

STEADY = (SceneEdit(kind="steady"),)


def eased_after(rates: Sequence[float], patience: int = 3, edits: tuple[SceneEdit, ...] = STEADY) -> list[bool]:
    curriculum = Curriculum(edits, patience)
    found = []
    for i, rate in enumerate(rates):
        before = curriculum.eased
        assert curriculum.note(i, rate) == (curriculum.eased is not before)
        found.append(curriculum.eased)
    return found


def test_scenes_are_eased_after_so_many_poor_rounds_in_a_row() -> None:
    assert eased_after([0.0, 0.05, 0.2, 0.0, 0.0, 0.0, 0.0]) == [False] * 5 + [True] * 2


def test_they_are_as_they_were_again_when_enough_succeeds_and_not_before() -> None:
    assert eased_after([0.0] * 3 + [0.2, 0.3, 0.31, 0.05, 0.05]) == [False] * 2 + [True] * 3 + [False] * 3


def test_rounds_of_which_nothing_is_known_count_neither_way() -> None:
    assert eased_after([math.nan] * 9) == [False] * 9
    assert eased_after([0.0, 0.0, math.nan, 0.0, math.nan]) == [False] * 3 + [True] * 2


def test_without_edits_nothing_is_eased() -> None:
    assert eased_after([0.0] * 9, edits=()) == [False] * 9


def test_every_change_is_told_in_words() -> None:
    curriculum = Curriculum(STEADY, 1)
    for i, rate in enumerate((0.02, 0.5)):
        curriculum.note(i, rate)
    assert curriculum.changes == ["round 0: success 0.02, eased", "round 1: success 0.50, as it is again"]


@pytest.mark.parametrize(
    ("kind", "role", "word"),
    [
        ("remove", "target", "may not remove the target"),
        ("remove", "goal", "may not remove the goal"),
        ("remove", "", "exactly removals name a role"),
        ("steady", "obstacle", "exactly removals name a role"),
        ("remove", "obstacel", "did you mean 'obstacle'"),
        ("enlarge", "", "allowed"),
    ],
)
def test_an_edit_that_is_not_allowed_is_refused_with_what_is(kind: str, role: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        SceneEdit(kind=kind, role=role)  # type: ignore[arg-type]


def test_what_stands_in_the_way_is_removed_only_where_something_does() -> None:
    for manner in Manner:
        roles = [{e.role for e in easing(manner, obstacle=there) if e.kind == "remove"} for there in (True, False)]
        assert roles == [{"obstacle"}, set()]
        assert any(e.kind == "steady" for e in easing(manner, obstacle=False))
    assert any(e.kind == "longer" for e in easing(Manner.INSERT, obstacle=False))
