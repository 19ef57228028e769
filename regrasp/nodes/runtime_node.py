"""The runtime node: the process with the heartbeat. Executable `runtime`.

Its main thread beats at 100 Hz and serves the graph in the time that is left. Between episodes it sends nothing and the
arm node holds the arm. A person (or the driver of simulated episodes) sets the next episode by parameters and starts it
by service; inference, encoding and recording are other processes.
"""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from bridge.desk import OperatorDesk
from bridge.policy_terms import PolicyLink, RemotePolicyConfig
from bridge.realtime import RealtimeReport, enter_realtime, freeze_garbage, unhurried
from bridge.remote_policy import RemotePolicy
from bridge.ros import qos
from bridge.ros.loop_status import LoopStatus
from bridge.ros.messages import status_message
from bridge.ros.node import Shell, opened
from bridge.ros.parameters import current, parameter
from bridge.ros.ros_arm import RosArm
from core.arm import ArmMode
from core.clock import MonotonicClock
from core.errors import DeviceError, RegraspError
from core.flow import OperatorCommand
from regrasp.live import Cell, CellConfig, EpisodeOrder, Live, Lived
from runtime.shadow import RunMode

log = logging.getLogger(__name__)

PRIORITY = 50
"""Of SCHED_FIFO, where the user may."""
IDLE_NS = 20_000_000
"""How often an idle node looks round [ns]."""
STALE_ARM_S = 0.2
"""An episode is not started on news of the arm older than this [s]."""
DONE, WRONG_USE = 0, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeNodeConfig:
    """Parameters of the runtime node."""

    task: str = parameter("fruit_on_plate", says="Name of the task.")
    models: str = parameter("", says="Folder of trained models; the shipped ones when empty.")
    calibration: str = parameter("", says="Calibration bundle of the cell; the simulated cell's when empty.")
    policy: str = parameter("ipc:///tmp/regrasp/policy", says="Address of the policy server, ipc:// or tcp://.")
    recorder: str = parameter("", says="Socket of the recorder process; nothing is recorded when empty.")
    out: str = parameter("out/up", says="Folder of recordings and cadence reports.")
    ring_prefix: str = parameter("regrasp", says="Rings of images are named PREFIX-CAMERA.")
    camera_px: int = parameter(192, says="Width and height of the images [px].", low=16, high=1024)
    mode: str = parameter("drive", says="Whether actions are sent.", choices=tuple(RunMode))
    ahead_s: float = parameter(
        0.09, says="Actions are played this much before their time, for arm and cameras lag [s].", low=0.0, high=0.5
    )
    pace: float = parameter(0.5, says="Share of the speed that policy and skills were trained at.", low=0.1, high=1.0)
    lead_m: float = parameter(
        0.11, says="Farthest the commanded position may run ahead of the tool [m].", low=0.01, high=0.3
    )
    episode_s: float = parameter(
        0.0, says="Longest time of an episode [s]; the task's own when 0.", low=0.0, high=3600.0
    )
    skills: bool = parameter(True, says="Whether probe and skills are loaded; without them a failure ends in HOLDING.")
    vlm: str = parameter("", says="Root of an OpenAI-compatible endpoint that names failures; the probe when empty.")
    vlm_model: str = parameter("", says="Model to ask there.")
    vlm_deadline_s: float = parameter(20.0, says="How long it may take [s].", low=0.1, high=120.0)
    recover: bool = parameter(True, says="Whether the next episode is watched and recovered.", live=True)
    instruction: str = parameter("", says="What the robot is told to do in the next episode.", live=True)
    episode: str = parameter("", says="Name of the next episode's recording; the time when empty.", live=True)
    seed: int = parameter(0, says="Seed of the next episode's scene, for its record.", live=True)
    injected: str = parameter("", says="Failure injected into the next episode, for its record.", live=True)


class RuntimeNode:
    """The heartbeat's place in the graph.

    Args:
        shell: Its node.
        config: Its parameters at the start.
        realtime: What the system granted.
    """

    def __init__(self, shell: Shell, config: RuntimeNodeConfig, realtime: RealtimeReport) -> None:
        self._shell, self._config, self._realtime = shell, config, realtime
        self._desk = OperatorDesk()
        self._started = self._cancelled = False
        self._open = ExitStack()
        self._live: Live | None = None
        self._status = shell.create_publisher(DiagnosticStatus, "episode_status", qos.status())
        shell.create_subscription(Bool, "e_stop", self._hear_stop, qos.emergency())
        shell.create_subscription(String, "instruction", self._hear_instruction, qos.status())
        for name, answer in (("start", self._start), ("cancel", self._cancel)):
            shell.create_service(Trigger, f"~/{name}", answer)
        for name, command in (("hold", OperatorCommand.HOLD), ("resume", OperatorCommand.RESUME),
                              ("reset", OperatorCommand.RESET)):  # fmt: skip
            shell.create_service(Trigger, f"~/{name}", self._ask(command))
        self._arm = RosArm(shell)
        self._linked = False
        self._loop_status = LoopStatus(shell)
        self._heard_instruction = ""

    def configure(self) -> None:
        """Loads models and meets the policy server."""
        with unhurried():
            self._load(self._config)

    def _load(self, given: RuntimeNodeConfig) -> None:
        cell = Cell.load(CellConfig(
            task=given.task, models=Path(given.models) if given.models else None,
            calibration=Path(given.calibration) if given.calibration else None, camera_px=given.camera_px,
            ring_prefix=given.ring_prefix, episode_s=given.episode_s, ahead_s=given.ahead_s, lead_m=given.lead_m,
            pace=given.pace, skills=given.skills, vlm=given.vlm, vlm_model=given.vlm_model,
            vlm_deadline_s=given.vlm_deadline_s,
        ))  # fmt: skip
        policy = self._open.enter_context(RemotePolicy(RemotePolicyConfig(endpoint=given.policy)))
        self._live = self._open.enter_context(Live(
            cell, self._arm, policy, MonotonicClock(), realtime=self._realtime, mode=RunMode(given.mode),
            recorder=given.recorder, out=Path(given.out),
        ))  # fmt: skip

    def activate(self) -> None:
        """Takes orders from now on."""
        freeze_garbage()
        if self._linked:
            self._tell("idle", "")

    def deactivate(self) -> None:
        """Ends the episode under way; the arm holds."""
        self._cancelled = True
        self._tell("inactive", "")

    def cleanup(self) -> None:
        """Leaves policy server, rings and recorder."""
        self._live = None
        self._open.close()

    def diagnose(self) -> Sequence[DiagnosticStatus]:
        """Returns how the beat was kept and how the policy server is."""
        if self._live is None:
            return ()
        health = self._live.policy_health()
        level = DiagnosticStatus.OK if health.link is PolicyLink.READY else DiagnosticStatus.ERROR
        facts = {"latency_s": f"{health.latency_s:.3f}", "timeouts": str(health.timeouts), "losses": str(health.losses)}
        cadence = self._live.cadence_line()
        return (
            status_message("runtime: policy", level, health.detail or str(health.link), facts),
            status_message("runtime: beat", DiagnosticStatus.OK, cadence or self._realtime.line(), {}),
        )

    def run(self) -> None:
        """Serves until the process is asked to end, and lives episodes as they are started."""
        with ExitStack() as linked:
            while self._shell.running:
                now_ns = time.monotonic_ns()
                self._shell.pulse(now_ns)
                if self._live is not None:
                    self._live.tend()
                if self._shell.active and not self._linked:
                    self._link(linked)
                if self._started and self._live is not None:
                    self._episode(self._live)
                self._shell.serve_until(now_ns + IDLE_NS)

    def _link(self, linked: ExitStack) -> None:
        """Links the arm node; not in a transition, which could not hear the arm while it runs."""
        try:
            linked.enter_context(self._arm)
        except DeviceError as error:
            log.warning("%s; trying again", error)
            return
        self._linked = True
        self._tell("idle", "")

    def _episode(self, live: Live) -> None:
        self._started = self._cancelled = False
        self._desk.clear()
        order = self._order()
        self._tell("running", order.name)
        try:
            lived = live.episode(order, self._desk, self._loop_status, serve=self._serve, over=self._over)
            self._tell("idle", order.name, lived)
        except RegraspError as error:
            log.error("episode %s broke: %s", order.name, error)
            self._tell("idle", order.name, Lived(outcome="aborted", note=f"{type(error).__name__}: {error}"))

    def _over(self) -> bool:
        return self._cancelled or not self._shell.running

    def _serve(self, until_ns: int) -> None:
        self._shell.pulse(time.monotonic_ns())
        self._shell.serve_until(until_ns)

    def _order(self) -> EpisodeOrder:
        given = current(self._shell, RuntimeNodeConfig)
        name = given.episode or f"episode-{time.strftime('%Y%m%d-%H%M%S')}"
        instruction = given.instruction or self._heard_instruction
        return EpisodeOrder(
            name=name, instruction=instruction, seed=given.seed, injected=given.injected, recover=given.recover
        )  # fmt: skip

    def _start(self, _: Trigger.Request, answer: Trigger.Response) -> Trigger.Response:
        answer.message = self._objection()
        answer.success = not answer.message
        self._started = self._started or answer.success
        return answer

    def _objection(self) -> str:
        """Returns why no episode can be started now, "" when one can."""
        if self._live is None or not self._shell.active or not self._linked:
            return "the node is not active, or the arm node was not met; the supervisor activates them"
        if self._started or self._live.busy:
            return "an episode runs already; cancel it first"
        if not self._order().instruction:
            return "there is no instruction; set parameter `instruction` or publish it"
        return self._arm_objection() or self._live.objection()

    def _arm_objection(self) -> str:
        state = self._arm.state()
        age_s = (time.monotonic_ns() - state.t_ns) * 1e-9
        if age_s > STALE_ARM_S:
            return f"the arm was last heard {age_s:.1f} s ago; is its node alive?"
        if RunMode(self._config.mode).sends and state.status.mode not in (ArmMode.READY, ArmMode.IDLE):
            return f"the arm is {state.status.mode}: {state.status.fault or 'release its stop first'}"
        return ""

    def _cancel(self, _: Trigger.Request, answer: Trigger.Response) -> Trigger.Response:
        self._cancelled, self._started = True, False
        answer.success, answer.message = True, "the arm holds; the episode ends as aborted"
        return answer

    def _ask(self, command: OperatorCommand) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        def answer(_: Trigger.Request, reply: Trigger.Response) -> Trigger.Response:
            busy = self._live is not None and self._live.busy
            if busy:
                self._desk.ask(command)
            reply.success = busy
            reply.message = f"{command} is asked of the loop" if busy else "no episode runs; the arm holds anyway"
            return reply

        return answer

    def _hear_stop(self, message: Bool) -> None:
        if message.data:
            self._desk.ask(OperatorCommand.STOP)

    def _hear_instruction(self, message: String) -> None:
        self._heard_instruction = message.data

    def _tell(self, state: str, episode: str, lived: Lived | None = None) -> None:
        facts = {"state": state, "episode": episode, "mode": self._config.mode}
        if lived is not None:
            facts |= {"outcome": lived.outcome, "steps": str(lived.steps), "note": lived.note, "file": lived.file}
        level = DiagnosticStatus.OK if lived is None or lived.outcome == "success" else DiagnosticStatus.WARN
        self._status.publish(status_message("episode", level, f"{state} {episode}".strip(), facts))


def main() -> int:
    """Runs the process; returns its exit code."""
    torch.set_num_threads(1)
    realtime = enter_realtime(PRIORITY)
    try:
        with opened("runtime", RuntimeNodeConfig, sys.argv) as (shell, config):
            log.info("%s", realtime.line())
            for warning in realtime.warnings:
                log.warning("%s", warning)
            node = RuntimeNode(shell, config, realtime)
            shell.attach(node)
            node.run()
    except RegraspError as error:
        print(f"runtime: {error}", file=sys.stderr)
        return WRONG_USE
    return DONE


if __name__ == "__main__":
    sys.exit(main())
