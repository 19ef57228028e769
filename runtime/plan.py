"""All that decides how a loop behaves, as one value, and the loop built from it. Called by `regrasp` and by replay."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.errors import unknown_name
from core.probe import ProbeWeights
from core.recovery import SkillCard
from core.robots import ActionSpace, RobotSpec
from core.subtasks import Course
from runtime.arbiter import Trust
from runtime.chunking import ChunkPlayer
from runtime.config import RuntimeConfig
from runtime.evidence import EvidenceWindow
from runtime.guard import Guard
from runtime.lag import LedResidual
from runtime.loop import Loop, Ports
from runtime.recover.recovery import Recovery
from runtime.recover.skills import Skill, SkillBank
from runtime.shadow import RunMode, ShadowRobot
from runtime.watch.panel import Panel, Watch
from runtime.watch.slow import Slowdown
from runtime.watch.standard import standard_watches
from runtime.watch.trained_time import ticks_per_trained


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopPlan:
    """Written into every episode as its resolved configuration; with the recorded steps it makes a replay."""

    config: RuntimeConfig
    task: str
    course: Course
    """What the robot was told to do: sub-tasks, and who is who in each."""
    robot: RobotSpec
    space: ActionSpace
    cameras: tuple[str, ...]
    """Cameras that must deliver."""
    cards: tuple[SkillCard, ...] = ()
    """Skills that may be used, in order of preference."""
    probe: ProbeWeights | None = None
    """The embedded probe as detector, None when there is none."""
    mode: RunMode = RunMode.DRIVE
    """Whether commands reach the arm; when they do not, detectors that compare command and motion are left out."""


def build_loop(plan: LoopPlan, ports: Ports, watches: Sequence[Watch] = ()) -> Loop:
    """Returns a loop at the start of an episode.

    Args:
        plan: How it behaves.
        ports: What it is connected to; in every mode but DRIVE the robot is read and never told anything.
        watches: Detectors besides the standard ones; a replay must be given the same.

    Raises:
        ConfigError: A card has no residual in the ports, or two have the same name.
        ArtifactError: The probe was trained on another feature layout.
    """
    config = plan.config
    if not plan.mode.sends and not isinstance(ports.robot, ShadowRobot):
        ports = replace(ports, robot=ShadowRobot(ports.robot, plan.space))
    standard = standard_watches(config, plan.space, plan.course, plan.cameras, plan.probe, drives=plan.mode.sends)
    return Loop(
        ports=ports,
        space=plan.space,
        trust=Trust(cameras=plan.cameras, robot_s=config.stale_s, image_s=config.stale_image_s),
        player=ChunkPlayer(
            plan.space,
            blend_steps=config.blend_steps,
            replan_ticks=config.replan_ticks,
            age_s=config.chunk_age_s,
            slack=config.chunk_slack,
            patience_s=config.patience_s,
            ahead_s=config.ahead_s,
            pace=config.pace,
        ),
        guard=Guard(plan.robot, plan.space, config.guard),
        panel=Panel([*standard, *watches], cooldown_s=config.watch.cooldown_s, grace_s=config.watch.grace_s),
        recovery=Recovery(
            task=plan.task,
            course=plan.course,
            skills=_skills(plan, ports),
            limits=config.recover,
            rules=config.hand,
            table_height_m=config.guard.table_height_m,
        ),
        window=EvidenceWindow(
            ticks=round(config.window_s / plan.space.dt_s) * ticks_per_trained(config.pace),
            images=config.evidence_images,
        ),
        slowdown=Slowdown(config.slow_scale, config.slow_s),
        task=plan.task,
        pace=config.pace,
    )


def _skills(plan: LoopPlan, ports: Ports) -> SkillBank:
    for card in plan.cards:
        if card.name not in ports.residuals:
            raise unknown_name("residual of skill card", card.name, ports.residuals)
    lag_s = plan.config.ahead_s
    residuals = {c.name: ports.residuals[c.name] for c in plan.cards}
    led = {name: LedResidual(residual, lag_s) if lag_s else residual for name, residual in residuals.items()}
    return SkillBank([Skill(card=card, residual=led[card.name]) for card in plan.cards])
