"""A vision-language model as a diagnoser: asks once, repairs once, then says unknown. Wired by `regrasp`.

Whatever the model does - nonsense, silence, an error - the answer is a descriptor and the loop goes on holding the arm
until it comes or the loop's own time limit ends the wait.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.arrays import Image
from core.clock import Clock
from core.errors import BadAnswer, ServiceError
from core.failures import FailureMode
from core.ports import ChatAnswer, ChatModel, Evidence
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.rewards import RewardMask
from runtime.recover.answer import parse_answer
from runtime.recover.prompt import PROMPT_VERSION, Allowed, answer_schema, question, repair

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatUsage:
    """What a model has cost so far."""

    calls: int = 0
    repairs: int = 0
    """Calls that asked again after an answer that did not validate."""
    unknown: int = 0
    """Diagnoses that ended without a valid answer."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    """[USD]"""
    seconds: float = 0.0
    """Waited for answers [s]."""


class VlmDiagnoser:
    """Asks a chat model what failed.

    Args:
        chat: The model.
        allowed: Names an answer may use.
        library: Reward library of the terms, name@version.
        clock: For the deadline.
        deadline_s: From the question to the last answer, repair included [s].
        precision: Share of this model's answers that were right when it was measured, [0, 1]; scales its stated
            confidence, which no model calibrates by itself.
    """

    def __init__(
        self,
        chat: ChatModel,
        allowed: Allowed,
        *,
        library: str,
        clock: Clock,
        deadline_s: float,
        precision: float = 1.0,
    ) -> None:
        self._chat, self._allowed, self._library = chat, allowed, library
        self._clock, self._deadline_s, self._precision = clock, deadline_s, precision
        self._schema = answer_schema(allowed)
        self._question: _Question | None = None
        self._usage = ChatUsage()

    @property
    def usage(self) -> ChatUsage:
        """Calls, tokens and cost since the start."""
        return self._usage

    @property
    def model_id(self) -> str:
        """Model and prompt version, name@version."""
        return f"{self._chat.model_id}@{PROMPT_VERSION}"

    def submit(self, evidence: Evidence) -> None:
        """Asks; a newer question replaces an older one."""
        shown, images = _pictures(evidence)
        text = question(evidence, self._allowed, shown)
        self._question = _Question(
            evidence=evidence, text=text, images=images, asked_ns=self._clock.now_ns(), repaired=False
        )
        self._ask(text)

    def poll(self) -> RecoveryDescriptor | None:
        """Returns the diagnosis once, mode UNKNOWN when there is no valid answer in time."""
        asked = self._question
        if asked is None:
            return None
        try:
            said = self._chat.poll()
        except ServiceError as error:
            said = ChatAnswer(text="", error=str(error))
        if said is not None:
            self._count(said)
            return self._read(asked, said)
        if (self._clock.now_ns() - asked.asked_ns) * 1e-9 < self._deadline_s:
            return None
        return self._unknown(asked, f"no answer within {self._deadline_s:g} s")

    def _read(self, asked: "_Question", said: ChatAnswer) -> RecoveryDescriptor | None:
        if said.error:
            return self._unknown(asked, said.error)
        try:
            return self._descriptor(asked, said.text)
        except BadAnswer as problem:
            if asked.repaired:
                return self._unknown(asked, f"answer refused twice: {problem}")
            self._question = replace(asked, repaired=True)
            self._usage = replace(self._usage, repairs=self._usage.repairs + 1)
            self._ask(repair(asked.text, said.text, str(problem)))
            return None

    def _ask(self, text: str) -> None:
        self._usage = replace(self._usage, calls=self._usage.calls + 1)
        self._chat.submit(text, self._question.images if self._question else (), self._schema)

    def _count(self, said: ChatAnswer) -> None:
        usage = self._usage
        self._usage = replace(
            usage,
            prompt_tokens=usage.prompt_tokens + said.prompt_tokens,
            completion_tokens=usage.completion_tokens + said.completion_tokens,
            cost_usd=usage.cost_usd + said.cost_usd,
            seconds=usage.seconds + said.seconds,
        )

    def _descriptor(self, asked: "_Question", text: str) -> RecoveryDescriptor:
        answer = parse_answer(text, self._allowed)
        self._question = None
        return RecoveryDescriptor(
            report_id=asked.evidence.report.id,
            mode=answer.mode,
            stage=answer.stage,
            target=answer.target,
            obstacles=answer.obstacles,
            mask=RewardMask(library=self._library, active=answer.terms),
            confidence=answer.confidence * self._precision,
            model_id=self.model_id,
            rationale=answer.rationale,
        )

    def _unknown(self, asked: "_Question", why: str) -> RecoveryDescriptor:
        log.warning("diagnosis unknown model=%s report=%s why=%s", self.model_id, asked.evidence.report.id, why)
        self._question = None
        self._usage = replace(self._usage, unknown=self._usage.unknown + 1)
        return RecoveryDescriptor(
            report_id=asked.evidence.report.id,
            mode=FailureMode.UNKNOWN,
            stage=RecoveryStage.RETREAT,
            target="",
            obstacles=(),
            mask=RewardMask(library=self._library, active=frozenset()),
            confidence=0.0,
            model_id=self.model_id,
            rationale=why,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What is being asked."""

    evidence: Evidence
    text: str
    images: Sequence[Image]
    asked_ns: int
    repaired: bool
    """Whether the repair was already spent."""


def _pictures(evidence: Evidence) -> tuple[tuple[str, ...], tuple[Image, ...]]:
    """Returns what each image shows, and the images, camera by camera, oldest first."""
    named = [
        (f"camera {camera}, {i + 1} of {len(images)}, oldest first", picture)
        for camera, images in sorted(evidence.images.items())
        for i, picture in enumerate(images)
    ]
    return tuple(n for n, _ in named), tuple(p for _, p in named)
