"""One simulated cell with everything loaded, ready to live many episodes. Called by `episode` and `learn_probe`.

This is the place where the rooms are wired for a simulated arm: world and cameras (sim), policy, tracker and chat model
(bridge), loop, detectors, diagnosers and recorder (runtime), skills and probe (residual), calibration.
"""

import time
from collections.abc import Sequence
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
from regrasp.artifacts import code_version, find_models
from regrasp.brain import Brain, Outside, load_watching
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
    gap: Literal["nominal"] = "nominal"
    """Gap profile: how the simulated arm differs from the one everything was trained on."""
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
        watched: Whether probe and skills are loaded; False for the base arm alone.

    Raises:
        ConfigError: Unknown task, no models.
        ArtifactError: A damaged or foreign checkpoint, probe or card.
    """

    def __init__(self, config: StackConfig, *, watched: bool = True) -> None:
        self._config, self._task = config, find_task(config.task)
        models = find_models(config.models)
        self._policy = TimedPolicy(Pi0Policy.load(models.base, noise=config.noise))
        self._watching = load_watching(config.task, models, self._policy.policy_id) if watched else None
        self._bundle = calibration_bundle(CAMERA_PX)
        self._open = ExitStack()
        self._clock = ManualClock()

    def __enter__(self) -> Self:
        self.world = BatchWorld(self._task.make(), 1, wording=self._config.wording)
        self._cameras = self._open.enter_context(CellCameras(self.world, size_px=CAMERA_PX))
        chat = self._config.chat
        self._brain = Brain(
            self.info, self._config.runtime, self._bundle, self._watching,
            chat=None if chat is None else self._open.enter_context(OpenAiChat(chat)),
            chat_deadline_s=20.0 if chat is None else chat.deadline_s,
        )  # fmt: skip
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._open.close()

    @property
    def info(self) -> TaskInfo:
        """The task."""
        return self._task.info

    @property
    def policy_id(self) -> str:
        """name@hash of the frozen policy."""
        return self._policy.policy_id

    def start(self, seed: int, injection: Injection | None) -> None:
        """Begins a new episode in the world; the clock starts at 0."""
        self.world.reset(np.array([0]), np.array([seed]))
        self.world.inject(0, injection, seed=seed)
        self._clock = ManualClock()

    def robot(self) -> SimRobot:
        """Returns the simulated arm of this episode; enter it before the first tick."""
        return SimRobot(self.world, self._clock, cameras=self._cameras)

    def loop(self, robot: SimRobot, sinks: Sequence[Sink], *, recover: bool) -> Loop:
        """Returns this episode's loop.

        Args:
            robot: An entered robot.
            sinks: Get every step.
            recover: Whether probe and skills are used.
        """
        policy = DelayedPolicy(self._policy, self._clock, self._config.latency_s)
        outside = Outside(robot=robot, policy=policy, clock=self._clock, tracker=self._tracker(), sinks=sinks)
        return self._brain.loop(self.course(), outside, recover=recover)

    def course(self) -> Course:
        """Returns who is who, read from the instruction."""
        return self.info.course(self.world.instruction(0))

    def done(self) -> TaskDone:
        """Returns what claims this episode's success."""
        return self._brain.done(self.course())

    def pacer(self) -> Pacer | None:
        """Returns what keeps real time: needed when a chat model, which lives in real time, is asked."""
        return None if self._config.chat is None else Pacer(MonotonicClock(), EE_DELTA.dt_s)

    def void(self) -> bool:
        """Whether the physics was reset silently, so that this episode says nothing."""
        return bool(self.world.state().physics_reset[0])

    def inference_s(self) -> list[float]:
        """Returns the wall time of every policy answer of this episode [s]."""
        return self._policy.seconds

    def chat_usage(self) -> ChatUsage:
        """Returns what the chat model was asked in this episode, and what it cost."""
        return self._brain.chat_usage()

    def recorder(self, path: Path, *, seed: int, injected: str, recover: bool) -> EpisodeWriter:
        """Returns a recording of this episode, not yet entered."""
        config_json = dumps(self._brain.plan(self.course(), recover=recover))
        meta = EpisodeMeta(
            id=path.stem, task=self.info.name, instruction=self.world.instruction(0), seed=seed, robot=SPEC,
            action_space=EE_DELTA, simulated=True, policy=self.policy_id, tracker=self._config.tracker,
            gap=self._config.gap, injected=injected, config_json=config_json, config_hash=config_hash(config_json),
            calibration_hash=bundle_hash(self._bundle), code_version=code_version(), started_unix_s=time.time(),
        )  # fmt: skip
        return EpisodeWriter(path, meta, encode=jpeg)

    def _tracker(self) -> Tracker:
        return TruthTracker(self.world) if self._config.tracker == "truth" else self._brain.tracker()
