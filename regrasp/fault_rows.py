"""Every fault the bench injects, and what is expected of each. Pure data and short functions; run by `bench_faults`.

What may move again by itself, and what waits for a person, follows from the rules in docs/safety.md.
"""

import os
import resource
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from core.flow import Phase
from regrasp.fault_rig import Rig

JUMP_DEG = 1.0
"""Largest jump of a joint at any stop, resume or re-arm [degrees]."""
WATCHDOG_S = 0.15
"""Dead runtime, lost link, stopped box: the arm is at rest within this [s]."""
E_STOP_S = 0.03
"""From the topic to controller state 4 [s]."""
CHUNK_S = 1.3
"""A policy that answers no more: the arm comes to rest when the last chunk ends [s]."""
IMAGE_S = 0.45
"""An image that is not renewed: 0.25 s old, one tick, and the way to rest [s]."""
FROZEN_S = 0.9
"""The same picture again and again: noticed when the slow arm has moved 0.012 rad, then as above [s]."""
RULE_S = 6.0
"""What rules mend by themselves is mended within this [s]."""
DISK_BYTES = 4096


class After(StrEnum):
    """What happens after the arm came to rest."""

    ITSELF = "moves again by itself"
    """A rule mends it, or the cause ends."""
    PERSON = "waits for a person"
    """Nothing moves until a person has acted; then it does."""
    NEW_GRAPH = "waits; process started anew"
    """The process is gone; the stack is started anew by a person."""
    NO_HOLD = "goes on"
    """It is no reason to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault."""

    group: str
    name: str
    inject: Callable[[Rig], None]
    hold_s: float | None
    """Longest time to rest [s]; None: the arm is not to stop."""
    after: After
    build: Callable[[], None] | None = None
    """Done before the graph is started; raises `ConfigError` when the row cannot be run here."""
    prepare: Callable[[Rig], None] | None = None
    """Done before the instant from which times are taken."""
    undo: Callable[[Rig], None] | None = None
    """Ends the cause, before the arm is expected to move again or a person acts."""
    person: Callable[[Rig], None] | None = None
    """What a person has to do besides resuming."""
    phase: Phase | None = None
    """Phase the loop must have gone to."""
    lie: str = ""
    """How the policy server lies from its third second on."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the whole graph needs for this row."""


def _fault(kind: str, duration_s: float = 0.3) -> Callable[[Rig], None]:
    return lambda rig: rig.twin.fault(kind, duration_s)


def _camera(fault: str, duration_s: float) -> Callable[[Rig], None]:
    return lambda rig: rig.twin.camera("front", fault, duration_s)


def _kill(name: str) -> Callable[[Rig], None]:
    return lambda rig: rig.graph.kill(name)


def _freeze(name: str) -> Callable[[Rig], None]:
    return lambda rig: rig.graph.freeze(name)


def _thaw(name: str) -> Callable[[Rig], None]:
    return lambda rig: rig.graph.thaw(name)


def _hold(rig: Rig) -> None:
    rig.robot.ask("runtime/hold")


def _fill_disk(rig: Rig) -> None:
    """Lets the recorder's files grow no further, which it meets as a full disk."""
    size = rig.recording().stat().st_size
    resource.prlimit(rig.graph.pid("recorder"), resource.RLIMIT_FSIZE, (size + DISK_BYTES, resource.RLIM_INFINITY))


def _free_disk(rig: Rig) -> None:
    limits = resource.RLIM_INFINITY, resource.RLIM_INFINITY
    resource.prlimit(rig.graph.pid("recorder"), resource.RLIMIT_FSIZE, limits)


def _flicker(rig: Rig) -> None:
    """Freezes the runtime for a moment: a peer that is gone and comes back with all it was about to say."""
    os.kill(rig.graph.pid("runtime"), signal.SIGSTOP)
    time.sleep(0.25)
    os.kill(rig.graph.pid("runtime"), signal.SIGCONT)


def nothing(rig: Rig) -> None:
    """Does nothing: what happens was set up before."""
    rig.robot.spin(0.0)


def _honest(rig: Rig) -> None:
    """Puts an honest policy server in the place of the one that lies."""
    rig.honest_policy()


def _wait_for_lie(rig: Rig) -> None:
    """Waits until the server has begun to lie: three seconds after its first answer, which came after the start."""
    time.sleep(max(0.0, rig.began_s + 3.0 - time.monotonic()))


BOX = (
    Row(group="box", name="collision (C31)", inject=_fault("collision"), hold_s=WATCHDOG_S, after=After.ITSELF),
    Row(group="box", name="joint limit (C23)", inject=_fault("joint_limit"), hold_s=WATCHDOG_S, after=After.ITSELF),
    Row(group="box", name="self-collision (C22)", inject=_fault("self_collision"), hold_s=WATCHDOG_S,
        after=After.ITSELF),
    Row(group="box", name="end effector (C19)", inject=_fault("end_effector"), hold_s=WATCHDOG_S, after=After.PERSON,
        phase=Phase.HOLDING),
    Row(group="box", name="servo (C12)", inject=_fault("servo"), hold_s=WATCHDOG_S, after=After.PERSON,
        phase=Phase.HOLDING),
    Row(group="box", name="e-stop button (C1)", inject=_fault("estop_button", 1.0), hold_s=WATCHDOG_S,
        after=After.PERSON, phase=Phase.HOLDING),
    Row(group="box", name="mode drop", inject=_fault("mode_drop"), hold_s=WATCHDOG_S, after=After.PERSON,
        phase=Phase.HOLDING),
    Row(group="box", name="stall 190 ms", inject=_fault("stall", 0.19), hold_s=None, after=After.NO_HOLD),
    Row(group="box", name="cable out 1 s", inject=_fault("unplug", 1.0), hold_s=WATCHDOG_S, after=After.PERSON,
        phase=Phase.HOLDING),
    Row(group="box", name="power cycle", inject=_fault("power_cycle", 1.0), hold_s=WATCHDOG_S, after=After.PERSON,
        phase=Phase.HOLDING),
)  # fmt: skip

POLICY = (
    Row(group="policy", name="server killed", inject=_kill("policy_server"), hold_s=CHUNK_S, after=After.ITSELF,
        undo=lambda rig: rig.graph.restart("policy_server")),
    Row(group="policy", name="server hung", inject=_freeze("policy_server"), hold_s=CHUNK_S, after=After.ITSELF,
        undo=_thaw("policy_server")),
)  # fmt: skip

LIES = tuple(
    Row(group="policy", name=name, inject=nothing, prepare=_wait_for_lie, hold_s=CHUNK_S, after=After.PERSON,
        lie=lie, phase=phase, person=_honest)
    for name, lie, phase in (
        ("NaN actions", "nan", Phase.HOLDING),
        ("actions out of range", "range", Phase.HOLDING),
        ("answers of a wrong shape", "shape", None),
        ("answers to an old question", "stale", None),
        ("answers 3 s late", "slow", None),
    )
)  # fmt: skip

CAMERAS = (
    Row(group="camera", name="frozen picture 0.1 s", inject=_camera("frozen", 0.1), hold_s=None,
        after=After.NO_HOLD),
    Row(group="camera", name="frozen picture 2 s", inject=_camera("frozen", 2.0), hold_s=FROZEN_S, after=After.PERSON,
        phase=Phase.HOLDING, undo=_camera("none", 0.0)),
    Row(group="camera", name="black picture 2 s", inject=_camera("black", 2.0), hold_s=IMAGE_S, after=After.PERSON,
        phase=Phase.HOLDING, undo=_camera("none", 0.0)),
    Row(group="camera", name="late pictures 2 s", inject=_camera("late", 2.0), hold_s=IMAGE_S, after=After.ITSELF,
        undo=_camera("none", 0.0)),
)  # fmt: skip

PEOPLE = (
    Row(group="person", name="e_stop topic", inject=lambda rig: rig.robot.e_stop(), hold_s=WATCHDOG_S,
        after=After.PERSON, phase=Phase.STOPPED),
    Row(group="person", name="hold service", inject=_hold, hold_s=2 * WATCHDOG_S, after=After.PERSON,
        phase=Phase.HOLDING),
)  # fmt: skip

DISK = (
    Row(group="disk", name="full disk", inject=_fill_disk, hold_s=1.0, after=After.PERSON, undo=_free_disk),
)  # fmt: skip

PEER = (
    Row(group="peer", name="runtime frozen 0.25 s (lost DDS peer)", inject=_flicker, hold_s=WATCHDOG_S,
        after=After.ITSELF),
)  # fmt: skip

HUNG = tuple(
    Row(group="hung", name=f"{name} (SIGSTOP)", inject=_freeze(name), hold_s=hold_s, after=after, undo=_thaw(name))
    for name, hold_s, after in (
        ("runtime", WATCHDOG_S, After.NEW_GRAPH),
        ("arm", WATCHDOG_S, After.NEW_GRAPH),
        ("camera", IMAGE_S, After.NEW_GRAPH),
    )
)

KILLED = tuple(
    Row(group="killed", name=f"{name} (SIGKILL)", inject=_kill(name), hold_s=hold_s, after=after)
    for name, hold_s, after in (
        ("runtime", WATCHDOG_S, After.NEW_GRAPH),
        ("arm", WATCHDOG_S, After.NEW_GRAPH),
        ("camera", IMAGE_S, After.NEW_GRAPH),
        ("recorder", 2 * WATCHDOG_S, After.NEW_GRAPH),
        ("supervisor", None, After.NO_HOLD),
    )
)
