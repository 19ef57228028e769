"""An arm slower or later than the trained-on one: chunks, choices and residuals move in time, or stay as they are."""

from dataclasses import replace

import numpy as np
import pytest

from core.clock import ManualClock
from core.errors import ContractError
from core.fakes import FakeRobot
from core.flow import ActionChunk, Source
from core.kinematics import HOME_RAD, forward
from core.robots import EE_DELTA
from core.scene import SceneState
from runtime.arbiter import Choice, paced
from runtime.chunking import ChunkPlayer
from runtime.config import RuntimeConfig
from runtime.lag import LedResidual, led_on

TICK = 50_000_000
BOOT_NS = 987_654_321_012_345
"""A time such as a monotonic clock says after eleven days."""
ACTION = np.array([0.02, -0.01, 0.005, 0.1, -0.05, 0.0, 0.25])
SCENE = SceneState(t_ns=0, objects={}, source="truth")


def ramp(rows=16, start_ns=BOOT_NS):
    """A chunk whose row i moves by i tenths of a millimetre."""
    values = np.zeros((rows, 7))
    values[:, 0] = 1e-4 * np.arange(rows)
    return ActionChunk(obs_t_ns=start_ns, values=values, dt_s=0.05, policy_id="p@1")


def rows_played(player, instants):
    found = [player.action(t) for t in instants]
    return [None if action is None else round(action[0] / 1e-4) for action in found]


def test_at_full_pace_and_without_lag_rows_are_the_chunks_own_to_the_bit():
    rng = np.random.default_rng(5)
    chunk = replace(ramp(), values=rng.uniform(EE_DELTA.low, EE_DELTA.high, (16, 7)))
    plain, told = ChunkPlayer(EE_DELTA), ChunkPlayer(EE_DELTA, ahead_s=0.0, pace=1.0)
    for player in (plain, told):
        player.offer(chunk, BOOT_NS)
    for t_ns in BOOT_NS + rng.integers(-TICK, 17 * TICK, 500):
        here, expected = told.action(int(t_ns)), chunk.at(int(t_ns))
        assert (here is None) == (expected is None)
        if expected is not None:
            assert here.tobytes() == plain.action(int(t_ns)).tobytes() == expected.tobytes()


def test_at_half_the_pace_every_row_is_played_for_two_ticks():
    player = ChunkPlayer(EE_DELTA, pace=0.5, age_s=5.0)
    player.offer(ramp(rows=4), BOOT_NS)
    played = rows_played(player, [BOOT_NS + 1_000_000 + i * TICK // 2 for i in range(18)])
    assert played == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, None, None, None, None]


def test_the_age_of_a_chunk_is_real_time_whatever_the_pace():
    player = ChunkPlayer(EE_DELTA, pace=0.25, age_s=0.4)
    player.offer(ramp(), BOOT_NS)
    assert player.action(BOOT_NS + 8 * TICK) is not None
    assert player.action(BOOT_NS + 9 * TICK) is None


def test_ahead_plays_the_row_of_a_later_time():
    player = ChunkPlayer(EE_DELTA, ahead_s=0.1)
    player.offer(ramp(), BOOT_NS)
    assert rows_played(player, [BOOT_NS + i * TICK for i in (0, 1, 13, 14)]) == [2, 3, 15, None]


def test_ahead_is_shortened_with_the_pace_as_the_way_is():
    player = ChunkPlayer(EE_DELTA, ahead_s=0.1, pace=0.5)
    player.offer(ramp(), BOOT_NS)
    assert rows_played(player, [BOOT_NS, BOOT_NS + 2 * TICK]) == [1, 2]


@pytest.mark.parametrize("source", [Source.POLICY, Source.RESIDUAL])
def test_policy_and_skill_are_slowed_down_but_not_their_gripper(source):
    slow = paced(Choice(source=source, action=ACTION, note="n"), 0.5)
    assert slow.action == pytest.approx([*(ACTION[:6] * 0.5), 0.25])
    assert (slow.source, slow.note) == (source, "n")


@pytest.mark.parametrize("source", [Source.OPERATOR, Source.HOLD])
def test_a_person_drives_at_their_own_speed(source):
    choice = Choice(source=source, action=ACTION)
    assert paced(choice, 0.5) is choice


def test_at_full_pace_the_choice_is_the_same():
    choice = Choice(source=Source.POLICY, action=ACTION)
    assert paced(choice, 1.0) is choice


def test_by_default_nothing_is_paced_or_led():
    assert (RuntimeConfig().pace, RuntimeConfig().ahead_s) == (1.0, 0.0)


@pytest.mark.parametrize("wrong", [{"pace": 0.0}, {"pace": 1.1}, {"pace": float("nan")}, {"ahead_s": -0.01}])
def test_paces_and_lags_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ContractError):
        RuntimeConfig(**wrong)


@pytest.fixture
def moving_arm():
    """An arm at home that turns its first joint by 0.5 rad/s."""
    with FakeRobot(ManualClock()) as robot:
        pos, quat = forward(HOME_RAD[None])
        return replace(
            robot.read(), joint_pos=HOME_RAD, joint_vel=np.array([0.5, 0, 0, 0, 0, 0, 0]), tcp_pos_in_base=pos[0],
            tcp_quat_xyzw_in_base=quat[0],
        )  # fmt: skip


def test_the_arm_is_shown_where_it_will_be(moving_arm):
    later = led_on(moving_arm, 0.1)
    assert later.joint_pos - moving_arm.joint_pos == pytest.approx([0.05, 0, 0, 0, 0, 0, 0])
    x, _, z = moving_arm.tcp_pos_in_base
    assert later.tcp_pos_in_base == pytest.approx([x * np.cos(0.05), x * np.sin(0.05), z], abs=1e-9)


def test_without_motion_or_lag_it_is_shown_where_it_is(moving_arm):
    resting = replace(moving_arm, joint_vel=np.zeros(7))
    for obs, lag_s in ((moving_arm, 0.0), (resting, 0.1)):
        assert led_on(obs, lag_s).tcp_pos_in_base == pytest.approx(obs.tcp_pos_in_base, abs=1e-12)


class Residual:
    """Remembers what it was shown."""

    def __init__(self):
        self.shown, self.resets = [], 0

    def correct(self, obs, scene, base):
        self.shown.append((obs, scene, base))
        return np.full(7, 0.5)

    def reset(self):
        self.resets += 1


def test_a_led_residual_is_asked_about_the_later_arm_and_answers_unchanged(moving_arm):
    inner = Residual()
    led = LedResidual(inner, 0.1)
    assert led.correct(moving_arm, SCENE, ACTION).tolist() == [0.5] * 7
    ((obs, scene, base),) = inner.shown
    assert obs.joint_pos == pytest.approx(led_on(moving_arm, 0.1).joint_pos)
    assert scene is SCENE
    assert base is ACTION
    led.reset()
    assert inner.resets == 1
