"""Cases for a reward synthesis: from a recorded episode, or from a bank of failure states. Called by `synthesise`."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pictures

from core.arrays import Image
from core.episodes import Episode
from core.errors import ConfigError, unknown_name
from core.failures import FailureMode, Severity
from core.flow import Step
from core.recovery import RecoveryStage
from core.stages import due_now, known_positions, stage_now
from core.subtasks import Course, Manner
from core.worlds import FailureState
from regrasp.task_registry import TaskEntry
from residual.fitting import fit_of
from residual.stages import Fit
from residual.synthesis_case import Case, believed, measured_in, measured_of
from residual.templates import MODES, find_template
from runtime.record.reader import read_episode, read_frames
from sim.cameras import CellCameras
from sim.world import BatchWorld

WINDOW_S = 2.0
"""So long before the alarm the measured table begins [s]."""
SHOWN = 2
"""Pictures of each camera: one at the window's beginning, one at the alarm."""
CAMERA_PX = 192
"""Side of pictures that are rendered for a bank [px]."""


def case_of_episode(task: TaskEntry, path: Path, mode: FailureMode | None = None) -> Case:
    """Returns the first failure of a recorded episode.

    Args:
        task: Its task.
        path: MCAP file.
        mode: What failed; what the diagnosis said, the alarm suspected or was injected when None.

    Raises:
        ArtifactError: The file is damaged or foreign.
        ConfigError: It is another task's, has no steps, or says of no failure that could be recovered from.
    """
    episode = read_episode(path)
    if episode.meta.task != task.info.name or not episode.steps:
        raise ConfigError(f"{path} holds {len(episode.steps)} steps of task {episode.meta.task!r}; "
                          f"give an episode of {task.info.name!r}")  # fmt: skip
    at = _alarm(episode)
    alarm, course = episode.steps[at], task.info.course(episode.meta.instruction)
    said = next((s.arrived.descriptor for s in episode.steps[at:] if s.arrived.descriptor is not None), None)
    suspected = [said.mode if said else None, alarm.report.mode if alarm.report else None, episode.meta.injected]
    chosen = mode or next((FailureMode(m) for m in suspected if m in MODES), None)
    if chosen is None:
        raise ConfigError(f"{path} names no failure that can be recovered from; give --mode, one of {_told(MODES)}")
    window = [s for s in episode.steps[: at + 1] if alarm.observation.t_ns - s.observation.t_ns <= WINDOW_S * 1e9]
    sub = course.at(_progress(course, alarm))
    frames = _frames(path, window)
    found = [said.stage if said else None, _stage(course, alarm)]
    fit = fit_of(task.info, sub)
    return Case(
        task=task.info.name, instruction=episode.meta.instruction, subtask=sub.name, manner=sub.manner, mode=chosen,
        stage=_known_stage(sub.manner, chosen, fit, found), roles=sub.roles, fit=fit,
        report_id=alarm.report.id if alarm.report else f"{episode.meta.id}-end",
        confidence=said.confidence if said else 1.0, moments=measured_in(window, course),
        frames=tuple(f for _, f in frames), shown=tuple(name for name, _ in frames),
    )  # fmt: skip


def case_of_bank(task: TaskEntry, states: Sequence[FailureState], mode: FailureMode, manner: Manner) -> Case:
    """Returns the case that a bank's failures of one mode and manner stand for, shown by one of median age.

    Args:
        task: Their task.
        states: A bank.
        mode: Of the failures.
        manner: Of the sub-tasks in which they happened.

    Raises:
        ConfigError: The bank has none.
    """
    own = sorted(failures_of(task, states, mode, manner), key=lambda s: s.age_s)
    state = own[len(own) // 2]
    course = task.info.course(state.snapshot.instruction)
    sub, world = course.at(state.subtask), BatchWorld(task.make(), 1)
    world.reset(np.zeros(1, dtype=np.int64), np.array([state.seed]))
    world.restore(np.zeros(1, dtype=np.int64), [state.snapshot])
    with CellCameras(world, size_px=CAMERA_PX) as cameras:
        pictures = cameras.render(world, 0)
    fit = fit_of(task.info, sub)
    return Case(
        task=task.info.name, instruction=state.snapshot.instruction, subtask=sub.name, manner=manner, mode=mode,
        stage=find_template(manner, mode, fit).stages[0].stage, roles=sub.roles, fit=fit,
        report_id=f"bank-{mode}-{state.seed}",
        moments=(believed(state.belief, -state.age_s), measured_of(world.state(), 0, course)),
        frames=tuple(pictures.values()), shown=tuple(f"camera {name}, after the failure" for name in pictures),
    )  # fmt: skip


def failures_of(
    task: TaskEntry, states: Sequence[FailureState], mode: FailureMode, manner: Manner
) -> tuple[FailureState, ...]:
    """Returns a bank's failures of one mode in sub-tasks of one manner; raises `ConfigError` when there are none."""
    found = [(s, task.info.course(s.snapshot.instruction).at(s.subtask).manner) for s in states]
    own = tuple(s for s, how in found if s.mode is mode and how is manner)
    if not own:
        held = sorted({f"{s.mode} in {how}" for s, how in found})
        raise ConfigError(f"the bank has no failure {mode} in {manner}; it has {_told(held) or 'nothing'}")
    return own


def _told(names: Sequence[str]) -> str:
    return ", ".join(map(str, names))


def _alarm(episode: Episode) -> int:
    """Returns the step of the first report that holds the arm, else of the first report, else the last step."""
    reported = [s for s in episode.steps if s.report is not None]
    grave = [s for s in reported if s.report is not None and s.report.severity.rank >= Severity.HOLD.rank]
    return (grave or reported or [episode.steps[-1]])[0].index


def _progress(course: Course, step: Step) -> int:
    scene = step.arrived.scene
    return 0 if scene is None else int(due_now(course, known_positions(course, scene)).progress[0])


def _stage(course: Course, step: Step) -> RecoveryStage | None:
    return None if step.arrived.scene is None else stage_now(course, step.observation, step.arrived.scene)


def _known_stage(manner: Manner, mode: FailureMode, fit: Fit, wanted: Sequence[RecoveryStage | None]) -> RecoveryStage:
    """Returns the first wanted stage that the recovery has, its own first one when nobody says where it begins."""
    stages = [s.stage for s in find_template(manner, mode, fit).stages]
    return next((s for s in wanted if s in stages and s is not RecoveryStage.RESUME), stages[0])


def _frames(path: Path, window: Sequence[Step]) -> list[tuple[str, Image]]:
    """Returns what every picture shows and the picture, camera by camera, oldest first."""
    shown, alarm_ns = [], window[-1].observation.t_ns
    for camera in sorted(window[-1].observation.image_t_ns):
        times = [s.observation.image_t_ns[camera] for s in window if camera in s.observation.image_t_ns]
        kept = {f.t_ns: f.data for f in read_frames(path, camera) if times[0] <= f.t_ns <= times[-1]}
        ends = sorted(kept)[:: max(1, len(kept) - 1)][:SHOWN]
        for t_ns in ends:
            name = f"camera {camera}, {(t_ns - alarm_ns) * 1e-9:+.2f} s"
            shown.append((name, np.asarray(Pictures.open(io.BytesIO(kept[t_ns])).convert("RGB"))))
    return shown


def known_mode(name: str) -> FailureMode:
    """Returns the failure mode called so, or raises `ConfigError` naming the nearest that can be recovered from."""
    if name not in MODES:
        raise unknown_name("failure mode that can be recovered from", name, map(str, MODES))
    return FailureMode(name)
