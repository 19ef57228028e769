"""An xArm 7 behind `core.ports.JointArm`: links, sets and proves safety, follows joint targets through the wall.

Used by the arm node, which calls `state` and `stream` each beat from one thread, long calls from another, and `stop`
from any. Nothing moves before `arm`; whatever ends the following must be followed by `arm`, which starts again at the
measured pose.
"""

import logging
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np

from bridge.xarm.config import FIRST_FIRMWARE, XArmConfig
from bridge.xarm.faults import FELT_COLLISION, fault
from bridge.xarm.link import Reading
from bridge.xarm.links import Links
from bridge.xarm.recovery import Budget, clear, make_ready, require_allowed
from bridge.xarm.safety import apply_safety, describe_safety, prove_safety, read_safety
from bridge.xarm.settler import Settler
from bridge.xarm.streamer import Streamer
from bridge.xarm.tool import at_tool
from core.arm import ArmMode, ArmState, ArmStatus
from core.arrays import Floats
from core.errors import DeviceError, DeviceFault, DeviceNotConnected

log = logging.getLogger(__name__)
_READY_S = 2.0
"""Longest wait for the controller to report that it is ready [s]."""
_REST_S = 1.0
"""Longest wait for rest on leaving [s]; braking from the highest speed takes a quarter of it."""
_FOLLOWS = (0, 1, 2)
"""States of the controller in which it follows."""


class XArm:
    """One xArm 7 on the vendor's SDK; implements `core.ports.JointArm`. Enter it to link it; it may be entered again.

    Args:
        config: How it is linked and moved.
    """

    def __init__(self, config: XArmConfig) -> None:
        self._config = config
        self._budget = Budget(config.clearings, config.refill_s)
        self._stack = ExitStack()
        self._links: Links | None = None
        self._streamer = Streamer(config)
        self._safety: dict[str, str] = {}
        self._told = config.box.tcp_offset  # whose pose the box reports
        self._proven = False
        self._armed = False
        self._stopped_ns: int | None = None
        self._why = "not armed yet"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            links = stack.enter_context(Links(self._config))
            self._streamer.use(links)
            self._links, self._armed, self._proven = links, False, False
            stack.callback(self._let_go)
            self._check_identity(links)
            self._set_safety(links)
            self._settler = stack.enter_context(Settler(self._brake, self._config.beat_s))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self._leave()
        finally:
            self._stack.close()

    def state(self) -> ArmState:
        """Returns the newest measurement, however old.

        Raises:
            DeviceNotConnected: Not entered, or nothing was ever measured.
        """
        links = self._require_links()
        reading, side = links.reading(), links.side.reading
        tool, ours = (reading.tcp_pos_in_base, reading.tcp_quat_xyzw_in_base), self._config.box.tcp_offset
        pos, quat = tool if self._told == ours else at_tool(*tool, self._told, ours)
        return ArmState(
            t_ns=reading.t_ns,
            joint_pos=reading.joint_pos,
            joint_vel=side.joint_vel,
            joint_effort=reading.joint_effort,
            tcp_pos_in_base=pos,
            tcp_quat_xyzw_in_base=quat,
            gripper_opening=side.opening,
            wrench_in_tcp=reading.wrench if self._config.force_sensor else None,
            status=self._status(links, reading),
        )

    def arm(self) -> None:
        """Proves the box's safety settings, makes it ready and starts at the measured pose; moves nothing.

        Raises:
            DeviceFault: Read-only, stopped, in a fault, or a safety setting is not as wanted.
            DeviceError: The box did not answer.
        """
        links = self._require_links()
        self._require_writable()
        with self._streamer.lock:
            self._disarm("arming")
            self._require_no_stop(links)
            self._require_no_error(links)
            self._prove_safety(links)
            make_ready(links.main, self._config)
            self._await_ready(links)
            self._streamer.restart()
            self._require_no_stop(links)
            self._armed, self._why = True, ""
        log.info("%s armed at %s rad", self._config.device, np.round(links.reading().joint_pos, 4).tolist())

    def stream(self, joint_target: Floats, gripper_opening: float) -> Floats:
        """Sends the next point on the way to `joint_target` and returns it, shape (7,) [rad].

        Called faster than the beat it sends nothing new; after a stall or a pause it goes on from rest.

        Args:
            joint_target: Shape (7,) [rad]; a target that is not finite brakes.
            gripper_opening: Wanted, clipped to [0, 1]; not finite keeps what it has.

        Raises:
            DeviceNotConnected: Offline.
            DeviceFault: Not armed, or the controller reports an error.
            DeviceTimeout: No reply.
        """
        links = self._require_links()
        self._require_armed(links)
        try:
            sent = self._streamer.follow(joint_target)
        except DeviceError as error:
            self._lost(links, error)
            raise
        if self._config.gripper and np.isfinite(gripper_opening):
            links.side.grip(gripper_opening)
        return sent

    def hold(self) -> None:
        """Brakes within the limits; returns after the first point, a thread sends the others. The gripper keeps."""
        if self._armed and self._links is not None:
            self._streamer.holding = True
            if self._brake():
                self._settler.start()

    def stop(self) -> None:
        """Emergency stop on a line of its own, latched first; safe from any thread.

        Raises:
            DeviceError: The controller was not read back as stopped; the latch holds all the same.
        """
        self._stopped_ns = time.monotonic_ns()
        self._disarm("an emergency stop is latched")
        took = self._require_links().stop_line.stop()
        log.warning("%s stopped, read back after %.1f ms", self._config.device, took * 1e3)

    def reset_stop(self) -> None:
        """Releases the latch after the cool-down; the arm is idle then.

        Raises:
            DeviceFault: Too early.
        """
        if self._stopped_ns is None:
            return
        left_s = self._config.stop_cooldown_s - (time.monotonic_ns() - self._stopped_ns) * 1e-9
        if left_s > 0.0:
            raise DeviceFault(
                f"the stop cools down for another {left_s:.2f} s", device=self._config.device, remedy="wait, then reset"
            )
        self._stopped_ns, self._why = None, "the stop was reset"

    def clear_fault(self, *, by_person: bool) -> None:
        """Clears the present fault in the documented order; the arm is idle then.

        Args:
            by_person: Whether a person who looked at the cell asks; that also fills the budget.

        Raises:
            DeviceFault: The fault's class or the budget forbids it, or it came back.
            DeviceError: The box did not answer.
        """
        links = self._require_links()
        self._require_writable()
        with self._streamer.lock:
            self._require_no_stop(links)
            code = links.main.error_code()
            links.side.note_error(code)
            if not code:
                if by_person:
                    self._budget.refill()
                return
            now = time.monotonic_ns()
            require_allowed(code, self._budget, by_person=by_person, now_ns=now, device=self._config.device)
            self._disarm("a fault was cleared")
            links.side.forget_grip()
            clear(links.main, self._config, self._streamer.restart)
            links.side.note_error(0)
            self._require_no_stop(links)
        log.warning("%s: cleared %s", self._config.device, fault(code).meaning)

    def _status(self, links: Links, reading: Reading) -> ArmStatus:
        side = links.side.reading
        offline = links.offline()
        if offline or side.error or (self._armed and not self._follows(reading)):
            self._disarm(offline or ("in a fault" if side.error else "the controller left its mode or stopped"))
        known = fault(side.error) if side.error else None
        return ArmStatus(
            mode=self._mode(offline, side.error),
            fault_code=side.error,
            fault=f"{known.meaning}; {known.remedy}" if known else self._why,
            collision=side.error == FELT_COLLISION,
            clearing=known.clearing if known else None,
            attempts_left=self._budget.left(time.monotonic_ns()),
            stalls=self._streamer.stalls,
            simulated=self._config.simulated,
            details={**links.identity(), **self._safety, **self._streamer.details(), **links.details()},
        )

    def _mode(self, offline: str, error: int) -> ArmMode:
        if offline:
            return ArmMode.OFFLINE
        if self._stopped_ns is not None:
            return ArmMode.STOPPED
        if error:
            return ArmMode.FAULT
        return ArmMode.READY if self._armed else ArmMode.IDLE

    def _follows(self, reading: Reading) -> bool:
        return reading.mode == self._config.mode and reading.state in _FOLLOWS

    def _disarm(self, why: str) -> None:
        self._armed, self._why = False, why
        self._streamer.holding = False

    def _lost(self, links: Links, error: DeviceError) -> None:
        """Notes why the stream ended: nothing more is sent before the arm is armed again."""
        self._disarm(str(error))
        if isinstance(error, DeviceFault):
            try:
                links.side.note_error(links.main.error_code())
            except DeviceError as further:
                log.error("after %s: %s", error, further)

    def _brake(self) -> bool:
        """One point towards rest; returns whether there are more."""
        links = self._links
        if links is None or not self._armed:
            return False
        try:
            return self._streamer.brake()
        except DeviceError as error:
            self._lost(links, error)
            log.error("hold: %s", error)
            return False

    def _check_identity(self, links: Links) -> None:
        api = links.main.api
        version = tuple(int(part) for part in api.version_number)
        if int(api.axis) != 7:
            raise DeviceFault(f"it has {api.axis} joints", device=self._config.device, remedy="link an xArm 7")
        if version < FIRST_FIRMWARE:
            raise DeviceFault(
                f"firmware {version} is older than {FIRST_FIRMWARE}", device=self._config.device, remedy="update it"
            )

    def _set_safety(self, links: Links) -> None:
        """Sets and proves the box's safety settings; in a fault they wait until the arm is armed."""
        links.main.fresh(_READY_S)
        code = links.main.error_code()
        links.side.note_error(code)
        if self._config.readonly:
            box = read_safety(self._config)
            self._safety, self._told = describe_safety(box), box.tcp_offset
        elif not code:
            self._prove_safety(links)

    def _prove_safety(self, links: Links) -> None:
        if not self._proven:
            apply_safety(links.main, self._config)
        self._safety = describe_safety(prove_safety(self._config))
        self._proven = True

    def _await_ready(self, links: Links) -> None:
        until = time.monotonic() + _READY_S
        while not self._follows(links.main.fresh(_READY_S)):
            if time.monotonic() > until:
                reading = links.reading()
                raise DeviceFault(
                    f"told to be ready, it is in mode {reading.mode} and state {reading.state}",
                    device=self._config.device,
                    remedy="look for an error in the vendor's tool",
                )
        self._require_no_error(links)

    def _require_no_error(self, links: Links) -> None:
        code = links.main.error_code()
        links.side.note_error(code)
        if code:
            raise fault(code).as_error(self._config.device)

    def _require_no_stop(self, links: Links) -> None:
        """Raises when a stop is latched, and makes sure that nothing done meanwhile has ended it."""
        if self._stopped_ns is not None:
            links.stop_line.stop()
            raise DeviceFault("an emergency stop is latched", device=self._config.device, remedy="reset it first")

    def _require_links(self) -> Links:
        if self._links is None:
            raise DeviceNotConnected(
                "used before it was linked", device=self._config.device, remedy="enter it with `with`"
            )
        return self._links

    def _require_armed(self, links: Links) -> None:
        offline = links.offline()
        if offline:
            self._disarm(offline)
            raise DeviceNotConnected(offline, device=self._config.device, remedy="check the cable, then link again")
        if self._armed and not self._follows(links.reading()):
            self._disarm("the controller left its mode or stopped")
        if not self._armed:
            code = links.side.reading.error
            raise DeviceFault(
                f"not armed: {self._why}", device=self._config.device, code=code, remedy="clear what is wrong, then arm"
            )

    def _require_writable(self) -> None:
        if self._config.readonly:
            raise DeviceFault("it is read-only", device=self._config.device, remedy="configure it without readonly")

    def _leave(self) -> None:
        """Comes to rest where it is, servos on, gripper as it is; never homes."""
        self.hold()
        until = time.monotonic() + _REST_S
        while self._armed and not self._streamer.at_rest and time.monotonic() < until:
            time.sleep(self._config.beat_s)
        links, armed = self._links, self._armed
        self._disarm("left")
        if links is not None and armed:
            try:
                links.stop_line.stop()
            except DeviceError as error:
                log.error("leaving: %s", error)

    def _let_go(self) -> None:
        self._links = None
