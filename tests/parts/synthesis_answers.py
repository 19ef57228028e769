"""A failure, what a sensible model would answer about it, and a dialogue with a model that says what it is told."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.clock import ManualClock
from core.failures import FailureMode
from core.fakes import FakeChat
from core.ports import ChatAnswer
from core.scene import SceneRoles
from core.subtasks import Manner
from residual.stages import Fit
from residual.synthesis import Synthesis
from residual.synthesis_case import Case, Moment
from residual.synthesis_dialogue import Notebook, synthesise
from residual.synthesis_parse import parse_relations, parse_selection
from residual.templates import find_template

FRAME = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
ROLES = SceneRoles(target="apple", distractor="lemon", goal="plate", obstacle="block")
CHOSEN = [
    "approach", "align", "grasp_open", "grasp_close", "lift", "transport", "lower", "released", "retreat", "avoid",
    "elapsed", "effort", "off_table", "intrusion",
]  # fmt: skip
ANALYSIS = json.dumps({"cause": "the fingers closed 3 cm beside the apple", "plan": "open, go back, come from above"})
SELECTION = json.dumps({
    "terms": [{"term": t, "reason": f"for {t}"} for t in CHOSEN],
    "requests": [{"name": "softness", "description": "__import__('os').system('touch /tmp/pwned')"}],
})  # fmt: skip
RELATIONS = json.dumps({"stages": {
    "approach": {"and": [
        {"term": "approach"},
        {"if": {"body": {"term": "grasp_open"}, "condition": {"or": [{"term": "avoid"}, {"term": "lift"}]}}},
    ]},
}})  # fmt: skip
INSTANTIATION = json.dumps({
    "parts": {
        "approach/approach(target)": {"weight": 3, "scale_m": 0.2}, "approach/avoid(obstacle)": {"margin_m": 0.2},
    },
    "costs": {"intrusion": {"weight": 0.1, "margin_m": 0.12}},
})  # fmt: skip
ANSWERS = [f"Sure! {ANALYSIS}", f"```json\n{SELECTION}\n```", RELATIONS, INSTANTIATION]


def a_case(
    mode: FailureMode = FailureMode.MISSED_GRASP, manner: Manner = Manner.PLACE, fit: Fit | None = None, stage: int = 0
) -> Case:
    fit = fit or Fit()
    stages = find_template(manner, mode, fit).stages
    moment = Moment(
        t_s=0.0, places={"apple": np.array([0.4, 0.1, 0.03])}, tool=np.array([0.4, 0.07, 0.03]), force_n=3.0
    )
    return Case(
        task="fruit_on_plate", instruction="put the apple on the plate", subtask="put", manner=manner, mode=mode,
        stage=stages[stage].stage, roles=ROLES, fit=fit, report_id="probe-17", confidence=0.8,
        moments=(moment,), frames=(FRAME,), shown=("camera front",),
    )  # fmt: skip


CASE = a_case()
PICKED = parse_selection(SELECTION)
JOINED = parse_relations(RELATIONS, CASE, PICKED)


def held(answers: Sequence[str | ChatAnswer], root: Path | None = None, case: Case = CASE) -> Synthesis:
    return synthesise(case, Notebook(FakeChat(answers, polls=2), root), clock=ManualClock(), deadline_s=60.0)
