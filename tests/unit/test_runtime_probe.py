"""The embedded probe: one feature layout, calibrated probabilities, detector and diagnoser over the same weights."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.arrays import Floats
from core.errors import ArtifactError, ConfigError, ContractError
from core.failures import FailureMode
from core.flow import Step
from core.ports import Evidence
from core.probe import NOMINAL, ProbeLayer, ProbeWeights
from core.recovery import RecoveryStage
from core.rewards import RewardMask
from core.subtasks import Course, Manner
from runtime.episode import run_episode
from runtime.record.codec import dumps, loads
from runtime.recover.probe_diagnoser import ProbeDiagnoser
from runtime.rehearsal import COURSE, ROLES, believe, rehearsal
from runtime.watch.features import LAYOUT, WINDOW, probe_feature_names, probe_features
from runtime.watch.probe import ProbeDetector
from runtime.watch.reports import report_of

POLICY = 3
NAMES = probe_feature_names(POLICY)
MASK = RewardMask(library="lib@1", active=frozenset({"lift"}))
MASKS = {Manner.PLACE: {FailureMode.DROP: MASK, FailureMode.COLLISION: replace(MASK, active=frozenset({"retreat"}))}}


def weights(**changes: Any) -> ProbeWeights:
    """A linear probe that says drop in proportion to `opened_since_16` and collision to `missed_16_x_m`."""
    table = np.zeros((len(NAMES), 3))
    table[NAMES.index("opened_since_16"), 1] = -50.0
    table[NAMES.index("missed_16_x_m"), 2] = 200.0
    given: dict[str, Any] = {
        "name": "probe@1", "layout": LAYOUT, "policy": "scripted@0", "labels": (NOMINAL, "drop", "collision"),
        "mean": np.zeros(len(NAMES)), "scale": np.ones(len(NAMES)),
        "layers": (ProbeLayer(weight=table, bias=np.array([5.0, 0.0, 0.0])),), "temperature": 1.0, "threshold": 0.5,
    }  # fmt: skip
    return ProbeWeights(**given | changes)


@pytest.fixture(scope="module")
def lived() -> list[Step]:
    """Steps of an episode whose policy has image features."""
    stage = rehearsal()
    stage.ports.policy._features = np.array([0.1, 0.2, 0.3])  # type: ignore[attr-defined]
    with stage.cell:
        run_episode(stage.loop, 100, stage.done)
    return stage.steps


def evidence(steps: Sequence[Step]) -> Evidence:
    report = report_of(steps[-1], "stall", FailureMode.STALLED, confidence=0.7, evidence={})
    return Evidence(report=report, task="rehearsal", instruction="put the apple on the plate", steps=steps, images={})


def named(steps: Sequence[Step], course: Course = COURSE) -> dict[str, float]:
    features = probe_features(steps, course)
    assert features is not None
    return dict(zip(NAMES, features.tolist(), strict=True))


def test_features_have_one_value_per_name_and_are_finite_from_the_first_step_on(lived: list[Step]) -> None:
    for end in range(1, len(lived) + 1):
        features = probe_features(lived[:end], COURSE)
        assert features is not None
        assert features.shape == (len(NAMES),)
        assert np.isfinite(features).all()


def test_features_mean_what_their_names_say(lived: list[Step]) -> None:
    steps = lived[:40]
    found, now, then = named(steps), steps[-1], steps[-17]
    scene = now.arrived.scene
    assert scene is not None
    tool, apple = now.observation.tcp_pos_in_base, scene.objects["apple"].pos_in_base
    moved = tool - then.observation.tcp_pos_in_base
    sent = np.sum([s.commanded[:3] for s in steps[-17:-1]], axis=0)
    assert found["tcp_x_m"] == tool[0]
    assert found["moved_y_m_since_16"] == pytest.approx(moved[1])
    assert found["missed_16_z_m"] == pytest.approx(sent[2] - moved[2], abs=1e-12)
    assert found["target_from_tool_z_m"] == pytest.approx(apple[2] - tool[2])
    assert found["target_distance_m"] == pytest.approx(float(np.linalg.norm(apple - tool)))
    assert found["gripping"] == float(now.observation.gripper_opening > now.observation.gripper_command + 0.06)
    assert (found["tilt_x"], found["tilt_y"], found["tilt_z"]) == (0.0, 0.0, 0.0)
    assert [found[f"policy_{i}"] for i in range(3)] == [0.1, 0.2, 0.3]


def test_an_object_that_is_not_there_is_marked_unseen_and_old(lived: list[Step]) -> None:
    sub = replace(COURSE.subtasks[0], roles=replace(ROLES, obstacle="wall"))
    walled = Course(names=(*COURSE.names, "wall"), subtasks=(sub,))
    found = named(lived[:20], walled)
    assert (found["obstacle_seen"], found["obstacle_age_s"], found["obstacle_distance_m"]) == (0.0, 2.0, 0.0)
    assert found["target_seen"] == 1.0


def test_only_the_last_window_counts(lived: list[Step]) -> None:
    steps = [*lived, *lived]
    assert len(steps) > WINDOW
    whole, tail = probe_features(steps, COURSE), probe_features(steps[-WINDOW:], COURSE)
    assert whole is not None
    assert tail is not None
    assert whole.tolist() == tail.tolist()


def test_without_a_chunk_there_is_nothing_to_judge_by(lived: list[Step]) -> None:
    bare = [replace(s, arrived=replace(s.arrived, chunk=None)) for s in lived[:20]]
    assert probe_features(bare, COURSE) is None
    detector = ProbeDetector(weights(threshold=0.0), COURSE)
    assert all(detector.update(s) is None for s in bare)


def test_features_take_less_than_half_a_millisecond(lived: list[Step]) -> None:
    best = np.inf
    for _ in range(50):
        begun = time.perf_counter()
        probe_features(lived[:40], COURSE)
        best = min(best, time.perf_counter() - begun)
    assert best < 0.0005


def test_probabilities_sum_to_one_and_temperature_softens_them() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, len(NAMES)))
    sharp, soft = weights().probabilities(x), weights(temperature=10.0).probabilities(x)
    assert np.allclose(sharp.sum(axis=1), 1.0)
    assert (sharp.argmax(axis=1) == soft.argmax(axis=1)).all()
    assert (soft.max(axis=1) <= sharp.max(axis=1) + 1e-12).all()


def test_two_layers_are_affine_relu_affine() -> None:
    first = ProbeLayer(weight=np.array([[1.0, -1.0]]), bias=np.zeros(2))
    second = ProbeLayer(weight=np.array([[1.0, 0.0], [0.0, 1.0]]), bias=np.zeros(2))
    probe = ProbeWeights(
        name="p@1", layout="l", policy="p", labels=(NOMINAL, "drop"), mean=np.zeros(1), scale=np.ones(1),
        layers=(first, second), temperature=1.0, threshold=0.5,
    )  # fmt: skip
    assert probe.probabilities(np.array([2.0]))[0] == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_the_hash_follows_every_number_and_a_probe_survives_json() -> None:
    probe = weights()
    again = loads(ProbeWeights, dumps(probe))
    assert again.hash == probe.hash == weights().hash
    assert weights(temperature=2.0).hash != probe.hash
    nudged = np.zeros(len(NAMES))
    nudged[7] = 1e-12
    assert weights(mean=nudged).hash != probe.hash


@pytest.mark.parametrize(
    ("changes", "error", "word"),
    [
        ({"labels": (NOMINAL, "drop")}, ContractError, "3 logits for 2 labels"),
        ({"labels": ("drop", "slip", "collision")}, ContractError, "nominal"),
        ({"labels": (NOMINAL, "dropp", "collision")}, ConfigError, "did you mean 'drop'"),
        ({"scale": np.zeros(len(NAMES))}, ContractError, "positive"),
        ({"mean": np.zeros(4), "scale": np.ones(4)}, ContractError, "takes"),
        ({"temperature": 0.0}, ContractError, "temperature"),
    ],
)
def test_a_damaged_probe_is_refused(changes: dict[str, Any], error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        weights(**changes)


def test_a_probe_of_another_layout_is_refused() -> None:
    with pytest.raises(ArtifactError, match="probe-features@0"):
        ProbeDetector(weights(layout="probe-features@0"), COURSE)
    with pytest.raises(ArtifactError, match="train the probe again"):
        ProbeDiagnoser(weights(layout="x"), COURSE, MASKS)


def test_a_policy_with_other_features_than_the_probe_was_trained_on_is_refused_aloud(lived: list[Step]) -> None:
    chunk = next(s.arrived.chunk for s in lived if s.arrived.chunk is not None)
    other = replace(lived[0], arrived=replace(lived[0].arrived, chunk=replace(chunk, features=np.zeros(7))))
    with pytest.raises(ContractError, match="reads 3 image features of scripted@0; the policy gives 7"):
        ProbeDetector(weights(), COURSE).update(other)


def blocked(steps: Sequence[Step]) -> list[Step]:
    """The same steps, but the tool stays where it was in the first."""
    first = steps[0].observation.tcp_pos_in_base
    push = np.array([0.02, 0, 0, 0, 0, 0, 1.0])
    return [replace(s, commanded=push, observation=replace(s.observation, tcp_pos_in_base=first)) for s in steps]


def test_the_detector_speaks_when_failure_is_likely_and_names_the_likeliest_mode(lived: list[Step]) -> None:
    detector, probe = ProbeDetector(weights(), COURSE), weights()
    calm = ProbeDetector(replace(probe, threshold=1.0), COURSE)
    reports = [r for s in blocked(lived[:20]) if (r := detector.update(s)) is not None]
    assert not any(calm.update(s) for s in blocked(lived[:20]))
    assert reports[-1].mode is FailureMode.COLLISION
    assert reports[-1].confidence == reports[-1].evidence["failure_probability_1"] > 0.99


def test_the_diagnoser_answers_mode_stage_objects_mask_and_confidence(lived: list[Step]) -> None:
    diagnoser = ProbeDiagnoser(weights(), COURSE, MASKS)
    diagnoser.submit(evidence(blocked(lived[:20])))
    answer = diagnoser.poll()
    assert answer is not None
    assert (answer.mode, answer.stage, answer.target) == (FailureMode.COLLISION, RecoveryStage.RETREAT, "apple")
    assert answer.obstacles == ("lemon",)
    assert answer.mask == MASKS[Manner.PLACE][FailureMode.COLLISION]
    assert 0.99 < answer.confidence <= 1.0
    assert answer.report_id == "stall-19"
    assert diagnoser.poll() is None


def test_the_diagnoser_says_resume_when_nothing_is_wrong_and_unknown_when_it_cannot_judge(lived: list[Step]) -> None:
    diagnoser = ProbeDiagnoser(weights(), COURSE, MASKS)
    answers = []
    for steps in (lived[:20], [replace(s, arrived=replace(s.arrived, chunk=None)) for s in lived[:20]], []):
        report = believe(evidence(lived[:5])).report_id
        diagnoser.submit(replace(evidence(lived[:5]), steps=steps))
        answer = diagnoser.poll()
        assert answer is not None
        assert answer.report_id == report
        answers.append((answer.mode, answer.stage, answer.confidence > 0.5))
    assert answers == [
        (FailureMode.UNKNOWN, RecoveryStage.RESUME, True),
        (FailureMode.UNKNOWN, RecoveryStage.RETREAT, False),
        (FailureMode.UNKNOWN, RecoveryStage.RETREAT, False),
    ]


def test_a_mode_without_a_mask_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="collision"):
        ProbeDiagnoser(weights(), COURSE, {Manner.PLACE: {FailureMode.DROP: MASK}})


def test_the_tilt_of_a_turned_tool_is_the_turn(lived: list[Step]) -> None:
    turned = np.array([np.cos(0.1), 0.0, 0.0, np.sin(0.1)])
    steps = [replace(s, observation=replace(s.observation, tcp_quat_xyzw_in_base=turned)) for s in lived[:20]]
    found = named(steps)
    tilt: Floats = np.array([found["tilt_x"], found["tilt_y"], found["tilt_z"]])
    assert np.linalg.norm(tilt) == pytest.approx(2 * np.sin(0.1))
    assert abs(tilt[0]) == pytest.approx(2 * np.sin(0.1))
