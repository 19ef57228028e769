"""The parsers of a synthesis under fire: garbage, injections, numbers that are none, trees without end."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import ManualClock
from core.errors import ConfigError
from core.fakes import FakeChat
from residual.library import LIBRARY
from residual.outline import told
from residual.synthesis import Selection, reward_of
from residual.synthesis_dialogue import Notebook, synthesise
from residual.synthesis_parse import (
    LONGEST,
    objects_in,
    parse_analysis,
    parse_instantiation,
    parse_relations,
    parse_scene,
    parse_selection,
)
from residual.synthesis_prompt import (
    clean,
    parts_in,
)
from synthesis_answers import ANALYSIS, ANSWERS, CASE, CHOSEN, JOINED, PICKED, ROLES, held


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"terms": []}', "at least one term that is a value"),
        ('{"terms": [{"term": "elapsed"}]}', "at least one term that is a value"),
        ('{"terms": [{"term": "aproach"}]}', "did you mean 'approach'"),
        ('{"terms": [{"term": 7}]}', r"answer.terms\[0\].term: 7 stands here"),
        ('{"terms": "approach"}', "give a list"),
        (json.dumps({"terms": [{"term": "lift"}] * 99}), "99 items stand here"),
        (json.dumps({"terms": [{"term": "lift"}], "requests": [{"name": "a", "description": "b"}] * 9}), "9 items"),
        ('{"terms": [{"term": "lift", "code": "import os"}]}', "unknown key of answer.terms"),
        ("no object at all", "no JSON object"),
        ("{" * 60_000, "no JSON object"),
        ('{"a":' * 60_000, "no JSON object"),
    ],
)
def test_a_wrong_selection_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_selection(text)


def nested(levels: int) -> dict[str, Any]:
    return {"term": "lift"} if levels == 1 else {"and": [nested(levels - 1)]}


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"aproach": {"term": "lift"}}, "did you mean 'approach'"),
        ({"lift": {"term": "gentle"}}, "'gentle' is not among the selected values"),
        ({"lift": {"term": "elapsed"}}, "'elapsed' is not among the selected values"),
        ({"lift": {"term": "lift", "role": "targt"}}, "did you mean 'target'"),
        ({"lift": {"or": [{"term": "lift"}]}}, "1 children"),
        ({"lift": {"and": []}}, "0 children"),
        ({"lift": {"term": "lift", "and": []}}, "exactly one of"),
        ({"lift": {"not": {"term": "lift"}}}, "exactly one of"),
        ({"lift": {"if": {"body": {"term": "lift"}}}}, "key 'condition' is missing"),
        ({"lift": nested(6)}, "the tree is too large"),
        ({"lift": {"and": [{"term": "lift"}] * 40}}, "the tree is too large"),
        ({"lift": {"term": "lift", "weight": 3}}, "unknown key"),
    ],
)
def test_wrong_relations_are_refused_with_their_place(stages: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_relations(json.dumps({"stages": stages}), CASE, PICKED)


def test_a_stage_that_nothing_selected_drives_is_refused_unless_it_is_given_a_tree() -> None:
    few = Selection(reasons=dict.fromkeys(PICKED.terms - {"lift"}, ""))
    with pytest.raises(ConfigError, match="stage 'lift' is driven by no selected term"):
        parse_relations('{"stages": {}}', CASE, few)
    given = parse_relations('{"stages": {"lift": {"term": "transport"}}}', CASE, few)
    assert told(given.trees["lift"]) == "transport"


def test_a_role_that_nobody_has_is_refused() -> None:
    case = replace(CASE, roles=replace(ROLES, obstacle=""))
    with pytest.raises(ConfigError, match="allowed: distractor, goal, target"):
        parse_relations('{"stages": {"lift": {"term": "retreat", "role": "obstacle"}}}', case, PICKED)


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "-1", "-0.0001", "1e999", "9" * 400, '"1"', "true", "null"]
)
def test_a_weight_that_is_no_number_not_finite_or_negative_is_refused(value: str) -> None:
    for text in (
        '{"parts": {"approach/approach(target)": {"weight": VALUE}}}',
        '{"costs": {"effort": {"weight": VALUE}}}',
        '{"parts": {"approach/approach(target)": {"scale_m": VALUE}}}',
    ):
        with pytest.raises(ConfigError, match=r"answer\.(parts|costs)\."):
            parse_instantiation(text.replace("VALUE", value), CASE, PICKED, JOINED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"parts": {"approach/aproach(target)": {}}}', r"did you mean 'approach/approach\(target\)'"),
        ('{"parts": {"approach/approach(target)": {"scale": 1}}}', "did you mean 'scale_m'"),
        ('{"parts": {"approach/approach(target)": {"scale_m": 2}}}', r"number in \[0.01, 1\]"),
        ('{"costs": {"speeding": {}}}', "unknown part of answer.costs 'speeding'"),
        ('{"costs": {"effort": {"weight": 2.5}}}', r"number in \[0, 2\]"),
    ],
)
def test_wrong_numbers_are_refused_with_their_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_instantiation(text, CASE, PICKED, JOINED)


def test_weights_that_sum_to_nothing_are_asked_again() -> None:
    nothing = json.dumps({"parts": {n: {"weight": 0} for n in parts_in(CASE, JOINED) if n.startswith("approach/")}})
    chat = FakeChat([*ANSWERS[:3], nothing, ANSWERS[3]])
    assert synthesise(CASE, Notebook(chat, None), clock=ManualClock(), deadline_s=9.0).fallback == ""
    assert "sum to 0" in chat.prompts[-1]


KEYS = (
    "terms", "term", "reason", "stages", "and", "or", "if", "body", "condition", "parts", "costs", "weight", "approach",
    "lift", "role", "edits", "kind", "cause", "plan", "effort",
)  # fmt: skip
JSONISH = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.sampled_from([*LIBRARY.terms, *CHOSEN]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=300) | JSONISH.map(json.dumps) | JSONISH.map(lambda v: f"Well: {json.dumps(v)} indeed"))
def test_whatever_a_model_says_is_read_or_refused_and_what_is_read_compiles(text: str) -> None:
    readers = [
        parse_analysis, parse_selection, lambda t: parse_scene(t, CASE), lambda t: parse_relations(t, CASE, PICKED),
        lambda t: parse_instantiation(t, CASE, PICKED, JOINED),
    ]  # fmt: skip
    for read in readers:
        try:
            found = read(text)
        except ConfigError as error:
            clean(str(error)).encode()
            continue
        assert repr(found) == repr(read(text))


@settings(max_examples=40, deadline=None)
@given(answers=st.lists(st.text(max_size=80) | st.sampled_from(ANSWERS), min_size=1, max_size=8))
def test_whatever_is_answered_the_end_is_a_reward_that_compiles(answers: list[str]) -> None:
    made = held(answers)
    assert reward_of(CASE, made).hash == reward_of(CASE, held(answers)).hash
    assert made.fallback or made.model_id.startswith("fake@")


@given(before=st.text(alphabet=st.characters(exclude_characters="{"), max_size=50), after=st.text(max_size=50))
def test_an_object_is_found_in_a_chatty_answer(before: str, after: str) -> None:
    assert next(objects_in(f"{before}{ANALYSIS}{after}")) == json.loads(ANALYSIS)


def test_an_object_that_is_not_the_answer_is_passed_over_and_a_long_answer_is_cut() -> None:
    assert parse_analysis(f'I see {{"mood": "good"}}. {ANALYSIS}').cause.startswith("the fingers")
    with pytest.raises(ConfigError, match="no JSON object"):
        parse_analysis(" " * LONGEST + ANALYSIS)
