"""The dialogue with a model that makes a reward: four questions, each repaired once at most, every exchange noted.

Nothing blocks: `submit` asks, `poll` looks. Whatever the model does - nonsense, silence, an error - the dialogue ends
with a synthesis or with the reason why there is none, and `synthesise` then lets the table answer. Called by training,
by reflection and by the command that synthesises.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from core.arrays import Image
from core.clock import Clock, ManualClock
from core.errors import ArtifactError, ConfigError, ContractError, ServiceError
from core.ports import ChatAnswer, ChatModel
from core.rewards import RewardSpec
from residual.compile import Origin
from residual.synthesis import CausalAnalysis, Instantiation, Synthesis, reward_of
from residual.synthesis_case import Case, picture_sha256
from residual.synthesis_parse import parse_analysis, parse_instantiation, parse_relations, parse_selection
from residual.synthesis_prompt import (
    PROMPT_VERSION,
    Question,
    ask_again,
    ask_analysis,
    ask_instantiation,
    ask_relations,
    ask_selection,
)
from residual.synthesis_record import Exchange, ExchangeFolder, RecordedChat
from residual.synthesis_table import TableSynthesiser

POLL_S = 0.01
"""How often a dialogue that is waited for is looked at [s]."""

Asked = tuple[Question, Callable[[str], Any]]
"""A question and what reads its answer or raises `ConfigError`."""
Script = Generator[Asked, Any, Any]
"""Yields questions, is sent what their answers were read as, returns what all of them make."""


class Notebook:
    """A model with a memory on disk: what is on record is not asked again, what is asked is put on record.

    Args:
        chat: The model; None: only the record speaks.
        root: Where the record lies; None: nothing is kept.

    Raises:
        ArtifactError: The record is damaged.
    """

    def __init__(self, chat: ChatModel | None, root: Path | None) -> None:
        self._folder = None if root is None else ExchangeFolder(root)
        kept = () if self._folder is None else self._folder.read()
        if chat is not None and self._folder is not None:
            kept = _answered(kept)
            self._folder.forget_after(len(kept))
        self._recorded, self._noted = len(kept), 0
        self.chat: ChatModel = RecordedChat(kept, chat)
        """Whom to ask."""
        self.exchanges: list[Exchange] = []
        """All of this dialogue, also those that were on record."""

    @property
    def on_record(self) -> int:
        """How many exchanges were on record at the start."""
        return self._recorded

    def note(self, exchange: Exchange, pictures: Sequence[Image]) -> None:
        """Takes an exchange; writes it unless it is on record."""
        self._noted += 1
        self.exchanges.append(exchange)
        if self._folder is not None and self._noted > self._recorded:
            self._folder.add(exchange, pictures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """How a dialogue ended."""

    result: Any
    """What its script returned, None when there is none."""
    why: str
    """Why there is none, "" when there is one."""


class Dialogue:
    """One dialogue at a time with one model.

    Args:
        notebook: The model and its record.
        clock: For the deadline.
        deadline_s: From the first question to the last answer, repairs included [s].
    """

    def __init__(self, notebook: Notebook, *, clock: Clock, deadline_s: float) -> None:
        self._notebook, self._clock, self._deadline_s = notebook, clock, deadline_s
        self._script: Script | None = None
        self._now: _Pending | None = None
        self._asked_ns = 0

    def submit(self, script: Script, pictures: Sequence[Image] = ()) -> None:
        """Begins a dialogue and returns at once; a newer one replaces an older one.

        Args:
            script: What to ask.
            pictures: Shown with the first question.

        Raises:
            ArtifactError: Another dialogue is on record.
        """
        self._script, self._asked_ns = script, self._clock.now_ns()
        self._ask(_Pending(asked=next(script), pictures=tuple(pictures)))

    def poll(self) -> Concluded | None:
        """Returns how the dialogue ended once, else None; raises as `submit` does."""
        if self._now is None:
            return None
        try:
            said = self._notebook.chat.poll()
        except ServiceError as error:
            said = ChatAnswer(text="", error=str(error) or type(error).__name__)
        if said is not None:
            return self._read(self._now, said)
        waited_s = (self._clock.now_ns() - self._asked_ns) * 1e-9
        if waited_s < self._deadline_s:
            return None
        late = ChatAnswer(text="", error=f"no answer within {self._deadline_s:g} s", seconds=waited_s)
        return self._read(self._now, late)

    def wait(self) -> Concluded:
        """Returns how the dialogue ends; takes as long as it takes, the deadline at most."""
        while (ended := self.poll()) is None:
            self._clock.sleep_until(self._clock.now_ns() + round(POLL_S * 1e9))
        return ended

    def _ask(self, pending: "_Pending") -> None:
        self._now = pending
        question = pending.asked[0]
        self._notebook.chat.submit(question.text, pending.pictures, question.schema)

    def _read(self, pending: "_Pending", said: ChatAnswer) -> Concluded | None:
        question, read = pending.asked
        if said.error:
            self._note(pending, said, said.error)
            return self._ended(None, f"{question.query}: {said.error}")
        try:
            value = read(said.text)
        except (ConfigError, ContractError) as error:
            return self._repair(pending, said, str(error))
        self._note(pending, said, "")
        return self._go_on(value)

    def _repair(self, pending: "_Pending", said: ChatAnswer, problem: str) -> Concluded | None:
        self._note(pending, said, problem)
        question, read = pending.asked
        if pending.repair:
            return self._ended(None, f"{question.query}: answer refused twice: {problem}")
        self._ask(replace(pending, asked=(ask_again(question, said.text, problem), read), repair=True))
        return None

    def _go_on(self, value: Any) -> Concluded | None:
        assert self._script is not None, "a dialogue that is asked has a script"
        try:
            following = self._script.send(value)
        except StopIteration as end:
            return self._ended(end.value, "")
        self._ask(_Pending(asked=following, pictures=()))
        return None

    def _ended(self, result: Any, why: str) -> Concluded:
        self._script = self._now = None
        return Concluded(result=result, why=why)

    def _note(self, pending: "_Pending", said: ChatAnswer, problem: str) -> None:
        exchange = Exchange(
            model_id=self._notebook.chat.model_id,
            query=str(pending.asked[0].query),
            repair=pending.repair,
            prompt=pending.asked[0].text,
            pictures=tuple(picture_sha256(p) for p in pending.pictures),
            answer=said,
            problem=problem,
        )
        self._notebook.note(exchange, pending.pictures)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    """What is being asked."""

    asked: Asked
    pictures: tuple[Image, ...]
    repair: bool = False


Check = Callable[[RewardSpec], str]
"""Says why a compiled reward may not be used, "" when it may: the lint, where there is something to probe it with."""


def synthesis_script(case: Case, *, analysis: CausalAnalysis | None = None, check: Check | None = None) -> Script:
    """Returns the four questions of a case; three when the cause is known. Ends in a `Synthesis` that compiles.

    Args:
        case: What failed.
        analysis: Known cause and plan.
        check: Asked about the compiled reward before it is taken.
    """
    if analysis is None:
        analysis = yield ask_analysis(case), parse_analysis
    selection = yield ask_selection(case, analysis), parse_selection
    known = analysis

    def joined(text: str) -> Synthesis:
        relations = parse_relations(text, case, selection)
        made = Synthesis(analysis=known, selection=selection, relations=relations, instantiation=Instantiation())
        reward_of(case, made)
        return made

    draft: Synthesis = yield ask_relations(case, analysis, selection), joined

    def numbered(text: str) -> Synthesis:
        made = replace(draft, instantiation=parse_instantiation(text, case, selection, draft.relations))
        spec = reward_of(case, made)
        if check is not None and (fault := check(spec)):
            raise ConfigError(f"the reward that this makes may not be trained on: {fault}")
        return made

    return (yield ask_instantiation(case, analysis, selection, draft.relations), numbered)


def synthesise(
    case: Case,
    notebook: Notebook,
    *,
    clock: Clock,
    deadline_s: float,
    analysis: CausalAnalysis | None = None,
    check: Check | None = None,
) -> Synthesis:
    """Returns a synthesis of a case: the model's, or the table's with the reason why.

    Args:
        case: What failed.
        notebook: The model and its record.
        clock: For the deadline.
        deadline_s: For all questions together [s].
        analysis: Known cause and plan; asked for when None.
        check: Asked about the model's compiled reward before it is taken.

    Raises:
        ArtifactError: Another dialogue is on record.
        ConfigError: No recovery is known for the case's mode.
    """
    dialogue = Dialogue(notebook, clock=clock, deadline_s=deadline_s)
    dialogue.submit(synthesis_script(case, analysis=analysis, check=check), case.frames)
    ended = dialogue.wait()
    if ended.result is None:
        return TableSynthesiser().synthesise(case, why=ended.why)
    made: Synthesis = ended.result
    return replace(made, model_id=f"{notebook.chat.model_id}@{PROMPT_VERSION}", origin=_origin(case, notebook))


def replayed(case: Case, root: Path) -> Synthesis:
    """Returns what a recorded dialogue about a case parses to; nobody is asked.

    Args:
        case: The same as then.
        root: Where it was recorded.

    Raises:
        ArtifactError: Nothing is recorded there, it is damaged, or it was about something else.
    """
    from_record = Notebook(None, root)
    if not from_record.on_record:
        raise ArtifactError(f"no exchanges are recorded in {root}; give the folder of a synthesis")
    return synthesise(case, from_record, clock=ManualClock(), deadline_s=1.0)


def _origin(case: Case, notebook: Notebook) -> Origin:
    digest = sha256("".join(e.prompt_sha256 for e in notebook.exchanges).encode())
    return Origin(prompt_sha256=digest.hexdigest(), frames_sha256=case.frames_sha256)


def _answered(kept: Sequence[Exchange]) -> tuple[Exchange, ...]:
    """Returns what is worth keeping of a record: all before the first question that got no answer."""
    cut = next((i for i, e in enumerate(kept) if e.answer.error), len(kept))
    return tuple(kept[:cut])
