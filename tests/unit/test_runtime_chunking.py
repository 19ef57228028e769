"""Chunks are played by time; what is flawed is refused; whoever is to drive is chosen purely."""

from dataclasses import replace

import numpy as np
import pytest

from core.arrays import Floats
from core.flow import ActionChunk, Arrived, Observation, OperatorCommand, OperatorInput, Phase, Source
from core.robots import EE_DELTA, ResidualSpace
from runtime.arbiter import Choice, choose
from runtime.chunking import ChunkPlayer, flaw

TICK = 50_000_000
SPACE = ResidualSpace(dims=(0, 1, 2), alpha=np.ones(7), beta=np.array([1.0, 1, 1, 0, 0, 0, 0]))


def chunk(start: int, values: Floats | list[float], rows: int = 8) -> ActionChunk:
    """A chunk from tick `start` whose rows are all `values`, or the given rows."""
    table = np.asarray(values, float)
    table = np.tile(table, (rows, 1)) if table.ndim == 1 else table
    return ActionChunk(obs_t_ns=start * TICK, values=table, dt_s=0.05, policy_id="p@1")


def moving(dx: float) -> list[float]:
    return [dx, 0, 0, 0, 0, 0, 1.0]


def test_a_late_chunk_is_late_not_wrong() -> None:
    player = ChunkPlayer(EE_DELTA)
    rows = np.array([moving(0.001 * i) for i in range(8)])
    assert player.offer(chunk(10, rows), 13 * TICK) == ""
    action = player.action(13 * TICK)
    assert action is not None
    assert action[0] == pytest.approx(0.003)


def test_before_its_start_after_its_end_and_when_too_old_a_chunk_says_nothing() -> None:
    player = ChunkPlayer(EE_DELTA, age_s=0.3)
    assert player.action(0) is None
    player.offer(chunk(10, moving(0.01)), 10 * TICK)
    assert player.action(9 * TICK) is None
    assert player.action(16 * TICK) is not None
    assert player.action(17 * TICK) is None
    assert ChunkPlayer(EE_DELTA).action(18 * TICK) is None


def test_a_seam_is_blended_over_the_overlap() -> None:
    player = ChunkPlayer(EE_DELTA, blend_steps=3)
    player.offer(chunk(0, moving(0.0)), 0)
    player.action(0)
    player.offer(chunk(4, moving(0.02)), 4 * TICK)
    played = [player.action(t * TICK) for t in range(4, 9)]
    assert [float(a[0]) for a in played if a is not None] == pytest.approx([0.005, 0.01, 0.015, 0.02, 0.02])


def test_the_gripper_is_never_blended() -> None:
    player = ChunkPlayer(EE_DELTA, blend_steps=3)
    player.offer(chunk(0, [0, 0, 0, 0, 0, 0, 1.0]), 0)
    player.offer(chunk(1, [0, 0, 0, 0, 0, 0, 0.0]), TICK)
    action = player.action(TICK)
    assert action is not None
    assert action[6] == 0.0


def test_without_overlap_nothing_is_blended() -> None:
    player = ChunkPlayer(EE_DELTA, blend_steps=3)
    player.offer(chunk(0, moving(0.0), rows=4), 0)
    player.offer(chunk(4, moving(0.02)), 4 * TICK)
    action = player.action(4 * TICK)
    assert action is not None
    assert action[0] == 0.02


def test_the_newest_chunk_wins_and_an_older_one_is_passed_over() -> None:
    player = ChunkPlayer(EE_DELTA, blend_steps=0)
    player.offer(chunk(4, moving(0.02)), 4 * TICK)
    assert "older" in player.offer(chunk(2, moving(0.01)), 5 * TICK)
    action = player.action(5 * TICK)
    assert action is not None
    assert action[0] == 0.02
    assert player.chunk_t_ns == 4 * TICK


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (np.full((8, 7), np.nan), "NaN or infinite"),
        (np.full((8, 7), np.inf), "NaN or infinite"),
        (np.zeros((8, 6)), "shape (8, 6)"),
        (np.zeros((0, 7)), "shape (0, 7)"),
        (np.tile(moving(0.05), (8, 1)), "dx is 0.05 m"),
        (np.tile([0, 0, 0, 0, 0, 0, -0.5], (8, 1)), "gripper is -0.5"),
    ],
)
def test_a_flawed_chunk_is_refused_with_its_reason_and_ends_the_play(values: Floats, word: str) -> None:
    player = ChunkPlayer(EE_DELTA)
    player.offer(chunk(0, moving(0.01)), 0)
    reason = player.offer(replace(chunk(1, moving(0.01)), values=values), TICK)
    assert reason.startswith("chunk refused")
    assert word in reason
    assert player.action(TICK) is None


def test_a_chunk_from_the_future_is_refused() -> None:
    assert "future" in flaw(chunk(10, moving(0.01)), EE_DELTA, 0.1, 5 * TICK)


def test_a_chunk_a_little_out_of_bounds_is_clipped() -> None:
    player = ChunkPlayer(EE_DELTA, slack=0.1)
    assert player.offer(chunk(0, [0.027, 0, 0, 0, 0, 0, 1.05]), 0) == ""
    action = player.action(0)
    assert action is not None
    assert (action[0], action[6]) == (0.025, 1.0)


def test_a_chunk_is_due_every_few_ticks_and_not_while_one_is_waited_for() -> None:
    player = ChunkPlayer(EE_DELTA, replan_ticks=4, patience_s=1.0)
    assert player.due(0)
    player.asked(0)
    assert not player.due(10 * TICK)
    assert player.due(20 * TICK)
    player.offer(chunk(0, moving(0.0)), 2 * TICK)
    assert [player.due(t * TICK) for t in range(2, 6)] == [False, False, True, True]


def observation() -> Observation:
    return Observation(
        t_ns=0, joint_pos=np.zeros(7), joint_vel=np.zeros(7), tcp_pos_in_base=np.zeros(3),
        tcp_quat_xyzw_in_base=np.array([1.0, 0, 0, 0]), gripper_opening=0.3, gripper_command=0.2,
    )  # fmt: skip


def chosen(phase: Phase, arrived: Arrived, base: Floats | None, space: ResidualSpace | None = SPACE) -> Choice:
    return choose(
        phase=phase, space=EE_DELTA, obs=observation(), arrived=arrived, base=base, residual_space=space
    )  # fmt: skip


BASE = np.array(moving(0.01))
CORRECTION = np.array([0.2, 0, 0, 0, 0, 0, 0])


def test_holding_keeps_tool_and_gripper_where_they_are_commanded() -> None:
    choice = chosen(Phase.HOLDING, Arrived(operator=OperatorInput(action=BASE), correction=CORRECTION), BASE)
    assert choice.source is Source.HOLD
    assert choice.action.tolist() == [0, 0, 0, 0, 0, 0, 0.2]


def test_only_the_owner_of_a_phase_drives() -> None:
    arrived = Arrived(operator=OperatorInput(action=-BASE), correction=CORRECTION)
    sources = {phase: chosen(phase, arrived, BASE).source for phase in Phase}
    assert sources == {
        Phase.RUNNING: Source.POLICY, Phase.RECOVERING: Source.RESIDUAL, Phase.OPERATOR: Source.OPERATOR,
        Phase.DIAGNOSING: Source.HOLD, Phase.HOLDING: Source.HOLD, Phase.STOPPED: Source.HOLD,
    }  # fmt: skip


def test_a_correction_is_composed_in_the_residual_space() -> None:
    choice = chosen(Phase.RECOVERING, Arrived(correction=CORRECTION), BASE)
    assert choice.action[0] == pytest.approx(0.01 + 0.2 * 0.025)


@pytest.mark.parametrize("phase", list(Phase))
def test_whoever_drives_stop_and_hold_are_obeyed_at_once(phase: Phase) -> None:
    for command in (OperatorCommand.STOP, OperatorCommand.HOLD):
        arrived = Arrived(operator=OperatorInput(command=command, action=BASE), correction=CORRECTION)
        assert chosen(phase, arrived, BASE).source is Source.HOLD


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.RECOVERING, Phase.OPERATOR])
def test_whatever_is_missing_becomes_a_hold(phase: Phase) -> None:
    assert chosen(phase, Arrived(), None).source is Source.HOLD


@pytest.mark.parametrize(
    ("correction", "word"),
    [
        (np.full(7, np.nan), "finite"),
        (np.zeros(3), "shape (3,)"),
        (np.array([1.5, 0, 0, 0, 0, 0, 0]), "exceeds 1"),
        (np.array([0, 0, 0, 0.1, 0, 0, 0]), "outside its space"),
        (None, "scene is unknown"),
    ],
)
def test_an_unsound_correction_becomes_a_hold_with_a_reason(correction: Floats | None, word: str) -> None:
    choice = chosen(Phase.RECOVERING, Arrived(correction=correction), BASE)
    assert choice.source is Source.HOLD
    assert word in choice.note


def test_an_operator_action_of_the_wrong_size_becomes_a_hold() -> None:
    choice = chosen(Phase.OPERATOR, Arrived(operator=OperatorInput(action=np.zeros(3))), None)
    assert choice.source is Source.HOLD
    assert "shape (3,)" in choice.note
