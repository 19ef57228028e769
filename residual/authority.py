"""The authority test: can the residual channel recover at all? A scripted expert squeezed through it must.

Called before training and when a card is loaded. A small residual on an intact base cannot overrule a base that is
wrong; that shows here in seconds, not after training.
"""

from collections.abc import Sequence

from core.errors import ConfigError
from core.ports import Expert
from core.recovery import Rate
from core.worlds import FailureState
from residual.batch import RecoverySetup
from residual.evaluate import expert_actor, recovery_rate

REQUIRED_RATE = 0.95
"""Share of failure states that the squeezed expert must recover."""


def authority_test(setup: RecoverySetup, bank: Sequence[FailureState], expert: Expert) -> Rate:
    """Returns how many failure states the expert recovers through the channel, base against it.

    Args:
        setup: World, the base that must be overruled, the channel under test.
        bank: Failure states; a hundred or more say something.
        expert: Demonstrator over ground truth.
    """
    return recovery_rate(setup.hard(), bank, expert_actor(expert))


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
