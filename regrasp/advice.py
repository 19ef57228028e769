"""A model's advice for one training: the reward to begin with, who reflects, how scenes may be eased. For training.

Without a model the same structures come from the diagnosis table. Everything asked lies in the training's folder, so
that a training that goes on asks nothing twice.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bridge.chat import ChatConfig, OpenAiChat
from core.clock import MonotonicClock
from core.rewards import RewardSpec
from residual.coach import Reflection
from residual.curriculum import SceneEdit
from residual.synthesis import Synthesis, descriptor_of, reward_of
from residual.synthesis_case import Case
from residual.synthesis_dialogue import Check
from residual.synthesis_io import synthesis_to_json
from residual.synthesis_reflect import Adviser, ModelReflector

DIALOGUE_ANSWERS = 5.0
"""A dialogue may take as long as so many of the longest answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What was advised for a training, and who can be asked again."""

    case: Case
    first: Synthesis
    """What the training begins with."""
    adviser: Adviser

    def spec(self) -> RewardSpec:
        """Returns the reward that the training begins with."""
        return reward_of(self.case, self.first)

    def edits(self) -> tuple[SceneEdit, ...]:
        """Returns how scenes may be eased while hardly anything succeeds."""
        return self.adviser.edits(self.case)

    def reflection(self) -> Reflection:
        """Returns who looks at what still fails, every few rounds."""
        reflector = ModelReflector(self.adviser, self.case, self.first)
        return Reflection(
            mode=self.case.mode,
            manner=self.case.manner,
            mask=descriptor_of(self.case, self.first).mask,
            reflector=reflector,
            recompile=reflector.recompile,
        )


@contextmanager
def advised(case: Case, chat: ChatConfig | None, folder: Path, check: Check | None = None) -> Iterator[Advice]:
    """Asks for a reward and keeps the model at hand for as long as the block lasts.

    Args:
        case: What is trained for.
        chat: Which model; None: the table.
        folder: Where exchanges, pictures and revisions go.
        check: Asked about every reward that the model makes, see `RewardJudge`.

    Raises:
        ArtifactError: Another dialogue is on record in the folder.
    """
    with ExitStack() as stack:
        model = None if chat is None else stack.enter_context(OpenAiChat(chat))
        patience_s = DIALOGUE_ANSWERS * (1.0 if chat is None else chat.deadline_s)
        adviser = Adviser(model, clock=MonotonicClock(), deadline_s=patience_s, root=folder, check=check)
        first = adviser.synthesis(case)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "synthesis.json").write_text(synthesis_to_json(first) + "\n")
        yield Advice(case=case, first=first, adviser=adviser)
