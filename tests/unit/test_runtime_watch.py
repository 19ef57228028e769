"""Each detector speaks when it should and is silent when it should be; the panel listens as configured."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.errors import ContractError
from core.failures import FailureMode, FailureReport, Severity
from core.flow import ActionChunk, Arrived, Observation, Phase, Source, Step
from core.ports import Detector
from core.robots import EE_DELTA
from core.subtasks import Course
from courses import APPLE, LEMON, PUSH, WIPE, course, tracked
from runtime.config import HandRules, WatchLimits
from runtime.watch.freshness import Freshness
from runtime.watch.grasp import GraspLost
from runtime.watch.panel import Panel, Watch
from runtime.watch.refused import RefusedChunk
from runtime.watch.reports import report_of
from runtime.watch.reversal import Reversal
from runtime.watch.slow import Slowdown
from runtime.watch.stall import Stall
from runtime.watch.tracking import TrackingError

TICK = 50_000_000
LIMITS, RULES = WatchLimits(), HandRules()


def step(i: int, *, pos: Sequence[float] = (0.4, 0.0, 0.2), move: Sequence[float] = (0, 0, 0), **more: Any) -> Step:
    """A step of the policy at tick `i`; `more` replaces fields of the observation, or `arrived`, `phase`."""
    arrived = more.pop("arrived", Arrived(now_ns=i * TICK))
    phase = more.pop("phase", Phase.RUNNING)
    action = np.array([*move, 0, 0, 0, 1.0])
    given: dict[str, Any] = {
        "t_ns": i * TICK, "joint_pos": np.zeros(7), "joint_vel": np.zeros(7), "tcp_pos_in_base": np.array(pos),
        "tcp_quat_xyzw_in_base": np.array([1.0, 0, 0, 0]), "gripper_opening": 1.0, "gripper_command": 1.0,
    }  # fmt: skip
    return Step(
        index=i, observation=Observation(**given | more), arrived=replace(arrived, sent=action), phase=phase,
        source=Source.POLICY, base=action, asked=action, commanded=action, clipped_by=(), report=None,
        next_phase=phase,
    )  # fmt: skip


def fed(detector: Detector, steps: Sequence[Step]) -> list[FailureReport]:
    return [report for s in steps if (report := detector.update(s)) is not None]


def scene(i: int, **where: Sequence[float]) -> Arrived:
    return Arrived(now_ns=i * TICK, scene=tracked(i * TICK, **where))


def test_fresh_sensing_is_not_reported_and_stale_or_missing_sensing_is() -> None:
    detector = Freshness(("front",), LIMITS)
    now = Arrived(now_ns=100 * TICK)
    assert not fed(detector, [step(100, image_t_ns={"front": 98 * TICK})])
    stale_robot = step(100, t_ns=90 * TICK, image_t_ns={"front": 100 * TICK}, arrived=now)
    stale_image = step(100, image_t_ns={"front": 80 * TICK})
    missing = step(100, image_t_ns={"wrist": 100 * TICK})
    reports = fed(detector, [stale_robot, stale_image, missing])
    assert [r.mode for r in reports] == [FailureMode.SENSING_LOST] * 3
    assert reports[0].evidence["robot_age_s"] == pytest.approx(0.5)
    assert reports[1].evidence["image_age_s"] == pytest.approx(1.0)
    assert reports[2].evidence["missing_cameras_count"] == 1


def test_an_arm_that_lags_is_not_a_tracking_error_and_a_blocked_one_is() -> None:
    moves = [(0.02, 0, 0)] * 30
    lagging = [step(i, pos=(0.4 + 0.02 * max(0, i - 2), 0, 0.2), move=m) for i, m in enumerate(moves)]
    blocked = [step(i, pos=(0.4, 0, 0.2), move=m) for i, m in enumerate(moves)]
    assert not fed(TrackingError(EE_DELTA, LIMITS), lagging)
    reports = fed(TrackingError(EE_DELTA, LIMITS), blocked)
    assert reports[0].mode is FailureMode.COLLISION
    assert reports[0].evidence["unexplained_m"] > LIMITS.tracking_error_m


def test_a_stall_is_reported_after_its_time_and_progress_of_tool_or_fingers_is_none() -> None:
    still = [step(i) for i in range(40)]
    creeping = [step(i, pos=(0.4 + 0.001 * i, 0, 0.2)) for i in range(40)]
    closing = [step(i, gripper_opening=1.0 - 0.02 * i, gripper_command=0.0) for i in range(40)]
    reports = fed(Stall(EE_DELTA, LIMITS), still)
    assert reports[0].id == "stall-29"
    assert reports[0].mode is FailureMode.STALLED
    assert not fed(Stall(EE_DELTA, LIMITS), creeping)
    assert not fed(Stall(EE_DELTA, LIMITS), closing)


def test_dithering_is_reported_and_a_change_of_direction_now_and_then_is_not() -> None:
    dither = [step(i, move=(0.01 * (-1) ** i, 0, 0)) for i in range(20)]
    turns = [step(i, move=(0.01 if (i // 8) % 2 else -0.01, 0, 0)) for i in range(60)]
    tremble = [step(i, move=(0.001 * (-1) ** i, 0, 0)) for i in range(60)]
    reports = fed(Reversal(EE_DELTA, LIMITS), dither)
    assert reports[0].severity is Severity.SLOW
    assert not fed(Reversal(EE_DELTA, LIMITS), turns)
    assert not fed(Reversal(EE_DELTA, LIMITS), tremble)


def test_a_refused_chunk_is_reported_and_a_sound_one_is_not() -> None:
    def arrived(value: float) -> Arrived:
        values = np.full((8, 7), value)
        return Arrived(chunk=ActionChunk(obs_t_ns=0, values=values, dt_s=0.05, policy_id="p@1"))

    detector = RefusedChunk(EE_DELTA, 0.1)
    assert not fed(detector, [step(0, arrived=arrived(0.01)), step(1)])
    reports = fed(detector, [step(2, arrived=arrived(np.nan)), step(3, arrived=arrived(9.0))])
    assert [r.evidence["refused_chunks_count"] for r in reports] == [1, 2]


def hand(openings: Sequence[float], command: float = 0.0, height: float = 0.03, **where: Sequence[float]) -> list[Step]:
    """Steps in which the measured opening goes through `openings` while `command` stands."""
    return [
        step(i, pos=(0.4, 0.0, height), gripper_opening=o, gripper_command=command, arrived=scene(i, **where))
        for i, o in enumerate(openings)
    ]


SORT = course(APPLE, LEMON)


def grasp(told: Course = SORT) -> GraspLost:
    return GraspLost(told, RULES, LIMITS)


CLOSING = [1.0, 0.7, 0.4, 0.1]


def test_a_hand_that_closes_on_nothing_missed_its_grasp() -> None:
    reports = fed(grasp(), hand([*CLOSING, *[0.0] * 6]))
    assert {r.mode for r in reports} == {FailureMode.MISSED_GRASP}
    assert len(reports) >= 3


def test_a_hand_that_closes_on_the_target_and_carries_it_is_not_reported() -> None:
    low = hand([*CLOSING[:2], *[0.4] * 8], apple=(0.4, 0.0, 0.03))
    high = hand([0.4] * 10, height=0.2, apple=(0.4, 0.0, 0.2))
    opened = hand([0.7, 1.0], command=1.0, height=0.1)
    assert not fed(grasp(), [*low, *high, *opened])


@pytest.mark.parametrize(("height", "mode"), [(0.03, FailureMode.SLIP), (0.2, FailureMode.DROP)])
def test_fingers_that_close_further_lost_what_they_held(height: float, mode: FailureMode) -> None:
    held = hand([*[0.4] * 8], height=height, apple=(0.4, 0.0, height))
    lost = hand([0.2, *[0.0] * 6], height=height)
    assert {r.mode for r in fed(grasp(), [*held, *lost])} == {mode}


def test_a_hand_that_grips_while_the_target_is_elsewhere_holds_the_wrong_thing_or_lost_it() -> None:
    wrong = hand([0.4] * 8, height=0.2, apple=(0.5, 0.2, 0.03), lemon=(0.4, 0.0, 0.2))
    gone = hand([0.4] * 8, height=0.2, apple=(0.5, 0.2, 0.03))
    assert {r.mode for r in fed(grasp(), wrong)} == {FailureMode.WRONG_OBJECT}
    assert {r.mode for r in fed(grasp(), gone)} == {FailureMode.DROP}


PLATED: dict[str, Sequence[float]] = {"apple": (0.4, 0.0, 0.03), "plate": (0.4, 0.0, 0.01), "lemon": (0.5, 0.2, 0.03)}


def test_a_hand_still_at_what_it_has_just_placed_has_not_lost_the_next_thing() -> None:
    letting_go = hand([0.4] * 8, **PLATED)
    assert not fed(grasp(), letting_go)
    carried_off = hand([0.4] * 8, height=0.2, **PLATED)
    assert {r.mode for r in fed(grasp(), carried_off)} == {FailureMode.DROP}


def test_once_one_thing_is_in_place_the_next_is_what_the_hand_should_hold() -> None:
    right = PLATED | {"lemon": (0.4, 0.0, 0.2)}
    wrong = {"apple": (0.4, 0.0, 0.2), "plate": (0.5, -0.2, 0.01), "lemon": (0.4, 0.2, 0.03)}
    assert not fed(grasp(), hand([0.4] * 8, height=0.2, **right))
    reports = fed(grasp(course(LEMON, APPLE)), hand([0.4] * 8, height=0.2, **wrong))
    assert {r.mode for r in reports} == {FailureMode.WRONG_OBJECT}
    assert {round(r.evidence["target_from_tool_m"], 3) for r in reports} == {0.262}


def test_a_hand_that_pushes_may_be_closed_on_nothing_and_one_that_wipes_may_not() -> None:
    closed = hand([*CLOSING, *[0.0] * 8], card=(0.45, 0.0, 0.01), tray=(0.6, 0.0, 0.01))
    assert not fed(grasp(course(PUSH)), closed)
    assert {r.mode for r in fed(grasp(course(WIPE)), closed)} == {FailureMode.MISSED_GRASP}


def test_an_old_or_unsure_estimate_proves_nothing_about_the_grasp() -> None:
    steps = hand([0.4] * 8, height=0.2, apple=(0.5, 0.2, 0.03))
    doubted = []
    for s in steps:
        assert s.arrived.scene is not None
        unsure = {n: replace(o, confidence=0.1) for n, o in s.arrived.scene.objects.items()}
        doubted.append(replace(s, arrived=replace(s.arrived, scene=replace(s.arrived.scene, objects=unsure))))
    assert not fed(grasp(), doubted)


class Says:
    """A detector that says what it was told to, by step index."""

    def __init__(self, by_step: dict[int, tuple[Severity, float]], mode: FailureMode = FailureMode.UNKNOWN) -> None:
        self._by_step, self._mode = by_step, mode
        self.resets = 0

    def update(self, step: Step) -> FailureReport | None:
        if step.index not in self._by_step:
            return None
        severity, confidence = self._by_step[step.index]
        return report_of(step, "says", self._mode, confidence=confidence, evidence={}, severity=severity)

    def reset(self) -> None:
        self.resets += 1


ALWAYS = dict.fromkeys(range(1000), (Severity.HOLD, 0.5))


def heard(panel: Panel, ticks: int, phase: Phase = Phase.RUNNING) -> list[int]:
    return [i for i in range(ticks) if panel.update(step(i, phase=phase)) is not None]


def test_a_report_is_heard_only_when_it_is_repeated_often_enough() -> None:
    says = dict.fromkeys((1, 3, 5, 6, 7), (Severity.HOLD, 0.5))
    panel = Panel([Watch(name="w", detector=Says(says), need=3, window=4)], cooldown_s=0.0, grace_s=0.0)
    assert heard(panel, 10) == [6, 7]


def test_after_a_report_its_detector_is_silent_for_the_cooldown() -> None:
    panel = Panel([Watch(name="w", detector=Says(ALWAYS))], cooldown_s=0.5, grace_s=0.0)
    assert heard(panel, 30) == [0, 10, 20]


def test_the_worst_severity_wins_then_the_surest() -> None:
    slow, hold, sure = (
        Says({0: found}) for found in ((Severity.SLOW, 0.9), (Severity.HOLD, 0.2), (Severity.HOLD, 0.8))
    )
    panel = Panel(
        [Watch(name=n, detector=d) for n, d in (("a", slow), ("b", hold), ("c", sure))], cooldown_s=0.0, grace_s=0.0
    )
    report = panel.update(step(0))
    assert report is not None
    assert (report.severity, report.confidence) == (Severity.HOLD, 0.8)


def test_a_detector_is_heard_only_in_its_phases_but_a_stop_in_every_phase() -> None:
    mild = Panel([Watch(name="w", detector=Says(ALWAYS))], cooldown_s=0.0, grace_s=0.0)
    assert not heard(mild, 5, Phase.RECOVERING)
    for phase in Phase:
        stop = Says(dict.fromkeys(range(5), (Severity.STOP, 0.5)))
        grave = Panel([Watch(name="w", detector=stop)], cooldown_s=9.0, grace_s=9.0)
        grave.settle(0)
        assert heard(grave, 5, phase) == [0, 1, 2, 3, 4]


def test_during_the_grace_only_stops_and_lost_sensing_are_heard() -> None:
    for mode, expected in ((FailureMode.DROP, [10]), (FailureMode.SENSING_LOST, [0])):
        panel = Panel([Watch(name="w", detector=Says(ALWAYS, mode))], cooldown_s=99.0, grace_s=0.5)
        panel.settle(0)
        assert heard(panel, 20) == expected


def test_settling_starts_every_detector_anew() -> None:
    says = Says(ALWAYS)
    panel = Panel([Watch(name="w", detector=says, need=3, window=3)], cooldown_s=0.0, grace_s=0.0)
    panel.update(step(0))
    panel.update(step(1))
    before = says.resets
    panel.settle(0)
    assert says.resets == before + 1
    assert panel.update(step(2)) is None


def test_a_panel_refuses_doubles_and_an_impossible_debounce() -> None:
    with pytest.raises(ContractError, match="distinct"):
        Panel([Watch(name="w", detector=Says({}))] * 2, cooldown_s=0.0, grace_s=0.0)
    with pytest.raises(ContractError, match="needs 3 of 2"):
        Watch(name="w", detector=Says({}), need=3, window=2)


def test_speed_is_reduced_only_while_a_slow_report_is_fresh() -> None:
    slowdown = Slowdown(0.5, 1.0)
    slowdown.hear(report_of(step(0), "x", FailureMode.STALLED, confidence=1.0, evidence={}))
    assert slowdown.scale(0) == 1.0
    report = report_of(step(20), "x", FailureMode.STALLED, confidence=1.0, evidence={}, severity=Severity.SLOW)
    slowdown.hear(report)
    assert [slowdown.scale(t) for t in (10**9, 2 * 10**9 - 1, 2 * 10**9)] == [0.5, 0.5, 1.0]
