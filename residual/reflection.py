"""Re-reflection: every few rounds of training, somebody looks at what still fails and may change the reward's mask.

A vision-language model in dialogue and the embedded `TableReflector` answer the same question with the same value. The
mask may change; what was learned, the successes and the history are kept. Called by `coach`.
Source: Reflective Self-Adaptation, which reflects on recent failures every 5 collection rounds.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from core.failures import FailureMode
from core.manner import Manner
from core.rewards import RewardMask


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one training recovery ended."""

    success: bool
    stuck: str
    """The first stage that was not done, "" after a success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What a reflector is shown: the recoveries since it was asked last."""

    mode: FailureMode
    manner: Manner
    mask: RewardMask
    """As it is now."""
    default: RewardMask
    """As it was at the start."""
    endings: tuple[Ending, ...]

    @property
    def success(self) -> float:
        """Share of successes, 0 when nothing ended."""
        return sum(e.success for e in self.endings) / len(self.endings) if self.endings else 0.0

    def stuck(self) -> tuple[str, float]:
        """Returns the stage at which most failures were stuck, and their share of all failures; ("", 0) without any."""
        counts = Counter(e.stuck for e in self.endings if not e.success)
        if not counts:
            return "", 0.0
        stage, count = counts.most_common(1)[0]
        return stage, count / counts.total()


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A reflector's answer."""

    mask: RewardMask
    why: str
    """Plain words for the log."""


class Reflector(Protocol):
    """Looks at what still fails."""

    def reflect(self, digest: Digest) -> Revision | None:
        """Returns another mask, or None to go on with the present one."""
        ...


HELD_BACK = ("effort", "jerkiness", "speeding", "intrusion", "disturbed", "acceleration")
"""Costs that may keep a policy from trying, in the order in which they are lifted."""
HARD_BELOW = 0.5
"""Success below this share is worth a change."""
GOOD_ABOVE = 0.9
"""Success above this share lets lifted costs return."""
STUCK_SHARE = 0.4
"""So many failures at one stage say where the trouble is."""


class TableReflector:
    """The embedded reflector: lifts one cost where recoveries are stuck at a stage, gives it back when they go well.

    A table, not a model: what it changes is limited to costs, so that the potential, and with it what counts as
    progress, stays as it was compiled.
    """

    def reflect(self, digest: Digest) -> Revision | None:
        """Returns the mask with one cost less or with all costs again, None when neither is called for."""
        lifted = digest.default.active - digest.mask.active
        if digest.success > GOOD_ABOVE and lifted:
            return Revision(mask=digest.default, why=f"success {digest.success:.2f}: costs {sorted(lifted)} are back")
        stage, share = digest.stuck()
        if digest.success >= HARD_BELOW or share < STUCK_SHARE:
            return None
        cost = next((c for c in HELD_BACK if c in digest.mask.active), None)
        if cost is None:
            return None
        mask = RewardMask(library=digest.mask.library, active=digest.mask.active - {cost})
        return Revision(mask=mask, why=f"{share:.0%} of failures are stuck at {stage}: cost {cost!r} is lifted")


def recent(endings: Sequence[Ending], most: int = 400) -> tuple[Ending, ...]:
    """Returns the last endings, at most `most`."""
    return tuple(endings[-most:])
