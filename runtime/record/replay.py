"""Runs a recorded episode again through the same loop and compares every decision bit for bit.

Only what ports answered is fed; chunks are played, detectors and probe asked, phases advanced anew. So every field
failure can become a test. Called by `regrasp replay` and by tests.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from core.arrays import Floats
from core.episodes import Episode
from core.errors import ArtifactError
from core.flow import ActionChunk, Observation, OperatorInput, Step
from core.ports import Evidence
from core.recovery import RecoveryDescriptor
from core.scene import SceneState
from runtime.loop import FAULT, Loop, Ports
from runtime.plan import LoopPlan, build_loop
from runtime.record.codec import dumps, loads
from runtime.watch.panel import Watch

COMPARED = (
    "phase", "source", "chunk_t_ns", "base", "asked", "commanded", "clipped_by", "report", "next_phase", "note"
)  # fmt: skip
"""Fields of a step that are computed again, in the order in which they are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """The first difference between a record and its replay."""

    step: int
    """Index of the step."""
    field: str
    recorded: str
    replayed: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.field} was {self.recorded} when recorded, {self.replayed} in the replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay found."""

    steps: int
    """Steps that were computed again and are equal."""
    mismatch: Mismatch | None
    """None: all are equal."""
    fault: str = ""
    """What broke the recorded run in its last step, "" when nothing; that step cannot be computed again."""


def config_hash(config_json: str) -> str:
    """Returns the SHA-256 of a resolved configuration, hex, as it belongs into an episode's meta."""
    return hashlib.sha256(config_json.encode()).hexdigest()


def replay(episode: Episode, watches: Sequence[Watch] = ()) -> Replayed:
    """Returns whether the recorded steps reproduce themselves, or the first place where they do not.

    Args:
        episode: As read back, or as kept in memory.
        watches: Fresh detectors besides the standard ones, as the recorded loop had them.

    Raises:
        ArtifactError: The configuration in the meta is damaged.
    """
    meta = episode.meta
    if config_hash(meta.config_json) != meta.config_hash:
        raise ArtifactError(f"episode {meta.id}: config_json does not match config_hash; the record was changed")
    plan = loads(LoopPlan, meta.config_json)
    tape = _Tape()
    loop = build_loop(plan, _ports(tape, plan), watches)
    for count, step in enumerate(episode.steps):
        if step.note.startswith(FAULT):
            return Replayed(steps=count, mismatch=_phase_mismatch(loop, step), fault=step.note)
        mismatch = _again(loop, tape, step, count)
        if mismatch is not None:
            return Replayed(steps=count, mismatch=mismatch)
    return Replayed(steps=len(episode.steps), mismatch=None)


def _again(loop: Loop, tape: "_Tape", step: Step, count: int) -> Mismatch | None:
    if step.index != count:
        return Mismatch(step=count, field="index", recorded=f"missing (the next is {step.index})", replayed=str(count))
    tape.step = step
    try:
        replayed = loop.tick()
    except _NotRecorded as missing:
        return Mismatch(step=count, field=str(missing), recorded="nothing", replayed="asked for")
    unused = step.arrived.correction is not None and replayed.arrived.correction is None
    if unused:
        return Mismatch(step=count, field="arrived.correction", recorded="an answer", replayed="never asked for")
    return next((m for name in COMPARED if (m := _difference(name, step, replayed)) is not None), None)


def _difference(name: str, recorded: Step, replayed: Step) -> Mismatch | None:
    was, now = dumps(getattr(recorded, name)), dumps(getattr(replayed, name))
    return None if was == now else Mismatch(step=recorded.index, field=name, recorded=was, replayed=now)


def _phase_mismatch(loop: Loop, step: Step) -> Mismatch | None:
    if step.phase is loop.phase:
        return None
    return Mismatch(step=step.index, field="phase", recorded=step.phase.value, replayed=loop.phase.value)


class _NotRecorded(Exception):
    """The replay asked for an answer that the record does not hold; names it."""


class _Tape:
    """Where the replay stands."""

    step: Step


def _ports(tape: _Tape, plan: LoopPlan) -> Ports:
    residual = _TapeResidual(tape)
    return Ports(
        robot=_TapeRobot(tape),
        policy=_TapePolicy(tape),
        tracker=_TapeTracker(tape),
        clock=_TapeClock(tape),
        diagnoser=_TapeDiagnoser(tape),
        operator=_TapeOperator(tape),
        residuals={card.name: residual for card in plan.cards},
    )


@dataclass(frozen=True, slots=True)
class _TapeRobot:
    tape: _Tape

    def read(self) -> Observation:
        return self.tape.step.observation

    def send(self, action: Floats) -> Floats:
        sent = self.tape.step.arrived.sent
        if sent is None:
            raise _NotRecorded(f"arrived.sent, of {action.tolist()}")
        return sent

    def hold(self) -> None:
        """Nothing moves in a replay."""


@dataclass(frozen=True, slots=True)
class _TapePolicy:
    tape: _Tape

    @property
    def policy_id(self) -> str:
        return "recorded"

    def submit(self, obs: Observation) -> None:
        """The answers are on the tape."""

    def poll(self) -> ActionChunk | None:
        return self.tape.step.arrived.chunk

    def reset(self) -> None:
        """Nothing is remembered."""


@dataclass(frozen=True, slots=True)
class _TapeTracker:
    tape: _Tape

    def track(self, obs: Observation) -> SceneState:
        scene = self.tape.step.arrived.scene
        if scene is None:
            raise _NotRecorded(f"arrived.scene, at {obs.t_ns} ns")
        return scene

    def reset(self) -> None:
        """Nothing is remembered."""


@dataclass(frozen=True, slots=True)
class _TapeResidual:
    tape: _Tape

    def correct(self, obs: Observation, scene: SceneState, base: Floats) -> Floats:
        correction = self.tape.step.arrived.correction
        if correction is None:
            asked = f"with base {base.tolist()} and the scene of {scene.t_ns} ns"
            raise _NotRecorded(f"arrived.correction, at {obs.t_ns} ns {asked}")
        return correction

    def reset(self) -> None:
        """Nothing is remembered."""


@dataclass(frozen=True, slots=True)
class _TapeDiagnoser:
    tape: _Tape

    def submit(self, evidence: Evidence) -> None:
        """The answers are on the tape."""

    def poll(self) -> RecoveryDescriptor | None:
        return self.tape.step.arrived.descriptor


@dataclass(frozen=True, slots=True)
class _TapeOperator:
    tape: _Tape

    def poll(self) -> OperatorInput | None:
        return self.tape.step.arrived.operator


@dataclass(frozen=True, slots=True)
class _TapeClock:
    tape: _Tape

    def now_ns(self) -> int:
        return self.tape.step.arrived.now_ns

    def sleep_until(self, t_ns: int) -> None:
        """Time is on the tape."""
