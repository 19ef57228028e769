"""N cells with one task in them, stepped together on MuJoCo's batch: the simulator's door (`core.ports.World`).

Called by training, evaluation, demonstrations and the simulated robot. No reward, no policy in here. Letters: N worlds,
O objects, G sub-goals.
"""

from collections.abc import Sequence
from dataclasses import fields, replace

import mujoco.batch
import numpy as np

from core.arrays import Floats, Ints
from core.errors import ContractError, unknown_name
from core.kinematics import forward
from core.robots import EE_DELTA
from core.scene import SceneRoles
from core.worlds import DomainParams, Injection, WorldSnapshot, WorldState
from sim.cell import PARKED_M, STROKE_M, SUBSTEPS, Bodies, Cell, PhysicsSettings, build_cell, home_qpos
from sim.controller import Controller, latency_steps
from sim.courses import Courses
from sim.domain import DomainFields
from sim.memory import Memory
from sim.objects import Objects
from sim.rows import put_row, take_row
from sim.task import Blow, Cue, Disturbance, Facts, Task, Wording

START_NOISE_RAD = 0.02
"""Each joint starts this far from home at most [rad]."""
_STATE = ("time", "qpos", "qvel", "qacc_warmstart", "ctrl", "mocap_pos", "mocap_quat")
"""All of the integration state that this model has."""


class BatchWorld:
    """N worlds of one task; implements `core.ports.World`.

    Args:
        task: The task.
        n: Number of worlds.
        threads: Threads that step them; results do not depend on it.
        wording: Which instructions episodes draw from.
        settings: Physics settings, the gated ones when None.
    """

    def __init__(
        self, task: Task, n: int, *, threads: int = 1, wording: Wording = "all", settings: PhysicsSettings | None = None
    ) -> None:
        self._task, self._n, self._wording = task, n, wording
        self._cell = build_cell(task.info.objects, settings, furnish=task.furnish, pressed=task.pressed)
        self._batch = mujoco.batch.Batch(self._cell.model, n, threads)
        self._fields = {name: self._batch.bind(name) for name in _STATE}
        self._physics = [self._fields[name] for name in _STATE]
        self._domain = DomainFields(self._batch, self._cell)
        self._latency = np.zeros(n, dtype=np.int64)
        self._offset = np.zeros((n, 7))
        self._controller = Controller.blank(n)
        self._courses = Courses(task.info, n)
        self._objects = Objects(self._cell, self._fields)
        self._names = tuple(o.name for o in task.info.objects)
        self._modes = tuple(task.injectors)
        self._record = {"sensordata": np.zeros((n, SUBSTEPS, self._cell.model.nsensordata))}
        self._forced = np.zeros(n, dtype=bool)
        self._facts: Facts | None = None
        self._memory = Memory.blank(n, len(self._names), len(task.subgoal_names))
        self.reset(np.arange(n), np.arange(n))

    @property
    def n(self) -> int:
        """Number of worlds."""
        return self._n

    @property
    def task(self) -> Task:
        """The task in them."""
        return self._task

    @property
    def cell(self) -> Cell:
        """The compiled cell, for cameras."""
        return self._cell

    def reset(self, ids: Ints, seeds: Ints, domain: DomainParams | None = None) -> None:
        """Starts new episodes in worlds `ids` from `seeds`, one each; no injection is armed.

        Args:
            ids: World indices, shape (M,).
            seeds: Episode seeds, shape (M,).
            domain: One row per id; nominal when None.
        """
        ids = np.asarray(ids, dtype=np.int64)
        domain = domain or DomainParams.nominal(len(ids))
        self._apply(ids, domain)
        self._memory.forget(ids)
        self._memory.table[ids] = domain.table_height_m
        for i, seed in zip(ids, np.asarray(seeds, dtype=np.int64), strict=True):
            self._start(int(i), np.random.default_rng(int(seed)))
        joints = self._fields["qpos"][ids, :7] - self._offset[ids]
        self._controller.start(ids, joints, *forward(joints))
        self._fields["ctrl"][ids] = self._controller.pending[ids, -1]
        self._fields["ctrl"][ids, :7] += self._offset[ids]
        self._finish()

    def step(self, actions: Floats) -> None:
        """Runs one control period.

        Args:
            actions: Shape (N, A), in `EE_DELTA` units; clipped to its bounds.

        Raises:
            ContractError: Wrong shape, NaN or infinity.
        """
        actions = np.asarray(actions, dtype=np.float64)
        if actions.shape != (self._n, EE_DELTA.size) or not np.isfinite(actions).all():
            raise ContractError(f"actions {actions.shape} must be finite, shape {(self._n, EE_DELTA.size)}")
        actions = EE_DELTA.clip(actions)
        facts = self._now()
        self._disturb_all(facts, actions)
        actions[self._forced, 6] = 1.0
        _, tcp_pos, tcp_quat = self.measured()
        targets = self._controller.servo_targets(actions, tcp_pos, tcp_quat, self._latency)
        targets[:, :, :7] += self._offset[:, None]
        self._run(targets)
        self._finish()

    def drive(self, targets: Floats) -> None:
        """Runs physics steps with servo targets from a controller outside; action latency does not apply to them.

        Injectors look and sub-goals are noted once a control period, as in `step`; `state` and `facts` are as of the
        end of the last full period. All worlds must be at the same point of their period.

        Args:
            targets: Joint positions [rad] and opening between the pads [m], shape (N, S, 8); S physics steps, no more
                than are left of the period.

        Raises:
            ContractError: Wrong shape, NaN or infinity, or beyond the end of the control period.
        """
        targets = np.array(targets, dtype=np.float64)
        first = np.rint(self._fields["time"] * SUBSTEPS / EE_DELTA.dt_s).astype(int).ravel() % SUBSTEPS
        fits = targets.ndim == 3 and targets.shape[::2] == (self._n, 8) and np.isfinite(targets).all()
        if not fits or (first != first[0]).any() or not 0 < targets.shape[1] <= SUBSTEPS - first[0]:
            raise ContractError(f"targets {targets.shape} must be finite, shape ({self._n}, S, 8), inside one period")
        if first[0] == 0:
            self._disturb_all(self._now(), self._controller.follow(targets[:, -1]))
        targets[self._forced, :, 7] = STROKE_M
        targets[:, :, :7] += self._offset[:, None]
        self._drive(targets, int(first[0]), int(first[0]) + targets.shape[1])

    def field(self, name: str) -> Floats:
        """Returns a live array (N, ...) of MuJoCo's data field `name`, e.g. "qvel" or "xfrc_applied"."""
        return np.asarray(self._batch.bind(name))

    def hold(self, ids: Ints) -> None:
        """Makes worlds `ids` hold the pose they have now; pending commands are dropped, the gripper stays."""
        self._controller.hold(ids, *self.measured())

    def state(self) -> WorldState:
        """Returns the ground truth of all worlds; its arrays are read-only."""
        return self._now().state

    def measured(self) -> tuple[Floats, Floats, Floats]:
        """Returns what encoders say: joints (N, 7) [rad], tool position (N, 3) [m], orientation (N, 4) xyzw, in base.

        They are the truth of `state` but for the domain's `joint_offset_rad`.
        """
        state = self._now().state
        if not self._offset.any():
            return state.joint_pos, state.tcp_pos_in_base, state.tcp_quat_xyzw_in_base
        joints = state.joint_pos - self._offset
        return joints, *forward(joints)

    def instruction(self, i: int) -> str:
        """Returns what the policy in world `i` is told."""
        return self._courses.instruction(i)

    def roles(self, i: int) -> SceneRoles:
        """Returns who is who in world `i` now."""
        return self._courses.at(i, int(self._now().state.subtask[i])).roles

    def facts(self) -> Facts:
        """Returns ground truth with speeds and touches, for tests and failure analysis."""
        return self._now()

    def bodies(self, i: int) -> Bodies:
        """Returns where everything in world `i` is, for pictures."""
        pos, quat = self._objects.placed(i)
        return Bodies(qpos=self._fields["qpos"][i].copy(), placed_pos=pos, placed_quat_wxyz=quat)

    def snapshot(self, i: int) -> WorldSnapshot:
        """Returns all of world `i`."""
        return WorldSnapshot(
            physics=take_row(self._physics, i),
            controller=self._controller.row(i),
            task=self._memory.row(i),
            roles=self.roles(i),
            instruction=self.instruction(i),
        )

    def restore(self, ids: Ints, snapshots: Sequence[WorldSnapshot], domain: DomainParams | None = None) -> None:
        """Puts snapshots back, one per id; bit for bit when the domain is the one they were taken in.

        On a table of another height, loose objects are moved up or down with it.

        Raises:
            ContractError: A snapshot of another model.
        """
        ids = np.asarray(ids, dtype=np.int64)
        domain = domain or DomainParams.nominal(len(ids))
        self._apply(ids, domain)
        for i, snapshot, height in zip(ids, snapshots, domain.table_height_m, strict=True):
            self._put(int(i), snapshot)
            self._level(int(i), float(height))
        self._finish()

    def park(self, ids: Ints, names: Sequence[str]) -> None:
        """Takes an object out of each of worlds `ids`, by name; "" takes nothing.

        Raises:
            ConfigError: The task has no such object.
        """
        for i, name in zip(ids, names, strict=True):
            if name and name not in self._names:
                raise unknown_name("object of this task", name, self._names)
            if name:
                self._objects.place(int(i), self._names.index(name), PARKED_M, 0.0)
        self._finish()

    def inject(self, i: int, injection: Injection | None, seed: int = 0) -> None:
        """Arms a failure in world `i`, which strikes at its moment; None disarms.

        Args:
            i: World index.
            injection: Mode and strength.
            seed: Where and how exactly it strikes.

        Raises:
            ConfigError: The task has no injector for the mode.
        """
        self._memory.armed[i], self._memory.injected_at[i] = -1.0, np.nan
        if injection is None:
            return
        if injection.mode not in self._modes:
            raise unknown_name("failure mode of this task", str(injection.mode), [str(m) for m in self._modes])
        default = self._task.injectors[injection.mode].default
        self._memory.armed[i] = self._modes.index(injection.mode)
        self._memory.strength[i] = default if injection.strength is None else injection.strength
        self._memory.seed[i] = seed

    def injected_at(self, i: int) -> float:
        """Returns when the failure of world `i` struck, since reset [s]; NaN when it has not."""
        return float(self._memory.injected_at[i])

    def before_injection(self, i: int) -> Floats:
        """Returns object centres just before the failure of world `i` struck, shape (O, 3) [m]; zeros before that."""
        return np.array(self._memory.before[i])

    def _apply(self, ids: Ints, domain: DomainParams) -> None:
        self._domain.apply(ids, domain)
        self._latency[ids] = latency_steps(domain.action_latency_s)
        self._offset[ids] = domain.joint_offset_rad

    def _start(self, i: int, rng: np.random.Generator) -> None:
        scene = self._task.scene(rng, self._wording)
        self._fields["time"][i] = 0.0
        qpos = self._fields["qpos"][i]
        qpos[:] = home_qpos(self._cell)
        qpos[:7] += rng.uniform(-START_NOISE_RAD, START_NOISE_RAD, 7)
        for name in ("qvel", "qacc_warmstart"):
            self._fields[name][i] = 0.0
        yaw = np.zeros(len(self._names)) if scene.object_yaw is None else scene.object_yaw
        for o, pos in enumerate(scene.object_pos_in_base):
            self._objects.place(i, o, pos + np.array([0.0, 0.0, self._memory.table[i]]), float(yaw[o]))
        self._memory.event[i] = scene.event_s
        self._courses.tell(i, scene.instruction)

    def _put(self, i: int, snapshot: WorldSnapshot) -> None:
        put_row(self._physics, i, snapshot.physics)
        self._controller.put(i, snapshot.controller)
        self._memory.put(i, snapshot.task)
        self._courses.tell(i, snapshot.instruction)

    def _level(self, i: int, height: float) -> None:
        rise = height - self._memory.table[i]
        if rise == 0.0:
            return
        self._objects.raise_all(i, rise, self._memory.pinched()[i])
        self._memory.table[i] = height

    def _disturb_all(self, facts: Facts, actions: Floats) -> None:
        for i, effect in self._task.effects(facts).items():
            self._disturb(i, effect)
        self._inject(facts, actions)
        self._forced[:] = self._memory.open_steps > 0
        self._memory.open_steps[self._forced] -= 1.0

    def _inject(self, facts: Facts, actions: Floats) -> None:
        waiting = np.isnan(self._memory.injected_at)
        for index in np.unique(self._memory.armed[waiting & (self._memory.armed >= 0)]).astype(int):
            injector = self._task.injectors[self._modes[index]]
            due = waiting & (self._memory.armed == index) & injector.due(Cue(facts=facts, actions=actions))
            for i in np.flatnonzero(due):
                rng = np.random.default_rng(int(self._memory.seed[i]))
                blow = Blow(i=int(i), strength=float(self._memory.strength[i]), rng=rng)
                disturbance = injector.strike(facts, blow)
                if disturbance is not None:
                    self._memory.injected_at[i] = self._fields["time"][i]
                    self._memory.before[i] = facts.state.object_pos_in_base[i]
                    self._disturb(int(i), disturbance)

    def _disturb(self, i: int, disturbance: Disturbance) -> None:
        for o, pos in disturbance.place.items():
            self._objects.place(i, o, pos, disturbance.yaw.get(o, 0.0))
        for o, velocity in disturbance.kick.items():
            self._objects.kick(i, o, velocity)
        self._memory.open_steps[i] = max(self._memory.open_steps[i], disturbance.open_steps)
        if disturbance.spends_event:
            self._memory.event[i] = np.nan

    def _run(self, targets: Floats) -> None:
        expected = self._fields["time"] + EE_DELTA.dt_s
        self._batch.rollout(SUBSTEPS, targets, record=("sensordata",), out=self._record)
        self._note_blown(expected)
        self._note_touches()

    def _drive(self, targets: Floats, first: int, end: int) -> None:
        expected = self._fields["time"] + (end - first) * EE_DELTA.dt_s / SUBSTEPS
        sensors = self._batch.rollout(end - first, targets, record=("sensordata",))["sensordata"]
        self._record["sensordata"][:, first:end] = sensors
        self._note_blown(expected)
        if end == SUBSTEPS:
            self._controller.command[:] = targets[:, -1, 7] / STROKE_M
            self._note_touches()
            self._finish()

    def _note_blown(self, expected_time: Floats) -> None:
        blown = np.abs(self._fields["time"] - expected_time) > 1e-6
        blown |= ~np.isfinite(self._fields["qpos"]).all(axis=1)
        self._memory.void[blown] = 1.0

    def _note_touches(self) -> None:
        sensors = self._record["sensordata"]
        self._memory.pads[:] = sensors[:, -1, self._cell.pads]
        forces = np.linalg.norm(sensors[:, :, self._cell.touch].reshape(self._n, SUBSTEPS, -1, 3), axis=-1).max(axis=1)
        forces[:, 1:][self._memory.pinched()] = 0.0
        self._memory.force[:] = forces.max(axis=1)
        if self._task.pressed is not None:
            self._memory.pressed[:] = np.linalg.norm(sensors[:, :, self._cell.pressed], axis=-1).mean(axis=1)

    def _finish(self) -> None:
        self._facts = None
        facts = self._read()
        reached = self._memory.reached
        np.maximum(reached, self._task.subgoals(facts), out=reached)
        state = replace(facts.state, success=self._task.success(facts), q_score=reached.mean(axis=1))
        self._facts = replace(facts, state=state)
        for field in fields(state):
            value = getattr(state, field.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def _read(self) -> Facts:
        time, qpos, qvel = (self._fields[name] for name in ("time", "qpos", "qvel"))
        tcp_pos, tcp_quat = forward(qpos[:, :7])
        pos, quat, speed = self._objects.read()
        progress, roles = self._courses.now(pos)
        state = WorldState(
            time_s=time.copy(),
            joint_pos=qpos[:, :7].copy(),
            joint_vel=qvel[:, :7].copy(),
            tcp_pos_in_base=tcp_pos,
            tcp_quat_xyzw_in_base=tcp_quat,
            tcp_goal_in_base=self._controller.goal_pos.copy(),
            gripper_opening=np.clip(qpos[:, 7:9].sum(axis=1) / STROKE_M, 0.0, 1.0),
            gripper_command=self._controller.command.copy(),
            contact_force_n=self._memory.force.copy(),
            pressed_n=self._memory.pressed.copy(),
            object_names=self._names,
            object_pos_in_base=pos,
            object_quat_xyzw_in_base=quat,
            roles=roles,
            subtask=progress,
            success=np.zeros(self._n, dtype=bool),
            q_score=np.zeros(self._n),
            physics_reset=self._memory.void > 0,
        )
        return Facts(state=state, object_speed=speed, pinched=self._memory.pinched(), event_s=self._memory.event.copy())

    def _now(self) -> Facts:
        if self._facts is None:
            raise ContractError("the world has no state yet; reset it first")
        return self._facts
