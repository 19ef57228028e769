"""Episodes on disk: exact, append-only, readable after kill -9, and honest about damage."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap.writer import Writer

from core.arrays import Floats
from core.episodes import EpisodeMeta, Outcome
from core.errors import ArtifactError, ConfigError, ContractError
from core.failures import FailureMode, FailureReport, Severity
from core.flow import ActionChunk, Arrived, Observation, Step
from core.recovery import SkillCard
from runtime.config import RuntimeConfig
from runtime.plan import LoopPlan
from runtime.record.codec import dumps, loads
from runtime.record.reader import read_episode, read_frames
from runtime.record.replay import replay
from runtime.record.writer import EpisodeWriter
from runtime.rehearsal import fake_card, meta_of, rehearsal

TICKS = 30
STAGE = rehearsal(images={"front": np.arange(48, dtype=np.uint8).reshape(4, 4, 3)})
META = meta_of(STAGE.plan)


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    with STAGE.cell:
        for _ in range(TICKS):
            STAGE.loop.tick()
    return STAGE.steps


@pytest.fixture
def recorded(steps: list[Step], tmp_path: Path) -> Path:
    path = tmp_path / "episode.mcap"
    with EpisodeWriter(path, META, encode=lambda image: image.tobytes(), image_format="raw", image_every=5) as writer:
        for step in steps:
            writer.write(step)
        writer.finish(Outcome.SUCCESS, "placed", {"duration_s": 1.5})
    return path


def texts(steps: list[Step]) -> list[str]:
    return [dumps(step) for step in steps]


def test_an_episode_comes_back_exactly_with_meta_and_outcome(recorded: Path, steps: list[Step]) -> None:
    episode = read_episode(recorded)
    assert dumps(episode.meta) == dumps(META)
    assert texts(list(episode.steps)) == texts(steps)
    assert episode.outcome is Outcome.SUCCESS
    assert episode.steps[3].observation.image_t_ns == steps[3].observation.image_t_ns
    assert not episode.steps[3].observation.images


def test_images_come_back_as_they_were_compressed(recorded: Path) -> None:
    frames = list(read_frames(recorded, "front"))
    assert len(frames) == TICKS // 5
    assert frames[0].data == bytes(range(48))
    assert (frames[0].format, frames[0].t_ns) == ("raw", 10**9)
    with pytest.raises(ConfigError, match="did you mean 'front'"):
        list(read_frames(recorded, "fronr"))


def test_any_mcap_reader_can_open_the_file_and_finds_json_schemas(recorded: Path) -> None:
    with recorded.open("rb") as stream:
        reader = make_reader(stream)
        summary = reader.get_summary()
        assert summary is not None
        topics = {c.topic: summary.schemas[c.schema_id] for c in summary.channels.values()}
        assert set(topics) == {"/meta", "/step", "/outcome", "/camera/front"}
        assert topics["/camera/front"].name == "foxglove.CompressedImage"
        schema = json.loads(topics["/step"].data)
        assert set(schema["properties"]["value"]["properties"]) >= {"observation", "arrived", "phase", "commanded"}
        message = next(m for _, c, m in reader.iter_messages(topics=["/step"]))
        assert json.loads(message.data)["value"]["index"] == 0


def test_without_an_outcome_an_episode_is_open(steps: list[Step], tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "e.mcap", META) as writer:
        writer.write(steps[0])
    episode = read_episode(tmp_path / "e.mcap")
    assert episode.outcome is Outcome.OPEN
    assert len(episode.steps) == 1


def test_an_episode_is_never_overwritten_and_a_closed_writer_takes_nothing(recorded: Path, steps: list[Step]) -> None:
    with pytest.raises(ArtifactError, match="never overwritten"), EpisodeWriter(recorded, META):
        pass
    writer = EpisodeWriter(recorded.with_name("x.mcap"), META)
    with pytest.raises(ContractError, match="not open"):
        writer.write(steps[0])
    with pytest.raises(ContractError, match="image_every"):
        EpisodeWriter(recorded, META, image_every=0)


KILLED = textwrap.dedent("""
    import sys
    from pathlib import Path
    import numpy as np
    from runtime.record.writer import EpisodeWriter
    from runtime.rehearsal import meta_of, rehearsal

    stage = rehearsal(images={"front": np.zeros((64, 64, 3), np.uint8)})
    with stage.cell, EpisodeWriter(Path(sys.argv[1]), meta_of(stage.plan), encode=lambda i: i.tobytes()) as writer:
        while True:
            writer.write(stage.loop.tick())
            print(stage.steps[-1].index, flush=True)
""")


def test_a_recorder_killed_with_signal_9_loses_no_committed_step(tmp_path: Path) -> None:
    path = tmp_path / "killed.mcap"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        committed = [int(child.stdout.readline()) for _ in range(60)]
        os.kill(child.pid, signal.SIGKILL)
        committed += [int(line) for line in child.stdout]
    episode = read_episode(path)
    assert len(episode.steps) > committed[-1] >= 59
    assert episode.outcome is Outcome.OPEN
    assert replay(episode).mismatch is None


def test_a_file_cut_anywhere_reads_up_to_its_last_whole_step(recorded: Path, steps: list[Step]) -> None:
    data = recorded.read_bytes()
    lengths, refusals = [], set()
    for cut in range(len(data) - 1, 0, -4099):
        torn = recorded.with_name("torn.mcap")
        torn.write_bytes(data[:cut])
        try:
            episode = read_episode(torn)
        except ArtifactError as error:
            refusals.add(str(error).split(str(torn))[1].split(":")[0])
            continue
        assert texts(list(episode.steps)) == texts(steps[: len(episode.steps)])
        lengths.append(len(episode.steps))
    assert refusals <= {" holds no /meta", " is not an MCAP file"}
    assert lengths == sorted(lengths, reverse=True)
    assert max(lengths) == TICKS
    assert len(set(lengths)) > 8


def test_a_flipped_byte_is_reported_or_harmless_but_never_changes_a_step(recorded: Path, steps: list[Step]) -> None:
    data, rng = recorded.read_bytes(), np.random.default_rng(0)
    refused, expected = 0, texts(steps)
    flipped = recorded.with_name("flipped.mcap")
    for at in rng.integers(0, len(data), 150):
        flipped.write_bytes(data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :])
        try:
            episode = read_episode(flipped)
        except ArtifactError:
            refused += 1
            continue
        assert texts(list(episode.steps)) == expected
        assert dumps(episode.meta) == dumps(META)
        assert episode.outcome is Outcome.SUCCESS
    assert refused > 75


def rewritten(path: Path, change: str, to: str) -> Path:
    """Returns a copy in which the text of one chunk was changed by hand, its length kept."""
    data = path.read_bytes()
    at = data.index(change.encode(), data.index(b'"index":4'))
    copy = path.with_name("changed.mcap")
    copy.write_bytes(data[:at] + to.encode().ljust(len(change)) + data[at + len(change) :])
    return copy


def test_a_chunk_taken_out_of_the_file_is_found_and_located(recorded: Path, steps: list[Step]) -> None:
    text = dumps(steps[4].arrived.chunk)
    assert text != "null"
    with pytest.raises(ArtifactError, match="step 4 does not match its digest"):
        read_episode(rewritten(recorded, text, "null"))


def test_a_step_taken_out_of_the_file_is_found(steps: list[Step], tmp_path: Path) -> None:
    path = tmp_path / "gap.mcap"
    with EpisodeWriter(path, META) as writer:
        for step in (*steps[:3], *steps[4:]):
            writer.write(step)
    with pytest.raises(ArtifactError, match="step 3 is missing"):
        read_episode(path)


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "not an MCAP"), (b"PK\x03\x04 a zip", "not an MCAP"), (b"\x89MCAP0\r\n", "no /meta")],
)
def test_a_foreign_file_is_refused(content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign.mcap"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=word):
        read_episode(path)


def test_an_mcap_file_of_someone_else_is_refused_naming_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "other.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(library="other-tool")
        writer.finish()
    with pytest.raises(ArtifactError, match="other-tool"):
        read_episode(path)
    with pytest.raises(ArtifactError, match="no episode at"):
        read_episode(tmp_path / "missing.mcap")


AWKWARD = np.array([0.1, 1 / 3, 1e-320, -0.0, np.pi * 1e15, np.nextafter(1.0, 2.0)])


@pytest.mark.parametrize("values", [AWKWARD, np.array([np.nan, np.inf, -np.inf]), np.zeros((0,))])
def test_arrays_come_back_bit_for_bit(values: Floats) -> None:
    table = np.tile(values, (2, 1))
    chunk = ActionChunk(obs_t_ns=2**60 + 1, values=table, dt_s=0.05, policy_id="p", features=np.zeros(0))
    again = loads(ActionChunk, dumps(chunk))
    assert again.values.tobytes() == chunk.values.tobytes()
    assert again.values.shape == table.shape
    assert again.obs_t_ns == chunk.obs_t_ns


def test_a_quaternion_that_needed_normalising_comes_back_bit_for_bit() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        quat = rng.normal(size=4)
        obs = Observation(
            t_ns=0, joint_pos=np.zeros(7), joint_vel=np.zeros(7), tcp_pos_in_base=np.zeros(3),
            tcp_quat_xyzw_in_base=quat / np.linalg.norm(quat), gripper_opening=1.0, gripper_command=1.0,
        )  # fmt: skip
        again = loads(Observation, dumps(obs))
        assert again.tcp_quat_xyzw_in_base.tobytes() == obs.tcp_quat_xyzw_in_base.tobytes()


def test_plans_cards_metas_and_reports_survive_json() -> None:
    report = FailureReport(
        id="x-1", t_ns=5, detector="x", mode=FailureMode.JAM, severity=Severity.STOP, confidence=0.25,
        evidence={"age_s": float("inf")},
    )  # fmt: skip
    card = replace(fake_card(FailureMode.DROP, "held"), eval_seeds=(3, 9))
    for kind, value in ((LoopPlan, STAGE.plan), (SkillCard, card), (EpisodeMeta, META), (FailureReport, report)):
        assert dumps(loads(kind, dumps(value))) == dumps(value)
    assert loads(RuntimeConfig, dumps(RuntimeConfig())) == RuntimeConfig()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "not|Expecting"),
        ('{"replan_tics": 4}', "unknown fields \\['replan_tics'\\]"),
        ('{"replan_ticks": "four"}', "replan_ticks is 'four'; expected a int"),
        ('{"replan_ticks": 0}', "replan_ticks is 0"),
        ('{"guard": {"workspace_low": [1, 2]}}', "shorter"),
        ('{"slow_s": true}', "slow_s is 'True'; expected a number"),
        ("[]", "expected an object"),
    ],
)
def test_a_damaged_value_is_refused_naming_the_field(text: str, word: str) -> None:
    with pytest.raises(ArtifactError, match=word):
        loads(RuntimeConfig, text)


def test_a_missing_field_without_default_is_named() -> None:
    with pytest.raises(ArtifactError, match=r"missing fields .*'index'"):
        loads(Step, "{}")
    assert loads(Arrived, "{}").now_ns == 0


def test_writing_a_step_takes_less_than_half_a_millisecond(steps: list[Step], tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "fast.mcap", META) as writer:
        best = np.inf
        for step in steps:
            begun = time.perf_counter()
            writer.write(step)
            best = min(best, time.perf_counter() - begun)
    assert best < 0.0005


def test_a_type_that_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(TypeError, match="object cannot be recorded"):
        dumps(object())
