"""The main job with the shipped models: images only, a failure injected, recovered, recorded, replayed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.episodes import Episode
from core.failures import FailureMode
from core.flow import Phase
from regrasp.artifacts import find_models
from regrasp.authority_check import check_authority
from regrasp.campaign import RunConfig
from regrasp.cli import main
from regrasp.episode import live
from regrasp.evaluation import ArmName
from regrasp.shards import EpisodeJob
from regrasp.stack import CellStack
from regrasp.task_registry import find_task
from residual.authority import REQUIRED_RATE
from residual.cards import load_skills
from runtime.record.reader import read_episode
from runtime.record.replay import replay

SEED = 77_000


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished `regrasp run` of two seeds."""
    out = tmp_path_factory.mktemp("run")
    assert main(["run", "--episodes", "2", "--seed", str(SEED), "--out", str(out)]) == 0
    return out


def test_the_run_leaves_figures_report_and_recordings(run_dir: Path) -> None:
    figures = json.loads((run_dir / "eval.json").read_text())
    assert [arm["name"] for arm in figures["arms"]] == ["base", "recovery"]
    assert all(arm["nominal"]["n"] == 2 and arm["injected"]["n"] == 2 for arm in figures["arms"])
    rates = {"accuracy", "modes", "stages", "acting", "false_alarms", "false_alarms_per_success"}
    assert set(figures["monitor"]) == {"labels", "confusion", "lead_time_s", *rates}
    assert "SIMULATED" in (run_dir / "report.html").read_text().upper()
    assert len(list((run_dir / "episodes").glob("*.mcap"))) == 8


def test_every_recorded_episode_replays_bit_for_bit(run_dir: Path) -> None:
    assert main(["replay", str(run_dir / "episodes")]) == 0


def test_a_finished_run_is_not_lived_through_again(run_dir: Path) -> None:
    before = (run_dir / "episodes.jsonl").read_bytes()
    assert main(["run", "--episodes", "2", "--seed", str(SEED), "--out", str(run_dir)]) == 0
    assert (run_dir / "episodes.jsonl").read_bytes() == before


def test_a_replay_without_one_chunk_fails_and_says_where(run_dir: Path) -> None:
    episode = read_episode(next((run_dir / "episodes").glob("base-*-nominal.mcap")))
    index = [step.index for step in episode.steps if step.arrived.chunk is not None][2]
    steps = list(episode.steps)
    steps[index] = replace(steps[index], arrived=replace(steps[index].arrived, chunk=None))
    found = replay(Episode(meta=episode.meta, steps=steps, outcome=episode.outcome))
    assert found.mismatch is not None
    assert found.mismatch.step == index


def test_a_changed_recording_is_refused(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(next((run_dir / "episodes").glob("*.mcap")).read_bytes())
    at = data.index(b'"tcp_pos_in_base":[0.') + len(b'"tcp_pos_in_base":[0.')
    data[at] = ord("9") if data[at] != ord("9") else ord("8")
    changed = tmp_path / "changed.mcap"
    changed.write_bytes(bytes(data))
    assert main(["replay", str(changed)]) == 2
    assert "changed.mcap" in capsys.readouterr().err


def test_a_drop_is_noticed_named_and_recovered(tmp_path: Path) -> None:
    with CellStack(RunConfig().stack()) as stack:
        job = EpisodeJob(arm=ArmName.RECOVERY, seed=SEED, injected=FailureMode.DROP, record=False)
        result = live(stack, job, tmp_path)
    assert result.injected_at_s is not None
    assert result.alarms
    assert Phase.RECOVERING in [start.phase for start in result.phases]
    assert result.success


def test_an_absent_endpoint_leaves_the_diagnosis_to_the_probe(tmp_path: Path) -> None:
    config = RunConfig(vlm="nobody", vlm_url="http://127.0.0.1:9/v1", vlm_deadline_s=1.0)
    with CellStack(config.stack()) as stack:
        job = EpisodeJob(arm=ArmName.RECOVERY, seed=SEED, injected=FailureMode.MISSED_GRASP, record=False)
        result = live(stack, job, tmp_path)
    assert result.diagnosed is not None
    assert result.attempts >= 1


def test_every_shipped_channel_has_the_authority_to_recover() -> None:
    task, models = find_task("fruit_on_plate"), find_models(None)
    folder = models.skills(task.info.name)
    (base,) = {json.loads(path.read_text())["card"]["base_policy"] for path in folder.glob("*.json")}
    skills = load_skills(folder, base_policy=base)
    wanted = {(sub.manner, mode) for sub in task.info.subtasks for mode in task.info.modes}
    assert {(s.card.manner, mode) for s in skills for mode in s.card.modes} == wanted
    assert all(rate.rate >= REQUIRED_RATE for rate in check_authority(task, models, skills).values())


def test_an_evaluation_of_other_arms_in_another_cell_resumes_and_says_what_was_not_run(tmp_path: Path) -> None:
    asked = ["eval", "--tasks", "fruit_on_plate", "--arms", "base", "finetuned", "--gap", "lab", "--seed", str(SEED)]
    command = [*asked, "--episodes", "1", "--out", str(tmp_path), "--record", "none", "--workers", "1"]
    assert main(command) == 0
    folder = tmp_path / "fruit_on_plate"
    before = (folder / "episodes.jsonl").read_bytes()
    assert main(command) == 0
    assert (folder / "episodes.jsonl").read_bytes() == before
    figures = json.loads((folder / "eval.json").read_text())
    assert figures["gap"] == "lab"
    assert figures["arms"][0]["injected"]["n"] == 1
    assert "learn finetune" in figures["arms"][1]["not_run"]
