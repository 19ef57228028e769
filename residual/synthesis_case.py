"""What a reward is synthesised for: one failure, with its pictures and what was measured about it.

Made by `regrasp` from a recorded episode or from a bank of failure states; read by questions, tables and the compiler.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType

import numpy as np

from core.arrays import Floats, Image
from core.failures import FailureMode
from core.flow import Step
from core.manner import Manner
from core.recovery import RecoveryStage
from core.scene import SceneRoles, SceneState
from core.stages import STAGES, Situation, by_role, due_now, known_positions, stage_now, stages_now
from core.subtasks import Course
from core.worlds import WorldState
from residual.stages import Fit, StageTemplate, Template, numbered
from residual.templates import find_template


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of the measured table; None where a thing was not measured."""

    t_s: float
    """Before the present, hence 0 or negative [s]."""
    places: Mapping[str, Floats] = field(default_factory=dict)
    """Object centres by name, shape (3,) [m]."""
    tool: Floats | None = None
    """Tool centre point, shape (3,) [m]."""
    speed_m_s: float | None = None
    """Of the tool [m/s]."""
    told: float | None = None
    """Commanded gripper opening, [0, 1]."""
    opening: float | None = None
    """Measured gripper opening, [0, 1]."""
    force_n: float | None = None
    """Contact force [N]."""
    stage: str = ""
    """What was to be done next."""
    done: int | None = None
    """Sub-tasks done."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", MappingProxyType(dict(self.places)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One failure to make a reward for."""

    task: str
    instruction: str
    subtask: str
    """Name of the sub-task that failed."""
    manner: Manner
    mode: FailureMode
    stage: RecoveryStage
    """Stage from which the recovery starts."""
    roles: SceneRoles
    fit: Fit
    """Distances that fit its things."""
    report_id: str
    confidence: float = 1.0
    """That the mode is right, [0, 1]."""
    moments: tuple[Moment, ...] = ()
    """Oldest first."""
    frames: tuple[Image, ...] = ()
    shown: tuple[str, ...] = ()
    """What each frame shows."""
    progress: str = ""
    """How a training goes that this is part of, "" before any."""
    present: frozenset[str] = frozenset()
    """Terms that are active now, none before any training."""

    def template(self) -> Template:
        """Returns the stages that the compiler would use, fitted; raises `ConfigError` for a mode without any."""
        return find_template(self.manner, self.mode, self.fit)

    def stages(self) -> dict[str, StageTemplate]:
        """Returns those from the stage on at which the recovery starts, by name, a second one of a name as NAME#2."""
        stages = self.template().stages
        names = [s.stage for s in stages]
        stages = stages[names.index(self.stage) :] if self.stage in names else stages
        return dict(zip(numbered(s.stage for s in stages), stages, strict=True))

    @property
    def frames_sha256(self) -> str:
        """Of the pixels, one frame after another; "" without any."""
        if not self.frames:
            return ""
        digest = sha256()
        for frame in self.frames:
            digest.update(picture_sha256(frame).encode())
        return digest.hexdigest()


def picture_sha256(picture: Image) -> str:
    """Returns the SHA-256 of a picture's shape and pixels, hex."""
    return sha256(str(picture.shape).encode() + np.ascontiguousarray(picture).tobytes()).hexdigest()


def measured_in(steps: Sequence[Step], course: Course, most: int = 5) -> tuple[Moment, ...]:
    """Returns what an episode's steps say, at so many instants spread over them, oldest first.

    Args:
        steps: The seconds that matter, oldest first.
        course: What the robot was told to do.
        most: Instants.
    """
    picks = sorted({round(i * (len(steps) - 1) / max(1, most - 1)) for i in range(most)}) if steps else []
    return tuple(_moment(steps, i, course) for i in picks)


def measured_of(state: WorldState, i: int, course: Course) -> Moment:
    """Returns what is true of world `i` now."""
    pos, roles = state.object_pos_in_base[i : i + 1], state.roles[i : i + 1]
    by, seen = by_role(pos, roles)
    due = due_now(course, pos)
    situation = Situation(
        manner=due.manner, finished=due.finished, tcp_pos_in_base=state.tcp_pos_in_base[i : i + 1],
        opening=state.gripper_opening[i : i + 1], command=state.gripper_command[i : i + 1], pos_in_base=by, seen=seen,
    )  # fmt: skip
    return Moment(
        t_s=0.0,
        places={n: p for n, p in zip(state.object_names, pos[0], strict=True) if p[2] > -0.1},
        tool=state.tcp_pos_in_base[i],
        told=float(state.gripper_command[i]),
        opening=float(state.gripper_opening[i]),
        force_n=float(state.contact_force_n[i]),
        stage=str(STAGES[int(stages_now(situation)[0])]),
        done=int(state.subtask[i]),
    )


def believed(scene: SceneState, t_s: float) -> Moment:
    """Returns a moment of which only the places of things are known, `t_s` before the present [s]."""
    return Moment(t_s=t_s, places={n: o.pos_in_base for n, o in sorted(scene.objects.items())})


def _moment(steps: Sequence[Step], i: int, course: Course) -> Moment:
    step, last = steps[i], steps[-1]
    obs, scene = step.observation, step.arrived.scene
    wrench = obs.wrench_in_tcp
    return Moment(
        t_s=(step.arrived.now_ns - last.arrived.now_ns) * 1e-9,
        places={} if scene is None else {n: o.pos_in_base for n, o in sorted(scene.objects.items())},
        tool=obs.tcp_pos_in_base,
        speed_m_s=_speed(steps, i),
        told=obs.gripper_command,
        opening=obs.gripper_opening,
        force_n=None if wrench is None else float(np.linalg.norm(wrench[:3])),
        stage="" if scene is None else str(stage_now(course, obs, scene)),
        done=None if scene is None else int(course.progress(known_positions(course, scene))[0]),
    )


def _speed(steps: Sequence[Step], i: int) -> float | None:
    if i == 0:
        return None
    before, now = steps[i - 1].observation, steps[i].observation
    seconds = (now.t_ns - before.t_ns) * 1e-9
    return float(np.linalg.norm(now.tcp_pos_in_base - before.tcp_pos_in_base)) / seconds if seconds > 0 else None
