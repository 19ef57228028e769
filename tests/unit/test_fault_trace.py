"""What a trace of the arm says about a stop; and how the fault bench tells it."""

import json

import numpy as np
import pytest

from bridge.twin_control import TwinTrace
from core.flow import Phase
from regrasp.bench_faults import ROWS
from regrasp.fault_report import HEAD, Outcome, table_text, write_report
from regrasp.fault_rows import After, Row, nothing
from regrasp.fault_trace import REST_S, Stop, jump_deg, reaction

CYCLE_S = 0.004
BEFORE_S = 0.2
SPEED = 0.3


def trace(speed_of_t, *, seconds=2.0, leap_at=None, leap_rad=0.0):
    """A trace whose third joint moves at a speed [rad/s] that depends on the time since the instant [s]."""
    t_s = np.arange(-BEFORE_S, seconds, CYCLE_S)
    joints = np.zeros((len(t_s), 7))
    joints[:, 2] = np.cumsum([speed_of_t(t) * CYCLE_S for t in t_s])
    if leap_at is not None:
        joints[t_s >= leap_at, 5] += leap_rad
    none = np.zeros(len(t_s), dtype=np.int64)
    return TwinTrace(
        t_ns=np.round(1e12 + t_s * 1e9).astype(np.int64), joint_pos=joints, joint_target=joints, state=none, error=none
    )


INSTANT_NS = 1_000_000_000_000


def stopping_at(rest_s, resumes_s=np.inf):
    return lambda t: SPEED if t < rest_s or t >= resumes_s else 0.0


@pytest.mark.parametrize("rest_s", [0.05, 0.148, 0.9])
def test_the_time_to_rest_is_measured_from_the_instant(rest_s):
    found = reaction(trace(stopping_at(rest_s)), INSTANT_NS)
    assert found.hold_s == pytest.approx(rest_s, abs=0.02)
    assert found.hold_s >= rest_s - CYCLE_S, "a stop is never said to be sooner than it was"
    assert found.target_held_s == found.hold_s
    assert found.resumed_s is None


def test_an_arm_that_goes_on_never_rests():
    found = reaction(trace(lambda t: SPEED), INSTANT_NS)
    assert (found.hold_s, found.target_held_s, found.resumed_s) == (None, None, None)


def test_a_short_pause_is_no_rest():
    found = reaction(trace(lambda t: 0.0 if 0.1 < t < 0.1 + 0.5 * REST_S else SPEED), INSTANT_NS)
    assert found.hold_s is None


def test_slow_drift_is_rest_and_slow_motion_is_none():
    assert reaction(trace(lambda t: 0.005), INSTANT_NS).hold_s is not None
    assert reaction(trace(lambda t: 0.02), INSTANT_NS).hold_s is None


def test_a_rest_before_the_instant_does_not_count():
    assert reaction(trace(lambda t: 0.0 if t < -0.01 else SPEED), INSTANT_NS).hold_s is None


def test_it_says_when_the_arm_moved_again():
    found = reaction(trace(stopping_at(0.1, resumes_s=1.0)), INSTANT_NS)
    assert found.hold_s == pytest.approx(0.1, abs=0.02)
    assert found.resumed_s == pytest.approx(1.0, abs=0.02)


def test_targets_are_judged_on_their_own():
    moving, still = trace(lambda t: SPEED), trace(lambda t: 0.0)
    mixed = TwinTrace(
        t_ns=moving.t_ns, joint_pos=moving.joint_pos, joint_target=still.joint_target, state=moving.state,
        error=moving.error,
    )  # fmt: skip
    found = reaction(mixed, INSTANT_NS)
    assert found.hold_s is None
    assert found.target_held_s == pytest.approx(0.0, abs=CYCLE_S)


def test_a_jump_of_any_joint_is_seen_wherever_it_is():
    for at in (0.02, 1.2):
        found = reaction(trace(stopping_at(0.1), leap_at=at, leap_rad=np.radians(3.0)), INSTANT_NS)
        assert 2.9 < found.jump_deg < 3.3


def test_smooth_motion_is_no_jump():
    found = reaction(trace(stopping_at(0.1)), INSTANT_NS)
    assert found.jump_deg == pytest.approx(np.degrees(SPEED * 0.01), abs=0.1)


def test_a_trace_that_is_too_short_says_nothing():
    assert reaction(trace(lambda t: SPEED, seconds=-BEFORE_S + 2 * CYCLE_S), INSTANT_NS).hold_s is None
    assert jump_deg(np.zeros(2), np.zeros((2, 7))) == 0.0


ROW = Row(group="box", name="collision", inject=nothing, hold_s=0.15, after=After.ITSELF)
GOOD = Outcome(
    row=ROW, stop=Stop(hold_s=0.12, target_held_s=0.1, jump_deg=0.4, resumed_s=1.0), jump_deg=0.4, lost=0,
    phase=str(Phase.RUNNING), ok=True, broken=False, note="",
)  # fmt: skip
UNTRIED = Outcome(row=ROW, stop=None, jump_deg=0.0, lost=None, phase="", ok=False, broken=True, note="no compiler")


def test_a_row_tells_what_was_expected_and_what_was_found():
    assert GOOD.cells() == (
        "box", "collision", "rest within 0.15 s, moves again by itself", "0.120 s", "0.40", "0", "running",
        "as expected",
    )  # fmt: skip


def test_what_was_not_measured_is_never_told_as_a_figure():
    assert UNTRIED.cells()[3:6] == ("not measured", "0.00", "?")
    assert UNTRIED.cells()[-1] == "no compiler"
    assert "no rest" in Outcome(
        row=ROW, stop=Stop(hold_s=None, target_held_s=None, jump_deg=0.0, resumed_s=None), jump_deg=0.0, lost=0,
        phase="", ok=False, broken=False, note="",
    ).cells()  # fmt: skip


def test_the_summary_names_every_row_that_differs():
    said = table_text([GOOD, UNTRIED])
    assert said.startswith("1 of 2 rows as expected")
    assert "slowest rest 0.120 s" in said
    assert "box: collision: no compiler" in said
    assert table_text([GOOD]).count("\n") == 0


def test_a_line_is_red_when_it_differs():
    assert GOOD.line().startswith("\x1b[32m")
    assert UNTRIED.line().startswith("\x1b[31m")


def test_the_report_is_written_for_people_and_programs(tmp_path):
    write_report([GOOD, UNTRIED], tmp_path / "new")
    rows = json.loads((tmp_path / "new/faults.json").read_text())
    assert [row["ok"] for row in rows] == [True, False]
    assert set(rows[0]) == {*HEAD, "ok"}
    lines = (tmp_path / "new/faults.md").read_text().splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1


def test_every_row_of_the_bench_has_a_name_of_its_own_and_says_when_the_arm_must_rest():
    assert len({(row.group, row.name) for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert (row.hold_s is None) == (row.after is After.NO_HOLD), row.name
