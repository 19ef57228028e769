"""The fruit task for anything that speaks gymnasium: `regrasp/FruitOnPlate-v0`.

Importing `sim.gym_env` registers it: `gymnasium.make("regrasp/FruitOnPlate-v0")`. Observations are the privileged
state; the reward is sparse, since shaped rewards belong to the learner.
"""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats, Image
from core.errors import ContractError
from core.robots import EE_DELTA
from core.transforms import rotvec_from_quat
from core.worlds import WorldState
from sim.cameras import CellCameras
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld

ENV_ID = "regrasp/FruitOnPlate-v0"
OBSERVATION_NAMES = (
    *(f"joint_pos_{i}_rad" for i in range(7)),
    *(f"joint_vel_{i}_rad_s" for i in range(7)),
    "tcp_x_m", "tcp_y_m", "tcp_z_m", "tcp_rx_rad", "tcp_ry_rad", "tcp_rz_rad",
    "gripper_opening", "gripper_command",
    *(f"{role}_{axis}_m" for role in ("target", "distractor", "plate", "block") for axis in "xyz"),
)  # fmt: skip
"""What each entry of the observation is."""
OBSERVATION_HIGH = np.concatenate(
    [np.full(7, 6.3), np.full(7, 20.0), np.full(3, 2.0), np.full(3, 3.2), np.full(14, 2.0)]
)
"""Observations are clipped to plus or minus this, in the unit of each entry."""


class FruitOnPlateEnv(gymnasium.Env):  # type: ignore[misc] # gymnasium is not followed by the type checker
    """One world of `fruit_on_plate`.

    Action: Box(-1, 1, (7,)), `EE_DELTA` normalised. Observation: Box, `OBSERVATION_NAMES`. Reward: 1 on success, else
    0; the episode ends with it, and is truncated after the task's number of steps or when the physics was reset.

    Args:
        render_mode: "rgb_array" for pictures of the fixed camera, or None.
        size_px: Width and height of the pictures [px].
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - gymnasium's own type

    def __init__(self, render_mode: str | None = None, size_px: int = 192) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ContractError(f"render_mode is {render_mode!r}; allowed None, 'rgb_array'")
        self.render_mode, self._size_px = render_mode, size_px
        self._world = BatchWorld(FruitOnPlate(), 1)
        self._cameras: CellCameras | None = None
        self._steps = 0
        self.observation_space = gymnasium.spaces.Box(-OBSERVATION_HIGH, OBSERVATION_HIGH, dtype=np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (EE_DELTA.size,), dtype=np.float32)

    @property
    def world(self) -> BatchWorld:
        """The world inside, for experts and wrappers that need ground truth."""
        return self._world

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Starts a new episode; the same `seed` starts the same one."""
        super().reset(seed=seed, options=options)
        self._world.reset(np.array([0]), np.array([int(self.np_random.integers(2**31))]))
        self._steps = 0
        return observation(self._world.state())[0], self._info()

    def step(self, action: NDArray[np.float32]) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Runs one control period with `action` (7,) in [-1, 1]."""
        self._world.step(EE_DELTA.denormalise(np.asarray(action, dtype=np.float64))[None])
        self._steps += 1
        info = self._info()
        done = bool(info["is_success"])
        late = self._steps >= self._world.task.info.episode_steps or info["physics_reset"]
        return observation(self._world.state())[0], float(done), done, bool(late and not done), info

    def render(self) -> Image | None:
        """Returns a picture (size_px, size_px, 3) of the fixed camera, None without a render mode."""
        if self.render_mode is None:
            return None
        if self._cameras is None:
            self._cameras = CellCameras(self._world, size_px=self._size_px).__enter__()
        return self._cameras.render(self._world, 0, ("front",))["front"]

    def close(self) -> None:
        """Frees the pictures' context."""
        if self._cameras is not None:
            self._cameras.close()
            self._cameras = None

    def _info(self) -> dict[str, Any]:
        state = self._world.state()
        return {
            "is_success": bool(state.success[0]),
            "q_score": float(state.q_score[0]),
            "physics_reset": bool(state.physics_reset[0]),
            "instruction": self._world.instruction(0),
        }


def observation(state: WorldState) -> Floats:
    """Returns the observations (N, 34) of `OBSERVATION_NAMES`."""
    values = np.concatenate(
        [
            state.joint_pos,
            state.joint_vel,
            state.tcp_pos_in_base,
            rotvec_from_quat(state.tcp_quat_xyzw_in_base),
            state.gripper_opening[:, None],
            state.gripper_command[:, None],
            *(state.of(role) for role in ("target", "distractor", "goal", "obstacle")),
        ],
        axis=1,
    )
    return np.asarray(np.clip(values, -OBSERVATION_HIGH, OBSERVATION_HIGH))


if ENV_ID not in gymnasium.registry:
    gymnasium.register(id=ENV_ID, entry_point="sim.gym_env:FruitOnPlateEnv")
