"""The authority test: can the residual channel recover at all? A scripted expert squeezed through it must.

Called before training and when a card is loaded. A small residual on an intact base cannot overrule a base that is
wrong; that shows here in seconds, not after training.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from core.errors import ConfigError
from core.ports import Expert
from core.recovery import Rate
from core.robots import EE_DELTA, ResidualSpace
from core.worlds import FailureState
from residual.batch import RecoveryBatch, RecoverySetup
from residual.evaluate import expert_actor, recovered, recovery_rate

REQUIRED_RATE = 0.95
"""Share of failure states that the squeezed expert must recover, of those that it recovers with the arm to itself."""
REQUIRED_ABLE = 0.8
"""Share of failure states that the expert must recover with the arm to itself; the others say nothing of a channel."""


def authority_test(setup: RecoverySetup, bank: Sequence[FailureState], expert: Expert) -> Rate:
    """Returns how many failure states the expert recovers through the channel, base against it, of those it can at all.

    Args:
        setup: World, the base that must be overruled, the channel under test.
        bank: Failure states; a hundred or more say something.
        expert: Demonstrator over ground truth.

    Raises:
        ConfigError: No states, or the expert is lost in too many of them even without a base against it.
    """
    alone = RecoveryBatch(replace(setup.hard(), space=_UNOPPOSED), np.random.default_rng(0))
    able = recovered(alone, bank, expert_actor(expert))
    if able.mean() < REQUIRED_ABLE:
        raise ConfigError(
            f"the expert recovers {able.sum()}/{len(able)} failure states with the arm to itself within "
            f"{setup.config.episode_steps} steps; {REQUIRED_ABLE:.0%} are required: allow more steps, mend the expert, "
            f"or capture failures that can be recovered from"
        )
    return recovery_rate(setup.hard(), [s for s, good in zip(bank, able, strict=True) if good], expert_actor(expert))


_UNOPPOSED = ResidualSpace(dims=tuple(range(EE_DELTA.size)), alpha=np.zeros(EE_DELTA.size), beta=np.ones(EE_DELTA.size))
"""The base has no say."""


def require_authority(name: str, rate: Rate) -> None:
    """Refuses a skill or plan whose channel is too weak.

    Args:
        name: Of the skill or plan.
        rate: What `authority_test` returned.

    Raises:
        ConfigError: Below `REQUIRED_RATE`.
    """
    if not rate.rate >= REQUIRED_RATE:
        raise ConfigError(
            f"skill {name!r}: the expert recovers {rate.k}/{rate.n} failure states through its residual channel; "
            f"{REQUIRED_RATE:.0%} are required: lower alpha or raise beta (beta >= 2 alpha)"
        )
