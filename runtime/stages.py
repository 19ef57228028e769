"""Ports that book the time their calls take, so that a cadence report can say who was late. Called by the wiring."""

from collections.abc import Iterable
from dataclasses import replace

from core.arrays import Floats
from core.flow import ActionChunk, Observation, Step
from core.ports import Diagnoser, Evidence, Policy, Robot, Sink, Tracker
from core.recovery import RecoveryDescriptor
from core.scene import SceneState
from runtime.cadence import Cadence
from runtime.loop import Ports


def timed_ports(ports: Ports, cadence: Cadence) -> Ports:
    """Returns the same ports, timed as the stages read, send, track, policy, diagnose and write.

    Args:
        ports: To hand to the loop.
        cadence: Where the times go.
    """
    diagnoser = None if ports.diagnoser is None else _TimedDiagnoser(ports.diagnoser, cadence)
    return replace(
        ports,
        robot=_TimedRobot(ports.robot, cadence),
        policy=_TimedPolicy(ports.policy, cadence),
        tracker=_TimedTracker(ports.tracker, cadence),
        diagnoser=diagnoser,
        sinks=_timed_sinks(ports.sinks, cadence),
    )


def _timed_sinks(sinks: Iterable[Sink], cadence: Cadence) -> tuple[Sink, ...]:
    return tuple(_TimedSink(sink, cadence) for sink in sinks)


class _TimedRobot:
    def __init__(self, robot: Robot, cadence: Cadence) -> None:
        self._robot, self._cadence = robot, cadence

    def read(self) -> Observation:
        with self._cadence.timing("read"):
            return self._robot.read()

    def send(self, action: Floats) -> Floats:
        with self._cadence.timing("send"):
            return self._robot.send(action)

    def hold(self) -> None:
        self._robot.hold()


class _TimedPolicy:
    def __init__(self, policy: Policy, cadence: Cadence) -> None:
        self._policy, self._cadence = policy, cadence

    @property
    def policy_id(self) -> str:
        return self._policy.policy_id

    def submit(self, obs: Observation) -> None:
        with self._cadence.timing("policy"):
            self._policy.submit(obs)

    def poll(self) -> ActionChunk | None:
        with self._cadence.timing("policy"):
            return self._policy.poll()

    def reset(self) -> None:
        self._policy.reset()


class _TimedTracker:
    def __init__(self, tracker: Tracker, cadence: Cadence) -> None:
        self._tracker, self._cadence = tracker, cadence

    def track(self, obs: Observation) -> SceneState:
        with self._cadence.timing("track"):
            return self._tracker.track(obs)

    def reset(self) -> None:
        self._tracker.reset()


class _TimedDiagnoser:
    def __init__(self, diagnoser: Diagnoser, cadence: Cadence) -> None:
        self._diagnoser, self._cadence = diagnoser, cadence

    def submit(self, evidence: Evidence) -> None:
        with self._cadence.timing("diagnose"):
            self._diagnoser.submit(evidence)

    def poll(self) -> RecoveryDescriptor | None:
        with self._cadence.timing("diagnose"):
            return self._diagnoser.poll()


class _TimedSink:
    def __init__(self, sink: Sink, cadence: Cadence) -> None:
        self._sink, self._cadence = sink, cadence

    def write(self, step: Step) -> None:
        with self._cadence.timing("write"):
            self._sink.write(step)

    def close(self) -> None:
        self._sink.close()
