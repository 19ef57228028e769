"""`regrasp bench faults`: breaks a running robot in every way in the table and compares what happens with what must.

Everything is real but the arm: the SDK, the wire, ROS 2, the processes. Times are taken from the twin's trace.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from core.errors import DeviceTimeout, RegraspError, unknown_name
from core.flow import Phase
from regrasp.fault_clock import CLOCK
from regrasp.fault_report import Outcome, table_text, write_report
from regrasp.fault_rig import Rig, RigConfig
from regrasp.fault_rows import (
    BOX,
    CAMERAS,
    DISK,
    HUNG,
    JUMP_DEG,
    KILLED,
    LIES,
    PEER,
    PEOPLE,
    POLICY,
    RULE_S,
    After,
    Row,
)
from regrasp.fault_trace import Stop, reaction
from regrasp.fault_vlm import VLM_GROUP, vlm_outcomes
from regrasp.loopback import free_port, own_address, own_domain
from regrasp.processes import Bringup

ROWS = (*BOX, *PEOPLE, *CAMERAS, *PEER, *POLICY, *DISK, *LIES, *CLOCK, *HUNG, *KILLED)
"""Every row, in the order in which they are run; rows in a row with the same needs share a robot."""
BEFORE_NS = 200_000_000
"""Trace looked at before the instant [ns]."""
PHASE_S = 5.0
"""A person is called within this: rules had 3 s to mend what stopped the arm [s]."""
LOOK_S = 1.0
"""How much longer than allowed the arm is watched [s]."""


@dataclass(frozen=True, kw_only=True)
class BenchFaultsConfig:
    """Break a running robot on purpose, in every way in the table."""

    only: tuple[str, ...] = ()
    """Groups of faults; all when none is given."""
    out: Path = Path("out/faults")
    """Folder for logs, recordings, faults.json and faults.md."""
    domain: int = -1
    """ROS domain, 0 to 101; -1: one that no other run uses."""


def bench_faults(config: BenchFaultsConfig) -> int:
    """Prints the table; returns 1 when a row differs from what is expected."""
    outcomes = list[Outcome]()
    with own_domain(config.domain) as domain:
        for outcome in _outcomes(replace(config, domain=domain)):
            outcomes.append(outcome)
            print(outcome.line(), flush=True)
    write_report(outcomes, config.out)
    print(table_text(outcomes))
    return int(any(not outcome.ok for outcome in outcomes))


def _outcomes(config: BenchFaultsConfig) -> Iterator[Outcome]:
    for number, (_, same) in enumerate(groupby(_chosen(config.only), key=_needs)):
        yield from _run_group(config, number, list(same))
    if not config.only or VLM_GROUP in config.only:
        yield from vlm_outcomes(_bringup(config, "vlm", "pi0"), _say)


def _chosen(only: Sequence[str]) -> list[Row]:
    groups = {row.group for row in ROWS} | {VLM_GROUP}
    for name in only:
        if name not in groups:
            raise unknown_name("group of faults", name, groups)
    return [row for row in ROWS if not only or row.group in only]


def _needs(row: Row) -> tuple[str, str, str]:
    """Returns what tells robots apart on which rows can be run; a robot that was killed is used for one row."""
    alone = row.name if row.after is After.NEW_GRAPH or row.lie else ""
    return row.lie, str(sorted(row.environment.items())), alone


def _run_group(config: BenchFaultsConfig, number: int, rows: Sequence[Row]) -> Iterator[Outcome]:
    waiting, robots = list(rows), 0
    while waiting:
        robots += 1
        bringup = _bringup(config, f"{number:02d}-{robots}", "sway")
        given = RigConfig(bringup=bringup, lie=rows[0].lie, environment=rows[0].environment)
        try:
            if rows[0].build is not None:
                rows[0].build()
        except RegraspError as error:
            yield _untried(waiting.pop(0), error)
            continue
        with Rig(given, _say) as rig:
            while waiting:
                outcome = _tried(rig, waiting.pop(0))
                yield outcome
                if outcome.broken:
                    break  # what it left behind must not colour the next row: a new robot


def _bringup(config: BenchFaultsConfig, folder: str, policy: str) -> Bringup:
    return Bringup(
        ip=own_address(), control_port=free_port(), domain=config.domain, policy=policy,
        out=(config.out / folder).absolute(),
    )  # fmt: skip


def _tried(rig: Rig, row: Row) -> Outcome:
    try:
        return _run(rig, row)
    except RegraspError as error:
        return _untried(row, error)


def _untried(row: Row, error: RegraspError) -> Outcome:
    """Returns the outcome of a row that could not be run to its end, which is never as expected."""
    return Outcome(row=row, stop=None, jump_deg=0.0, lost=None, phase="", ok=False, broken=True, note=str(error))


def _run(rig: Rig, row: Row) -> Outcome:
    rig.move()
    if row.prepare is not None:
        row.prepare(rig)
    t_ns = time.monotonic_ns()
    row.inject(rig)
    spent_s = (time.monotonic_ns() - t_ns) * 1e-9
    rig.robot.spin(max(0.0, (row.hold_s or 0.0) + LOOK_S - spent_s))
    stop = reaction(rig.twin.trace(t_ns - BEFORE_NS), t_ns)
    phase = _phase(rig, row)
    problem = _after(rig, row)
    jump_deg = reaction(rig.twin.trace(t_ns - BEFORE_NS), t_ns).jump_deg
    lost = rig.lost_steps(t_ns)
    problems = [p for p in (problem, *_differences(row, stop, jump_deg, lost, phase)) if p]
    return Outcome(
        row=row, stop=stop, jump_deg=jump_deg, lost=lost, phase=phase, ok=not problems,
        broken=row.after is After.NEW_GRAPH, note="; ".join(problems),
    )  # fmt: skip


def _phase(rig: Rig, row: Row) -> str:
    """Returns the loop's phase, once it is the one that is expected or when that has taken too long."""
    if row.phase is not None:
        with suppress(DeviceTimeout):
            rig.robot.wait(f"phase {row.phase}", lambda: rig.phase() == row.phase, PHASE_S)
    return rig.phase()


def _after(rig: Rig, row: Row) -> str:
    """Lets happen what is to happen after the rest; returns what differed, "" when nothing."""
    if row.after in (After.PERSON, After.NEW_GRAPH) and rig.moves():
        return "it moved before a person had acted"
    if row.undo is not None:
        row.undo(rig)
    if row.after is After.PERSON:
        if row.person is not None:
            row.person(rig)
        rig.resume()
    if row.after is After.NEW_GRAPH:
        back = row.undo is not None and rig.moves()
        return "it moved when the process came back, before a person had acted" if back else ""
    with _bounded(row.after):
        rig.robot.wait("the arm to move again", rig.moves, RULE_S)
    return ""


@contextmanager
def _bounded(after: After) -> Iterator[None]:
    """Says what was waited for when it did not come."""
    try:
        yield
    except RegraspError as error:
        raise RegraspError(f"expected: {after}; {error}") from error


def _differences(row: Row, stop: Stop, jump_deg: float, lost: int | None, phase: str) -> Iterator[str]:
    if row.hold_s is None and stop.hold_s is not None:
        yield f"it came to rest after {stop.hold_s:.3f} s, expected to go on"
    if row.hold_s is not None and (stop.hold_s is None or stop.hold_s > row.hold_s):
        found = "never" if stop.hold_s is None else f"after {stop.hold_s:.3f} s"
        yield f"at rest {found}, allowed {row.hold_s:.2f} s"
    if jump_deg > JUMP_DEG:
        yield f"a joint jumped {jump_deg:.2f} degrees, allowed {JUMP_DEG}"
    if lost:
        yield f"{lost} committed steps are not in the recording"
    if row.phase is not None and phase != row.phase:
        yield f"the loop went to {phase or Phase.RUNNING}, expected {row.phase}"


def _say(line: str) -> None:
    print(f"  {line}", flush=True)
