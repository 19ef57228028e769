"""One connection to the control box through the vendor's SDK: opened within bounds, every call checked and timed.

Called by the arm (streams points, gets the 100 Hz reports), its side line, its stop line and the safety settings, each
with a line of its own, so that none waits for another. The SDK's cached error code is never used here: the `real`
reports do not carry it.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, TypeVar

import numpy as np
from xarm.core.utils.log import logger as sdk_log
from xarm.core.utils.log import origin_logger as sdk_print
from xarm.wrapper import XArmAPI

from bridge.xarm import units
from bridge.xarm.config import XArmConfig
from bridge.xarm.faults import fault
from core.arrays import Floats
from core.errors import DeviceError, DeviceFault, DeviceNotConnected, DeviceTimeout

log = logging.getLogger(__name__)
Value = TypeVar("Value")
_CONNECT_S = 4.0
"""Longest wait for the SDK's first words with the box [s]; by itself it would wait minutes."""
_KNOCK_S = 1.0
"""Longest wait for a connection, and then for an answer, before the SDK is let loose [s]."""
_PORT = 502
_VERSION_REQUEST = bytes([0, 1, 0, 2, 0, 1, 1])
"""Asks for the version. Source: UFACTORY xArm developer manual, private protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One report of the controller."""

    t_ns: int
    """When it was received, on our monotonic clock [ns]."""
    joint_pos: Floats
    """Shape (7,) [rad]."""
    joint_effort: Floats
    """Shape (7,) [N m]."""
    tcp_pos_in_base: Floats
    """Shape (3,) [m]."""
    tcp_quat_xyzw_in_base: Floats
    """Shape (4,)."""
    wrench: Floats
    """Of the force-torque sensor, shape (6,) [N, N m]; zeros without one."""
    mode: int
    state: int
    """1 in motion, 2 ready, 3 paused, 4 stopped, 5 changed, 6 decelerating."""


class Line:
    """One connection; closed until entered.

    Args:
        config: How to link.
        reports: Which reports it asks for: "real" 100 Hz, "rich" 5 Hz with all settings, None none.
    """

    def __init__(self, config: XArmConfig, *, reports: Literal["real", "rich"] | None = None) -> None:
        self._config = config
        self.api = XArmAPI(
            config.ip,
            is_radian=True,
            do_not_open=True,
            enable_report=reports is not None,
            report_type=reports or "real",
            forbid_uds=True,
            check_is_pause=False,
            check_cmdnum_limit=False,
        )
        """The SDK's own door, for calls made through `told` and `asked`."""
        self.reading: Reading | None = None
        """The newest report, None before the first."""
        self.received = threading.Event()
        """Set by every report."""

    def __enter__(self) -> Self:
        sdk_log.setLevel(logging.CRITICAL)
        sdk_print.setLevel(logging.CRITICAL)
        attempts = self._config.connect_attempts
        for attempt in range(attempts):
            try:
                self._connect()
                break
            except DeviceNotConnected as error:
                if attempt + 1 == attempts:
                    raise
                pause_s = self._config.connect_pause_s * 2**attempt
                log.warning("%s; trying again in %.2f s", error, pause_s)
                time.sleep(pause_s)
        self.api.set_timeout(self._config.reply_timeout_s)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.api.release_report_callback(self._take)
        self.api.disconnect()

    @property
    def connected(self) -> bool:
        """Whether the SDK still believes in the connection; it needs half a second to notice a lost one."""
        return bool(self.api.connected)

    def told(self, what: str, answer: Callable[[], int | Sequence[int]], *, fine: Sequence[int] = (0,)) -> float:
        """Makes a call that only says whether it worked; returns how long it took [s].

        Args:
            what: Names the call in errors.
            answer: The call; returns the SDK's code.
            fine: Codes that count as done.

        Raises:
            DeviceError: Any other code.
        """
        began = time.perf_counter()
        said = answer()
        took = time.perf_counter() - began
        code = said if isinstance(said, int) else int(said[0])
        if code not in fine:
            raise self._error(what, code)
        return took

    def asked(self, what: str, answer: Callable[[], tuple[int, Value]]) -> Value:
        """Makes a call that answers a value; returns it.

        Raises:
            DeviceError: The SDK's code is not 0.
        """
        code, value = answer()
        if code != 0:
            raise self._error(what, code)
        return value

    def error_code(self) -> int:
        """Returns the controller's error code, asked for now; 0 when there is none."""
        return int(self.asked("read the error code", self.api.get_err_warn_code)[0])

    def fresh(self, timeout_s: float) -> Reading:
        """Returns a report that arrives after this call.

        Raises:
            DeviceTimeout: None came in `timeout_s` [s].
        """
        self.received.clear()
        if not self.received.wait(timeout_s) or self.reading is None:
            raise DeviceTimeout(
                f"no report for {timeout_s} s", device=self._config.device, remedy="check the cable and the box"
            )
        return self.reading

    def _connect(self) -> None:
        self._knock()
        watchdog = threading.Timer(_CONNECT_S, self.api.disconnect)
        watchdog.start()
        try:
            with _default_timeout_kept():
                self.api.connect()
        except Exception as error:
            self.api.disconnect()  # the SDK leaves the socket open that did not connect
            raise self._gone(f"cannot be reached: {error}") from error
        finally:
            watchdog.cancel()
        if not self.connected:
            raise self._gone("cannot be reached: it took the connection and said nothing")
        self.api.register_report_callback(self._take)

    def _knock(self) -> None:
        """Makes sure that somebody answers: a box that takes connections and is silent costs the SDK ten seconds."""
        try:
            with socket.create_connection((self._config.ip, _PORT), timeout=_KNOCK_S) as door:
                door.sendall(_VERSION_REQUEST)
                answered = bool(door.recv(1))
        except OSError as error:
            raise self._gone(f"cannot be reached: {error}") from error
        if not answered:
            raise self._gone("cannot be reached: it hung up")

    def _take(self, report: dict[str, list[float]]) -> None:
        """Notes one report; runs in the SDK's thread."""
        pose = report["cartesian"]
        self.reading = Reading(
            t_ns=time.monotonic_ns(),
            joint_pos=np.array(report["joints"][:7]),
            joint_effort=np.array(self.api.joints_torque[:7]),
            tcp_pos_in_base=units.metres(pose[:3]),
            tcp_quat_xyzw_in_base=units.quat_from_rpy(pose[3:6]),
            wrench=np.array(self.api.ft_ext_force),
            mode=int(self.api.mode),
            state=int(self.api.state),
        )
        self.received.set()

    def _error(self, what: str, code: int) -> DeviceError:
        device = self._config.device
        if code == 1:
            pending = int(self.api.get_err_warn_code()[1][0])
            return fault(pending).as_error(device) if pending else DeviceFault(
                f"{what}: an error was pending", device=device, code=code, remedy="ask for the state again"
            )  # fmt: skip
        if code in (-1, 8):
            return self._gone(f"{what}: the link is gone")
        if code in (3, 100):
            return DeviceTimeout(f"{what}: no reply", device=device, code=code, remedy="check the cable and the load")
        if code in (9, -2, -9):
            return DeviceFault(f"{what}: not ready to move", device=device, code=code, remedy="arm it again")
        remedy = _REMEDIES.get(code, "look the code up in the SDK's documentation")
        return DeviceFault(f"{what}: refused", device=device, code=code, remedy=remedy)

    def _gone(self, message: str) -> DeviceNotConnected:
        return DeviceNotConnected(
            message, device=self._config.device, code=-1, remedy="check power, cable and address, then link again"
        )


_REMEDIES = {
    -8: "the target is outside the arm's own range: narrow the wall's limits",
    5: "link again: replies are out of step",
    6: "link again: replies are out of step",
    7: "link again: replies are out of step",
    10: "the box calls the values invalid: correct the configuration",
    22: "set the gripper's baud rate in the vendor's tool",
    23: "check the gripper's cable",
    101: "check the gripper",
    102: "clear the gripper's error in the vendor's tool",
    103: "enable the gripper",
}


@contextlib.contextmanager
def _default_timeout_kept() -> Iterator[None]:
    """Keeps the process's default socket timeout, which the SDK sets to 1 s for everybody when it connects."""
    before = socket.getdefaulttimeout()
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
