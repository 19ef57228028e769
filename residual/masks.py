"""The default reward mask of each manner and failure mode. Called by diagnosers' wiring when a model names no mask."""

from collections.abc import Mapping
from types import MappingProxyType

from core.failures import FailureMode
from core.rewards import RewardMask
from core.subtasks import Manner
from residual.library import LIBRARY
from residual.templates import TEMPLATES, Template, find_template, leaves


def default_mask(mode: FailureMode, manner: Manner = Manner.PLACE) -> RewardMask:
    """Returns the mask for `mode` in sub-tasks of that manner: every term of its template.

    Raises:
        ConfigError: That manner has no template for that mode.
    """
    return RewardMask(library=LIBRARY.id, active=_terms(find_template(manner, mode)))


def _terms(template: Template) -> frozenset[str]:
    values = {n.term for s in template.stages for n in leaves(s.value)}
    return frozenset(values | {c.term for c in template.costs})


MASKS: Mapping[Manner, Mapping[FailureMode, frozenset[str]]] = MappingProxyType(
    {manner: MappingProxyType({m: _terms(t) for m, t in modes.items()}) for manner, modes in TEMPLATES.items()}
)
"""Active terms by manner and mode."""
