"""How the trained-on arm lags behind its targets, as a model and as the simulated cell has it."""

import numpy as np
import pytest

from core.servo import LAG_S, follow, lead
from sim.arm_parts import KP, KV

LARGE_JOINTS = slice(0, 5)


def test_the_lag_is_damping_over_stiffness_of_the_simulated_servos():
    assert KV[LARGE_JOINTS] / KP[LARGE_JOINTS] == pytest.approx(np.full(5, LAG_S), abs=0.002)


def test_at_steady_speed_it_follows_by_the_lag():
    speed, dt_s, pos = 0.8, 0.0005, np.zeros(7)
    for i in range(1, 2001):
        pos = follow(pos, np.full(7, speed * i * dt_s), dt_s)
    assert (speed * 2000 * dt_s - pos) / speed == pytest.approx(np.full(7, LAG_S), abs=0.001)


def test_following_in_two_parts_is_following_once():
    start, target = np.linspace(-1, 1, 7), np.zeros(7)
    twice = follow(follow(start, target, 0.02), target, 0.03)
    assert twice == pytest.approx(follow(start, target, 0.05))


def test_in_no_time_nothing_moves_and_in_much_it_arrives():
    start, target = np.zeros((3, 7)), np.ones((3, 7))
    assert follow(start, target, 0.0) == pytest.approx(start)
    assert follow(start, target, 2.0) == pytest.approx(target)


@pytest.mark.parametrize("reach_m", [0.06, 0.11])
def test_what_is_led_is_at_most_the_reach_ahead(reach_m):
    tool, turn = np.array([[0.4, 0.0, 0.3]]), np.array([[1.0, 0.0, 0.0, 0.0]])
    action = np.array([[0.025, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    pos, quat = tool, turn
    for _ in range(20):
        pos, quat = lead(pos, quat, action, tool, turn, reach_m=reach_m)
    assert pos - tool == pytest.approx(np.array([[reach_m, 0.0, 0.0]]))
