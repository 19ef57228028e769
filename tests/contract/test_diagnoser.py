"""The contract of `Diagnoser`, kept by every diagnoser."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from core.clock import ManualClock
from core.failures import FailureMode
from core.fakes import FakeChat, ScriptedDiagnoser
from core.flow import Step
from core.ports import Diagnoser, Evidence
from core.probe import NOMINAL, ProbeLayer, ProbeWeights
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.rewards import RewardMask
from core.subtasks import Manner
from runtime.recover.diagnose import VlmDiagnoser
from runtime.recover.fallback import FallbackDiagnoser
from runtime.recover.probe_diagnoser import ProbeDiagnoser
from runtime.recover.prompt import Allowed
from runtime.rehearsal import COURSE, believe, rehearsal
from runtime.watch.features import FIXED, LAYOUT
from runtime.watch.reports import report_of

ALLOWED = Allowed(
    modes=(FailureMode.DROP,), stages=(RecoveryStage.APPROACH,), objects=("apple", "plate"), terms=("lift",)
)
SAID = json.dumps(
    {"mode": "drop", "stage": "approach", "target": "apple", "obstacles": [], "terms": [], "confidence": 0.8,
     "rationale": ""}
)  # fmt: skip


def _vlm(answer: str) -> VlmDiagnoser:
    return VlmDiagnoser(FakeChat([answer]), ALLOWED, library="lib@1", clock=ManualClock(), deadline_s=5.0)


def _probe(bias: float) -> ProbeDiagnoser:
    size = len(FIXED)
    layer = ProbeLayer(weight=np.zeros((size, 2)), bias=np.array([0.0, bias]))
    weights = ProbeWeights(
        name="p@1", layout=LAYOUT, policy="p", labels=(NOMINAL, "drop"), mean=np.zeros(size), scale=np.ones(size),
        layers=(layer,), temperature=1.0, threshold=0.5,
    )  # fmt: skip
    masks = {Manner.PLACE: {FailureMode.DROP: RewardMask(library="lib@1", active=frozenset({"lift"}))}}
    return ProbeDiagnoser(weights, COURSE, masks)


MAKERS: dict[str, Callable[[], Diagnoser]] = {
    "scripted": lambda: ScriptedDiagnoser(believe),
    "model": lambda: _vlm(SAID),
    "useless model": lambda: _vlm("nonsense"),
    "probe": lambda: _probe(3.0),
    "calm probe": lambda: _probe(-3.0),
    "fallback": lambda: FallbackDiagnoser(_vlm("nonsense"), _probe(3.0), clock=ManualClock(), patience_s=1.0),
}


@pytest.fixture(params=MAKERS)
def diagnoser(request: pytest.FixtureRequest) -> Diagnoser:
    return MAKERS[request.param]()


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    stage = rehearsal()
    with stage.cell:
        steps: list[Step] = [stage.loop.tick() for _ in range(20)]
    report = report_of(steps[-1], "grasp", FailureMode.DROP, confidence=0.7, evidence={})
    return Evidence(report=report, task="rehearsal", instruction="put it there", steps=steps, images={})


def answers(diagnoser: Diagnoser, polls: int = 6) -> list[RecoveryDescriptor]:
    return [answer for _ in range(polls) if (answer := diagnoser.poll()) is not None]


def test_it_is_a_diagnoser(diagnoser: Diagnoser) -> None:
    assert isinstance(diagnoser, Diagnoser)


def test_nothing_is_answered_before_it_is_asked(diagnoser: Diagnoser) -> None:
    assert not answers(diagnoser)


def test_each_question_is_answered_once_and_about_its_report(diagnoser: Diagnoser, evidence: Evidence) -> None:
    for number in range(3):
        report = replace(evidence.report, id=f"grasp-{number}")
        diagnoser.submit(replace(evidence, report=report))
        found = answers(diagnoser)
        assert [answer.report_id for answer in found] == [report.id]
        assert found[0].model_id


def test_evidence_without_steps_is_answered_too(diagnoser: Diagnoser, evidence: Evidence) -> None:
    diagnoser.submit(replace(evidence, steps=()))
    assert len(answers(diagnoser)) == 1
