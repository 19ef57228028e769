"""The gymnasium door."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from core.errors import ContractError
from core.robots import EE_DELTA
from sim.bench import measure_camera_steps, measure_state_steps
from sim.gym_env import ENV_ID, OBSERVATION_NAMES, FruitOnPlateEnv
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import FruitOnPlate


def test_gymnasium_accepts_it() -> None:
    env = gymnasium.make(ENV_ID, render_mode="rgb_array", size_px=32)
    check_env(env.unwrapped)
    env.close()


def test_the_expert_solves_it_and_the_episode_ends() -> None:
    env, expert = FruitOnPlateEnv(), FruitExpert()
    env.reset(seed=3)
    for _ in range(100):
        action = EE_DELTA.normalise(expert.act(env.world.state())[0])
        observation, reward, done, late, info = env.step(action.astype(np.float32))
        if done or late:
            break
    assert done
    assert not late
    assert info["is_success"]
    assert reward == 1.0
    assert observation.shape == (len(OBSERVATION_NAMES),)


def test_an_idle_episode_is_truncated_after_the_task_s_steps() -> None:
    env = FruitOnPlateEnv()
    env.reset(seed=0)
    still = EE_DELTA.normalise(EE_DELTA.still(1.0)).astype(np.float32)
    ends = [env.step(still)[2:4] for _ in range(FruitOnPlate().info.episode_steps)]
    assert ends[-1] == (False, True)
    assert not any(done or late for done, late in ends[:-1])


def test_an_unknown_render_mode_is_refused() -> None:
    with pytest.raises(ContractError, match="rgb_array"):
        FruitOnPlateEnv(render_mode="human")


def test_the_bench_measures_something_sane() -> None:
    """Floors are far below what a quiet machine does (7000 and 600), so that a busy one does not fail."""
    assert measure_state_steps(FruitOnPlate(), steps=20) > 1000
    assert measure_camera_steps(FruitOnPlate(), steps=40) > 100
