"""The simulated arm behind the `Robot` door: one world, its cameras, and a clock that moves only with the simulation.

Called by the wiring; the loop cannot tell it from the real arm.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from core.arrays import Floats, Image
from core.clock import ManualClock
from core.errors import ContractError, DeviceNotConnected
from core.flow import Observation
from core.kinematics import XARM7
from core.robots import EE_DELTA
from sim.cameras import CAMERA_NAMES, DAYLIGHT, CellCameras, Light
from sim.late import Moment, Past
from sim.world import BatchWorld

SPEC = XARM7
"""Names and limits of this arm."""


class SimRobot:
    """An xArm 7 in simulated time; implements `core.ports.Robot`.

    The world is not reset by entering: reset it first, inject what should fail, then enter.

    Args:
        world: A world with n = 1.
        clock: Moved forward by one control period at each `send`.
        cameras: Open cameras; no images when None.
        names: Which cameras it has.
        render_every: New images at every how many control periods; between them the last ones, with their own time.
        light: How the cell is lit.
        latency_s: Readings and images are so old when they arrive, and say so [s].
    """

    def __init__(
        self,
        world: BatchWorld,
        clock: ManualClock,
        *,
        cameras: CellCameras | None = None,
        names: Sequence[str] = CAMERA_NAMES,
        render_every: int = 1,
        light: Light = DAYLIGHT,
        latency_s: float = 0.0,
    ) -> None:
        if world.n != 1:
            raise ContractError(f"world has n = {world.n}; a robot needs exactly 1")
        if render_every < 1:
            raise ContractError(f"render_every is {render_every}; allowed 1 or more")
        self._world, self._clock, self._cameras = world, clock, cameras
        self._names = tuple(names) if cameras else ()
        self._render_every, self._light, self._latency_s = render_every, light, latency_s
        self._past = Past(latency_s)
        self._connected = False
        self._ticks = 0
        self._images: Mapping[str, Image] = {}
        self._image_t_ns: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._connected, self._ticks, self._images, self._image_t_ns = True, 0, {}, {}
        self._past = Past(self._latency_s)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.hold()
        self._connected = False

    def read(self) -> Observation:
        """Returns what is measured now; raises `DeviceNotConnected` when it was not entered."""
        self._require_connected()
        self._past.note(self._now())
        seen = self._past.known()
        self._look(seen)
        state = self._world.state()
        return Observation(
            t_ns=seen.t_ns,
            joint_pos=seen.joint_pos,
            joint_vel=seen.joint_vel,
            tcp_pos_in_base=seen.tcp_pos_in_base,
            tcp_quat_xyzw_in_base=seen.tcp_quat_xyzw_in_base,
            gripper_opening=seen.opening,
            gripper_command=float(state.gripper_command[0]),
            images=self._images,
            image_t_ns=self._image_t_ns,
            instruction=self._world.instruction(0),
        )

    def send(self, action: Floats) -> Floats:
        """Runs one control period with `action` (A,), clipped to `EE_DELTA`, and returns what was sent (A,).

        Raises:
            ContractError: Wrong shape, NaN or infinity; nothing moves then.
            DeviceNotConnected: It was not entered.
        """
        self._require_connected()
        sent = EE_DELTA.clip(np.asarray(action, dtype=np.float64))
        self._world.step(sent[None])
        self._clock.advance(EE_DELTA.dt_s)
        self._ticks += 1
        return sent

    def hold(self) -> None:
        """Makes the commanded pose the measured one and keeps the gripper command; takes no simulated time."""
        self._world.hold(np.array([0]))

    def _now(self) -> Moment:
        state = self._world.state()
        joints, tcp_pos, tcp_quat = self._world.measured()
        return Moment(
            t_ns=self._clock.now_ns(), joint_pos=joints[0], joint_vel=state.joint_vel[0], tcp_pos_in_base=tcp_pos[0],
            tcp_quat_xyzw_in_base=tcp_quat[0], opening=float(state.gripper_opening[0]), bodies=self._world.bodies(0),
        )  # fmt: skip

    def _look(self, seen: Moment) -> None:
        stale = not self._images or self._ticks % self._render_every == 0
        if self._cameras is None or not stale or self._image_t_ns.get(self._names[0]) == seen.t_ns:
            return
        self._images = self._cameras.show(seen.bodies, self._names, self._light)
        self._image_t_ns = dict.fromkeys(self._names, seen.t_ns)

    def _require_connected(self) -> None:
        if not self._connected:
            raise DeviceNotConnected("used before it was connected", device="SimRobot", remedy="enter it with `with`")
