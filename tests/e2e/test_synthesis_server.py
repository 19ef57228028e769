"""`regrasp synthesise` against real servers: one that keeps to the schema, a random model on `transformers serve`."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import schema_server
from bridge.chat import ChatConfig, OpenAiChat
from core.clock import MonotonicClock
from core.episodes import Outcome
from core.failures import FailureMode
from core.scene import SceneState, TrackedObject
from core.subtasks import Manner
from core.worlds import FailureState
from regrasp.advice import advised
from regrasp.cli import main
from regrasp.loopback import free_port
from regrasp.pictures import jpeg
from regrasp.synthesis_cases import case_of_bank, case_of_episode
from regrasp.task_registry import find_task
from residual.bank import load_bank, save_bank
from residual.curriculum import easing
from residual.reflection import Digest, Ending
from residual.spec_io import spec_from_json
from residual.synthesis import reward_of
from residual.synthesis_dialogue import Notebook, replayed, synthesise
from residual.synthesis_io import synthesis_from_json
from residual.synthesis_record import Exchange, ExchangeFolder
from residual.synthesis_table import TableSynthesiser
from runtime.record.writer import EpisodeWriter
from runtime.rehearsal import meta_of, rehearsal
from sim.world import BatchWorld
from synthesis_answers import CASE
from tiny_vlm import make_tiny_vlm

START_S = 300.0
SERVE = "from transformers.cli.transformers import main; main()"
TASK = find_task("fruit_on_plate")


@contextmanager
def process(words: Sequence[str], **extra: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **extra},
    )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        started.communicate(timeout=20.0)


@contextmanager
def schema_serving(*flags: str) -> Iterator[str]:
    with process([str(Path(schema_server.__file__)), *flags]) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stage = rehearsal(images={"front": np.full((32, 32, 3), 90, np.uint8)})
    with stage.cell:
        for _ in range(60):
            stage.loop.tick()
    meta = replace(
        meta_of(stage.plan), task="fruit_on_plate", instruction="put the apple on the plate", injected="drop"
    )
    path = tmp_path_factory.mktemp("episodes") / "drop.mcap"
    with EpisodeWriter(path, meta, encode=jpeg) as writer:
        for step in stage.steps:
            writer.write(step)
        writer.finish(Outcome.FAILURE)
    return path


def asked(episode: Path, out: Path, url: str) -> int:
    return main(["synthesise", "--episode", str(episode), "--vlm", "model", "--vlm-url", url, "--vlm-deadline-s", "20",
                 "--out", str(out)])  # fmt: skip


def exchanges(out: Path) -> tuple[Exchange, ...]:
    return ExchangeFolder(out).read()


def test_four_answers_become_a_reward_and_the_record_gives_it_again_without_the_server(
    episode: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with schema_serving() as url:
        assert asked(episode, tmp_path, url) == 0
    made, text = synthesis_from_json((tmp_path / "synthesis.json").read_text()), (tmp_path / "reward.json").read_text()
    assert made.fallback == ""
    assert made.model_id == "model@synthesise@1"
    assert [e.query for e in exchanges(tmp_path)] == ["analysis", "selection", "relations", "instantiation"]
    assert all(e.answer.prompt_tokens > 0 and e.answer.seconds > 0 and e.problem == "" for e in exchanges(tmp_path))
    assert len(exchanges(tmp_path)[0].pictures) == 2
    assert spec_from_json(text).provenance["frames_sha256"] == case_of_episode(TASK, episode).frames_sha256
    assert spec_from_json(text) == reward_of(case_of_episode(TASK, episode), made)
    assert asked(episode, tmp_path, "http://127.0.0.1:9/v1") == 0
    assert main(["synthesise", "--episode", str(episode), "--replay", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "reward.json").read_text() == text
    assert "4 on record" in capsys.readouterr().out


def test_a_server_that_forgets_the_schema_at_first_is_asked_once_more_each_time(episode: Path, tmp_path: Path) -> None:
    with schema_serving("--wild", "1") as url:
        assert asked(episode, tmp_path, url) == 0
    assert [e.repair for e in exchanges(tmp_path)] == [False, True] * 4
    assert all("no JSON object" in e.problem for e in exchanges(tmp_path)[::2])
    assert synthesis_from_json((tmp_path / "synthesis.json").read_text()).fallback == ""


def test_a_model_that_guesses_boldly_ends_in_a_reward_that_compiles_and_replays(tmp_path: Path) -> None:
    with schema_serving("--bold", "0.6") as url, OpenAiChat(ChatConfig(model="m", base_url=url)) as chat:
        made = synthesise(CASE, Notebook(chat, tmp_path), clock=MonotonicClock(), deadline_s=60.0)
    assert reward_of(CASE, replayed(CASE, tmp_path)) == reward_of(CASE, made)
    assert len(exchanges(tmp_path)) <= 8
    assert not made.fallback or "refused twice" in made.fallback


def test_without_a_server_the_table_answers_and_says_so(
    episode: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(episode, tmp_path, "http://127.0.0.1:9/v1") == 0
    assert "in the model's place: analysis: http://127.0.0.1:9/v1 cannot be reached" in capsys.readouterr().out
    assert "cannot be reached" in exchanges(tmp_path)[0].problem
    table = tmp_path / "table"
    assert main(["synthesise", "--episode", str(episode), "--out", str(table)]) == 0
    hashes = [spec_from_json((d / "reward.json").read_text()).hash for d in (tmp_path, table)]
    assert hashes[0] == hashes[1]


def test_an_untrained_model_on_transformers_serve_is_heard_repaired_and_replaced(tmp_path: Path) -> None:
    model, port = tmp_path / "model", free_port()
    make_tiny_vlm(model)
    words = ["-c", SERVE, "serve", str(model), "--port", str(port), "--device", "cpu"]
    with process(words, HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1"):
        wait_for(f"http://127.0.0.1:{port}/health")
        config = ChatConfig(
            model=str(model), base_url=f"http://127.0.0.1:{port}/v1", deadline_s=60.0, max_answer_tokens=64
        )
        with OpenAiChat(config) as chat:
            made = synthesise(CASE, Notebook(chat, tmp_path), clock=MonotonicClock(), deadline_s=120.0)
    said = exchanges(tmp_path)
    assert [e.repair for e in said] == [False, True]
    assert all(e.answer.text and e.answer.completion_tokens > 0 and not e.answer.error for e in said)
    assert "answer refused twice: no JSON object" in made.fallback
    assert replace(made, fallback="") == TableSynthesiser().synthesise(CASE)
    assert np.array_equal(ExchangeFolder(tmp_path).picture(said[0].pictures[0]), CASE.frames[0])
    assert replayed(CASE, tmp_path) == made


def wait_for(url: str) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=2.0) as answer:
                if json.load(answer)["status"] == "ok":
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(f"{url} was not ready within {START_S:g} s")


def test_a_bank_is_shown_with_pictures_and_what_was_true_before_and_after(tmp_path: Path) -> None:
    world = BatchWorld(TASK.make(), 1)
    world.reset(np.zeros(1, np.int64), np.array([5]))
    names, places = world.state().object_names, world.state().object_pos_in_base[0]
    objects = {n: TrackedObject(pos_in_base=p, t_ns=0, confidence=1.0) for n, p in zip(names, places, strict=True)}
    state = FailureState(
        snapshot=world.snapshot(0), mode=FailureMode.DROP, seed=5, age_s=0.5, queue=None,
        belief=SceneState(t_ns=0, objects=objects, source="truth"),
    )  # fmt: skip
    save_bank(tmp_path / "bank", [state])
    case = case_of_bank(TASK, load_bank(tmp_path / "bank"), FailureMode.DROP, Manner.PLACE)
    assert [f.shape for f in case.frames] == [(192, 192, 3)] * 2
    assert [m.t_s for m in case.moments] == [-0.5, 0.0]
    assert case.moments[1].stage == "approach"
    assert case.roles.target in case.moments[1].places
    assert reward_of(case, TableSynthesiser().synthesise(case)).provenance["mode"] == "drop"
    with pytest.raises(Exception, match="it has drop in place"):
        case_of_bank(TASK, [state], FailureMode.SLIP, Manner.PLACE)


def test_a_training_is_advised_by_a_model_and_asks_nothing_twice(tmp_path: Path) -> None:
    with schema_serving() as url, advised(CASE, ChatConfig(model="m", base_url=url), tmp_path) as advice:
        begun, edits, reflection = advice.spec(), advice.edits(), advice.reflection()
        endings = (Ending(success=False, stuck="grasp"),) * 10
        digest = Digest(
            mode=CASE.mode, manner=CASE.manner, mask=reflection.mask, default=reflection.mask, endings=endings
        )
        revision = reflection.reflector.reflect(digest)
    assert advice.first.fallback == ""
    assert reflection.recompile(reflection.mask).hash == begun.hash
    with advised(CASE, ChatConfig(model="m", base_url="http://127.0.0.1:9/v1"), tmp_path) as again:
        assert (again.spec(), again.edits()) == (begun, edits)
        assert again.reflection().reflector.reflect(digest) == revision
        assert again.adviser.notes == advice.adviser.notes


def test_a_training_without_a_model_is_advised_by_the_table(tmp_path: Path) -> None:
    with advised(CASE, None, tmp_path) as advice:
        assert advice.spec().hash == reward_of(CASE, TableSynthesiser().synthesise(CASE)).hash
        assert advice.edits() == easing(CASE.manner, obstacle=True)
        assert (advice.first.fallback, advice.adviser.notes) == ("", [])
