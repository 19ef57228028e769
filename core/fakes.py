"""Fakes that are product: use them in your own tests.

`FakeRobot` obeys perfectly, without physics: its tool moves exactly as told. Together with `ManualClock` it runs the
whole loop in milliseconds:

    clock = ManualClock()
    robot = FakeRobot(clock)
    with robot:
        robot.send(EE_DELTA.still(1.0))
"""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from core.arrays import Floats, Image
from core.clock import ManualClock
from core.errors import DeviceNotConnected
from core.flow import ActionChunk, Observation, OperatorInput, Step
from core.ports import ChatAnswer, Evidence
from core.recovery import RecoveryDescriptor
from core.robots import EE_DELTA
from core.scene import SceneState, TrackedObject
from core.transforms import quat_from_rotvec, quat_multiply


class FakeRobot:
    """A robot that does exactly what it is told, one action a control period.

    Args:
        clock: Moved forward by `EE_DELTA.dt_s` at each `send`.
        instruction: Put into every observation.
        images: Put into every observation, by camera, uint8 (H, W, 3).
    """

    def __init__(
        self, clock: ManualClock, *, instruction: str = "do nothing", images: dict[str, Image] | None = None
    ) -> None:
        self._clock, self._instruction, self._images = clock, instruction, dict(images or {})
        self._pos = np.array([0.4, 0.0, 0.3])
        self._quat = np.array([1.0, 0.0, 0.0, 0.0])
        self._opening = 1.0
        self._connected = False
        self.sent: list[Floats] = []
        """Every action it was sent."""
        self.holds = 0
        """How often it was told to hold."""

    def __enter__(self) -> Self:
        self._connected = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.hold()
        self._connected = False

    def read(self) -> Observation:
        """Returns the pose it was last sent to, at the clock's time."""
        self._require_connected()
        now = self._clock.now_ns()
        return Observation(
            t_ns=now,
            joint_pos=np.zeros(7),
            joint_vel=np.zeros(7),
            tcp_pos_in_base=self._pos,
            tcp_quat_xyzw_in_base=self._quat,
            gripper_opening=self._opening,
            gripper_command=self._opening,
            images=self._images,
            image_t_ns=dict.fromkeys(self._images, now),
            instruction=self._instruction,
        )

    def send(self, action: Floats) -> Floats:
        """Moves by `action` (A,), clipped to `EE_DELTA`, and returns what it did."""
        self._require_connected()
        sent = EE_DELTA.clip(action)
        self._pos = self._pos + sent[:3]
        self._quat = quat_multiply(quat_from_rotvec(sent[3:6]), self._quat)
        self._opening = float(sent[6])
        self._clock.advance(EE_DELTA.dt_s)
        self.sent.append(sent)
        return sent

    def hold(self) -> None:
        """Counts the call; a fake never drifts."""
        self.holds += 1

    def _require_connected(self) -> None:
        if not self._connected:
            raise DeviceNotConnected("used before it was connected", device="FakeRobot", remedy="enter it with `with`")


class FakeChat:
    """A chat model that says what it was told to, one prepared answer a question.

    Args:
        answers: What to say, in order: a text, or a whole `ChatAnswer` such as an error. The last one is repeated.
        polls: How many polls find nothing before the answer is there.
    """

    def __init__(self, answers: Sequence[str | ChatAnswer], *, polls: int = 0) -> None:
        self._answers = [ChatAnswer(text=a) if isinstance(a, str) else a for a in answers]
        self._polls = polls
        self._left: int | None = None
        self.prompts: list[str] = []
        """Every prompt it was asked."""
        self.images: list[tuple[Image, ...]] = []
        """The images of every question."""
        self.schemas: list[Mapping[str, Any]] = []
        """The schema of every question."""

    @property
    def model_id(self) -> str:
        """Always "fake"."""
        return "fake"

    def submit(self, prompt: str, images: Sequence[Image], schema: Mapping[str, Any]) -> None:
        """Notes the question; a newer one replaces an older one."""
        self.prompts.append(prompt)
        self.images.append(tuple(images))
        self.schemas.append(schema)
        self._left = self._polls

    def poll(self) -> ChatAnswer | None:
        """Returns the prepared answer once, after as many polls as it was told to let pass."""
        if self._left is None:
            return None
        if self._left > 0:
            self._left -= 1
            return None
        self._left = None
        return self._answers[min(len(self.prompts), len(self._answers)) - 1]


class ScriptedPolicy:
    """A policy that plans with a function of the observation.

    Args:
        plan: From the observation to chunk values (T, A), in `EE_DELTA` units.
        polls: How many polls find nothing before the chunk is there.
        features: Put into every chunk, shape (F,).
    """

    def __init__(
        self, plan: Callable[[Observation], Floats], *, polls: int = 0, features: Floats | None = None
    ) -> None:
        self._plan, self._polls = plan, polls
        self._features = np.zeros(0) if features is None else features
        self._pending: tuple[Observation, int] | None = None
        self.resets = 0
        """How often it was told to forget."""

    @property
    def policy_id(self) -> str:
        """Always "scripted@0"."""
        return "scripted@0"

    def submit(self, obs: Observation) -> None:
        """Takes the observation; a newer one replaces an older one."""
        self._pending = obs, self._polls

    def poll(self) -> ActionChunk | None:
        """Returns the planned chunk once, after as many polls as it was told to let pass."""
        if self._pending is None:
            return None
        obs, left = self._pending
        if left > 0:
            self._pending = obs, left - 1
            return None
        self._pending = None
        return ActionChunk(
            obs_t_ns=obs.t_ns,
            values=self._plan(obs),
            dt_s=EE_DELTA.dt_s,
            policy_id=self.policy_id,
            features=self._features,
        )

    def reset(self) -> None:
        """Drops what is in flight."""
        self._pending = None
        self.resets += 1


class FakeTracker:
    """A tracker that knows where everything is.

    Args:
        where: From the observation to positions (3,) [m] in base, by object name.
    """

    def __init__(self, where: Callable[[Observation], Mapping[str, Floats]]) -> None:
        self._where = where

    def track(self, obs: Observation) -> SceneState:
        """Returns every object as seen at this very instant."""
        objects = {
            name: TrackedObject(pos_in_base=pos, t_ns=obs.t_ns, confidence=1.0)
            for name, pos in self._where(obs).items()
        }
        return SceneState(t_ns=obs.t_ns, objects=objects, source="truth")

    def reset(self) -> None:
        """Does nothing: it remembers nothing."""


class FakeResidual:
    """A residual that corrects with a function.

    Args:
        rule: From observation, scene and base action to a correction (A,), dimensionless in [-1, 1].
    """

    def __init__(self, rule: Callable[[Observation, SceneState, Floats], Floats]) -> None:
        self._rule = rule
        self.resets = 0
        """How many attempts it was started for."""

    def correct(self, obs: Observation, scene: SceneState, base: Floats) -> Floats:
        """Returns what the rule says, shape (A,)."""
        return self._rule(obs, scene, base)

    def reset(self) -> None:
        """Counts a new attempt."""
        self.resets += 1


class ScriptedDiagnoser:
    """A diagnoser that answers with a function of the evidence.

    Args:
        answer: From the evidence to the answer; None never answers.
        polls: How many polls find nothing before the answer is there.
    """

    def __init__(self, answer: Callable[[Evidence], RecoveryDescriptor | None], *, polls: int = 0) -> None:
        self._answer, self._polls = answer, polls
        self._left = 0
        self._pending: RecoveryDescriptor | None = None
        self.asked: list[Evidence] = []
        """Everything it was shown."""

    def submit(self, evidence: Evidence) -> None:
        """Takes the evidence; a newer one replaces an older one."""
        self.asked.append(evidence)
        self._pending, self._left = self._answer(evidence), self._polls

    def poll(self) -> RecoveryDescriptor | None:
        """Returns the answer once, after as many polls as it was told to let pass."""
        if self._left > 0:
            self._left -= 1
            return None
        answer, self._pending = self._pending, None
        return answer


class ScriptedOperator:
    """A person who acts at known ticks.

    Args:
        inputs: What is asked, by the number of the poll, from 0.
    """

    def __init__(self, inputs: Mapping[int, OperatorInput]) -> None:
        self._inputs = dict(inputs)
        self._polls = 0

    def poll(self) -> OperatorInput | None:
        """Returns what was planned for this poll."""
        found = self._inputs.get(self._polls)
        self._polls += 1
        return found


class MemorySink:
    """A sink that keeps every step in `steps`."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        """Every step it was given, oldest first."""
        self.closed = False
        """Whether it was closed."""

    def write(self, step: Step) -> None:
        """Keeps the step."""
        self.steps.append(step)

    def close(self) -> None:
        """Notes that it was closed; the steps stay."""
        self.closed = True
