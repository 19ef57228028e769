"""The lines to one control box, opened and closed together. Called by the arm."""

import logging
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from bridge.xarm.config import XArmConfig
from bridge.xarm.link import Line, Reading
from bridge.xarm.side_line import SideLine
from bridge.xarm.stop_line import StopLine
from core.errors import DeviceNotConnected

log = logging.getLogger(__name__)
_FIRST_S = 2.0
"""Longest wait for the first report [s]."""
_SIDE_SILENT_S = 3.0
"""Without an answer on the side line for longer than this the arm is offline: its errors would go unseen [s]."""


class Links:
    """Main line with the 100 Hz reports, side line, stop line; open while entered, once.

    Args:
        config: How to link.
    """

    def __init__(self, config: XArmConfig) -> None:
        self._config = config
        self._stack = ExitStack()
        self.main = Line(config, reports="real")
        """Streams points and carries the reports."""
        self.stop_line = StopLine(config)
        """Only stops."""
        self.side = SideLine(config, self.stop_line)
        """Error code, velocity, gripper."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.stop_line)
            stack.enter_context(self.main)
            self.main.fresh(_FIRST_S)
            stack.enter_context(self.side)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    def reading(self) -> Reading:
        """Returns the newest report, however old; raises `DeviceNotConnected` without any."""
        reading = self.main.reading
        if reading is None:
            raise DeviceNotConnected("nothing was measured yet", device=self._config.device, remedy="check the cable")
        return reading

    def offline(self) -> str:
        """Returns why the link counts as lost, "" while it does not."""
        now = time.monotonic_ns()
        age_s = (now - self.reading().t_ns) * 1e-9
        side_s = (now - self.side.reading.t_ns) * 1e-9
        if age_s > self._config.offline_s:
            return f"no report for {age_s:.2f} s"
        if side_s > _SIDE_SILENT_S:
            return f"no answer on the side line for {side_s:.1f} s"
        if not self.main.connected:
            return "the connection was closed"
        return f"the stop line is lost: {self.side.reading.stop_trouble}" if self.side.reading.stop_trouble else ""

    def identity(self) -> dict[str, str]:
        """Returns who answers, for people."""
        api = self.main.api
        return {"firmware": ".".join(str(part) for part in api.version_number), "serial": str(api.sn)}

    def details(self) -> dict[str, str]:
        """Returns how the link is, for people, by name with unit."""
        gripper = self.side.reading.gripper_trouble or ("answers" if self._config.gripper else "none")
        return {"gripper": gripper}
