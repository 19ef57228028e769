"""The transition table, over every phase and every input."""

from itertools import product

import pytest

from core.flow import Phase
from runtime.phases import HOLDS, PLANS, Input, next_phase

RUNNING, DIAGNOSING, RECOVERING = Phase.RUNNING, Phase.DIAGNOSING, Phase.RECOVERING
HOLDING, OPERATOR, STOPPED = Phase.HOLDING, Phase.OPERATOR, Phase.STOPPED

EXPECTED = {
    #                   RUNNING      DIAGNOSING   RECOVERING   HOLDING   OPERATOR  STOPPED
    Input.STOP:        (STOPPED,     STOPPED,     STOPPED,     STOPPED,  STOPPED,  STOPPED),
    Input.RESET:       (RUNNING,     DIAGNOSING,  RECOVERING,  HOLDING,  OPERATOR, HOLDING),
    Input.HOLD:        (HOLDING,     HOLDING,     HOLDING,     HOLDING,  HOLDING,  STOPPED),
    Input.TAKE_OVER:   (OPERATOR,    OPERATOR,    OPERATOR,    OPERATOR, OPERATOR, STOPPED),
    Input.RESUME:      (RUNNING,     RUNNING,     RUNNING,     RUNNING,  RUNNING,  STOPPED),
    Input.BLIND:       (HOLDING,     HOLDING,     HOLDING,     HOLDING,  HOLDING,  STOPPED),
    Input.EXHAUSTED:   (HOLDING,     HOLDING,     HOLDING,     HOLDING,  OPERATOR, STOPPED),
    Input.FAILURE:     (DIAGNOSING,  DIAGNOSING,  DIAGNOSING,  HOLDING,  OPERATOR, STOPPED),
    Input.UNKNOWN:     (RUNNING,     HOLDING,     RECOVERING,  HOLDING,  OPERATOR, STOPPED),
    Input.CLEARED:     (RUNNING,     RUNNING,     RECOVERING,  HOLDING,  OPERATOR, STOPPED),
    Input.DIAGNOSED:   (RUNNING,     RECOVERING,  RECOVERING,  HOLDING,  OPERATOR, STOPPED),
    Input.RECOVERED:   (RUNNING,     DIAGNOSING,  RUNNING,     HOLDING,  OPERATOR, STOPPED),
    Input.TIMEOUT:     (RUNNING,     HOLDING,     HOLDING,     HOLDING,  HOLDING,  STOPPED),
    Input.NOTHING:     (RUNNING,     DIAGNOSING,  RECOVERING,  HOLDING,  OPERATOR, STOPPED),
}  # fmt: skip
ORDER = (RUNNING, DIAGNOSING, RECOVERING, HOLDING, OPERATOR, STOPPED)


@pytest.mark.parametrize(("phase", "event"), list(product(Phase, Input)))
def test_every_phase_and_input_leads_where_the_law_says(phase: Phase, event: Input) -> None:
    assert next_phase(phase, event) is EXPECTED[event][ORDER.index(phase)]


def test_the_expected_table_covers_every_phase_and_input() -> None:
    assert set(EXPECTED) == set(Input)
    assert set(ORDER) == set(Phase)


def test_only_a_person_leads_out_of_holding_and_stopped() -> None:
    persons = {Input.STOP, Input.RESET, Input.HOLD, Input.TAKE_OVER, Input.RESUME}
    for event in set(Input) - persons:
        assert next_phase(HOLDING, event) is HOLDING
        assert next_phase(STOPPED, event) is STOPPED


def test_no_input_moves_the_arm_straight_out_of_stopped() -> None:
    assert {next_phase(STOPPED, event) for event in Input} <= HOLDS


def test_the_policy_is_never_asked_while_a_person_is_waited_for() -> None:
    assert not PLANS & {HOLDING, STOPPED, OPERATOR}
