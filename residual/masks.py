"""The default reward mask of each manner and failure mode. Called by diagnosers' wiring when a model names no mask."""

from collections.abc import Mapping
from types import MappingProxyType

from core.failures import FailureMode
from core.rewards import RewardMask
from core.subtasks import Manner
from residual.library import LIBRARY
from residual.stages import Fit, leaves
from residual.templates import MODES, find_template


def default_mask(mode: FailureMode, manner: Manner = Manner.PLACE) -> RewardMask:
    """Returns the mask for `mode` in sub-tasks of that manner: every term of its template.

    Raises:
        ConfigError: There is no template for that mode.
    """
    template = find_template(manner, mode, _ANY)
    values = {n.term for s in template.stages for n in leaves(s.value)}
    return RewardMask(library=LIBRARY.id, active=frozenset(values | {c.term for c in template.costs}))


_ANY = Fit(turns_rad=(0.0,))
"""Of the things that a template may be fitted to, those that use all of its terms."""

MASKS: Mapping[Manner, Mapping[FailureMode, frozenset[str]]] = MappingProxyType(
    {manner: MappingProxyType({mode: default_mask(mode, manner).active for mode in MODES}) for manner in Manner}
)
"""Active terms by manner and mode; every name is in `LIBRARY`."""
