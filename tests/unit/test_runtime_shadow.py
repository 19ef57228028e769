"""A run that only watches: it infers, guards and records, and nothing reaches the arm."""

from dataclasses import replace

import numpy as np
import pytest

from core.arm import ArmMode, ArmState, ArmStatus
from core.arrays import Floats
from core.errors import ContractError, DeviceFault
from core.fakes import FakeRobot, ScriptedPolicy
from core.flow import Observation, Phase, Source
from core.ports import JointArm
from core.robots import EE_DELTA
from runtime.config import RuntimeConfig
from runtime.plan import build_loop
from runtime.record.replay import replay
from runtime.rehearsal import COURSE, Rehearsal, rehearsal
from runtime.shadow import MuteArm, RunMode, ShadowRobot
from runtime.watch.standard import standard_watches

RUSH = np.array([0, 0.02, 0, 0, 0, 0, 0.0])
WATCHING = [RunMode.SHADOW, RunMode.READONLY]


class Driven:
    """A robot that someone else drives: it moves whatever the loop does, and says that it follows nobody."""

    def __init__(self, robot: FakeRobot, *, moves: bool) -> None:
        self._robot, self._moves = robot, moves

    def read(self) -> Observation:
        obs = replace(self._robot.read(), fault="the arm is idle")
        action = EE_DELTA.still(1.0)
        action[0] = 0.02 * self._moves * (1 if obs.t_ns // 1_000_000_000 % 2 else -1)
        self._robot.send(action)
        return obs

    def send(self, action: Floats) -> Floats:
        raise AssertionError(f"{action} was sent")

    def hold(self) -> None:
        raise AssertionError("a hold was sent")


def watched(mode: RunMode, *, moves: bool, ticks: int = 120) -> Rehearsal:
    """Lives some ticks in which the policy wants to go left and close the hand, and the arm does something else."""
    stage = rehearsal(policy=ScriptedPolicy(lambda _: np.tile(RUSH, (20, 1))))
    plan = replace(stage.plan, mode=mode)
    loop = build_loop(plan, replace(stage.ports, robot=Driven(stage.cell.arm, moves=moves)))
    stage = replace(stage, plan=plan, loop=loop)
    with stage.cell:
        for _ in range(ticks):
            loop.tick()
        loop.hold()
    return stage


@pytest.mark.parametrize("mode", WATCHING)
@pytest.mark.parametrize("moves", [True, False])
def test_a_watching_run_decides_and_records_what_it_would_send_and_sends_nothing(mode: RunMode, moves: bool) -> None:
    steps = watched(mode, moves=moves).steps
    playing = steps[1:]
    assert {s.source for s in playing} == {Source.POLICY}
    assert all(s.commanded[1] == pytest.approx(0.02) for s in playing)
    assert all(s.arrived.sent is not None and not s.arrived.sent[:6].any() for s in steps)
    assert all(s.arrived.sent is not None and s.arrived.sent[6] == s.observation.gripper_command for s in steps)


@pytest.mark.parametrize("mode", WATCHING)
@pytest.mark.parametrize("moves", [True, False])
def test_motion_that_was_never_asked_or_never_followed_raises_no_alarm_in_a_watching_run(
    mode: RunMode, moves: bool
) -> None:
    steps = watched(mode, moves=moves).steps
    assert [s.report for s in steps if s.report is not None] == []
    assert {s.phase for s in steps} == {Phase.RUNNING}


@pytest.mark.parametrize("mode", WATCHING)
def test_a_watching_run_replays_bit_for_bit(mode: RunMode) -> None:
    assert replay(watched(mode, moves=True).episode()).mismatch is None


def test_only_a_driving_run_compares_command_and_motion() -> None:
    def names(*, drives: bool) -> set[str]:
        return {w.name for w in standard_watches(RuntimeConfig(), EE_DELTA, COURSE, (), None, drives=drives)}

    assert names(drives=True) - names(drives=False) == {"tracking", "stall"}
    assert {m: m.sends for m in RunMode} == {RunMode.DRIVE: True, RunMode.SHADOW: False, RunMode.READONLY: False}


def test_a_shadow_refuses_what_its_robot_would_refuse() -> None:
    stage = rehearsal()
    with pytest.raises(ContractError):
        ShadowRobot(stage.cell).send(np.full(7, np.nan))


class CountingArm:
    """An arm that notes every command."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def state(self) -> ArmState:
        return ArmState(
            t_ns=7, joint_pos=np.arange(7.0), joint_vel=np.zeros(7), joint_effort=np.zeros(7),
            tcp_pos_in_base=np.zeros(3), tcp_quat_xyzw_in_base=np.array([1.0, 0, 0, 0]), gripper_opening=0.5,
            status=ArmStatus(mode=ArmMode.READY),
        )  # fmt: skip

    def arm(self) -> None:
        self.told.append("arm")

    def stream(self, joint_target: Floats, gripper_opening: float) -> Floats:
        self.told.append(f"stream {joint_target} {gripper_opening}")
        return joint_target

    def hold(self) -> None:
        self.told.append("hold")

    def stop(self) -> None:
        self.told.append("stop")

    def reset_stop(self) -> None:
        self.told.append("reset_stop")

    def clear_fault(self, *, by_person: bool) -> None:
        self.told.append(f"clear_fault {by_person}")


def test_a_muted_arm_is_told_nothing_but_a_stop() -> None:
    inner = CountingArm()
    mute = MuteArm(inner)
    assert isinstance(mute, JointArm)
    mute.arm()
    mute.hold()
    assert mute.stream(np.ones(7), 0.0).tolist() == mute.state().joint_pos.tolist()
    with pytest.raises(DeviceFault, match="only watches"):
        mute.reset_stop()
    with pytest.raises(DeviceFault, match="only watches"):
        mute.clear_fault(by_person=True)
    assert inner.told == []
    mute.stop()
    assert inner.told == ["stop"]
