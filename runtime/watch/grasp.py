"""The hand against what it should hold: closed on nothing, lost on the way, or full of the wrong thing."""

from dataclasses import dataclass

from core.failures import FailureMode, FailureReport
from core.flow import Observation, Step
from core.scene import SceneState
from core.subtasks import Course, Manner
from runtime.config import HandRules, WatchLimits
from runtime.due import Due, due_in
from runtime.hand import closing, gripping, reach, seen
from runtime.watch.reports import LIKELY, SURE, report_of

_SETTLED = 0.02
"""Fingers that moved less than this in a tick have come to rest, dimensionless."""
_SETTLED_TICKS = 3
"""Ticks at rest before the fingers are believed."""


@dataclass(slots=True)
class _Hand:
    """What is believed of the hand so far."""

    opening: float = -1.0
    """Measured in the tick before; below 0 when there was none."""
    still: int = 0
    """Ticks for which the fingers have been at rest."""
    held: bool = False
    """Whether the closed hand gripped something."""
    lifted: bool = False
    """Whether it lifted it."""


class GraspLost:
    """Reports MISSED_GRASP, SLIP, DROP or WRONG_OBJECT while the closed hand does not hold the target.

    Args:
        course: What the robot was told to do; a hand that pushes may be closed on nothing.
        rules: What counts as gripping and near.
        limits: How far a held target may be tracked from the tool.
        table_height_m: Table top in base [m].
    """

    def __init__(self, course: Course, rules: HandRules, limits: WatchLimits, *, table_height_m: float = 0.0) -> None:
        self._course, self._rules, self._limits, self._table_m = course, rules, limits, table_height_m
        self.reset()

    def update(self, step: Step) -> FailureReport | None:
        """Returns a report for as long as the hand stays closed without the target."""
        obs = step.observation
        self._settle(obs)
        if not closing(obs, self._rules):
            self._hand.held = self._hand.lifted = False
            return None
        now = due_in(self._course, step.arrived.scene)
        if self._hand.still < _SETTLED_TICKS or now.sub.manner is Manner.PUSH:
            return None
        if not gripping(obs, self._rules):
            return self._report(step, now, self._empty(obs), SURE)
        self._hand.held = True
        self._hand.lifted = self._hand.lifted or self._high(obs)
        return self._judged_by_sight(step, now)

    def reset(self) -> None:
        """Forgets what was held."""
        self._hand = _Hand()

    def _settle(self, obs: Observation) -> None:
        at_rest = abs(obs.gripper_opening - self._hand.opening) < _SETTLED
        self._hand.still = self._hand.still + 1 if at_rest else 0
        self._hand.opening = obs.gripper_opening

    def _high(self, obs: Observation) -> bool:
        return bool(obs.tcp_pos_in_base[2] - self._table_m >= self._rules.lifted_m)

    def _empty(self, obs: Observation) -> FailureMode:
        if not self._hand.held:
            return FailureMode.MISSED_GRASP
        return FailureMode.DROP if self._hand.lifted or self._high(obs) else FailureMode.SLIP

    def _judged_by_sight(self, step: Step, now: Due) -> FailureReport | None:
        obs, scene = step.observation, step.arrived.scene
        target = seen(scene, now.roles.target, self._rules)
        if target is None or reach(obs, target) <= self._limits.lost_m or self._just_done(obs, scene, now):
            return None
        other = seen(scene, now.roles.distractor, self._rules)
        wrong = reach(obs, other) <= self._rules.near_m
        return self._report(step, now, FailureMode.WRONG_OBJECT if wrong else FailureMode.DROP, LIKELY)

    def _just_done(self, obs: Observation, scene: SceneState | None, now: Due) -> bool:
        """Whether the hand is still at what the sub-task before was about."""
        if now.progress == 0:
            return False
        before = self._course.subtasks[now.progress - 1]
        return reach(obs, seen(scene, before.roles.target, self._rules)) <= self._rules.near_m

    def _report(self, step: Step, now: Due, mode: FailureMode, confidence: float) -> FailureReport:
        obs = step.observation
        distance = reach(obs, seen(step.arrived.scene, now.roles.target, self._rules))
        evidence = {"opening_1": obs.gripper_opening, "command_1": obs.gripper_command}
        if distance < float("inf"):
            evidence["target_from_tool_m"] = distance
        return report_of(step, "grasp", mode, confidence=confidence, evidence=evidence)
