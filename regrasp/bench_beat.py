"""The process `beat` of `regrasp bench loop`: the runtime's own beat, loop and brain over an arm in memory.

Pictures come from rings, actions from a policy server that is asked again at every tick, so that it never rests. It
prints one JSON line, a `BeatRun`.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro

from bridge.policy_terms import RemotePolicyConfig
from bridge.realtime import RealtimeReport, enter_realtime, freeze_garbage, measure_jitter, unhurried
from bridge.remote_policy import RemotePolicy
from bridge.ring import RingImages
from bridge.stream_robot import StreamRobot
from core.clock import Clock, MonotonicClock
from core.errors import ServiceTimeout
from core.fake_arm import FakeArm
from core.ports import Stream
from regrasp.artifacts import find_models
from regrasp.brain import Brain, Outside, load_watching
from regrasp.task_registry import find_task
from runtime.beat import Beat
from runtime.cadence import Cadence, CadenceReport
from runtime.config import BeatConfig, RuntimeConfig
from runtime.episode import run_beats
from runtime.record.codec import dumps
from sim.cameras import CAMERA_NAMES, calibration_bundle

WARM_TICKS = 40
"""Ticks lived before those that count: everything is loaded and touched then."""
_PICTURES_S = 20.0
"""How long the first pictures are waited for [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatBenchConfig:
    """Beat for a while and say how well."""

    endpoint: str
    """Of the policy server."""
    ring_prefix: str
    """Rings are named PREFIX-CAMERA."""
    seconds: float = 60.0
    realtime: bool = True
    """Whether to ask for real-time scheduling."""
    priority: int = 50
    """Of SCHED_FIFO."""
    task: str = "fruit_on_plate"
    models: Path | None = None
    camera_px: int = 192
    """Width and height of every picture [px]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatRun:
    """How a beat was kept."""

    realtime: bool
    """Whether real-time scheduling was granted."""
    report: CadenceReport
    unmarked: int
    """Commands that a witness outside the beat saw sent too late, and that the report does not mark."""
    answers: int
    """Chunks the policy server delivered meanwhile."""


class Witness:
    """Watches a stream from outside: which commands went out later than allowed, though nobody told them to stay.

    Args:
        stream: Gets every command.
        clock: The beat's.
        late_s: Allowed [s].
    """

    def __init__(self, stream: Stream, clock: Clock, late_s: float) -> None:
        self._stream, self._clock, self._late_ns = stream, clock, round(late_s * 1e9)
        self.beat: Beat | None = None
        """Whose deadlines count."""
        self.late: list[int] = []
        """Beats of the commands seen."""

    def emit(self, *, late: bool) -> None:
        """Passes the command on and looks at the clock."""
        self._stream.emit(late=late)
        due = None if self.beat is None else self.beat.due
        if due is not None and not late and self._clock.now_ns() - due.deadline_ns > self._late_ns:
            self.late.append(due.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rig:
    """A beat with everything around it."""

    beat: Beat
    cadence: Cadence
    witness: Witness
    config: BeatConfig = field(default_factory=BeatConfig)


def live(config: BeatBenchConfig) -> BeatRun:
    """Beats for `config.seconds` and returns how well.

    Raises:
        ServiceTimeout: No policy server or no pictures.
        ArtifactError: Damaged or foreign models.
    """
    torch.set_num_threads(1)
    realtime = enter_realtime(config.priority) if config.realtime else _as_it_is()
    clock = MonotonicClock()
    rings = {name: f"{config.ring_prefix}-{name}" for name in CAMERA_NAMES}
    with (
        RingImages(rings) as images,
        RemotePolicy(RemotePolicyConfig(endpoint=config.endpoint, connect_s=60.0)) as policy,
        FakeArm(clock) as arm,
    ):
        _wait_for_pictures(images, clock)
        robot = StreamRobot(arm, images, clock, instruction=_instruction(config), beats=BeatConfig().ticks_every)
        with robot:
            with unhurried():
                rig = _rig(config, robot, policy, realtime, clock)
            run_beats(rig.beat, WARM_TICKS, lambda _: False)
            freeze_garbage()
            before = policy.health.answered
            rig.witness.late.clear()
            run_beats(rig.beat, _ticks(config, rig.config), lambda _: False)
        answers = policy.health.answered - before
    report = rig.cadence.report()
    return BeatRun(
        realtime=realtime.realtime, report=report, unmarked=unmarked(rig.witness.late, report), answers=answers
    )


def unmarked(seen: Sequence[int], report: CadenceReport) -> int:
    """Returns how many of the beats whose command was seen sent late are not marked so in the report.

    Args:
        seen: Indices of the beats.
        report: Lists the first beats it marked; those seen after the last one listed of a full list do not count.
    """
    marked = set(report.late_send_beats)
    last = max(marked) if report.late_sends > len(marked) else math.inf
    return sum(beat not in marked and beat <= last for beat in seen)


def _as_it_is() -> RealtimeReport:
    """Returns the report of a process that asked for nothing."""
    jitter = measure_jitter(0.3)
    return RealtimeReport(
        scheduler="SCHED_OTHER", memory_locked=False, timer_slack_ns=50_000, cpus=(), jitter=jitter, warnings=()
    )


def _rig(
    config: BeatBenchConfig, robot: StreamRobot, policy: RemotePolicy, realtime: RealtimeReport, clock: Clock
) -> _Rig:
    task, beat_config = find_task(config.task).info, BeatConfig()
    cadence = Cadence(clock, scheduler=realtime.scheduler, warnings=realtime.warnings)
    watching = load_watching(task.name, find_models(config.models), policy.policy_id)
    brain = Brain(task, RuntimeConfig(replan_ticks=1), calibration_bundle(config.camera_px), watching)
    outside = Outside(robot=robot, policy=policy, clock=clock, tracker=brain.tracker(), cadence=cadence)
    loop = brain.loop(task.course(_instruction(config)), outside, recover=False)
    witness = Witness(robot, clock, beat_config.late_s)
    beat = witness.beat = Beat(loop=loop, stream=witness, clock=clock, config=beat_config, cadence=cadence)
    return _Rig(beat=beat, cadence=cadence, witness=witness, config=beat_config)


def _instruction(config: BeatBenchConfig) -> str:
    info = find_task(config.task).info
    target = next(o for o in info.objects if o.graspable)
    return info.templates[0].format(target=target.words[0], goal=info.goal)


def _ticks(config: BeatBenchConfig, beat: BeatConfig) -> int:
    return max(2, round(config.seconds / (beat.period_s * beat.ticks_every)) + 1)


def _wait_for_pictures(images: RingImages, clock: Clock) -> None:
    until_ns = clock.now_ns() + round(_PICTURES_S * 1e9)
    while set(images.newest()) != set(CAMERA_NAMES):
        if clock.now_ns() > until_ns:
            raise ServiceTimeout(f"no pictures of {', '.join(CAMERA_NAMES)} within {_PICTURES_S:.0f} s")
        clock.sleep_until(clock.now_ns() + 10_000_000)


def main() -> int:
    """Runs the process; returns its exit code."""
    print(dumps(live(tyro.cli(BeatBenchConfig))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
