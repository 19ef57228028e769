"""A training that is killed goes on where it stood; what lies on disk is whole at any moment."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import ArtifactError
from core.manner import Manner
from core.recovery import Rate
from core.rewards import RewardMask, RewardSpec
from core.worlds import FailureState
from held_fruit import MODE, compiled, idle_setup, stuck_over_the_plate
from residual.batch import RecoverySetup
from residual.checkpoint import Progressed, load_progress, save_progress
from residual.coach import Diary, Reflection, TrainingPoint
from residual.curriculum import SceneEdit
from residual.imitation import Imitated, ImitationConfig
from residual.imitation_file import load_imitated, save_imitated
from residual.masks import default_mask
from residual.mlp import Mlp
from residual.ppo import Schooling, Trained, train_actor
from residual.ppo_config import PpoConfig
from residual.reflection import Digest, Revision
from residual.success_buffer import Success, SuccessConfig
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld

N, ROUND = 4, 4 * 24
"""Worlds; environment steps a round."""
CONFIG = PpoConfig(
    total_steps=6 * ROUND, n_steps=24, batch=48, epochs=2, critic_first=2, imitation_steps=2, eval_every=2 * ROUND,
    eval_from=0.0, stop_rate=2.0, reflect_every=2, ease_after=0, success=SuccessConfig(size=5),
    imitation=ImitationConfig(rounds=2, steps=24, epochs=6),
)  # fmt: skip
NAME = "missed grasp"


class Killed(Exception):
    """Stands for whatever ends a run in the middle."""


class Lifts:
    """Lifts one cost the first time it is asked."""

    def __init__(self) -> None:
        self.asked: list[Digest] = []

    def reflect(self, digest: Digest) -> Revision | None:
        self.asked.append(digest)
        if len(digest.mask.active) < len(digest.default.active):
            return None
        lifted = RewardMask(library=digest.mask.library, active=digest.mask.active - {"effort"})
        return Revision(mask=lifted, why="effort is lifted")


@dataclass(frozen=True, kw_only=True)
class School:
    """All that a run needs, and what a reflector and a compiler were asked."""

    setup: RecoverySetup
    bank: tuple[FailureState, ...]
    folder: Path
    reflector: Lifts
    compiled_for: list[frozenset[str]]

    def train(self, config: PpoConfig = CONFIG, progress: Callable[[TrainingPoint], None] | None = None) -> Trained:
        return train_actor(
            self.setup, self.bank, self.bank, compiled(), config=config, progress=progress,
            schooling=Schooling(
                expert=FruitExpert(),
                reflection=Reflection(
                    mode=MODE, manner=Manner.PLACE, mask=default_mask(MODE), reflector=self.reflector,
                    recompile=self._recompile,
                ),
                diary=Diary(folder=self.folder, name=NAME),
            ),
        )  # fmt: skip

    def kept(self) -> Progressed:
        found = load_progress(self.folder, NAME)
        assert found is not None
        return found

    def _recompile(self, mask: RewardMask) -> RewardSpec:
        self.compiled_for.append(mask.active)
        return compiled(mask)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> School:
    """A run that was killed in the middle of its fifth round."""
    world = BatchWorld(FruitOnPlate(), N)
    school = School(
        setup=idle_setup(world, episode_steps=20), bank=stuck_over_the_plate(world, 100),
        folder=tmp_path_factory.mktemp("run"), reflector=Lifts(), compiled_for=[],
    )  # fmt: skip
    points: list[TrainingPoint] = []

    def die_in_the_fifth(point: TrainingPoint) -> None:
        points.append(point)
        if len(points) == 5:
            raise Killed

    with pytest.raises(Killed):
        school.train(progress=die_in_the_fifth)
    return school


def test_a_killed_run_lies_on_disk_as_it_was_after_its_last_whole_round(killed: School) -> None:
    found = killed.kept()
    assert (found.rounds, found.steps) == (4, 3 * ROUND)
    assert [p["steps"] for p in found.notes["history"]] == [0, ROUND, 2 * ROUND, 3 * ROUND]
    assert found.notes["changes"] == ["round 2: effort is lifted"]
    assert set(found.notes["mask"]) == default_mask(MODE).active - {"effort"}
    assert 0 < len(found.successes[0]) <= 5
    assert not found.successes[1]
    assert all(np.isfinite(v).all() for v in (*found.policy.values(), *found.moments.values()))
    assert any((killed.folder / "tensorboard" / NAME).iterdir())


@pytest.fixture(scope="module")
def at_once(killed: School, tmp_path_factory: pytest.TempPathFactory) -> School:
    """The killed run, resumed when no step is left to take."""
    school = copied(killed, tmp_path_factory.mktemp("at once"))
    school.train(replace(CONFIG, total_steps=3 * ROUND))
    return school


def copied(school: School, folder: Path) -> School:
    for file in school.folder.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    return replace(school, folder=folder, reflector=Lifts(), compiled_for=[])


def test_weights_moments_successes_mask_and_counters_come_back_bit_for_bit(killed: School, at_once: School) -> None:
    before, after = killed.kept(), at_once.kept()
    for was, now in ((before.policy, after.policy), (before.moments, after.moments)):
        assert {k: v.tobytes() for k, v in was.items()} == {k: v.tobytes() for k, v in now.items()}
    assert [(s.quality, s.features.tobytes(), s.residuals.tobytes()) for s in before.successes[0]] == [
        (s.quality, s.features.tobytes(), s.residuals.tobytes()) for s in after.successes[0]
    ]
    assert (after.rounds, after.steps) == (before.rounds, before.steps)
    for name in ("eased", "poor", "recent", "endings", "mask", "changes"):
        assert after.notes[name] == before.notes[name]
    assert after.notes["history"][:-1] == before.notes["history"]
    assert at_once.compiled_for == [frozenset(before.notes["mask"])]


def test_a_resumed_run_begins_its_round_anew_and_goes_on_to_the_end(
    killed: School, tmp_path_factory: pytest.TempPathFactory
) -> None:
    school, points = copied(killed, tmp_path_factory.mktemp("resumed")), []
    trained = school.train(progress=points.append)
    found = school.kept()
    assert [p.steps for p in points] == [4 * ROUND, 5 * ROUND, 6 * ROUND]
    assert [p.steps for p in trained.history] == [k * ROUND for k in range(7)]
    assert (found.rounds, found.steps, trained.steps) == (6, 6 * ROUND, 6 * ROUND)
    assert trained.changes == ("round 2: effort is lifted",)
    assert [len(d.mask.active) for d in school.reflector.asked] == [len(default_mask(MODE).active) - 1]
    assert any((v != killed.kept().policy[k]).any() for k, v in found.policy.items())
    assert trained.warm_start == f"FruitExpert, {2 * 24 * N} rows"
    assert sorted(p.name for p in school.folder.glob("*.safetensors")) == [json.loads(school_json(school))["file"]]


def school_json(school: School) -> str:
    return (school.folder / f"{NAME}.json").read_text()


def test_a_run_that_is_over_is_not_trained_again(at_once: School) -> None:
    before = school_json(at_once)
    trained = at_once.train(replace(CONFIG, total_steps=3 * ROUND), progress=lambda _: pytest.fail("trained again"))
    assert school_json(at_once) == before
    assert trained.actor.tensors().keys() == at_once.kept().best.tensors().keys()


def test_a_run_that_was_good_enough_is_not_trained_again(
    killed: School, tmp_path_factory: pytest.TempPathFactory
) -> None:
    school = copied(killed, tmp_path_factory.mktemp("good"))
    found = school.kept()
    save_progress(school.folder, NAME, replace(found, notes={**found.notes, "good": CONFIG.stop_times}))
    trained = school.train(progress=lambda _: pytest.fail("trained again"))
    assert trained.steps == found.steps


def test_scenes_are_eased_when_nothing_succeeds_and_stay_so_in_a_resumed_run(
    killed: School, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("eased")
    setup = replace(killed.setup, config=replace(killed.setup.config, episode_steps=3))
    config = replace(CONFIG, total_steps=2 * ROUND, eval_every=99 * ROUND, ease_after=1)
    school = Schooling(
        edits=(SceneEdit(kind="steady"), SceneEdit(kind="longer")), diary=Diary(folder=folder, name=NAME)
    )
    for more in (0, ROUND):
        given = replace(config, total_steps=config.total_steps + more, judge_last=False)
        trained = train_actor(setup, killed.bank, killed.bank, compiled(), schooling=school, config=given)
        assert trained.changes == ("round 1: success 0.00, eased",)
        found = load_progress(folder, NAME)
        assert found is not None
        assert found.notes["eased"]
        assert found.notes["recent"] == [False] * len(found.notes["recent"])
        assert 0 < len(found.notes["recent"]) <= 100


def progressed(seed: int, kept: int = 2) -> Progressed:
    rng = np.random.default_rng(seed)
    rows = [rng.normal(size=(3 + k, 4)).astype(np.float32) for k in range(kept)]
    weights, biases = rng.normal(size=(2, 4)).astype(np.float32), np.zeros(2, np.float32)
    return Progressed(
        rounds=seed, steps=64 * seed, policy={"w": rng.normal(size=(2, 2))}, moments={"0.step": np.array(3.0)},
        best=Mlp(weights=(weights,), biases=(biases,), activation="tanh"),
        successes=(tuple(Success(features=r, residuals=r[:, :2], quality=float(-k)) for k, r in enumerate(rows)), ()),
        notes={"best": {"k": 1, "n": 2}},
    )  # fmt: skip


def test_progress_survives_the_disk_and_replaces_what_was_there(tmp_path: Path) -> None:
    for seed in (1, 2, 2):
        save_progress(tmp_path, "run", progressed(seed))
    found, wrote = load_progress(tmp_path, "run"), progressed(2)
    assert found is not None
    assert (found.rounds, found.steps, found.notes) == (2, 128, wrote.notes)
    assert found.policy["w"].tobytes() == wrote.policy["w"].tobytes()
    assert [s.features.tolist() for s in found.successes[0]] == [s.features.tolist() for s in wrote.successes[0]]
    assert (found.best(np.ones((1, 4))) == wrote.best(np.ones((1, 4)))).all()
    assert len(list(tmp_path.iterdir())) == 2
    assert load_progress(tmp_path, "another") is None


def test_a_run_never_removes_the_weights_of_one_whose_name_begins_alike(tmp_path: Path) -> None:
    save_progress(tmp_path, "drop-insert", progressed(1))
    for seed in (2, 3):
        save_progress(tmp_path, "drop", progressed(seed))
    found = load_progress(tmp_path, "drop-insert")
    assert found is not None
    assert found.rounds == 1


def test_a_run_killed_while_it_was_written_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_progress(tmp_path, "run", progressed(1))
    half, write = b"half", Path.write_bytes

    def killed_midway(self: Path, data: bytes) -> int:
        write(self, half)
        raise Killed

    for seed in (1, 2):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "write_bytes", killed_midway)
            with pytest.raises(Killed):
                save_progress(tmp_path, "run", progressed(seed))
        found = load_progress(tmp_path, "run")
        assert found is not None
        assert found.rounds == 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda d: d.pop("counts"), "damaged training run"),
        (lambda d: d.update(counts=[[9, 9], []]), "damaged training run"),
        (lambda d: d.update(format="x@1"), "has format"),
        (lambda d: d.update(sha256="0" * 64), "sha256"),
        (lambda d: d.update(file="gone.safetensors"), "cannot be read"),
    ],
)
def test_a_damaged_run_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object], word: str) -> None:
    save_progress(tmp_path, "run", progressed(1))
    document = json.loads((tmp_path / "run.json").read_text())
    change(document)
    (tmp_path / "run.json").write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=word):
        load_progress(tmp_path, "run")


def test_weights_of_another_size_are_refused(killed: School, tmp_path: Path) -> None:
    school = copied(killed, tmp_path)
    found = school.kept()
    save_progress(tmp_path, NAME, replace(found, policy={k: v[..., :1] for k, v in found.policy.items()}))
    with pytest.raises(ArtifactError, match="does not fit this version"):
        school.train()


def test_what_an_expert_showed_survives_the_disk_and_damage_is_named(tmp_path: Path) -> None:
    shown = Imitated(features=torch.arange(6.0).reshape(3, 2), residuals=torch.arange(3.0)[:, None])
    save_imitated(tmp_path, "run", shown)
    read = load_imitated(tmp_path, "run")
    assert read.features.tolist() == shown.features.tolist()
    assert read.residuals.tolist() == shown.residuals.tolist()
    (tmp_path / "run-shown.tensors").write_bytes(b"")
    with pytest.raises(ArtifactError, match="sha256"):
        load_imitated(tmp_path, "run")


def test_rates_in_the_history_come_back_as_rates(at_once: School) -> None:
    history = at_once.train(replace(CONFIG, total_steps=3 * ROUND)).history
    evaluated = [p.evaluation for p in history if p.evaluation is not None]
    assert len(evaluated) >= 2
    assert all(isinstance(rate, Rate) and rate.n == N for rate in evaluated)
    assert np.isnan(history[0].train_success)
