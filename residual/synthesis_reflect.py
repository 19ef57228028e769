"""A model in the two places where training asks for advice: what still fails, and how a scene could be easier.

Both answers are validated as everything a model says; a model that is silent, or whose reward the lint refuses, is
replaced by the embedded table, and that is written down. Wired by `regrasp`, called by `coach`.
"""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from core.clock import Clock
from core.ports import ChatModel
from core.rewards import RewardMask, RewardSpec
from residual.curriculum import SceneEdit, easing
from residual.lint import lint_reward
from residual.probes import Probing, Recorded, record_all
from residual.reflection import GOOD_ABOVE, Digest, Revision, TableReflector
from residual.synthesis import Synthesis, narrowed, reward_of
from residual.synthesis_case import Case
from residual.synthesis_dialogue import Check, Dialogue, Notebook, Script, synthesise
from residual.synthesis_io import synthesis_from_json, synthesis_to_json
from residual.synthesis_parse import parse_scene
from residual.synthesis_prompt import ask_scene
from residual.synthesis_table import TableSynthesiser


class RewardJudge:
    """Lints every reward that a model makes, in worlds of its own; what does not depend on the reward is seen once.

    Args:
        make: Returns where to probe; called at the first reward.
    """

    def __init__(self, make: Callable[[], Probing]) -> None:
        self._make = make
        self._seen: tuple[Probing, Recorded] | None = None

    def __call__(self, spec: RewardSpec) -> str:
        """Returns the checks that failed, "" when none did."""
        if self._seen is None:
            probing = self._make()
            self._seen = probing, record_all(probing)
        report = lint_reward(spec, self._seen[0], recorded=self._seen[1])
        return "; ".join(f"{c.name}: {c.value:.4g}, at least {c.needed:.4g} needed {c.note}" for c in report.failed)


class Adviser:
    """Who is asked during one training: a model, or nobody.

    Args:
        chat: The model; None: the table answers everything.
        clock: For deadlines.
        deadline_s: For each dialogue [s].
        root: Where its exchanges and revisions are kept.
        check: Asked about every reward that the model makes, see `RewardJudge`.
    """

    def __init__(
        self, chat: ChatModel | None, *, clock: Clock, deadline_s: float, root: Path, check: Check | None = None
    ) -> None:
        self.chat, self._clock, self._deadline_s, self._root, self._check = chat, clock, deadline_s, root, check
        self.notes: list[str] = []
        """What was asked and why the table answered, in plain words."""

    @property
    def revisions(self) -> Path:
        """Folder of the syntheses that reflections ended with."""
        return self._root / "revisions"

    def synthesis(self, case: Case, first: Synthesis | None = None) -> Synthesis:
        """Returns the model's reward for a case, the table's with the reason why when there is none.

        Args:
            case: What failed, or still fails.
            first: The present reward's, whose cause and plan still hold; None: the cause is asked for.
        """
        if self.chat is None:
            return TableSynthesiser().synthesise(case)
        made = synthesise(
            case,
            self._notebook(case, "synthesis" if first is None else "reflection"),
            clock=self._clock,
            deadline_s=self._deadline_s,
            analysis=None if first is None else first.analysis,
            check=self._check,
        )
        if made.fallback:
            self.notes.append(f"the table answered: {made.fallback}")
        return made

    def edits(self, case: Case) -> tuple[SceneEdit, ...]:
        """Returns how the scene may be made easier when hardly anything succeeds: the model's edits, else the table's.

        Args:
            case: What is being trained for.
        """
        if self.chat is None:
            return easing(case.manner, obstacle=bool(case.roles.obstacle))
        dialogue = Dialogue(self._notebook(case, "scene"), clock=self._clock, deadline_s=self._deadline_s)
        dialogue.submit(_scene_script(case), case.frames)
        ended = dialogue.wait()
        if ended.result is None:
            self.notes.append(f"the table edits the scene: {ended.why}")
            return easing(case.manner, obstacle=bool(case.roles.obstacle))
        found: tuple[SceneEdit, ...] = ended.result
        return found

    def _notebook(self, case: Case, what: str) -> Notebook:
        """Returns the record of one question; the same case has the same one, so that a run that goes on repeats it."""
        facts = f"{case.mode} {case.manner} {case.stage} {case.progress} {sorted(case.present)}"
        return Notebook(self.chat, self._root / f"{what}-{sha256(facts.encode()).hexdigest()[:12]}")


class ModelReflector:
    """Reflects with a model: queries two to four with what still fails, the history of the first two in the case.

    Args:
        adviser: Whom to ask.
        case: What is being trained for.
        first: What the training began with.
    """

    def __init__(self, adviser: Adviser, case: Case, first: Synthesis) -> None:
        self._adviser, self._case, self._first = adviser, case, first

    def reflect(self, digest: Digest) -> Revision | None:
        """Returns the model's mask, the table's when it has none, None to go on with the present one."""
        if self._adviser.chat is None or not digest.endings or digest.success > GOOD_ABOVE:
            return TableReflector().reflect(digest)
        case = replace(self._case, progress=_progress(digest), present=digest.mask.active)
        made = self._adviser.synthesis(case, self._first)
        if made.fallback:
            table = TableReflector().reflect(digest)
            return None if table is None else replace(table, why=f"{table.why} (no model: {made.fallback})")
        if reward_of(self._case, made).hash == self.recompile(digest.mask).hash:
            return None
        self._keep(made)
        mask = replace(digest.mask, active=made.selection.terms)
        return Revision(mask=mask, why=f"{made.model_id} at success {digest.success:.2f}: {_changed(digest, mask)}")

    def recompile(self, mask: RewardMask) -> RewardSpec:
        """Returns the reward of a mask: with the trees and numbers that came with it, or with more than it.

        Args:
            mask: From a revision, or the first one.

        Raises:
            ConfigError: A stage has no term that drives it.
        """
        known = [*reversed(self._revisions()), self._first]
        same = [s for s in known if s.selection.terms == mask.active]
        wider = [s for s in known if s.selection.terms > mask.active]
        chosen = (same or wider or [self._first])[0]
        return reward_of(self._case, narrowed(self._case, chosen, mask.active))

    def _keep(self, made: Synthesis) -> None:
        folder = self._adviser.revisions
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{len(self._revisions()) + 1:03d}.json"
        path.write_text(synthesis_to_json(made) + "\n")

    def _revisions(self) -> list[Synthesis]:
        return [synthesis_from_json(p.read_text()) for p in sorted(self._adviser.revisions.glob("*.json"))]


def _scene_script(case: Case) -> Script:
    return (yield ask_scene(case), lambda text: parse_scene(text, case))


def _progress(digest: Digest) -> str:
    stage, share = digest.stuck()
    where = f"; {share:.0%} of the failures are stuck at stage {stage!r}" if stage else ""
    return f"{digest.success:.0%} of the last {len(digest.endings)} recoveries succeed{where}."


def _changed(digest: Digest, mask: RewardMask) -> str:
    more, less = sorted(mask.active - digest.mask.active), sorted(digest.mask.active - mask.active)
    words = [f"with {', '.join(more)}" if more else "", f"without {', '.join(less)}" if less else ""]
    return " ".join(w for w in words if w) or "the same terms, other trees or numbers"
