"""A whole running robot to break: the real graph around the twin, brought into motion, broken, looked at, mended.

Used by the fault bench and its tests. The policy is `sway`, a small figure, so that the arm moves all the time.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from bridge.ros.client import RobotClient
from bridge.ros.environment import find_profile, node_environment
from bridge.twin_control import TwinControl
from core.errors import DeviceError
from core.flow import Phase
from core.robots import EE_DELTA
from regrasp.bringup import Parameter, Process
from regrasp.fault_trace import STILL_RAD_S
from regrasp.graph import Graph
from regrasp.processes import Bringup, table
from runtime.record.reader import read_episode

SETTLE_S = 60.0
"""Longest wait for a graph to come up [s]."""
ARM_S = 20.0
"""Longest time until a person has the arm ready [s]."""
MOVING_S = 0.3
"""The arm moves when it did so for this long [s]."""
EPISODE_S = 120.0
"""Longest time of an episode of the bench [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RigConfig:
    """Which robot is broken."""

    bringup: Bringup
    lie: str = ""
    """How the policy lies from its third second on, "" when it is honest."""
    skills: bool = False
    """Whether probe and skills are loaded: only with the trained policy."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further variables of every process."""
    runtime: Mapping[str, Parameter] = field(default_factory=dict)
    """Further parameters of the runtime node."""


class Rig:
    """A robot up and running, as a context manager.

    Args:
        config: Which one.
        say: Told what happens.
    """

    def __init__(self, config: RigConfig, say: Callable[[str], None]) -> None:
        self._config, self._say = config, say
        self._episodes = 0
        self._instruction = ""
        self.began_s = 0.0
        """When the present episode began, monotonic [s]."""
        self._open = ExitStack()

    def __enter__(self) -> Self:
        given = self._config.bringup
        logs = given.out / "logs"
        environment = node_environment(
            {**os.environ, **self._config.environment}, profile=find_profile(), log_dir=logs / "ros",
            domain=given.domain,
        )  # fmt: skip
        processes = tuple(self._changed(process) for process in table(given))
        try:
            self.graph = self._open.enter_context(
                Graph(processes, namespace=given.namespace, environment=environment, logs=logs, say=self._say)
            )
            self.graph.start()
            with _environment(environment):
                self.robot = self._open.enter_context(RobotClient(given.namespace, "bench"))
            self.twin = self._open.enter_context(TwinControl(given.control_port))
            self.robot.wait("the runtime to take orders", lambda: self.runtime() == "idle", SETTLE_S)
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._open.close()

    def runtime(self) -> str:
        """Returns what the runtime is doing, "" before it said so."""
        return self.robot.facts("episode_status").get("state", "")

    def phase(self) -> str:
        """Returns the loop's phase, "" before it said so."""
        return self.robot.facts("recovery_status").get("phase", "")

    def move(self) -> None:
        """Brings the arm into motion: an episode runs, its loop drives, and the arm has been moving for a while.

        Raises:
            RegraspError: It does not move in time.
        """
        fresh = self.runtime() == "running" and time.monotonic() - self.began_s < EPISODE_S / 2
        if not fresh or self.phase() in _WAITING:
            self.begin()
        self.robot.wait("the arm to move", self.moves, 15.0)

    def begin(self, injected: str | None = None, seed: int = 31_000) -> None:
        """Begins an episode in a new scene as a person would: clears the arm, lays out, starts."""
        self.cancel()
        self.robot.call("arm/clear_fault")  # a person has looked: the budget of automatic clearings is full again
        self.robot.ready_arm(ARM_S)
        self._instruction = self.twin.reset(seed, injected).instruction
        self.robot.ask("arm/rearm")
        self._start(injected or "")

    def resume(self) -> None:
        """Lets the arm go on where it stands, as a person would: clears it, then resumes, or starts anew."""
        self.robot.ready_arm(ARM_S)
        if self.runtime() != "running":
            self._start("")
            return
        if self.phase() == Phase.STOPPED:
            self.robot.ask("runtime/reset")
            self.robot.wait("the stop to be lifted", lambda: self.phase() == Phase.HOLDING, 5.0)
        self.robot.ask("runtime/resume")

    def honest_policy(self) -> None:
        """Ends a lying policy server and starts it again without its lie."""
        self.graph.replace(next(p for p in table(self._config.bringup) if p.name == "policy_server"))

    def cancel(self) -> None:
        """Ends the present episode, if one runs."""
        if self.runtime() == "running":
            self.robot.ask("runtime/cancel")
        self.robot.wait("the runtime to be idle", lambda: self.runtime() == "idle", 10.0)

    @property
    def episode(self) -> str:
        """Name of the present episode."""
        return f"fault-{self._episodes:03d}"

    def lost_steps(self, t_ns: int) -> int:
        """Ends the present episode and returns how many committed steps its recording lacks.

        Args:
            t_ns: When the runtime or the recorder ended, if one of them did [ns]: until then steps were committed.
        """
        alive = self.graph.running("runtime")
        if alive:
            self.cancel()
        facts = self.robot.facts("episode_status")
        steps = read_episode(self.recording()).steps
        if alive and not facts.get("note"):
            return int(facts.get("steps", "0")) - len(steps)
        return max(0, round((t_ns - steps[-1].arrived.now_ns) / (EE_DELTA.dt_s * 1e9)) - 1)

    def recording(self) -> Path:
        """Returns where the present episode is recorded."""
        return self._config.bringup.out / "episodes" / f"{self.episode}.mcap"

    def _start(self, injected: str) -> None:
        """Starts an episode, giving cameras and policy the time to be there again."""
        self._episodes += 1
        self.robot.set("runtime", {
            "instruction": self._instruction, "episode": self.episode, "seed": 0,
            "injected": injected, "recover": self._config.skills,
        })  # fmt: skip
        until = time.monotonic() + 10.0
        while not (answer := self.robot.call("runtime/start"))[0]:
            if time.monotonic() > until:
                raise DeviceError(f"runtime/start: {answer[1]}", device="bench", remedy="read the runtime's log")
            self.robot.spin(0.2)
        running = lambda: self.robot.facts("episode_status").get("episode") == self.episode  # noqa: E731
        self.robot.wait("the episode to begin", running, 5.0)
        self.began_s = time.monotonic()

    def moves(self) -> bool:
        """Returns whether the arm has been moving for a moment; takes that moment."""
        self.robot.spin(MOVING_S)
        trace = self.twin.trace(time.monotonic_ns() - round(MOVING_S * 1e9))
        if len(trace.t_ns) < 10:
            return False
        span_s = float(trace.t_ns[-1] - trace.t_ns[0]) * 1e-9
        return bool(np.abs(trace.joint_pos[-1] - trace.joint_pos[0]).max() / span_s > STILL_RAD_S)

    def _changed(self, process: Process) -> Process:
        if process.name == "runtime":
            return replace(
                process,
                parameters={**(process.parameters or {}), "skills": self._config.skills, **self._config.runtime},
            )
        if process.name == "policy_server" and self._config.lie:
            return replace(process, arguments=(*process.arguments, "--lie", self._config.lie, "--after", "3"))
        return process


_WAITING = (Phase.HOLDING, Phase.STOPPED)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Gives this process the graph's ROS settings while its own node is made; the middleware reads them then."""
    ours = {name: value for name, value in variables.items() if name.startswith(("ROS_", "FAST"))}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
