"""Pictures of the twin's cell, drawn in a thread of their own so that neither physics nor wire wait for them.

Used by `sim.twin.control`. What is drawn is a copy of where everything was at one instant, which is the picture's time.
Injected camera faults are applied here: frozen pictures keep the time they were taken at, black ones are new, late ones
show the cell as it was `LATE_S` ago and say so.
"""

import asyncio
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from core.arrays import Image
from core.clock import Clock
from core.errors import unknown_name
from sim.cameras import CAMERA_NAMES, CellCameras
from sim.cell import Bodies
from sim.twin.plant import Plant

FAULTS = ("none", "frozen", "black", "late")
"""What may be wrong with a camera."""
LATE_S, KEPT_S = 0.25, 0.4
"""How old late pictures are, and how long places are remembered [s]."""
SIZES = (16, 640)
"""Smallest and largest pictures [px]."""
SIZE = 192
"""Of pictures that nobody gave a size [px]."""
GIL_S = 0.0005
"""Longest that the drawing thread keeps the interpreter while the event loop wants it [s]."""
_CLOSING_S = 5.0
_CONTEXTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture."""

    image: Image
    t_ns: int
    """When things were where it shows them, monotonic [ns]."""
    fault: str
    """What is wrong with it: one of `FAULTS`."""


@dataclass(slots=True, kw_only=True)
class _Fault:
    kind: str = "none"
    until_ns: int = 0
    last: Picture | None = None


class Frames:
    """Draws pictures of a plant; an async context manager.

    Args:
        plant: The physical cell.
        clock: The machine's monotonic clock.
    """

    def __init__(self, plant: Plant, clock: Clock) -> None:
        self._plant, self._clock = plant, clock
        self._past: deque[tuple[int, Bodies]] = deque()
        self._faults = {name: _Fault() for name in CAMERA_NAMES}
        self._cameras: dict[int, CellCameras] = {}
        self._thread: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        """Opens the drawing thread and draws a first picture in it."""
        sys.setswitchinterval(GIL_S)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="twin-frames")
        self.note(self._clock.now_ns())
        await self.picture(CAMERA_NAMES[0], SIZE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the OpenGL contexts in the thread that made them, and ends it."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        await asyncio.wait_for(asyncio.wrap_future(thread.submit(self._close)), _CLOSING_S)
        thread.shutdown(wait=True)

    def note(self, t_ns: int) -> None:
        """Remembers where everything is now [ns]; called once a control period."""
        self._past.append((t_ns, self._plant.bodies()))
        while t_ns - self._past[0][0] > KEPT_S * 1e9:
            self._past.popleft()

    def forget(self) -> None:
        """Forgets the past and every fault: a new scene."""
        self._past.clear()
        self._faults = {name: _Fault() for name in CAMERA_NAMES}
        self.note(self._clock.now_ns())

    def break_camera(self, name: str, fault: str, duration_s: float) -> None:
        """Makes something go wrong with a camera for a time.

        Args:
            name: Of the camera.
            fault: One of `FAULTS`; "none" ends what is wrong now.
            duration_s: For how long [s].

        Raises:
            ConfigError: There is no such camera or fault.
        """
        if fault not in FAULTS:
            raise unknown_name("camera fault", fault, FAULTS)
        state = self._of(name)
        state.kind, state.until_ns = fault, self._clock.now_ns() + round(duration_s * 1e9)

    async def picture(self, name: str, size_px: int) -> Picture:
        """Draws what a camera sees now, or what its fault makes of it.

        Args:
            name: Of the camera.
            size_px: Width and height, inside `SIZES` [px].

        Raises:
            ConfigError: There is no such camera.
        """
        state = self._of(name)
        fault = state.kind if self._clock.now_ns() < state.until_ns else "none"
        if fault == "frozen" and state.last is not None and state.last.image.shape[0] == size_px:
            return Picture(image=state.last.image, t_ns=state.last.t_ns, fault=fault)
        t_ns, bodies = self._shown(fault)
        if fault == "black":
            image = np.zeros((size_px, size_px, 3), dtype=np.uint8)
        else:
            image = await self._drawn(name, size_px, bodies)
        state.last = Picture(image=image, t_ns=t_ns, fault=fault)
        return state.last

    def _shown(self, fault: str) -> tuple[int, Bodies]:
        now = self._clock.now_ns()
        if fault != "late":
            return now, self._plant.bodies()
        late = [one for one in self._past if now - one[0] >= LATE_S * 1e9]
        return late[-1] if late else self._past[0]

    async def _drawn(self, name: str, size_px: int, bodies: Bodies) -> Image:
        assert self._thread is not None, "frames are asked for only while they are open"
        return await asyncio.wrap_future(self._thread.submit(self._draw, name, size_px, bodies))

    def _draw(self, name: str, size_px: int, bodies: Bodies) -> Image:
        if size_px not in self._cameras:
            if len(self._cameras) == _CONTEXTS:
                self._close()
            self._cameras[size_px] = CellCameras(self._plant.world, size_px=size_px).__enter__()
        return self._cameras[size_px].show(bodies, (name,))[name]

    def _close(self) -> None:
        for cameras in self._cameras.values():
            cameras.close()
        self._cameras.clear()

    def _of(self, name: str) -> _Fault:
        if name not in self._faults:
            raise unknown_name("camera", name, self._faults)
        return self._faults[name]
