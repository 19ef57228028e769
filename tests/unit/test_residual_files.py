"""What the room writes to disk and reads back: skills, banks, surrogate, probe. Damage and foreignness are named."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.errors import ArtifactError, ConfigError
from core.failures import FailureMode
from core.flow import ActionChunk
from core.probe import NOMINAL, ProbeLayer, ProbeWeights
from core.recovery import Rate, RecoveryStage, SkillCard
from core.robots import EE_DELTA
from core.scene import SceneRoles, SceneState, TrackedObject
from core.subtasks import Manner
from core.worlds import FailureState, WorldSnapshot
from residual.bank import by_subtask, divide, load_bank, mixed, save_bank
from residual.cards import TrainedCard, actor_sha256, load_card, load_skill, load_skills, save_skill
from residual.features import FEATURES
from residual.mlp import Mlp
from residual.probe_io import load_probe, save_probe
from residual.skills import default_space
from residual.surrogate import INPUTS, Surrogate
from residual.surrogate_io import load_surrogate, save_surrogate
from residual.surrogate_train import finished

BASE = "pi0-nano@abc"


def network(*sizes: int, seed: int = 0) -> Mlp:
    rng = np.random.default_rng(seed)
    pairs = list(pairwise(sizes))
    return Mlp(
        weights=tuple(rng.normal(0, 0.1, (b, a)).astype(np.float32) for a, b in pairs),
        biases=tuple(rng.normal(0, 0.1, b).astype(np.float32) for _, b in pairs),
        activation="tanh",
    )


@pytest.fixture
def skill() -> TrainedCard:
    actor = network(FEATURES, 16, EE_DELTA.size)
    card = SkillCard(
        name="drop", task="fruit_on_plate", manner=Manner.PLACE, modes=(FailureMode.DROP,),
        stages=(RecoveryStage.APPROACH,), space=default_space(), resume_when="placed", weights_file="drop.safetensors",
        weights_sha256=actor_sha256(actor), reward_hash="0" * 64, base_policy=BASE, surrogate="surrogate@1",
        warm_start="none", lint="passed", inputs="state", train_seed=0, train_steps=1000, eval_seeds=(5, 9),
        evaluation=Rate(k=9, n=10), base_alone=Rate(k=1, n=10),
    )  # fmt: skip
    return TrainedCard(card=card, actor=actor)


@pytest.fixture
def bank() -> tuple[FailureState, ...]:
    return tuple(failure(i) for i in range(60))


def failure(i: int) -> FailureState:
    rng = np.random.default_rng(i)
    things = {"apple": rng.normal(size=3), "plate": rng.normal(size=3)}
    queue = ActionChunk(obs_t_ns=7, values=rng.normal(size=(1 + i % 4, 7)), dt_s=0.05, policy_id=BASE)
    return FailureState(
        snapshot=WorldSnapshot(
            physics=rng.normal(size=9), controller=rng.normal(size=4), task=rng.normal(size=3),
            roles=SceneRoles(target="apple", goal="plate"), instruction="put the apple on the plate",
        ),
        mode=FailureMode.DROP, seed=i // 2, age_s=0.1 * (i % 20), queue=queue if i % 3 else None, subtask=i % 2,
        policy_features=rng.normal(size=4) if i % 5 else np.zeros(0),
        belief=SceneState(
            t_ns=3, source="image",
            objects={n: TrackedObject(pos_in_base=p, t_ns=2, confidence=0.5) for n, p in things.items()},
        ),
    )  # fmt: skip


@pytest.fixture
def surrogate() -> Surrogate:
    return finished(network(INPUTS, 8, 8 * EE_DELTA.size), np.zeros(INPUTS), np.ones(INPUTS), 8)


@pytest.fixture
def probe() -> ProbeWeights:
    rng = np.random.default_rng(0)
    layers = (
        ProbeLayer(weight=rng.normal(size=(5, 4)), bias=np.zeros(4)),
        ProbeLayer(weight=rng.normal(size=(4, 2)), bias=np.zeros(2)),
    )
    return ProbeWeights(
        name="probe@1", layout="probe-features@1", policy=BASE, labels=(NOMINAL, "drop"), mean=np.zeros(5),
        scale=np.ones(5), layers=layers, temperature=1.3, threshold=0.7,
    )  # fmt: skip


def test_a_skill_survives_the_disk_bit_for_bit(skill: TrainedCard, tmp_path: Path) -> None:
    path = save_skill(tmp_path, skill)
    read = load_skill(path, base_policy=BASE)
    x = np.random.default_rng(0).normal(size=(4, FEATURES))
    assert (read.actor(x) == skill.actor(x)).all()
    assert read.card.space.alpha.tolist() == skill.card.space.alpha.tolist()
    assert replace(read.card, space=skill.card.space) == skill.card
    assert [s.card.name for s in load_skills(tmp_path, base_policy=BASE)] == ["drop"]


def test_a_skill_of_another_base_policy_is_refused(skill: TrainedCard, tmp_path: Path) -> None:
    path = save_skill(tmp_path, skill)
    with pytest.raises(ArtifactError, match=r"trained for base policy 'pi0-nano@abc', not for 'pi0-nano@def'.*retrain"):
        load_skill(path, base_policy="pi0-nano@def")


def test_a_card_and_an_actor_that_do_not_belong_together_are_not_saved(skill: TrainedCard, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="another actor"):
        save_skill(tmp_path, replace(skill, actor=network(FEATURES, 16, EE_DELTA.size, seed=1)))


def test_flipped_bytes_missing_files_and_empty_folders_are_named(skill: TrainedCard, tmp_path: Path) -> None:
    path, weights = save_skill(tmp_path, skill), tmp_path / "drop.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ArtifactError, match="sha256"):
        load_skill(path, base_policy=BASE)
    weights.unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_skill(path, base_policy=BASE)
    with pytest.raises(ArtifactError, match="no skill card"):
        load_skills(tmp_path / "nothing", base_policy=BASE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format="other@1"), "has format 'other@1'"),
        (lambda m: m.update(features="recovery@1"), "reads features 'recovery@1'"),
        (lambda m: m["card"].pop("space"), "is damaged"),
        (lambda m: m["card"].update(modes=["dropp"]), "is damaged"),
        (lambda m: m["card"].update(resume_when="never"), "is damaged"),
        (lambda m: m["card"].update(evaluation={"k": 9, "n": 3}), "is damaged"),
        (lambda m: m["card"].update(colour="red"), "is damaged"),
        (lambda m: m["card"].update(weights_file="../drop.safetensors"), "is damaged"),
        (lambda m: m["card"]["space"].update(beta=[9.0] * 7), "is damaged"),
    ],
)
def test_a_damaged_card_is_refused(
    skill: TrainedCard, tmp_path: Path, change: Callable[[dict[str, object]], None], message: str
) -> None:
    path = save_skill(tmp_path, skill)
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=message):
        load_card(path)


def test_an_actor_of_another_size_is_refused(skill: TrainedCard, tmp_path: Path) -> None:
    small = network(5, EE_DELTA.size)
    card = replace(skill.card, weights_sha256=actor_sha256(small))
    path = save_skill(tmp_path, TrainedCard(card=card, actor=small))
    with pytest.raises(ArtifactError, match="maps 5 values"):
        load_skill(path, base_policy=BASE)


def test_layers_that_do_not_fit_and_unknown_activations_are_refused() -> None:
    good = network(3, 4, 2)
    with pytest.raises(ArtifactError, match="do not fit together"):
        Mlp(weights=good.weights[::-1], biases=good.biases[::-1], activation="tanh")
    with pytest.raises(ArtifactError, match="activation 'gelu'"):
        replace(good, activation="gelu")
    with pytest.raises(ArtifactError, match="lacks layer"):
        Mlp.of({"w0": good.weights[0]}, "tanh")


def test_a_bank_survives_the_disk_bit_for_bit(bank: tuple[FailureState, ...], tmp_path: Path) -> None:
    save_bank(tmp_path, bank)
    for read, saved in zip(load_bank(tmp_path), bank, strict=True):
        assert (read.mode, read.seed, read.age_s, read.subtask) == (saved.mode, saved.seed, saved.age_s, saved.subtask)
        assert (read.policy_features == saved.policy_features).all()
        assert read.snapshot.roles == saved.snapshot.roles
        assert (read.snapshot.physics == saved.snapshot.physics).all()
        assert (read.snapshot.task == saved.snapshot.task).all()
        assert list(read.belief.objects) == list(saved.belief.objects)
        assert (read.belief.objects["plate"].pos_in_base == saved.belief.objects["plate"].pos_in_base).all()
        assert (read.queue is None) == (saved.queue is None)
        if read.queue is not None and saved.queue is not None:
            assert (read.queue.values == saved.queue.values).all()


def test_a_damaged_bank_is_refused_and_an_empty_one_is_not_saved(
    bank: tuple[FailureState, ...], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="empty"):
        save_bank(tmp_path, ())
    save_bank(tmp_path, bank)
    manifest = json.loads((tmp_path / "bank.json").read_text())
    manifest["states"].append(manifest["states"][0])
    (tmp_path / "bank.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="damaged bank"):
        load_bank(tmp_path)


def test_a_bank_is_divided_by_seed(bank: tuple[FailureState, ...]) -> None:
    parts = divide(bank)
    seeds = [{s.seed for s in part} for part in (parts.train, parts.validation, parts.held_out)]
    assert sum(map(len, (parts.train, parts.validation, parts.held_out))) == len(bank)
    assert not seeds[0] & seeds[1]
    assert not (seeds[0] | seeds[1]) & seeds[2]
    with pytest.raises(ConfigError, match="cannot be divided"):
        divide(bank[:3])


def test_a_bank_is_told_apart_by_the_sub_task_that_failed(bank: tuple[FailureState, ...]) -> None:
    assert {k: {s.subtask for s in part} for k, part in by_subtask(bank).items()} == {0: {0}, 1: {1}}
    assert sum(map(len, by_subtask(bank).values())) == len(bank)


def test_a_mixture_holds_the_wanted_share_of_late_states(bank: tuple[FailureState, ...]) -> None:
    middle = np.median([s.age_s for s in bank])
    chosen = mixed(bank, 100, late=0.3)
    assert sum(s.age_s > middle for s in chosen) == 30
    assert len(chosen) == 100
    with pytest.raises(ConfigError, match="empty"):
        mixed((), 5)


def test_a_surrogate_survives_the_disk(surrogate: Surrogate, tmp_path: Path) -> None:
    save_surrogate(tmp_path, surrogate, {"task": "fruit_on_plate", "episodes": 400})
    read = load_surrogate(tmp_path)
    assert read.policy_id == surrogate.policy_id
    x = np.random.default_rng(0).normal(size=(2, INPUTS))
    assert (read.network(x) == surrogate.network(x)).all()
    manifest = json.loads((tmp_path / "surrogate.json").read_text())
    del manifest["chunk"]
    (tmp_path / "surrogate.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="damaged"):
        load_surrogate(tmp_path)


def test_a_surrogate_with_other_inputs_is_refused(tmp_path: Path) -> None:
    save_surrogate(tmp_path, finished(network(4, 56), np.zeros(4), np.ones(4), 8), {})
    with pytest.raises(ArtifactError, match="reads 4 values"):
        load_surrogate(tmp_path)


def test_a_probe_survives_the_disk_with_its_hash(probe: ProbeWeights, tmp_path: Path) -> None:
    save_probe(tmp_path, probe, {"accuracy": 0.9})
    assert load_probe(tmp_path, policy=BASE).hash == probe.hash
    with pytest.raises(ArtifactError, match="reads features of policy"):
        load_probe(tmp_path, policy="other@1")
    manifest = json.loads((tmp_path / "probe.json").read_text())
    manifest["labels"] = ["drop", "dropp"]
    (tmp_path / "probe.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="damaged"):
        load_probe(tmp_path, policy=BASE)
