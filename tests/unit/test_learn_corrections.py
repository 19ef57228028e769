"""What the expert would have done where a policy went, and the files that hold it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from bridge.pi0.model import NanoShape
from core.arrays import Floats, Ints
from core.demonstrations import Demonstrations
from core.errors import ArtifactError
from core.flow import ActionChunk, Observation
from core.robots import EE_DELTA
from regrasp import learn_corrections
from regrasp.demo_files import load_corrections, save_demonstrations
from regrasp.learn_corrections import FIRST_SEED, CorrectionsConfig, corrections, made_of
from regrasp.rollout_policy import BatchPolicy, RolloutConfig, Rollouts, RolloutTick, rollout
from regrasp.task_registry import find_task
from sim.cameras import CellCameras
from sim.world import BatchWorld

CHUNK, PX = NanoShape(vocabulary=1).chunk, NanoShape(vocabulary=1).image_px
CONFIG = CorrectionsConfig(task="fruit_on_plate", policy=Path("models/rising"), episodes=2)
KEPT = ([0, 4, 8], [0, 4, 8, 12, 16, 20])
"""Steps of the two episodes at which the policy asks and has not gone astray."""


@dataclass(slots=True)
class Rising:
    """Goes up; in the first world it closes the hand on nothing from tick 8 on, and opens it again from tick 16 on."""

    been: list[list[Floats]] = field(default_factory=list)
    """Tool positions at each tick at which it was asked, one a world [m]."""

    def infer_batch(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        self.been.append([o.tcp_pos_in_base for o in observations])
        return [_up(o, close=i == 0 and 0.4 <= o.t_ns * 1e-9 < 0.8) for i, o in enumerate(observations)]

    def reset(self) -> None:
        pass


def _up(obs: Observation, *, close: bool) -> ActionChunk:
    values = np.tile(EE_DELTA.still(0.0 if close else 1.0), (8, 1))
    values[:, 2] = 0.004
    return ActionChunk(obs_t_ns=obs.t_ns, values=values, dt_s=0.05, policy_id="rising@0")


@pytest.fixture(scope="module")
def driven() -> tuple[Rising, Demonstrations, int]:
    """A policy that drove two worlds for 24 ticks, the corrections of it, and how often it succeeded."""
    policy = Rising()
    with pytest.MonkeyPatch.context() as patch:
        briefly(patch, policy)
        return policy, *corrections(CONFIG)


def for_24_ticks(
    world: BatchWorld, cameras: CellCameras, policy: BatchPolicy, seeds: Ints, *, config: RolloutConfig,
    watch: Callable[[RolloutTick], None],
) -> Rollouts:  # fmt: skip
    brief = replace(config, most_ticks=24, latency_ticks=0)
    return rollout(world, cameras, policy, seeds, config=brief, watch=watch)


def briefly(patch: pytest.MonkeyPatch, policy: Rising) -> None:
    """Lets `policy` drive two worlds for 24 ticks instead of 32 to the end."""
    patch.setattr(learn_corrections, "WORLDS", 2)
    patch.setattr(learn_corrections, "rollout", for_24_ticks)
    patch.setattr(learn_corrections.Pi0Policy, "load", lambda directory: policy)


def test_an_episode_ends_where_the_hand_has_closed_wrongly_and_does_not_go_on_when_it_opens(driven):
    _, demos, succeeded = driven
    assert demos.starts.tolist() == [*KEPT[0], *KEPT[1]]
    assert succeeded == 0


def test_a_row_is_one_chunk_long_and_its_first_step_is_pictured(driven):
    demos, rows = driven[1], 9
    assert demos.pictured.tolist() == [k * CHUNK for k in range(rows)]
    assert demos.episode.tolist() == [k for k in range(rows) for _ in range(CHUNK)]
    assert demos.images.shape == (rows, 2, PX, PX, 3)
    assert demos.images.dtype == np.uint8
    assert len({demos.images[k].tobytes() for k in range(rows)}) == rows
    assert len(demos.instructions) == rows
    assert demos.objects_in_base.shape == (rows * CHUNK, 4, 3)


def test_rows_begin_where_the_policy_was(driven):
    policy, demos, _ = driven
    was = [policy.been[step // 4][i] for i in (0, 1) for step in KEPT[i]]
    assert np.allclose(demos.proprio[::CHUNK, :3], was, atol=1e-9)
    assert (np.diff(np.array(was)[3:, 2]) > 0).all()


def test_rows_hold_what_the_expert_does_from_there(driven):
    demos, task = driven[1], find_task(CONFIG.task)
    world, expert = BatchWorld(task.make(), 2, wording="training"), task.demonstrator()
    world.reset(np.arange(2), FIRST_SEED + np.arange(2))
    assert [demos.instructions[0], demos.instructions[3]] == [world.instruction(0), world.instruction(1)]
    for step in range(CHUNK):
        wanted = expert.act(world.state())
        assert np.allclose(demos.actions[[step, 3 * CHUNK + step]], wanted, atol=1e-9)
        world.step(wanted)


def test_the_command_writes_no_more_rows_of_an_episode_than_asked(monkeypatch, tmp_path, capsys):
    briefly(monkeypatch, Rising())
    config = replace(CONFIG, out=tmp_path, pictures=2)
    assert learn_corrections.learn_corrections(config) == 0
    folder = tmp_path / "fruit_on_plate-corrections-1"
    assert f"{folder}: 4 pictured rows from 2 episodes, 0 of them successes" in capsys.readouterr().out
    task, demos = load_corrections(folder)
    assert task == "fruit_on_plate"
    first, second = demos.starts[:2].tolist(), demos.starts[2:].tolist()
    assert first == sorted(first)
    assert second == sorted(second)
    assert set(first) <= set(KEPT[0])
    assert len(set(second)) == 2


def test_corrections_come_back_as_they_were_written(driven, tmp_path):
    save_demonstrations(tmp_path, driven[1], made_of(CONFIG))
    task, found = load_corrections(tmp_path)
    assert task == CONFIG.task
    assert found.instructions == driven[1].instructions
    for name in ("images", "pictured", "proprio", "actions", "episode", "objects_in_base", "starts"):
        assert np.array_equal(getattr(found, name), getattr(driven[1], name)), name


def test_a_folder_without_corrections_is_refused_with_what_to_do(driven, tmp_path):
    with pytest.raises(ArtifactError, match=r"holds no corrections.*`regrasp learn corrections` writes them"):
        load_corrections(tmp_path / "nowhere")
    save_demonstrations(tmp_path, driven[1], {"task": "fruit_on_plate", "episodes": 2})
    with pytest.raises(ArtifactError, match=r"holds no corrections.*`regrasp learn corrections` writes them"):
        load_corrections(tmp_path)


def test_damaged_corrections_are_refused(driven, tmp_path):
    save_demonstrations(tmp_path, driven[1], made_of(CONFIG))
    whole = json.loads((tmp_path / "demos.json").read_text())
    (tmp_path / "demos.json").write_text(json.dumps({**whole, "sha256": "0"}))
    with pytest.raises(ArtifactError, match="delete the folder"):
        load_corrections(tmp_path)
    (tmp_path / "demos.json").write_text("{")
    with pytest.raises(ArtifactError, match="learn corrections"):
        load_corrections(tmp_path)
