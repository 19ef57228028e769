"""Batched simulation values: state of N worlds, domain parameters, snapshots and captured failure states."""

from dataclasses import dataclass, field, fields

import numpy as np

from core.arrays import Bools, Floats, Ints, floats
from core.errors import ContractError
from core.failures import FailureMode
from core.flow import ActionChunk
from core.scene import ROLES, SceneRoles, SceneState


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldState:
    """Ground truth of N worlds at one control step; for training, evaluation and ablation only."""

    time_s: Floats
    """Simulated time since reset, shape (N,) [s]."""
    joint_pos: Floats
    """Shape (N, J) [rad]."""
    joint_vel: Floats
    """Shape (N, J) [rad/s]."""
    tcp_pos_in_base: Floats
    """Shape (N, 3) [m]."""
    tcp_quat_xyzw_in_base: Floats
    """Shape (N, 4)."""
    tcp_goal_in_base: Floats
    """Position the controller is heading for, shape (N, 3) [m]."""
    gripper_opening: Floats
    """Measured, 0 closed, 1 open, shape (N,)."""
    gripper_command: Floats
    """Commanded, shape (N,)."""
    contact_force_n: Floats
    """Largest contact force on arm and hand from anything but the grasped object, shape (N,) [N]."""
    pressed_n: Floats
    """Mean contact force over the last period between the two objects that the task presses together, (N,) [N]."""
    object_names: tuple[str, ...]
    """O names."""
    object_pos_in_base: Floats
    """Centres, shape (N, O, 3) [m]; absent objects are parked below the table."""
    object_quat_xyzw_in_base: Floats
    """Shape (N, O, 4)."""
    roles: Ints
    """Index of the object in each role now, -1 when none, shape (N, 4), columns in the order of `ROLES`."""
    subtask: Ints
    """How many sub-tasks are done, up to the first that is not, 0..S, shape (N,); `roles` belong to the next one."""
    success: Bools
    """The task's success predicate, shape (N,)."""
    q_score: Floats
    """Share of the task's sub-goals reached so far, [0, 1], shape (N,)."""
    physics_reset: Bools
    """The physics blew up and was reset silently since the last episode reset; the episode is void. Shape (N,)."""

    def of(self, role: str) -> Floats:
        """Returns positions (N, 3) [m] of the object in `role`; NaN where no object has it."""
        index = self.roles[:, ROLES.index(role)]
        pos = np.asarray(self.object_pos_in_base[np.arange(len(index)), index])
        return np.where(index[:, None] >= 0, pos, np.nan)

    def take(self, ids: Ints) -> "WorldState":
        """Returns the same state for a subset of worlds."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        names = values.pop("object_names")
        return WorldState(object_names=names, **{k: v[ids] for k, v in values.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainParams:
    """Physical parameters of N worlds, each shape (N,) unless it says otherwise; `nominal` gives the nominal cell."""

    friction_scale: Floats
    """Friction of every object and fingertip, dimensionless."""
    mass_scale: Floats
    """Mass of every object, dimensionless."""
    gain_scale: Floats
    """Position and velocity gains of the joint servos, dimensionless."""
    action_latency_s: Floats
    """Delay from command to motion, rounded to control sub-steps [s]."""
    table_height_m: Floats
    """Height of the table top above its nominal height [m]."""
    gripper_friction_scale: Floats
    """Friction between the fingertips and what they grasp, on top of `friction_scale`, dimensionless."""
    joint_offset_rad: Floats
    """How far each joint is truly turned beyond what its encoder says, shape (N, 7) [rad]."""

    @staticmethod
    def nominal(n: int) -> "DomainParams":
        """Returns the nominal cell `n` times."""
        one, zero = np.ones(n), np.zeros(n)
        return DomainParams(
            friction_scale=one, mass_scale=one, gain_scale=one, action_latency_s=zero, table_height_m=zero,
            gripper_friction_scale=one, joint_offset_rad=np.zeros((n, 7)),
        )  # fmt: skip

    def take(self, ids: Ints) -> "DomainParams":
        """Returns the parameters of a subset of worlds."""
        return DomainParams(**{f.name: getattr(self, f.name)[ids] for f in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSnapshot:
    """All that is needed to put one world back bit for bit."""

    physics: Floats
    """MuJoCo integration state, shape (P,)."""
    controller: Floats
    """Controller targets and pending commands, shape (C,)."""
    task: Floats
    """Sub-goals reached and injector state, shape (M,)."""
    roles: SceneRoles
    """Who is who at this instant."""
    instruction: str

    def __post_init__(self) -> None:
        for name in ("physics", "controller", "task"):
            object.__setattr__(self, name, floats(name, getattr(self, name), (None,)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureState:
    """One entry of the bank: a failure the frozen policy walked into, ready to be restored."""

    snapshot: WorldSnapshot
    mode: FailureMode
    seed: int
    """Episode seed of the rollout it came from."""
    age_s: float
    """Time since the failure was injected [s]: small is early, large is late."""
    queue: ActionChunk | None
    """What the base policy was still going to do."""
    belief: SceneState
    """Where the base policy thinks things are: the scene before the injection."""
    subtask: int = 0
    """Sub-task k that failed, 0..S-1; recovered when more than k are done."""
    policy_features: Floats = field(default_factory=lambda: np.zeros(0))
    """The base policy's pooled image features at its last answer, shape (P,); empty when it has none."""

    def __post_init__(self) -> None:
        if self.age_s < 0:
            raise ContractError(f"age_s is {self.age_s} s; a failure state cannot precede its injection")
        if self.subtask < 0:
            raise ContractError(f"subtask is {self.subtask}; sub-tasks count from 0")
        object.__setattr__(self, "policy_features", floats("policy_features", self.policy_features, (None,)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """Which failure to inject in an episode, and how hard."""

    mode: FailureMode
    strength: float | None = None
    """In the injector's own unit; None is the strength the task documents."""
