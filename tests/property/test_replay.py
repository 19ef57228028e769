"""Recorded steps alone reproduce phases and commands bit for bit; a record that lost something says where."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.arrays import Floats
from core.episodes import Episode, Outcome
from core.errors import ArtifactError
from core.failures import FailureMode
from core.fake_cell import FakeCell
from core.fakes import ScriptedDiagnoser, ScriptedOperator, ScriptedPolicy
from core.flow import Observation, OperatorCommand, OperatorInput, Phase, Step
from core.ports import Evidence
from core.probe import NOMINAL, ProbeLayer, ProbeWeights
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.robots import EE_DELTA
from core.scene import SceneRoles
from core.subtasks import Course, Manner, SubTask, Where
from runtime.config import RecoverLimits, RuntimeConfig
from runtime.plan import LoopPlan, build_loop
from runtime.record.codec import dumps, loads
from runtime.record.reader import read_episode
from runtime.record.replay import replay
from runtime.record.writer import EpisodeWriter
from runtime.rehearsal import COURSE, Rehearsal, believe, meta_of, plan_to_plate, rehearsal
from runtime.watch.features import FIXED, LAYOUT

TICKS = 150
POLICY_FEATURES = 5
AWAY = SubTask(
    name="lemon off the plate",
    manner=Manner.PUSH,
    roles=SceneRoles(target="lemon", goal="plate"),
    done=(
        Where(thing="lemon", anchor="plate", low=np.array([-np.inf, 0.06, -np.inf]), high=np.full(3, np.inf)),
        Where(thing="lemon", low=np.full(3, -np.inf), high=np.array([np.inf, np.inf, -0.1])),
    ),
)
TWO = Course(names=COURSE.names, subtasks=(AWAY, *COURSE.subtasks))
"""A course that says inf and -inf, and of which the first half is done from the start."""


class Trouble:
    """A sink that meddles with the cell at known ticks."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.cell: FakeCell | None = None
        self._drops = set(rng.integers(20, TICKS, 3).tolist())
        self._moves = {int(i): (0.45, float(rng.uniform(-0.1, 0.2)), 0.03) for i in rng.integers(5, TICKS, 2)}

    def write(self, step: Step) -> None:
        if self.cell is None:
            return
        if step.index in self._drops:
            self.cell.drop()
        if step.index in self._moves and not self.cell.gripped:
            self.cell.put("apple", self._moves[step.index])

    def close(self) -> None:
        """Nothing to finish."""


class MoodyPolicy(ScriptedPolicy):
    """Its plan is noisy, sometimes broken, and takes a random time."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.cell: FakeCell | None = None
        self._rng = rng
        super().__init__(self._noisy, features=rng.normal(size=POLICY_FEATURES))

    def submit(self, obs: Observation) -> None:
        self._polls = int(self._rng.integers(0, 5))
        super().submit(obs)

    def _noisy(self, obs: Observation) -> Floats:
        assert self.cell is not None
        rows = plan_to_plate(self.cell)(obs)
        rows = EE_DELTA.clip(rows + self._rng.normal(size=rows.shape) * 0.003)
        if self._rng.random() < 0.01:
            rows[0, 0] = self._rng.choice([np.nan, np.inf, 5.0])
        return rows


def random_probe(rng: np.random.Generator) -> ProbeWeights:
    size = len(FIXED) + POLICY_FEATURES
    labels = (NOMINAL, "drop", "missed_grasp")
    return ProbeWeights(
        name="random@1", layout=LAYOUT, policy="scripted@0", labels=labels, mean=np.zeros(size), scale=np.ones(size),
        layers=(
            ProbeLayer(weight=rng.normal(size=(size, 16)), bias=rng.normal(size=16)),
            ProbeLayer(weight=rng.normal(size=(16, 3)), bias=np.array([2.0, 0.0, 0.0])),
        ),
        temperature=1.5, threshold=0.9,
    )  # fmt: skip


def moody_answer(rng: np.random.Generator, evidence: Evidence) -> RecoveryDescriptor | None:
    draw = rng.random()
    if draw < 0.1:
        return None
    answer = replace(believe(evidence), confidence=float(rng.uniform(0.1, 1.0)))
    if draw < 0.2:
        return replace(answer, report_id="something-else")
    if draw < 0.35:
        return replace(answer, mode=FailureMode.UNKNOWN, stage=RecoveryStage.RESUME)
    return replace(answer, mode=FailureMode.DROP) if draw < 0.7 else answer


def random_run(seed: int) -> Rehearsal:
    """Lives one random episode."""
    rng = np.random.default_rng(seed)
    trouble, policy = Trouble(rng), MoodyPolicy(rng)
    commands = list(OperatorCommand)
    inputs = {
        int(i): OperatorInput(
            command=commands[rng.integers(len(commands))] if rng.random() < 0.6 else None,
            action=rng.normal(size=7) * 0.02 if rng.random() < 0.5 else None,
        )
        for i in rng.integers(0, TICKS, 12)
    }
    limits = RecoverLimits(diagnose_s=0.6, attempt_s=2.0, operator_silence_s=0.4)
    stage = rehearsal(
        policy=policy,
        diagnoser=ScriptedDiagnoser(lambda e: moody_answer(rng, e), polls=int(rng.integers(0, 8))),
        operator=ScriptedOperator(inputs),
        config=RuntimeConfig(recover=limits),
        probe=random_probe(rng) if seed % 2 else None,
        sinks=(trouble,),
        images={"front": rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)},
    )
    trouble.cell = policy.cell = stage.cell
    if seed % 3 == 0:
        plan = replace(stage.plan, course=TWO)
        stage = replace(stage, plan=plan, loop=build_loop(plan, stage.ports))
    with stage.cell:
        for _ in range(TICKS):
            stage.loop.tick()
    return stage


@pytest.fixture(scope="module")
def runs() -> list[Rehearsal]:
    return [random_run(seed) for seed in range(40)]


def test_forty_random_runs_replay_bit_for_bit(runs: list[Rehearsal]) -> None:
    for stage in runs:
        assert replay(stage.episode()).mismatch is None


def test_a_plan_with_boxes_that_reach_to_infinity_comes_back_bit_for_bit(runs: list[Rehearsal]) -> None:
    plan = runs[3].plan
    again = loads(LoopPlan, dumps(plan))
    assert dumps(again) == dumps(plan)
    for sub, read in zip(plan.course.subtasks, again.course.subtasks, strict=True):
        assert (read.name, read.manner, read.roles) == (sub.name, sub.manner, sub.roles)
        for box, got in zip(sub.done, read.done, strict=True):
            assert (got.thing, got.anchor) == (box.thing, box.anchor)
            assert got.low.tobytes() == box.low.tobytes()
            assert got.high.tobytes() == box.high.tobytes()
    assert np.isinf(again.course.subtasks[0].done[0].high).all()


def test_the_random_runs_visit_every_phase_and_every_source(runs: list[Rehearsal]) -> None:
    phases = Counter(step.phase for stage in runs for step in stage.steps)
    sources = Counter(step.source.value for stage in runs for step in stage.steps)
    assert set(phases) == set(Phase)
    assert set(sources) == {"policy", "residual", "hold", "operator"}
    assert any(step.report is not None and step.report.detector == "probe" for s in runs for step in s.steps)


def test_runs_survive_the_disk_bit_for_bit(runs: list[Rehearsal], tmp_path: Path) -> None:
    for i, stage in enumerate(runs[:8]):
        path = tmp_path / f"{i}.mcap"
        with EpisodeWriter(path, meta_of(stage.plan)) as writer:
            for step in stage.steps:
                writer.write(step)
            writer.finish(Outcome.FAILURE)
        episode = read_episode(path)
        assert [dumps(s) for s in episode.steps] == [dumps(s) for s in stage.steps]
        assert replay(episode).mismatch is None


def without(episode: Episode, index: int, name: str) -> Episode:
    steps = list(episode.steps)
    gone: dict[str, Any] = {name: None}
    steps[index] = replace(steps[index], arrived=replace(steps[index].arrived, **gone))
    return replace(episode, steps=tuple(steps))


def test_deleting_any_chunk_makes_the_replay_fail_and_say_where(runs: list[Rehearsal]) -> None:
    episode = max((r.episode() for r in runs), key=lambda e: sum(s.arrived.chunk is not None for s in e.steps))
    chunks = [s.index for s in episode.steps if s.arrived.chunk is not None]
    assert len(chunks) > 10
    for index in chunks:
        mismatch = replay(without(episode, index, "chunk")).mismatch
        assert mismatch is not None
        assert mismatch.step == index
        assert str(index) in str(mismatch)


def test_deleting_a_chunk_that_changes_no_action_is_found_too() -> None:
    stage = rehearsal(policy=ScriptedPolicy(lambda _: np.tile(EE_DELTA.still(1.0), (20, 1))))
    with stage.cell:
        for _ in range(12):
            stage.loop.tick()
    mismatch = replay(without(stage.episode(), 4, "chunk")).mismatch
    assert mismatch is not None
    assert (mismatch.step, mismatch.field) == (4, "chunk_t_ns")


@pytest.mark.parametrize("name", ["scene", "correction", "sent"])
def test_an_answer_that_is_missing_is_named(runs: list[Rehearsal], name: str) -> None:
    episode = next(r.episode() for r in runs if any(s.arrived.correction is not None for s in r.steps))
    index = next(s.index for s in episode.steps if s.arrived.correction is not None)
    mismatch = replay(without(episode, index, name)).mismatch
    assert mismatch is not None
    assert mismatch.step == index
    assert mismatch.field.startswith(f"arrived.{name}")


def test_a_missing_step_is_named(runs: list[Rehearsal]) -> None:
    episode = runs[1].episode()
    cut = replace(episode, steps=(*episode.steps[:50], *episode.steps[51:]))
    mismatch = replay(cut).mismatch
    assert mismatch is not None
    assert (mismatch.step, mismatch.field) == (50, "index")


def test_a_changed_command_is_found(runs: list[Rehearsal]) -> None:
    episode = runs[2].episode()
    steps = list(episode.steps)
    steps[30] = replace(steps[30], commanded=np.nextafter(steps[30].commanded, 1.0))
    mismatch = replay(replace(episode, steps=tuple(steps))).mismatch
    assert mismatch is not None
    assert (mismatch.step, mismatch.field) == (30, "commanded")


def test_a_changed_configuration_is_refused(runs: list[Rehearsal]) -> None:
    episode = runs[0].episode()
    meta = replace(episode.meta, config_json=episode.meta.config_json.replace('"replan_ticks":4', '"replan_ticks":5'))
    with pytest.raises(ArtifactError, match="config_hash"):
        replay(replace(episode, meta=meta))
