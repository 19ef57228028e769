"""The twin as a process: wire, HTTP control and physics in one event loop, pictures in a thread beside it.

Called by `regrasp twin`. It prints one line on stdout, `ready ...`, when all ports listen, and ends at
SIGINT or SIGTERM.
"""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from core.clock import MonotonicClock
from core.errors import ConfigError
from core.robots import EE_DELTA
from sim.cell import SUBSTEPS
from sim.task import Task
from sim.twin.box import SimBox
from sim.twin.control import Control
from sim.twin.faults import BOOT_S
from sim.twin.frames import Frames
from sim.twin.identity import identity
from sim.twin.pacer import Pacer
from sim.twin.plant import STEP_S, Plant
from sim.twin.server import TwinServer

LOOPBACK = "127.0.0.1"
"""Where the HTTP control listens."""
PRIORITY = 10
"""Of the whole process under SCHED_FIFO, when asked for; below the robot's own beat."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinOptions:
    """How a twin runs."""

    ip: str
    """Loopback address of the wire."""
    firmware: str
    control_port: int
    """0 takes a free one; the line `ready ...` tells which."""
    seed: int
    """Of the first scene."""
    realtime: bool
    """Whether to ask for SCHED_FIFO."""


class Line:
    """The network cable and the mains switch of the box.

    Args:
        box: The box.
        server: Its wire.
    """

    def __init__(self, box: SimBox, server: TwinServer) -> None:
        self._box, self._server = box, server

    def cut(self, duration_s: float) -> None:
        """Drops every client and refuses new ones for a time [s]."""
        self._box.faults.silence(duration_s)
        self._server.drop_clients()

    def power_cycle(self, duration_s: float) -> None:
        """Switches the box off and on; it answers again after its boot and `duration_s` [s]."""
        self._box.power_cycle()
        self._box.faults.silence(BOOT_S + duration_s)
        self._server.drop_clients(forget=True)


def run_twin(task: Task, options: TwinOptions) -> None:
    """Runs a twin until it is told to end.

    Args:
        task: What is on its table.
        options: Address, identity and scene.

    Raises:
        ConfigError: A port is taken or not permitted, or the address is not loopback.
    """
    if not options.ip.startswith("127."):
        raise ConfigError(f"--ip {options.ip}; a twin listens on loopback only, give an address 127.x.x.x")
    if options.realtime:
        _ask_for_realtime()
    asyncio.run(_serve(task, options))


async def _serve(task: Task, options: TwinOptions) -> None:
    clock = MonotonicClock()
    plant = Plant(task)
    box = SimBox(plant, clock)
    plant.reset(options.seed, None)
    box.power_cycle()
    stopped = _stopped_by_signals()
    async with Frames(plant, clock) as frames, TwinServer(box, identity(options.firmware), options.ip) as server:
        cycles = 0

        def cycle() -> None:
            nonlocal cycles
            box.cycle()
            cycles += 1
            if cycles % SUBSTEPS == 0:
                frames.note(clock.now_ns())

        pacer = Pacer(cycle, STEP_S)
        control = Control(box=box, frames=frames, cable=Line(box, server), lag=pacer.lag, task=task.info.name)
        async with _listening(control.app(), options.control_port) as port:
            gc.collect()
            gc.freeze()
            pacer.start()
            _say_ready(task, options, port)
            await stopped.wait()
            pacer.stop()


@asynccontextmanager
async def _listening(app: web.Application, port: int) -> AsyncIterator[int]:
    """Serves an application on loopback and yields its port."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {LOOPBACK}:{port} ({error.strerror}); give a --control-port"
            ) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _stopped_by_signals() -> asyncio.Event:
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    return stopped


def _say_ready(task: Task, options: TwinOptions, port: int) -> None:
    words = f"ip={options.ip} firmware={options.firmware} control=http://{LOOPBACK}:{port} task={task.info.name}"
    os.write(1, f"ready {words} seed={options.seed} cycle_s={EE_DELTA.dt_s / SUBSTEPS}\n".encode())


def _ask_for_realtime() -> None:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        log.warning("no permission for SCHED_FIFO; the twin runs at normal priority and will be later under load")
