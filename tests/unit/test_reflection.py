"""The embedded reflector lifts one cost where recoveries are stuck, gives it back when they go well, else stays."""

import pytest

from core.failures import FailureMode
from core.manner import Manner
from core.rewards import RewardMask
from residual.reflection import HELD_BACK, Digest, Ending, TableReflector, recent

ALL = RewardMask(library="lib@1", active=frozenset({"approach", "jerkiness", "effort", "contact"}))
WON, LIFT, GRASP = (Ending(success=s, stuck=at) for s, at in ((True, ""), (False, "lift"), (False, "grasp")))


def digest(*endings: Ending, mask: RewardMask = ALL) -> Digest:
    return Digest(mode=FailureMode.DROP, manner=Manner.PLACE, mask=mask, default=ALL, endings=endings)


def without(*names: str) -> RewardMask:
    return RewardMask(library="lib@1", active=ALL.active - set(names))


def test_a_digest_says_how_many_succeeded_and_where_most_failures_were_stuck() -> None:
    shown = digest(WON, LIFT, LIFT, GRASP)
    assert shown.success == 0.25
    assert shown.stuck() == ("lift", pytest.approx(2 / 3))
    assert (digest().success, digest().stuck()) == (0.0, ("", 0.0))
    assert digest(WON, WON).stuck() == ("", 0.0)


def test_costs_are_lifted_one_at_a_time_in_their_order_and_terms_that_pay_never() -> None:
    lifted, mask = [], ALL
    for _ in range(4):
        revision = TableReflector().reflect(digest(LIFT, LIFT, WON, mask=mask))
        if revision is not None:
            lifted += sorted(mask.active - revision.mask.active)
            assert revision.mask.active < mask.active
            assert "stuck at lift" in revision.why
            mask = revision.mask
    assert lifted == [c for c in HELD_BACK if c in ALL.active] == ["effort", "jerkiness"]
    assert {"approach", "contact"} <= mask.active


@pytest.mark.parametrize(
    "endings",
    [
        (),
        (WON, LIFT),
        (Ending(success=False, stuck="align"), LIFT, GRASP),
    ],
    ids=["nothing ended", "half succeeds", "stuck here and there"],
)
def test_the_mask_stays_when_it_is_not_clear_that_a_change_helps(endings: tuple[Ending, ...]) -> None:
    assert TableReflector().reflect(digest(*endings)) is None


def test_lifted_costs_are_back_when_recoveries_go_well_and_not_before() -> None:
    good, fair = (WON,) * 19 + (LIFT,), (WON,) * 8 + (LIFT,) * 2
    revision = TableReflector().reflect(digest(*good, mask=without("effort")))
    assert revision is not None
    assert revision.mask == ALL
    assert "effort" in revision.why
    assert TableReflector().reflect(digest(*fair, mask=without("effort"))) is None
    assert TableReflector().reflect(digest(*good)) is None


def test_only_the_last_endings_are_shown() -> None:
    assert recent([LIFT] * 5 + [WON] * 3, most=4) == (LIFT, WON, WON, WON)
    assert len(recent([WON] * 900)) == 400
