"""One simulated cell with everything loaded, ready to live many episodes. Called by `episode` and `learn_probe`.

This is the place where the rooms are wired for a simulated arm: world and cameras (sim), policy, tracker and chat model
(bridge), loop, detectors, diagnosers and recorder (runtime), skills and probe (residual), calibration.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np

from bridge.chat import ChatConfig, OpenAiChat
from bridge.pi0.policy import Pi0Policy
from bridge.tracker import ColourTracker
from bridge.worker import DelayedPolicy
from calibration.bundle import bundle_hash
from core.arrays import in_range
from core.clock import ManualClock, MonotonicClock
from core.episodes import EpisodeMeta
from core.flow import ActionChunk, Observation
from core.ports import Diagnoser, Sink, Tracker
from core.probe import ProbeWeights
from core.robots import EE_DELTA
from core.scene import SceneRoles
from core.tasks import TaskInfo
from core.worlds import Injection
from regrasp.artifacts import Models, code_version, find_models
from regrasp.pictures import jpeg
from regrasp.task_registry import find_task
from regrasp.truth import TruthTracker
from residual.cards import TrainedCard, load_skills
from residual.library import LIBRARY
from residual.masks import MASKS, default_mask
from residual.policy import ResidualSkill
from residual.probe_io import load_probe
from runtime.config import RuntimeConfig
from runtime.loop import Loop, Ports
from runtime.pacing import Pacer
from runtime.plan import LoopPlan, build_loop
from runtime.record.codec import dumps
from runtime.record.replay import config_hash
from runtime.record.writer import EpisodeWriter
from runtime.recover.diagnose import ChatUsage, VlmDiagnoser
from runtime.recover.done import TaskDone
from runtime.recover.fallback import FallbackDiagnoser
from runtime.recover.probe_diagnoser import ProbeDiagnoser
from runtime.recover.prompt import Allowed
from sim.cameras import CAMERA_NAMES, CellCameras, calibration_bundle
from sim.robot import SPEC, SimRobot
from sim.world import BatchWorld

CAMERA_PX = 192
"""Width and height of both simulated cameras [px]; the policy averages them down to 96."""
DONE_TICKS = 6
"""The task must look done for so many ticks in a row before the loop claims it."""
DONE_RETREAT_M = 0.08
"""The hand must be tracked this far from the placed object before the loop claims success [m]: more than the 7 cm that
the task asks for, by the tracker's error."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What the recovery arm has and the base arm has not."""

    probe: ProbeWeights
    skills: tuple[TrainedCard, ...]


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
        self._watching = _watching(config.task, models, self._policy.policy_id) if watched else None
        self._bundle = calibration_bundle(CAMERA_PX)
        self._open = ExitStack()
        self._clock = ManualClock()
        self._model: VlmDiagnoser | None = None

    def __enter__(self) -> Self:
        self.world = BatchWorld(self._task.make(), 1, wording=self._config.wording)
        self._cameras = self._open.enter_context(CellCameras(self.world, size_px=CAMERA_PX))
        chat = self._config.chat
        self._chat = None if chat is None else self._open.enter_context(OpenAiChat(chat))
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
        self._clock, self._model = ManualClock(), None

    def robot(self) -> SimRobot:
        """Returns the simulated arm of this episode; enter it before the first tick."""
        return SimRobot(self.world, self._clock, cameras=self._cameras)

    def plan(self, *, recover: bool) -> LoopPlan:
        """Returns how this episode's loop behaves.

        Args:
            recover: Whether probe and skills are used; else the frozen policy drives alone, guarded.
        """
        runtime = replace(self._config.runtime, recover=replace(self._config.runtime.recover, enabled=recover))
        watching = self._watching if recover else None
        return LoopPlan(
            config=runtime, task=self.info.name, roles=self.roles(), robot=SPEC, space=EE_DELTA, cameras=CAMERA_NAMES,
            cards=() if watching is None else tuple(s.card for s in watching.skills),
            probe=None if watching is None else watching.probe,
        )  # fmt: skip

    def loop(self, robot: SimRobot, sinks: Sequence[Sink], *, recover: bool) -> Loop:
        """Returns this episode's loop.

        Args:
            robot: An entered robot.
            sinks: Get every step.
            recover: Whether probe and skills are used.
        """
        plan, roles = self.plan(recover=recover), self.roles()
        skills = self._watching.skills if recover and self._watching else ()
        ports = Ports(
            robot=robot,
            policy=DelayedPolicy(self._policy, self._clock, self._config.latency_s),
            tracker=self._tracker(),
            clock=self._clock,
            diagnoser=self._diagnoser(roles) if recover else None,
            residuals={s.card.name: ResidualSkill(s, roles) for s in skills},
            sinks=tuple(sinks),
        )
        return build_loop(plan, ports)

    def roles(self) -> SceneRoles:
        """Returns who is who, read from the instruction."""
        return self.info.roles(self.world.instruction(0))

    def done(self) -> TaskDone:
        """Returns what claims this episode's success."""
        rules = replace(self._config.runtime.hand, retreat_m=DONE_RETREAT_M)
        return TaskDone(self.roles(), rules, ticks=DONE_TICKS)

    def pacer(self) -> Pacer | None:
        """Returns what keeps real time: needed when a chat model, which lives in real time, is asked."""
        return None if self._chat is None else Pacer(MonotonicClock(), EE_DELTA.dt_s)

    def void(self) -> bool:
        """Whether the physics was reset silently, so that this episode says nothing."""
        return bool(self.world.state().physics_reset[0])

    def inference_s(self) -> list[float]:
        """Returns the wall time of every policy answer of this episode [s]."""
        return self._policy.seconds

    def chat_usage(self) -> ChatUsage:
        """Returns what the chat model was asked in this episode, and what it cost."""
        return ChatUsage() if self._model is None else self._model.usage

    def recorder(self, path: Path, *, seed: int, injected: str, recover: bool) -> EpisodeWriter:
        """Returns a recording of this episode, not yet entered."""
        config_json = dumps(self.plan(recover=recover))
        meta = EpisodeMeta(
            id=path.stem, task=self.info.name, instruction=self.world.instruction(0), seed=seed, robot=SPEC,
            action_space=EE_DELTA, simulated=True, policy=self.policy_id, tracker=self._config.tracker,
            gap=self._config.gap, injected=injected, config_json=config_json, config_hash=config_hash(config_json),
            calibration_hash=bundle_hash(self._bundle), code_version=code_version(), started_unix_s=time.time(),
        )  # fmt: skip
        return EpisodeWriter(path, meta, encode=jpeg)

    def _tracker(self) -> Tracker:
        if self._config.tracker == "truth":
            return TruthTracker(self.world)
        return ColourTracker(self._bundle, self.info)

    def _diagnoser(self, roles: SceneRoles) -> Diagnoser | None:
        if self._watching is None:
            return None
        hand = self._config.runtime.hand
        probe = ProbeDiagnoser(self._watching.probe, roles, {m: default_mask(m) for m in MASKS}, hand)
        if self._chat is None or self._config.chat is None:
            return probe
        patience_s = self._config.chat.deadline_s
        self._model = VlmDiagnoser(
            self._chat, allowed_names(self.info), library=LIBRARY.id, clock=MonotonicClock(), deadline_s=patience_s
        )
        return FallbackDiagnoser(self._model, probe, clock=MonotonicClock(), patience_s=patience_s)


def _watching(task: str, models: Models, policy_id: str) -> Watching:
    skills = load_skills(models.skills(task), base_policy=policy_id)
    return Watching(probe=load_probe(models.probe, policy=policy_id), skills=skills)


def allowed_names(info: TaskInfo) -> Allowed:
    """Returns every name that a chat model's answer about this task may use."""
    return Allowed(
        modes=info.modes, stages=info.stages, objects=tuple(o.name for o in info.objects), terms=tuple(LIBRARY.terms)
    )
