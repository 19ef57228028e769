"""The whole loop in memory, on fakes: a pick-and-place that takes milliseconds. For tests, ours and users' own.

stage = rehearsal(policy=ScriptedPolicy(my_plan))
with stage.cell:
    run_episode(stage.loop, 200, stage.done)
assert stage.steps[-1].phase is Phase.RUNNING
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.arrays import Floats, Image
from core.clock import ManualClock
from core.episodes import Episode, EpisodeMeta, Outcome
from core.failures import FailureMode
from core.fake_cell import FakeCell, pick_and_place
from core.fakes import FakeResidual, MemorySink, ScriptedDiagnoser, ScriptedPolicy
from core.flow import Observation, Step
from core.ports import Diagnoser, Evidence, Operator, Policy, Sink
from core.probe import ProbeWeights
from core.recovery import Rate, RecoveryDescriptor, RecoveryStage, SkillCard
from core.rewards import RewardMask
from core.robots import EE_DELTA, ResidualSpace, RobotSpec
from core.scene import SceneRoles, SceneState
from core.subtasks import Course, Manner, SubTask, Where
from runtime.config import RuntimeConfig
from runtime.loop import Loop, Ports
from runtime.plan import LoopPlan, build_loop
from runtime.record.codec import dumps
from runtime.record.replay import config_hash
from runtime.recover.done import TaskDone
from runtime.watch.panel import Watch

TASK = "rehearsal"
ROLES = SceneRoles(target="apple", distractor="lemon", goal="plate")
COURSE = Course(
    names=("apple", "lemon", "plate"),
    subtasks=(
        SubTask(
            name="apple on the plate",
            manner=Manner.PLACE,
            roles=ROLES,
            done=(
                Where(
                    thing="apple",
                    anchor="plate",
                    low=np.array([-0.05, -0.05, 0.0]),
                    high=np.array([0.05, 0.05, 0.06]),
                ),
            ),
        ),
    ),
)
"""What the rehearsed robot was told."""
PLACES = {"apple": (0.45, 0.1, 0.03), "lemon": (0.45, -0.02, 0.03), "plate": (0.5, -0.15, 0.01)}
"""Where things are at the start, in base [m]."""
FAKE_ARM = RobotSpec(
    name="fake",
    joint_names=tuple(f"joint{i}" for i in range(1, 8)),
    joint_low=np.full(7, -3.0),
    joint_high=np.full(7, 3.0),
    joint_vel_max=np.full(7, 3.0),
    joint_acc_max=np.full(7, 20.0),
    tcp_speed_max=1.0,
)
"""Limits of the fake arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """A loop and everything around it, at the start of an episode."""

    cell: FakeCell
    clock: ManualClock
    plan: LoopPlan
    ports: Ports
    loop: Loop
    done: TaskDone
    steps: list[Step]
    """Filled tick by tick."""

    def episode(self, outcome: Outcome = Outcome.OPEN) -> Episode:
        """Returns what has been lived so far, as a recorder would have it."""
        return Episode(meta=meta_of(self.plan), steps=tuple(self.steps), outcome=outcome)


def rehearsal(
    *,
    policy: Policy | None = None,
    diagnoser: Diagnoser | None = None,
    operator: Operator | None = None,
    config: RuntimeConfig | None = None,
    probe: ProbeWeights | None = None,
    resume_when: str = "held",
    correct: Callable[[Observation, SceneState, Floats], Floats] | None = None,
    sinks: Sequence[Sink] = (),
    watches: Sequence[Watch] = (),
    images: dict[str, Image] | None = None,
) -> Rehearsal:
    """Returns a loop on fakes; what is not given works well.

    Args:
        policy: Default: one that puts the apple on the plate.
        diagnoser: Default: one that believes the report, two ticks late.
        operator: Default: nobody.
        config: Default: the runtime's.
        probe: The embedded probe as detector.
        resume_when: When a skill hands back, "held" or "placed".
        correct: The residual of every skill; default: one that does what the default policy does.
        sinks: Besides the memory that fills `steps`.
        watches: Detectors besides the standard ones.
        images: What the cameras show, by name, uint8 (H, W, 3).
    """
    clock, memory = ManualClock(1_000_000_000), MemorySink()
    cell = FakeCell(clock, PLACES, instruction="put the apple on the plate", images=images)
    cards = tuple(fake_card(mode, resume_when) for mode in (FailureMode.MISSED_GRASP, FailureMode.DROP))
    residual = FakeResidual(correct or residual_to_plate(cell))
    plan = LoopPlan(
        config=config or RuntimeConfig(),
        task=TASK,
        course=COURSE,
        robot=FAKE_ARM,
        space=EE_DELTA,
        cameras=tuple(images or ()),
        cards=cards,
        probe=probe,
    )
    ports = Ports(
        robot=cell,
        policy=policy or ScriptedPolicy(plan_to_plate(cell)),
        tracker=cell,
        clock=clock,
        diagnoser=diagnoser or ScriptedDiagnoser(believe, polls=2),
        operator=operator,
        residuals={card.name: residual for card in cards},
        sinks=(memory, *sinks),
    )
    done = TaskDone(COURSE, plan.config.hand, ticks=plan.config.recover.verify_ticks)
    loop = build_loop(plan, ports, watches)
    return Rehearsal(cell=cell, clock=clock, plan=plan, ports=ports, loop=loop, done=done, steps=memory.steps)


def plan_to_plate(cell: FakeCell, error_m: Sequence[float] = (0.0, 0.0, 0.0)) -> Callable[[Observation], Floats]:
    """Returns a policy's plan that puts the apple on the plate, with an error in where it thinks the apple is [m]."""
    return lambda obs: pick_and_place(obs, cell.where("apple") + np.array(error_m), cell.where("plate"))


def residual_to_plate(cell: FakeCell) -> Callable[[Observation, SceneState, Floats], Floats]:
    """Returns a residual's rule that puts the apple on the plate whatever the base wants."""
    return lambda obs, _scene, _base: EE_DELTA.normalise(plan_to_plate(cell)(obs)[0])


def believe(evidence: Evidence) -> RecoveryDescriptor:
    """Returns a diagnosis that repeats what the report suspects."""
    return RecoveryDescriptor(
        report_id=evidence.report.id,
        mode=evidence.report.mode,
        stage=RecoveryStage.APPROACH,
        target=ROLES.target,
        obstacles=(ROLES.distractor,),
        mask=RewardMask(library="rehearsal@1", active=frozenset({"approach"})),
        confidence=0.9,
        model_id="believe@1",
    )


def fake_card(mode: FailureMode, resume_when: str) -> SkillCard:
    """Returns the card of a skill that overrules the base completely and was never trained."""
    nothing = Rate(k=0, n=0)
    return SkillCard(
        name=f"fake-{mode.value}",
        task=TASK,
        manner=Manner.PLACE,
        modes=(mode,),
        stages=tuple(RecoveryStage),
        space=ResidualSpace(dims=tuple(range(EE_DELTA.size)), alpha=np.zeros(7), beta=np.ones(7)),
        resume_when=resume_when,
        weights_file="",
        weights_sha256="",
        reward_hash="",
        base_policy="scripted@0",
        surrogate="none",
        warm_start="none",
        lint="passed",
        inputs="state",
        train_seed=0,
        train_steps=0,
        eval_seeds=(0, 0),
        evaluation=nothing,
        base_alone=nothing,
    )


def meta_of(plan: LoopPlan) -> EpisodeMeta:
    """Returns the meta of a rehearsed episode."""
    config_json = dumps(plan)
    return EpisodeMeta(
        id="rehearsal",
        task=plan.task,
        instruction="put the apple on the plate",
        seed=0,
        robot=plan.robot,
        action_space=plan.space,
        simulated=True,
        policy="scripted@0",
        tracker="truth",
        gap="none",
        injected="",
        config_json=config_json,
        config_hash=config_hash(config_json),
        calibration_hash="",
        code_version="",
        started_unix_s=0.0,
    )
