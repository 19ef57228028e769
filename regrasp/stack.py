"""One simulated cell with everything loaded, ready to live many episodes. Called by `episode` and `learn_probe`.

This is the place where the rooms are wired for a simulated arm: world and cameras (sim), policy, tracker and chat model
(bridge), loop, detectors, diagnosers and recorder (runtime), skills and probe (residual), calibration.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np

from bridge.chat import ChatConfig, OpenAiChat
from bridge.pi0.policy import Pi0Policy
from bridge.worker import DelayedPolicy
from calibration.bundle import bundle_hash
from core.arrays import in_range
from core.clock import ManualClock, MonotonicClock
from core.episodes import EpisodeMeta
from core.flow import ActionChunk, Observation
from core.ports import Sink, Tracker
from core.robots import EE_DELTA
from core.subtasks import Course
from core.tasks import TaskInfo
from core.worlds import Injection
from regrasp.arms import checkpoint_of, diagnoser_of, watching_of
from regrasp.artifacts import code_version, find_models
from regrasp.brain import Brain, Outside
from regrasp.evaluation import ArmName
from regrasp.gap_tracker import GapTracker
from regrasp.gaps import find_gap
from regrasp.pictures import jpeg
from regrasp.task_registry import find_task
from regrasp.truth import TruthTracker
from runtime.config import RuntimeConfig
from runtime.loop import Loop
from runtime.pacing import Pacer
from runtime.record.codec import dumps
from runtime.record.replay import config_hash
from runtime.record.writer import EpisodeWriter
from runtime.recover.diagnose import ChatUsage
from runtime.recover.done import TaskDone
from sim.cameras import CellCameras, calibration_bundle
from sim.robot import SPEC, SimRobot
from sim.world import BatchWorld

CAMERA_PX = 192
"""Width and height of both simulated cameras [px]; the policy averages them down to 96."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """One simulated cell and its loop; everything that shapes a result."""

    task: str = "fruit_on_plate"
    """Name of the task."""
    models: Path | None = None
    """Folder of trained models; this checkout's when not given."""
    tracker: Literal["image", "truth"] = "image"
    """Where object positions come from: the cameras, or the simulator (ablation only)."""
    noise: Literal["zero", "random"] = "zero"
    """Starting noise of the policy's sampler."""
    wording: Literal["training", "paraphrases", "all"] = "all"
    """Instructions: those of the demonstrations, those held out of them, or both."""
    gap: str = "nominal"
    """Gap profile, by name or as a YAML file: how the simulated cell differs from the one everything was trained on."""
    skills: Path | None = None
    """Skills of the recovery arm, a folder a task; those in `models` when not given."""
    latency_s: float = 0.05
    """Simulated time from a policy request to its answer [s]."""
    chat: ChatConfig | None = None
    """Vision-language model to ask first; without one the embedded probe diagnoses. Episodes then run in real time."""
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    """Loop, guard, detectors, budgets."""

    def __post_init__(self) -> None:
        in_range("latency_s [s]", self.latency_s, 0.0, 1.0)


class TimedPolicy:
    """A blocking policy that notes how long each answer took.

    Args:
        base: The policy.
    """

    def __init__(self, base: Pi0Policy) -> None:
        self._base = base
        self.seconds: list[float] = []
        """Wall time of every answer since the last reset [s]."""

    @property
    def policy_id(self) -> str:
        """name@hash of the checkpoint."""
        return self._base.policy_id

    def infer(self, obs: Observation) -> ActionChunk:
        """Returns a chunk; blocks while it computes."""
        start = time.perf_counter()
        chunk = self._base.infer(obs)
        self.seconds.append(time.perf_counter() - start)
        return chunk

    def reset(self) -> None:
        """Starts a new episode."""
        self._base.reset()
        self.seconds = []


class CellStack:
    """One simulated arm, open as a context manager; `start` an episode, then make its `robot` and `loop`.

    Args:
        config: What to build.
        arms: Arms of an evaluation that its loops can be; only what they need is loaded.

    Raises:
        ConfigError: Unknown task or gap profile, no models.
        ArtifactError: A damaged or foreign checkpoint, probe or card.
    """

    def __init__(self, config: StackConfig, *, arms: Sequence[ArmName] = (ArmName.BASE, ArmName.RECOVERY)) -> None:
        self._config, self._task, self._profile = config, find_task(config.task), find_gap(config.gap)
        models = find_models(config.models)
        folders = {arm: checkpoint_of(arm, models) for arm in arms}
        loaded = {f: TimedPolicy(Pi0Policy.load(f, noise=config.noise)) for f in dict.fromkeys(folders.values())}
        self._policies = {arm: loaded[folder] for arm, folder in folders.items()}
        self._watching = {
            arm: watching_of(arm, config.task, models, config.skills, self._policies[arm].policy_id) for arm in arms
        }
        self._bundle = calibration_bundle(CAMERA_PX)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self.world = BatchWorld(self._task.make(), 1, wording=self._config.wording)
        self._cameras = self._open.enter_context(CellCameras(self.world, size_px=CAMERA_PX))
        chat = self._config.chat
        model = None if chat is None else self._open.enter_context(OpenAiChat(chat))
        deadline_s = 20.0 if chat is None else chat.deadline_s
        self._brains = {
            arm: Brain(self.info, self._config.runtime, self._bundle, known, chat=model, chat_deadline_s=deadline_s)
            for arm, known in self._watching.items()
        }
        self._arm = next(iter(self._brains))
        self.start(0, None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._open.close()

    @property
    def info(self) -> TaskInfo:
        """The task."""
        return self._task.info

    def start(self, seed: int, injection: Injection | None) -> None:
        """Begins a new episode in a cell drawn from the gap profile; the clock starts at 0."""
        self._gap = self._profile.draw(seed)
        self._cameras.slip(self._gap.slips)
        self.world.reset(np.array([0]), np.array([seed]), self._gap.domain)
        self.world.inject(0, injection, seed=seed)
        self._injected = None if injection is None else injection.mode
        self._clock = ManualClock()

    def robot(self) -> SimRobot:
        """Returns the simulated arm of this episode; enter it before the first tick."""
        gap = self._gap
        return SimRobot(
            self.world, self._clock, cameras=self._cameras, light=gap.light, latency_s=gap.observation_latency_s
        )

    def loop(self, robot: SimRobot, sinks: Sequence[Sink], arm: ArmName, stands: Callable[[], bool]) -> Loop:
        """Returns this episode's loop.

        Args:
            robot: An entered robot.
            sinks: Get every step.
            arm: One of those this stack was made for.
            stands: Whether the injected failure has struck and is not mended; only the oracle asks.
        """
        self._arm, course, brain = arm, self.course(), self._brains[arm]
        outside = Outside(
            robot=robot, clock=self._clock, tracker=self._tracker(), sinks=sinks,
            policy=DelayedPolicy(self._policies[arm], self._clock, self._config.latency_s),
            diagnoser=diagnoser_of(arm, brain, course, self._injected, stands),
        )  # fmt: skip
        return brain.loop(course, outside, recover=arm.watched)

    def course(self) -> Course:
        """Returns who is who, read from the instruction."""
        return self.info.course(self.world.instruction(0))

    def done(self) -> TaskDone:
        """Returns what claims this episode's success."""
        return self._brains[self._arm].done(self.course())

    def pacer(self) -> Pacer | None:
        """Returns what keeps real time: needed when a chat model, which lives in real time, is asked."""
        return None if self._config.chat is None else Pacer(MonotonicClock(), EE_DELTA.dt_s)

    def void(self) -> bool:
        """Whether the physics was reset silently, so that this episode says nothing."""
        return bool(self.world.state().physics_reset[0])

    def inference_s(self) -> list[float]:
        """Returns the wall time of every policy answer of this episode [s]."""
        return self._policies[self._arm].seconds

    def chat_usage(self) -> ChatUsage:
        """Returns what the chat model was asked in this episode, and what it cost."""
        return self._brains[self._arm].chat_usage()

    def recorder(self, path: Path, *, seed: int, arm: ArmName) -> EpisodeWriter:
        """Returns a recording of this episode, not yet entered."""
        config_json = dumps(self._brains[arm].plan(self.course(), recover=arm.watched))
        meta = EpisodeMeta(
            id=path.stem, task=self.info.name, instruction=self.world.instruction(0), seed=seed, robot=SPEC,
            action_space=EE_DELTA, simulated=True, policy=self._policies[arm].policy_id,
            tracker=self._config.tracker, gap=self._profile.name, injected=str(self._injected or ""),
            config_json=config_json, config_hash=config_hash(config_json), calibration_hash=bundle_hash(self._bundle),
            code_version=code_version(), started_unix_s=time.time(),
        )  # fmt: skip
        return EpisodeWriter(path, meta, encode=jpeg)

    def _tracker(self) -> Tracker:
        gap = self._gap
        tracker = TruthTracker(self.world) if self._config.tracker == "truth" else self._brains[self._arm].tracker()
        if not (gap.tracker_noise_m or gap.tracker_dropout):
            return tracker
        return GapTracker(tracker, noise_m=gap.tracker_noise_m, dropout=gap.tracker_dropout, seed=gap.seed)
