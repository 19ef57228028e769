"""Episodes on a real beat: the brain, an arm that follows a stream, images from rings. Called by the runtime node."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from bridge.chat import ChatConfig, OpenAiChat
from bridge.desk import OperatorDesk
from bridge.policy_terms import PolicyHealth
from bridge.realtime import RealtimeReport
from bridge.remote_policy import RemotePolicy
from bridge.ring import RingImages
from bridge.stream_robot import StreamRobot
from calibration.bundle import bundle_hash, read_bundle
from core.calibration import CalibrationBundle
from core.clock import Clock
from core.episodes import EpisodeMeta, Outcome
from core.errors import ConfigError, DeviceTimeout
from core.flow import Step
from core.ports import JointArm, Sink
from core.robots import EE_DELTA
from core.tasks import TaskInfo
from regrasp.artifacts import Models, code_version, find_models
from regrasp.brain import Brain, Outside, Watching, load_watching
from regrasp.remote_sink import RemoteSink
from regrasp.task_registry import find_task
from regrasp.witness import EPISODES, claimed_outcome
from runtime.beat import Beat
from runtime.cadence import Cadence
from runtime.config import BeatConfig, GuardLimits, RecoverLimits, RuntimeConfig, WatchLimits
from runtime.episode import EpisodeEnd, run_beats
from runtime.record.codec import dumps
from runtime.record.replay import config_hash
from runtime.shadow import MuteArm, RunMode, ShadowRobot
from sim.cameras import CAMERA_NAMES, calibration_bundle
from sim.robot import SPEC

log = logging.getLogger(__name__)

SIGHT_NS = 3_000_000_000
"""Longest wait for the first pictures of an episode [ns]."""
CADENCE = "cadence"
"""Folder of cadence reports inside the output folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellConfig:
    """What is loaded once."""

    task: str
    models: Path | None
    calibration: Path | None
    """None: the simulated cell's true geometry."""
    camera_px: int
    ring_prefix: str
    episode_s: float
    """Longest time of an episode [s]; 0: the task's own."""
    ahead_s: float
    """Actions are played this much before their time [s]."""
    pace: float
    """Share of the trained speed, (0, 1]; times allowed grow as it falls."""
    lead_m: float
    """Farthest the commanded position may run ahead of the tool [m]."""
    skills: bool
    """Whether probe and skills are loaded."""
    vlm: str
    """Root of an endpoint; "": the embedded probe."""
    vlm_model: str
    vlm_deadline_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell, loaded."""

    config: CellConfig
    info: TaskInfo
    models: Models
    bundle: CalibrationBundle
    runtime: RuntimeConfig
    version: str
    """Of the code."""

    @staticmethod
    def load(config: CellConfig) -> "Cell":
        """Returns the cell; raises `ConfigError` or `ArtifactError` when something is missing or damaged."""
        if config.vlm and not config.vlm_model:
            raise ConfigError(f"vlm is {config.vlm} but vlm_model is empty; name the model to ask there")
        bundle = calibration_bundle(config.camera_px) if config.calibration is None else read_bundle(config.calibration)
        return Cell(
            config=config, info=find_task(config.task).info, models=find_models(config.models), bundle=bundle,
            runtime=_runtime(config), version=code_version(),
        )  # fmt: skip

    def watching(self, policy_id: str) -> Watching | None:
        """Returns probe and skills made for a policy, None when none are wanted; raises `ArtifactError` without any."""
        return load_watching(self.info.name, self.models, policy_id) if self.config.skills else None


def _runtime(config: CellConfig) -> RuntimeConfig:
    """Returns the runtime of a lagging, perhaps slower arm: what takes longer by its pace gets the time."""
    recover, watch, pace = RecoverLimits(), WatchLimits(), config.pace
    return RuntimeConfig(
        ahead_s=config.ahead_s, pace=pace, guard=GuardLimits(lead_m=config.lead_m),
        recover=replace(recover, attempt_s=recover.attempt_s / pace),
        watch=replace(
            watch, probe_need=round(watch.probe_need / pace), probe_window=round(watch.probe_window / pace)
        ),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeOrder:
    """An episode to be lived."""

    name: str
    instruction: str
    seed: int
    injected: str
    recover: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """How an episode ended, as the robot itself sees it."""

    outcome: str
    steps: int = 0
    note: str = ""
    file: str = ""
    """Its recording; "" when nothing was recorded."""


class Live:
    """Lives episodes with one arm, while it is open as a context manager.

    Args:
        cell: The cell.
        arm: Linked by its owner.
        policy: Open.
        clock: The monotonic clock.
        realtime: What the system granted, for cadence reports.
        mode: What may be done with the arm; only DRIVE sends anything.
        recorder: Socket of the recorder process; "" records nothing.
        out: Folder of recordings and cadence reports.
    """

    def __init__(
        self, cell: Cell, arm: JointArm, policy: RemotePolicy, clock: Clock, *,
        realtime: RealtimeReport, mode: RunMode, recorder: str, out: Path,
    ) -> None:  # fmt: skip
        self._cell, self._arm, self._policy, self._clock = cell, arm, policy, clock
        self._mode, self._recorder, self._out = mode, recorder, out
        self._beat = BeatConfig()
        self._cadence = Cadence(clock, scheduler=realtime.scheduler, warnings=realtime.warnings)
        self._open = ExitStack()
        self.busy = False
        """Whether an episode is being lived."""

    def __enter__(self) -> Self:
        config = self._cell.config
        rings = {name: f"{config.ring_prefix}-{name}" for name in CAMERA_NAMES}
        self._images = self._open.enter_context(RingImages(rings))
        chat = None
        if config.vlm:
            asked = ChatConfig(model=config.vlm_model, base_url=config.vlm, deadline_s=config.vlm_deadline_s)
            chat = self._open.enter_context(OpenAiChat(asked))
        watching = self._cell.watching(self._policy.policy_id)
        self._brain = Brain(
            self._cell.info, self._cell.runtime, self._cell.bundle, watching,
            chat=chat, chat_deadline_s=config.vlm_deadline_s, mode=self._mode,
        )  # fmt: skip
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._open.close()

    def tend(self) -> None:
        """Shows the policy server that its client lives; call it between episodes."""
        self._policy.tend()

    def policy_health(self) -> PolicyHealth:
        """Returns how the policy server is."""
        return self._policy.health

    def cadence_line(self) -> str:
        """Returns how the last beats were kept, "" before any."""
        report = self._cadence.report()
        return report.line() if report.beats else ""

    def objection(self) -> str:
        """Returns why no episode can begin now, "" when one can."""
        missing = sorted(set(CAMERA_NAMES) - set(self._images.newest()))
        return f"no image of {', '.join(missing)} yet; is the camera node active?" if missing else ""

    def episode(
        self,
        order: EpisodeOrder,
        desk: OperatorDesk,
        status: Sink,
        *,
        serve: Callable[[int], None],
        over: Callable[[], bool],
    ) -> Lived:
        """Lives one episode from its first beat to its end and returns how it ended; the arm holds then.

        Args:
            order: What is to be done.
            desk: What people ask meanwhile.
            status: Told every step.
            serve: Serves the graph until an instant [ns].
            over: Whether it is to end early.

        Raises:
            RegraspError: A port broke; the arm was told to hold.
        """
        self.busy = True
        try:
            with self._recording(order) as sinks, self._robot(order) as robot:
                end = self._run(order, robot, desk, [*sinks, status], serve=serve, over=over)
                outcome = Outcome.ABORTED if over() else claimed_outcome(end)
                for sink in sinks:
                    sink.finish(outcome)
            return Lived(outcome=str(outcome), steps=end.steps, file=str(self._file(order)) if sinks else "")
        finally:
            self.busy = False
            self._note_cadence(order)

    def _run(
        self,
        order: EpisodeOrder,
        robot: StreamRobot | ShadowRobot,
        desk: OperatorDesk,
        sinks: Sequence[Sink],
        *,
        serve: Callable[[int], None],
        over: Callable[[], bool],
    ) -> EpisodeEnd:
        course = self._cell.info.course(order.instruction)
        outside = Outside(
            robot=robot, policy=self._policy, clock=self._clock, tracker=self._brain.tracker(), operator=desk,
            sinks=sinks, cadence=self._cadence,
        )  # fmt: skip
        self._await_sight(robot, serve)
        claims = self._brain.done(course)
        loop = self._brain.loop(course, outside, recover=order.recover)
        beat = Beat(
            loop=loop, stream=robot, clock=self._clock, config=self._beat, cadence=self._cadence, serve=serve
        )  # fmt: skip

        def done(step: Step) -> bool:
            return claims(step) or over()

        usual = self._cell.info.episode_steps / self._cell.config.pace
        longest = round(self._cell.config.episode_s / EE_DELTA.dt_s or usual)
        return run_beats(beat, longest, done)

    def _await_sight(self, robot: StreamRobot | ShadowRobot, serve: Callable[[int], None]) -> None:
        """Waits until every camera has delivered a picture of this episode; before it the arm was told nothing."""
        until_ns = self._clock.now_ns() + SIGHT_NS
        while missing := sorted(set(CAMERA_NAMES) - set(robot.read().images)):
            if self._clock.now_ns() > until_ns:
                raise DeviceTimeout(
                    f"no new picture within {SIGHT_NS * 1e-9:.0f} s", device=f"camera {', '.join(missing)}",
                    remedy="is the camera node active? see its log",
                )  # fmt: skip
            serve(self._clock.now_ns() + round(self._beat.period_s * 1e9))

    @contextmanager
    def _robot(self, order: EpisodeOrder) -> Iterator[StreamRobot | ShadowRobot]:
        sends = self._mode.sends
        real = StreamRobot(
            self._arm if sends else MuteArm(self._arm), self._images, self._clock,
            instruction=order.instruction, beats=self._beat.ticks_every,
            reach_m=self._cell.runtime.guard.lead_m, pace=self._cell.config.pace,
        )  # fmt: skip
        with real if sends else ShadowRobot(real) as robot:
            yield robot

    @contextmanager
    def _recording(self, order: EpisodeOrder) -> Iterator[list[RemoteSink]]:
        if not self._recorder:
            yield []
            return
        with RemoteSink(self._recorder, self._file(order), self._meta(order)) as sink:
            yield [sink]

    def _file(self, order: EpisodeOrder) -> Path:
        return self._out / EPISODES / f"{order.name}.mcap"

    def _meta(self, order: EpisodeOrder) -> EpisodeMeta:
        plan = self._brain.plan(self._cell.info.course(order.instruction), recover=order.recover)
        config_json = dumps(plan)
        return EpisodeMeta(
            id=order.name, task=self._cell.info.name, instruction=order.instruction, seed=order.seed, robot=SPEC,
            action_space=EE_DELTA, simulated=self._arm.state().status.simulated, policy=self._policy.policy_id,
            tracker="image", gap="nominal", injected=order.injected, config_json=config_json,
            config_hash=config_hash(config_json), calibration_hash=bundle_hash(self._cell.bundle),
            code_version=self._cell.version, started_unix_s=time.time(),
        )  # fmt: skip

    def _note_cadence(self, order: EpisodeOrder) -> None:
        report = self._cadence.report()
        if not report.beats:
            return
        folder = self._out / CADENCE
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{order.name}.json").write_text(report.to_json() + "\n")
        log.info("episode %s: %s", order.name, report.line())
