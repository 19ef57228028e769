"""While a demonstrator does any of the tasks nothing is reported, and the claim comes with the success, not before."""

from dataclasses import replace

import numpy as np
import pytest

from core.flow import Arrived, Observation, Phase, Source, Step
from core.robots import EE_DELTA
from core.worlds import WorldState
from courses import tracked
from regrasp.brain import DONE_RETREAT_M, DONE_TICKS
from regrasp.task_registry import find_task, task_names
from runtime.config import HandRules, WatchLimits
from runtime.recover.done import TaskDone
from runtime.watch.grasp import GraspLost
from runtime.watch.stall import Stall
from runtime.watch.tracking import TrackingError
from sim.world import BatchWorld

N, TICK = 2, 50_000_000
LATE = 3
"""A claim may come so many ticks later than it has to."""


def step(t: int, i: int, state: WorldState, action: np.ndarray) -> Step:
    obs = Observation(
        t_ns=t * TICK, joint_pos=state.joint_pos[i], joint_vel=state.joint_vel[i],
        tcp_pos_in_base=state.tcp_pos_in_base[i], tcp_quat_xyzw_in_base=state.tcp_quat_xyzw_in_base[i],
        gripper_opening=float(state.gripper_opening[i]), gripper_command=float(state.gripper_command[i]),
    )  # fmt: skip
    scene = tracked(t * TICK, **dict(zip(state.object_names, state.object_pos_in_base[i], strict=True)))
    return Step(
        index=t, observation=obs, arrived=Arrived(now_ns=t * TICK, scene=scene, sent=action), phase=Phase.RUNNING,
        source=Source.POLICY, base=action, asked=action, commanded=action, clipped_by=(), report=None,
        next_phase=Phase.RUNNING,
    )  # fmt: skip


@pytest.mark.parametrize("name", task_names())
def test_a_demonstration_is_not_reported_and_is_claimed_when_it_has_succeeded(name: str) -> None:
    task = find_task(name)
    world, expert, limits = BatchWorld(task.make(), N), task.expert(), WatchLimits()
    world.reset(np.arange(N), np.arange(N) + 500)
    courses = [task.info.course(world.instruction(i)) for i in range(N)]
    rules = replace(HandRules(), retreat_m=DONE_RETREAT_M)
    arm = [(Stall(EE_DELTA, limits), TrackingError(EE_DELTA, limits)) for _ in courses]
    watches = [(GraspLost(c, HandRules(), limits), *both) for c, both in zip(courses, arm, strict=True)]
    done = [TaskDone(c, rules, ticks=DONE_TICKS) for c in courses]
    succeeded, claimed = np.full((2, N), -1)
    for t in range(task.info.episode_steps):
        state = world.state()
        succeeded[(succeeded < 0) & state.success] = t
        actions = expert.act(state)
        world.step(actions)
        for i in np.flatnonzero(claimed < 0):
            now = step(t, i, state, actions[i])
            assert [r.id for d in watches[i] if (r := d.update(now)) is not None] == []
            claimed[i] = t if done[i](now) else -1
        if (claimed >= 0).all():
            break
    assert (succeeded >= 0).all()
    assert ((claimed >= succeeded) & (claimed <= succeeded + DONE_TICKS + LATE)).all()
