"""The page of results: every table from evaluations, what was not run says so."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from core.errors import ArtifactError, ContractError
from core.failures import FailureMode
from core.flow import Phase
from core.recovery import Rate, RecoveryStage
from regrasp.evaluation import ArmName, ArmPlan, Campaign
from regrasp.figures import ArmFigures, Evaluation, Failing, MonitorFigures, Why
from regrasp.figures_file import write_evaluation
from regrasp.report_table import format_summary
from regrasp.results import ResultsConfig, results
from regrasp.results_plot import PlotRow, bars

MODES = (FailureMode.DROP, FailureMode.JAM)


def arm(name: ArmName, k: int, not_run: str = "") -> ArmFigures:
    n = 0 if not_run else 20
    return ArmFigures(
        name=name, nominal=Rate(k=n, n=n), injected=Rate(k=k, n=n), q=None if not_run else 0.9,
        by_mode=tuple((m, Rate(k=k // 2, n=n // 2)) for m in MODES), mending_s=None if not_run else 2.5,
        attempts=None if not_run else 1.5, interventions=Rate(k=0, n=2 * n), not_run=not_run,
    )  # fmt: skip


def made_up(task: str, recovered: int, gap: str = "nominal", policy: str = "pi0-nano@aa") -> Evaluation:
    """Returns plausible figures, none of them measured."""
    arms = (arm(ArmName.BASE, 6), arm(ArmName.RETRY, 10), arm(ArmName.FINETUNED, 0, "nothing there"),
            arm(ArmName.RECOVERY, recovered))  # fmt: skip
    return Evaluation(
        campaign=Campaign(
            task=task, policy=policy, tracker="image", gap=gap, episodes=20, seed=30_000, modes=MODES,
            config_hash="cc", arms=tuple(ArmPlan(name=a.name, not_run=a.not_run) for a in arms),
        ),
        arms=arms,
        monitor=MonitorFigures(
            labels=(*map(str, MODES), "none"), confusion=((9, 1, 0), (0, 10, 0), (0, 0, 20)), modes=Rate(k=19, n=20),
            stages=Rate(k=18, n=20), acting=Rate(k=22, n=23), false_alarms=Rate(k=1, n=20),
            false_alarms_per_success=0.05, lead_time_s=0.4,
        ),
        failing=(
            Failing(mode=FailureMode.JAM, phase=Phase.HOLDING, stage=RecoveryStage.GRASP, why=Why.GAVE_UP, seeds=(1,)),
        ),
    )  # fmt: skip


def written(folder: Path, *evaluations: Evaluation) -> Path:
    for evaluation in evaluations:
        write_evaluation(evaluation, folder / evaluation.campaign.task / "eval.json")
    return folder


@pytest.fixture
def config(tmp_path: Path) -> ResultsConfig:
    ablations = tmp_path / "ablations"
    written(ablations / "full", made_up("sort_two", 18))
    written(ablations / "no-gates", made_up("sort_two", 14))
    return ResultsConfig(
        evals=written(tmp_path / "eval", made_up("sort_two", 18), made_up("wipe_board", 20)),
        gaps=(written(tmp_path / "lab", made_up("sort_two", 17, gap="lab")), tmp_path / "nowhere"),
        ablations=ablations, out=tmp_path / "docs",
    )  # fmt: skip


def test_page_has_every_table_with_its_numbers(config: ResultsConfig) -> None:
    assert results(config) == 0
    text = (config.out / "results.md").read_text()
    assert "simulated arm" in text
    assert re.search(r"\| sort_two \| 0\.30 \(6/20\) \[.*\| not run \| 0\.90 \(18/20\)", text)
    assert "| **mean** | **0.30** | **0.50** | **n/a** | **0.95** |" in text
    assert re.search(r"\| no-gates \| .*0\.70 \| -0\.20", text)
    assert re.search(r"\| no-shaping \|.*not run", text)
    assert re.search(r"\| task \| nominal \| lab \|", text)
    assert re.search(r"\| \*\*all\*\* \| 0\.95 \(38/40\)", text)
    assert "attempts or diagnoses spent" in text
    assert not re.search(r"\bnan\b", text.lower())


def test_every_table_of_the_page_is_as_wide_as_its_head(config: ResultsConfig) -> None:
    results(config)
    tables = re.findall(r"(?:^\|.*\n?)+", (config.out / "results.md").read_text(), re.MULTILINE)
    assert len(tables) >= 8
    for table in tables:
        assert len({line.count(" | ") for line in table.replace("| |", "|  |").strip().splitlines()}) == 1


def test_plots_are_svg_and_show_every_arm(config: ResultsConfig) -> None:
    results(config)
    found = {path.name: path.read_text() for path in (config.out / "results").iterdir()}
    assert set(found) == {"arms.svg", "gaps.svg", "ablations.svg"}
    for text in found.values():
        assert ElementTree.fromstring(text).tag.endswith("svg")
    assert found["arms.svg"].count("not run") == 2
    assert "0.90 (18/20)" in found["arms.svg"]


def test_bar_is_as_long_as_its_rate() -> None:
    svg = ElementTree.fromstring(bars([("all", [PlotRow(title="half", rate=Rate(k=5, n=10))])]))
    widths = [float(r.attrib["width"]) for r in svg.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths == [pytest.approx(195.0)]


def test_evaluations_of_two_policies_are_never_compared(config: ResultsConfig) -> None:
    written(config.gaps[0], made_up("wipe_board", 3, gap="lab", policy="pi0-nano@bb"))
    with pytest.raises(ContractError, match="pi0-nano@bb"):
        results(config)


def test_without_an_evaluation_the_command_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="regrasp eval"):
        results(ResultsConfig(evals=tmp_path, out=tmp_path / "docs"))


def test_damaged_evaluation_is_named(config: ResultsConfig) -> None:
    path = config.evals / "sort_two" / "eval.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "arms": 3}))
    with pytest.raises(ArtifactError, match="sort_two"):
        results(config)


def test_summary_has_a_line_a_task_and_the_mean_over_tasks() -> None:
    one, two = made_up("sort_two", 18), made_up("wipe_board", 20)
    lines = format_summary([one, replace(two, arms=two.arms[:1])]).splitlines()
    assert lines[2].split() == ["sort_two", "0.30", "0.50", "0.90", "0.90"]
    assert lines[3].split()[:3] == ["wipe_board", "0.30", "not"]
    assert lines[4].split()[:4] == ["mean", "0.30", "0.50", "0.90"]
