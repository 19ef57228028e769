"""A model's answer is parsed, validated, repaired once, and never believed beyond its names."""

import json
from typing import Any

import numpy as np
import pytest

from core.clock import ManualClock
from core.errors import BadAnswer, ServiceError
from core.failures import FailureMode
from core.fakes import FakeChat, ScriptedDiagnoser
from core.flow import Phase, Step
from core.ports import ChatAnswer, Evidence
from core.recovery import RecoveryDescriptor, RecoveryStage
from runtime.episode import run_episode
from runtime.recover.answer import parse_answer
from runtime.recover.diagnose import VlmDiagnoser
from runtime.recover.fallback import FallbackDiagnoser
from runtime.recover.prompt import Allowed, answer_schema
from runtime.rehearsal import believe, rehearsal
from runtime.watch.reports import report_of

ALLOWED = Allowed(
    modes=(FailureMode.DROP, FailureMode.COLLISION), stages=(RecoveryStage.APPROACH, RecoveryStage.RETREAT),
    objects=("apple", "plate"), terms=("lift", "approach"),
)  # fmt: skip
GOOD: dict[str, Any] = {
    "mode": "drop", "stage": "approach", "target": "apple", "obstacles": ["plate"], "terms": ["lift"],
    "confidence": 0.8, "rationale": "it fell",
}  # fmt: skip


def said(**changes: Any) -> str:
    return json.dumps(GOOD | changes)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    stage = rehearsal()
    with stage.cell:
        run_episode(stage.loop, 45, stage.done)
    steps: list[Step] = stage.steps
    report = report_of(
        steps[-1], "grasp", FailureMode.DROP, confidence=0.7, evidence={"opening_1": 0.02}
    )  # fmt: skip
    pictures = tuple(np.full((4, 4, 3), i, np.uint8) for i in range(3))
    return Evidence(
        report=report, task="rehearsal", instruction="put the apple on the plate", steps=steps,
        images={"wrist": pictures[:1], "front": pictures[1:]},
    )  # fmt: skip


def vlm(chat: FakeChat, clock: ManualClock | None = None, **changes: Any) -> VlmDiagnoser:
    given: dict[str, Any] = {"library": "lib@1", "clock": clock or ManualClock(), "deadline_s": 5.0}
    return VlmDiagnoser(chat, ALLOWED, **given | changes)


def answered(diagnoser: VlmDiagnoser, evidence: Evidence, polls: int = 5) -> RecoveryDescriptor:
    diagnoser.submit(evidence)
    found = [d for _ in range(polls) if (d := diagnoser.poll()) is not None]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("wrap", ["{}", "```json\n{}\n```", "Sure! {} Hope that helps {{}}.", "{{oops {}"])
def test_an_answer_is_found_in_whatever_is_wrapped_around_it(wrap: str) -> None:
    answer = parse_answer(wrap.replace("{{", "{").replace("}}", "}").replace("{}", said(), 1), ALLOWED)
    assert (answer.mode, answer.stage) == (FailureMode.DROP, RecoveryStage.APPROACH)
    assert (answer.target, answer.obstacles, answer.terms) == ("apple", ("plate",), frozenset({"lift"}))
    assert (answer.confidence, answer.rationale) == (0.8, "it fell")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        ("{" * 5000, "no JSON object"),
        (said(mode="explode"), "'mode' is 'explode'; allowed 'drop'"),
        (said(mode="jam"), "'jam'"),
        (said(stage="dance"), "'stage' is 'dance'"),
        (said(target="banana"), "'target' is 'banana'"),
        (said(obstacles="plate"), "expected a list"),
        (said(obstacles=["table"]), "'obstacles' is 'table'"),
        (said(terms=["world_peace"]), "'terms' is 'world_peace'"),
        (said(confidence=1.2), "'confidence' is 1.2"),
        (said(confidence="high"), "'confidence' is 'high'"),
        (said(confidence=True), "'confidence' is True"),
        (said(confidence=float("nan")), "'confidence' is nan"),
        (said(rationale=3), "'rationale' is 3"),
        (said(code="import os"), "unexpected keys ['code']"),
        ('{"mode": "drop"}', "missing keys"),
    ],
)
def test_an_answer_that_does_not_validate_is_refused_naming_what(text: str, word: str) -> None:
    with pytest.raises(BadAnswer) as refused:
        parse_answer(text, ALLOWED)
    assert word in str(refused.value)


def test_the_schema_allows_exactly_what_the_parser_allows() -> None:
    schema = answer_schema(ALLOWED)
    assert schema["required"] == list(GOOD)
    for key in ("mode", "stage", "target"):
        for name in schema["properties"][key]["enum"]:
            parse_answer(said(**{key: name}), ALLOWED)


def test_a_good_answer_becomes_a_descriptor_with_scaled_confidence(evidence: Evidence) -> None:
    chat = FakeChat([said()])
    answer = answered(vlm(chat, precision=0.5), evidence)
    assert answer.report_id == evidence.report.id
    assert (answer.mode, answer.stage, answer.target) == (FailureMode.DROP, RecoveryStage.APPROACH, "apple")
    assert answer.mask.library == "lib@1"
    assert answer.mask.active == frozenset({"lift"})
    assert answer.confidence == pytest.approx(0.4)
    assert answer.model_id == "fake@diagnose@1"


def test_the_prompt_tells_the_task_the_measurements_the_names_and_what_the_images_show(evidence: Evidence) -> None:
    chat = FakeChat([said()])
    answered(vlm(chat), evidence)
    prompt = chat.prompts[0]
    for word in ("put the apple on the plate", "opening_1 = 0.02", "collision", "approach", "apple at (", "t = -"):
        assert word in prompt
    assert "image 1: camera front, 1 of 2" in prompt
    assert [int(i[0, 0, 0]) for i in chat.images[0]] == [1, 2, 0]
    assert chat.schemas[0] == answer_schema(ALLOWED)


def test_a_bad_answer_is_repaired_once_with_its_reason(evidence: Evidence) -> None:
    chat = FakeChat([said(mode="explode"), said()])
    diagnoser = vlm(chat)
    assert answered(diagnoser, evidence).mode is FailureMode.DROP
    assert "'mode' is 'explode'" in chat.prompts[1]
    assert (diagnoser.usage.calls, diagnoser.usage.repairs, diagnoser.usage.unknown) == (2, 1, 0)


def test_two_bad_answers_are_unknown(evidence: Evidence) -> None:
    diagnoser = vlm(FakeChat(["no", "still no"]))
    answer = answered(diagnoser, evidence)
    assert (answer.mode, answer.confidence) == (FailureMode.UNKNOWN, 0.0)
    assert "refused twice" in answer.rationale
    assert diagnoser.usage.calls == 2


def test_an_endpoint_error_is_unknown_at_once(evidence: Evidence) -> None:
    answer = answered(vlm(FakeChat([ChatAnswer(text="", error="503 overloaded")])), evidence)
    assert answer.mode is FailureMode.UNKNOWN
    assert answer.rationale == "503 overloaded"


class Raising(FakeChat):
    """A chat model that raises where it should answer."""

    def poll(self) -> ChatAnswer | None:
        raise ServiceError("broken pipe")


def test_a_model_that_raises_is_unknown(evidence: Evidence) -> None:
    assert answered(vlm(Raising([""])), evidence).rationale == "broken pipe"


def test_silence_ends_at_the_deadline_repair_included(evidence: Evidence) -> None:
    clock = ManualClock()
    diagnoser = vlm(FakeChat([said(mode="explode")], polls=3), clock, deadline_s=1.0)
    diagnoser.submit(evidence)
    answers = []
    for _ in range(8):
        clock.advance(0.2)
        answers.append(diagnoser.poll())
    found = [a for a in answers if a is not None]
    assert len(found) == 1
    assert "no answer within 1 s" in found[0].rationale
    assert answers[4] is found[0]


def test_tokens_cost_and_time_are_summed(evidence: Evidence) -> None:
    said_so = ChatAnswer(text=said(), prompt_tokens=100, completion_tokens=20, cost_usd=0.01, seconds=1.5)
    diagnoser = vlm(FakeChat([said_so]))
    answered(diagnoser, evidence)
    answered(diagnoser, evidence)
    usage = diagnoser.usage
    assert (usage.calls, usage.prompt_tokens, usage.completion_tokens) == (2, 200, 40)
    assert usage.cost_usd == pytest.approx(0.02)
    assert usage.seconds == pytest.approx(3.0)


def test_a_newer_question_replaces_an_older_one(evidence: Evidence) -> None:
    diagnoser = vlm(FakeChat([said()], polls=1))
    diagnoser.submit(evidence)
    assert diagnoser.poll() is None
    assert answered(diagnoser, evidence).mode is FailureMode.DROP


def both(first: ScriptedDiagnoser | VlmDiagnoser, second_polls: int, clock: ManualClock) -> FallbackDiagnoser:
    second = ScriptedDiagnoser(believe, polls=second_polls)
    return FallbackDiagnoser(first, second, clock=clock, patience_s=1.0)


def poll_for(diagnoser: FallbackDiagnoser, clock: ManualClock, polls: int = 30) -> list[str]:
    found = []
    for _ in range(polls):
        answer = diagnoser.poll()
        if answer is not None:
            found.append(answer.model_id)
        clock.advance(0.1)
    return found


def test_the_first_diagnoser_is_preferred_when_it_knows(evidence: Evidence) -> None:
    clock = ManualClock()
    diagnoser = both(vlm(FakeChat([said()], polls=3), clock), 0, clock)
    diagnoser.submit(evidence)
    assert poll_for(diagnoser, clock) == ["fake@diagnose@1"]


@pytest.mark.parametrize("second_polls", [0, 4])
def test_the_second_answers_when_the_first_is_unknown_or_too_slow(evidence: Evidence, second_polls: int) -> None:
    for chat in (FakeChat(["nonsense"]), FakeChat([said()], polls=500)):
        clock = ManualClock()
        diagnoser = both(vlm(chat, clock), second_polls, clock)
        diagnoser.submit(evidence)
        assert poll_for(diagnoser, clock) == ["believe@1"]


def test_an_answer_to_an_older_question_is_not_passed_on(evidence: Evidence) -> None:
    clock = ManualClock()
    stale = ScriptedDiagnoser(lambda _: believe(evidence), polls=0)
    diagnoser = both(stale, 0, clock)
    newer = report_of(evidence.steps[0], "other", FailureMode.DROP, confidence=0.5, evidence={})
    diagnoser.submit(
        Evidence(report=newer, task="t", instruction="i", steps=evidence.steps, images={})
    )  # fmt: skip
    answer = None
    for _ in range(15):
        answer = answer or diagnoser.poll()
        clock.advance(0.1)
    assert answer is not None
    assert answer.report_id == newer.id


def test_the_window_shown_ends_with_the_failing_step_and_holds_a_few_images_per_camera() -> None:
    shown: list[Evidence] = []

    def look(evidence: Evidence) -> None:
        shown.append(evidence)

    images = {"front": np.zeros((4, 4, 3), np.uint8)}
    stage = rehearsal(diagnoser=ScriptedDiagnoser(look), images=images)
    with stage.cell:
        while stage.loop.phase is Phase.RUNNING:
            step = stage.loop.tick()
            if stage.cell.gripped and step.observation.tcp_pos_in_base[2] > 0.1:
                stage.cell.drop()
    assert len(shown) == 1
    assert shown[0].steps[-1].report == shown[0].report
    assert len(shown[0].steps) <= 65
    assert all(not s.observation.images for s in shown[0].steps)
    assert 1 <= len(shown[0].images["front"]) <= 4
