"""The heartbeat: sense, act, watch, recover, record. Read this file first.

Laws: stop wins from every phase. Unknown means hold. The guard is last before `send`, for every source. Attempts are
bounded and their outcome is verified. Whatever breaks, the arm holds, what can be recorded is recorded, and the error
goes on to the caller. Recorded steps alone reproduce phases and commands bit for bit. Called by `run_episode`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from core.arrays import Floats
from core.flow import Arrived, Observation, Phase, Source, Step
from core.ports import Clock, Diagnoser, Operator, Policy, Residual, Robot, Sink, Tracker
from core.robots import ActionSpace
from runtime.arbiter import Trust, choose, halted, paced
from runtime.chunking import ChunkPlayer
from runtime.evidence import EvidenceWindow
from runtime.guard import Guard
from runtime.phases import HOLDS, PLANS, Input
from runtime.recover.recovery import Recovery, Turn
from runtime.watch.panel import Panel
from runtime.watch.slow import Slowdown

log = logging.getLogger(__name__)

FAULT = "fault: "
"""A step whose note begins so could not be finished: a port broke in that tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside the loop."""

    robot: Robot
    policy: Policy
    tracker: Tracker
    clock: Clock
    """The same clock the robot's and the cameras' times come from."""
    diagnoser: Diagnoser | None = None
    """None: a failure ends in HOLDING once the diagnosis times out."""
    operator: Operator | None = None
    residuals: Mapping[str, Residual] = field(default_factory=dict)
    """By name of skill card."""
    sinks: tuple[Sink, ...] = ()
    """Every one gets every step."""


class Loop:
    """One episode's heartbeat. Usually made by `build_loop`; the robot must be connected before the first tick.

    Args:
        ports: Everything outside.
        space: The action space.
        trust: How old sensing may be for the arm to move on it.
        player: Plays the policy's chunks.
        guard: Limits every command.
        panel: The detectors.
        recovery: Phases, attempts, budgets.
        window: What a diagnoser is shown.
        slowdown: Reduced speed after a SLOW report.
        task: Name of the task.
        pace: Share of the trained speed at which policy and skills move the arm.
    """

    def __init__(
        self,
        *,
        ports: Ports,
        space: ActionSpace,
        trust: Trust,
        player: ChunkPlayer,
        guard: Guard,
        panel: Panel,
        recovery: Recovery,
        window: EvidenceWindow,
        slowdown: Slowdown,
        task: str,
        pace: float = 1.0,
    ) -> None:
        self._ports, self._space, self._trust, self._task = ports, space, trust, task
        self._pace = pace
        self._player, self._guard, self._panel = player, guard, panel
        self._recovery, self._window, self._slowdown = recovery, window, slowdown
        self._index = 0
        self._so_far = _SoFar(phase=recovery.phase)

    @property
    def phase(self) -> Phase:
        """Phase of the next tick."""
        return self._recovery.phase

    def reset(self) -> None:
        """Starts a new episode: nothing of the last one is remembered."""
        self._ports.policy.reset()
        self._ports.tracker.reset()
        for part in (self._player, self._guard, self._panel, self._recovery, self._window, self._slowdown):
            part.reset()
        self._index = 0

    def tick(self) -> Step:
        """Runs one control period and returns all that happened in it.

        Raises:
            Exception: Whatever a port raised, after the arm was told to hold and the loop went to STOPPED.
        """
        self._so_far = _SoFar(phase=self.phase)
        try:
            obs, arrived = self._sense()
            step = self._act(obs, arrived)
            step = self._watch(step)
            step = self._recover(step)
            self._record(step)
        except BaseException as error:  # Ctrl-C too: whatever the reason, the arm must not go on
            self._fault(error)
            raise
        self._index += 1
        return step

    def hold(self) -> None:
        """Tells the robot to stop where it is; ends every episode."""
        self._ports.robot.hold()
        self._guard.reset()

    def leave(self) -> None:
        """Holds on the way out of an error, which stays the one the caller hears of."""
        _try("hold the robot", self.hold)

    def _sense(self) -> tuple[Observation, Arrived]:
        ports, now_ns = self._ports, self._ports.clock.now_ns()
        obs = self._so_far.obs = ports.robot.read()
        if obs.fault:
            self._wait_for_arm(now_ns)
        sound = not self._trust.objection(obs, now_ns)
        if self.phase in PLANS and sound and self._player.due(now_ns):
            ports.policy.submit(obs)
            self._player.asked(now_ns)
        arrived = self._so_far.arrived = Arrived(
            now_ns=now_ns,
            scene=ports.tracker.track(obs),
            chunk=ports.policy.poll(),
            descriptor=None if ports.diagnoser is None else ports.diagnoser.poll(),
            operator=None if ports.operator is None else ports.operator.poll(),
        )
        return obs, arrived

    def _wait_for_arm(self, now_ns: int) -> None:
        """Keeps the commanded pose at the measured one, so that an arm that follows again starts from where it is."""
        self.hold()
        self._player.renew(now_ns)

    def _act(self, obs: Observation, arrived: Arrived) -> Step:
        refused = "" if arrived.chunk is None else self._player.offer(arrived.chunk, arrived.now_ns)
        base = self._player.action(arrived.now_ns)
        arrived = replace(arrived, correction=self._correction(obs, arrived, base))
        skill = self._recovery.skill
        choice = choose(
            phase=self.phase,
            space=self._space,
            obs=obs,
            arrived=arrived,
            base=base,
            residual_space=None if skill is None else skill.card.space,
            objection=self._trust.objection(obs, arrived.now_ns),
        )
        choice = paced(choice, self._pace)
        guarded = self._guard.limit(choice.action, obs, self._slowdown.scale(arrived.now_ns))
        if guarded.release:
            self._ports.robot.hold()
        sent = self._ports.robot.send(guarded.action)
        self._guard.sent(sent, obs)
        return Step(
            index=self._index,
            observation=obs,
            arrived=replace(arrived, sent=sent),
            phase=self.phase,
            source=choice.source,
            base=base,
            asked=choice.action,
            commanded=guarded.action,
            clipped_by=guarded.clipped_by,
            report=None,
            next_phase=self.phase,
            note="; ".join(n for n in (choice.note, refused) if n),
            chunk_t_ns=self._player.chunk_t_ns,
        )

    def _correction(self, obs: Observation, arrived: Arrived, base: Floats | None) -> Floats | None:
        skill = self._recovery.skill
        if skill is None or base is None or arrived.scene is None or halted(arrived.operator):
            return None
        return skill.residual.correct(obs, arrived.scene, base)

    def _watch(self, step: Step) -> Step:
        report = self._panel.update(step)
        if report is None:
            return step
        self._slowdown.hear(report)
        return replace(step, report=report)

    def _recover(self, step: Step) -> Step:
        turn = self._recovery.advance(step)
        note = "; ".join(n for n in (turn.note, step.note) if n)
        step = replace(step, report=turn.report, next_phase=turn.phase, note=note)
        self._window.add(step)
        if step.next_phase is not step.phase:
            self._enter(step, turn)
        return step

    def _enter(self, step: Step, turn: Turn) -> None:
        """Does what a new phase begins with."""
        log.info("phase %s -> %s step=%d %s", step.phase, turn.phase, step.index, turn.note)
        if turn.event is Input.RESUME:
            self._player.renew(step.arrived.now_ns)
        if turn.phase in HOLDS:
            self.hold()
        else:
            self._panel.settle(step.arrived.now_ns)
        asked, skill = self._recovery.asked, self._recovery.skill
        if turn.phase is Phase.DIAGNOSING and asked is not None and self._ports.diagnoser is not None:
            self._ports.diagnoser.submit(self._window.show(asked, self._task, step))
        if skill is not None:
            skill.residual.reset()

    def _record(self, step: Step) -> None:
        for sink in self._ports.sinks:
            self._so_far.written += 1
            sink.write(step)

    def _fault(self, error: BaseException) -> None:
        """Holds, goes to STOPPED, and gives every sink that has not seen this tick what is known of it."""
        log.error("fault in step %d, phase %s: %r", self._index, self._so_far.phase, error)
        self.leave()
        self._recovery.fault()
        step = self._broken(error)
        if step is not None:
            for sink in self._ports.sinks[self._so_far.written :]:
                _try("record the fault", partial(sink.write, step))
        self._index += 1

    def _broken(self, error: BaseException) -> Step | None:
        """Returns the step of a tick that broke, None when not even the robot could be read."""
        so_far = self._so_far
        if so_far.obs is None:
            return None
        still = self._space.still(so_far.obs.gripper_command)
        return Step(
            index=self._index,
            observation=so_far.obs,
            arrived=so_far.arrived,
            phase=so_far.phase,
            source=Source.HOLD,
            base=None,
            asked=still,
            commanded=still,
            clipped_by=(),
            report=None,
            next_phase=Phase.STOPPED,
            note=f"{FAULT}{type(error).__name__}: {error}",
        )


@dataclass(slots=True, kw_only=True)
class _SoFar:
    """What is known of the tick that runs, should it break."""

    phase: Phase
    obs: Observation | None = None
    arrived: Arrived = field(default_factory=Arrived)
    written: int = 0
    """Sinks that were given its step."""


def _try(what: str, act: Callable[[], None]) -> None:
    """Does one thing on the way out; a second error is logged, the first one is what the caller hears of."""
    try:
        act()
    except Exception as error:
        log.error("could not %s: %r", what, error)
