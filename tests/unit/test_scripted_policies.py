"""The scripted policies of the policy server: a sway that stays small and smooth, and lies that are lies."""

import numpy as np
import pytest

from core.clock import ManualClock
from core.fakes import FakeRobot
from core.robots import EE_DELTA
from regrasp.nodes.scripted import LIES, LyingPolicy, Sway, SwayPolicy
from runtime.chunking import ChunkPlayer, flaw


def swayed(policy, ticks=400, *, drift=0.0):
    """Plays a policy's chunks on a perfect arm and returns where the tool was, (ticks, 3) [m], and what was sent."""
    clock, player = ManualClock(10**9), ChunkPlayer(EE_DELTA)
    places = []
    with FakeRobot(clock) as robot:
        for _ in range(ticks):
            obs, now_ns = robot.read(), clock.now_ns()
            if player.due(now_ns):
                player.asked(now_ns)
                assert player.offer(policy.infer(obs), now_ns) == ""
            action = np.array(player.action(now_ns))
            action[0] += drift
            robot.send(action)
            places.append(obs.tcp_pos_in_base)
        return np.array(places), np.array(robot.sent)


def test_it_keeps_moving_in_a_small_figure_around_its_start():
    sway = Sway()
    places, _ = swayed(SwayPolicy(sway))
    away = np.abs(places - places[0])
    assert away.max() < 1.1 * sway.radius_m
    assert away[200:].max(axis=0)[1] > 0.9 * sway.radius_m
    late = np.linalg.norm(np.diff(places[100:], axis=0), axis=1)
    assert late.min() > 1e-4


def test_it_is_smooth_also_where_chunks_meet():
    _, sent = swayed(SwayPolicy())
    speed = sent[:, :3] / EE_DELTA.dt_s
    change = np.abs(np.diff(speed, axis=0)).max()
    assert np.abs(speed).max() < 0.08
    assert change < 0.01


def test_it_makes_good_what_the_arm_did_not_do():
    places, _ = swayed(SwayPolicy(), drift=0.0005)
    assert np.abs(places - places[0]).max() < 0.05


def test_a_new_episode_sways_around_its_own_start():
    policy = SwayPolicy()
    with FakeRobot(ManualClock(1)) as robot:
        first = policy.infer(robot.read())
        robot.send(np.array([0.02, 0, 0, 0, 0, 0, 1.0]))
        policy.reset()
        again = policy.infer(robot.read())
    assert np.allclose(first.values, again.values)
    assert policy.policy_id == SwayPolicy().policy_id != SwayPolicy(Sway(radius_m=0.01)).policy_id


@pytest.mark.parametrize("lie", [lie for lie in LIES if lie != "slow"])
def test_a_liar_is_honest_until_its_time_and_then_is_not(lie):
    with FakeRobot(ManualClock(1)) as robot:
        early = LyingPolicy(SwayPolicy(), lie, after_s=3600.0).infer(robot.read())
        liar = LyingPolicy(SwayPolicy(), lie, after_s=0.0)
        liar.infer(robot.read())
        robot.send(EE_DELTA.still(1.0))
        obs = robot.read()
        late = liar.infer(obs)
    assert flaw(early, EE_DELTA, 0.1, 1) == ""
    assert (early.obs_t_ns, late.policy_id) == (1, early.policy_id)
    assert flaw(late, EE_DELTA, 0.1, obs.t_ns) != "" or late.obs_t_ns != obs.t_ns
