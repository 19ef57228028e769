"""All that decides, apart from the arm it decides for: skills, probe, tracker, diagnosers, and the loop made of them.

Used by the simulated cell (`stack`) and by the runtime node of a running robot, so that both think alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bridge.chat import OpenAiChat
from bridge.tracker import ColourTracker
from core.calibration import CalibrationBundle
from core.clock import MonotonicClock
from core.ports import Clock, Diagnoser, Operator, Policy, Residual, Robot, Sink, Tracker
from core.probe import ProbeWeights
from core.recovery import SkillCard
from core.robots import EE_DELTA
from core.subtasks import Course
from core.tasks import TaskInfo
from regrasp.artifacts import Models
from regrasp.overheard import InformedSkill, OverheardPolicy
from residual.cards import TrainedCard, load_skills
from residual.library import LIBRARY
from residual.masks import MASKS, default_mask
from residual.policy import ResidualSkill
from residual.probe_io import load_probe
from runtime.cadence import Cadence
from runtime.config import RuntimeConfig
from runtime.loop import Loop, Ports
from runtime.plan import LoopPlan, build_loop
from runtime.recover.diagnose import ChatUsage, VlmDiagnoser
from runtime.recover.done import TaskDone
from runtime.recover.fallback import FallbackDiagnoser
from runtime.recover.probe_diagnoser import ProbeDiagnoser
from runtime.recover.prompt import Allowed
from runtime.recover.skills import Skill
from runtime.shadow import RunMode
from runtime.stages import timed_ports
from sim.cameras import CAMERA_NAMES
from sim.robot import SPEC

DONE_TICKS = 6
"""The task must look done for so many ticks in a row before the loop claims it."""
DONE_RETREAT_M = 0.08
"""The hand must be tracked this far from the placed object before the loop claims success [m]: more than the 7 cm that
the task asks for, by the tracker's error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What the recovery arm has and the base arm has not."""

    probe: ProbeWeights
    skills: tuple[TrainedCard, ...]
    scripted: tuple[Skill, ...] = ()
    """Skills that nobody trained, after the trained ones."""

    @property
    def cards(self) -> tuple[SkillCard, ...]:
        """Cards of all of them."""
        return (*(s.card for s in self.skills), *(s.card for s in self.scripted))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What one episode's loop is connected to, besides what the brain brings itself."""

    robot: Robot
    policy: Policy
    clock: Clock
    tracker: Tracker
    operator: Operator | None = None
    sinks: Sequence[Sink] = ()
    diagnoser: Diagnoser | None = None
    """Asked in place of the brain's own."""
    cadence: Cadence | None = None
    """Told how long every port takes, on a real beat."""


class Brain:
    """Makes loops for one task.

    Args:
        info: The task.
        runtime: Loop, guard, detectors, budgets.
        bundle: The cell's calibration.
        watching: Probe and skills; None for the base policy alone.
        chat: Vision-language model to ask first, open; None: the embedded probe diagnoses.
        chat_deadline_s: How long it may take before the probe is believed instead [s].
        mode: What a run may do with the arm.
    """

    def __init__(
        self,
        info: TaskInfo,
        runtime: RuntimeConfig,
        bundle: CalibrationBundle,
        watching: Watching | None,
        *,
        chat: OpenAiChat | None = None,
        chat_deadline_s: float = 20.0,
        mode: RunMode = RunMode.DRIVE,
    ) -> None:
        self._info, self._runtime, self._bundle, self._watching = info, runtime, bundle, watching
        self._chat, self._chat_deadline_s, self._mode = chat, chat_deadline_s, mode
        self._model: VlmDiagnoser | None = None

    def plan(self, course: Course, *, recover: bool) -> LoopPlan:
        """Returns how a loop behaves.

        Args:
            course: What the robot was told to do.
            recover: Whether probe and skills are used; else the frozen policy drives alone, guarded.
        """
        runtime = replace(self._runtime, recover=replace(self._runtime.recover, enabled=recover))
        watching = self._watching if recover else None
        cards = () if watching is None else watching.cards
        return LoopPlan(
            config=runtime, task=self._info.name, course=course, robot=SPEC, space=EE_DELTA, cameras=CAMERA_NAMES,
            cards=cards,
            probe=None if watching is None else watching.probe, mode=self._mode,
        )  # fmt: skip

    def loop(self, course: Course, outside: Outside, *, recover: bool) -> Loop:
        """Returns the loop of one episode.

        Args:
            course: What the robot was told to do.
            outside: What it is connected to; the robot must be entered before the first tick.
            recover: Whether probe and skills are used.
        """
        self._model = None
        watching = self._watching if recover else None
        policy = OverheardPolicy(outside.policy)
        ports = Ports(
            robot=outside.robot,
            policy=policy,
            tracker=outside.tracker,
            clock=outside.clock,
            operator=outside.operator,
            diagnoser=(outside.diagnoser or self.diagnoser(course)) if recover else None,
            residuals={} if watching is None else self._residuals(watching, course, policy),
            sinks=tuple(outside.sinks),
        )
        timed = ports if outside.cadence is None else timed_ports(ports, outside.cadence)
        return build_loop(self.plan(course, recover=recover), timed)

    def tracker(self) -> ColourTracker:
        """Returns what finds the task's objects in the images."""
        return ColourTracker(self._bundle, self._info)

    def done(self, course: Course) -> TaskDone:
        """Returns what claims an episode's success."""
        rules, table_m = replace(self._runtime.hand, retreat_m=DONE_RETREAT_M), self._runtime.guard.table_height_m
        return TaskDone(course, rules, ticks=DONE_TICKS, table_height_m=table_m)

    def chat_usage(self) -> ChatUsage:
        """Returns what the chat model was asked by the loop made last, and what it cost."""
        return ChatUsage() if self._model is None else self._model.usage

    def diagnoser(self, course: Course) -> Diagnoser | None:
        """Returns what names failures in one episode; None without a probe."""
        if self._watching is None:
            return None
        manners = {s.manner for s in course.subtasks}
        masks = {manner: {m: default_mask(m, manner) for m in MASKS[manner]} for manner in manners}
        probe = ProbeDiagnoser(self._watching.probe, course, masks, pace=self._runtime.pace)
        if self._chat is None:
            return probe
        patience_s, clock = self._chat_deadline_s, MonotonicClock()
        self._model = VlmDiagnoser(
            self._chat, allowed_names(self._info), library=LIBRARY.id, clock=clock, deadline_s=patience_s
        )
        return FallbackDiagnoser(self._model, probe, clock=clock, patience_s=patience_s)

    def _residuals(self, watching: Watching, course: Course, policy: OverheardPolicy) -> dict[str, Residual]:
        trained = [ResidualSkill(s, course, pace=self._runtime.pace) for s in watching.skills]
        told: dict[str, Residual] = {s.card.name: InformedSkill(s, policy) if s.policy_features else s for s in trained}
        return {**told, **{s.card.name: s.residual for s in watching.scripted}}


def load_watching(task: str, models: Models, policy_id: str) -> Watching:
    """Returns probe and skills of a task.

    Raises:
        ArtifactError: One of them is damaged or was trained for another base policy.
    """
    skills = load_skills(models.skills(task), base_policy=policy_id)
    return Watching(probe=load_probe(models.probe(task), policy=policy_id), skills=skills)


def allowed_names(info: TaskInfo) -> Allowed:
    """Returns every name that a chat model's answer about this task may use."""
    return Allowed(
        modes=info.modes, stages=info.stages, objects=tuple(o.name for o in info.objects), terms=tuple(LIBRARY.terms)
    )
