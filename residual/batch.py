"""N recoveries at once: failure states restored, base driven by the surrogate, tracker noise, composed actions.

A recovery begins in sub-task k of its task and has succeeded when that is done and the hand is free of it; the last
sub-task has succeeded when the task has. No reward and no learning in here: `env` adds them for PPO, `evaluate` and
`imitation` roll it as it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.ports import World
from core.robots import EE_DELTA, ResidualSpace
from core.scene import ROLES
from core.stages import MANNERS
from core.subtasks import Course, Manner
from core.worlds import FailureState, WorldState
from residual.agenda import Agenda
from residual.curriculum import SceneEdit
from residual.driver import BaseDriver
from residual.features import FEATURES, Trace, assemble, body_of_state, tracked_by_role
from residual.noise import DomainRanges, NoisyTracker, TrackerNoise
from residual.policy_features import PolicyScale
from residual.surrogate import Surrogate

FREE_M = 0.04
"""A hand that is open and this far from what it let go of is free of it [m]."""
FALLEN_M = -0.03
"""An object whose centre is lower than this fell from the table [m]."""
_TARGET = ROLES.index("target")
_HANDS_ON = [MANNERS.index(Manner.WIPE), MANNERS.index(Manner.PUSH)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryConfig:
    """How recoveries are rolled out."""

    episode_steps: int = 80
    """Control steps after which a recovery has failed."""
    replan_steps: int = 4
    """Rows of a base chunk that are taken before the next is planned."""
    noise: TrackerNoise = field(default_factory=TrackerNoise)
    domain: DomainRanges | None = None
    """Physical parameters drawn per episode; the nominal cell when None."""
    stage_dropout: float = 0.1
    """Probability that an episode is not told its stage."""
    base_knows: float = 0.3
    """Probability that the base sees where things are, instead of keeping its wrong belief."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySetup:
    """Where and against what recoveries run."""

    world: World
    """Simulated cells; a batch uses all of them."""
    course: Callable[[str], Course]
    """Reads what is to be done from an instruction: the task's `TaskInfo.course`."""
    surrogate: Surrogate
    """Stands in for the frozen base policy."""
    space: ResidualSpace
    """How base and residual are composed."""
    config: RecoveryConfig = field(default_factory=RecoveryConfig)
    """Episode length, noise."""
    policy_scale: PolicyScale | None = None
    """Statistics of the frozen policy's features, when the residual observes them; it does not when None."""

    def hard(self) -> "RecoverySetup":
        """Returns the same in the nominal cell, the base wrong throughout, the stage always told: for figures."""
        config = replace(self.config, stage_dropout=0.0, base_knows=0.0, domain=None)
        return replace(self, config=config)

    @property
    def features(self) -> int:
        """Number of values that the residual policy reads: F, and P of the frozen policy's own."""
        return FEATURES + (0 if self.policy_scale is None else self.policy_scale.size)


class RecoveryBatch:
    """N worlds in the middle of a recovery.

    Args:
        setup: World, base, composition, noise.
        rng: Randomness.
    """

    def __init__(self, setup: RecoverySetup, rng: np.random.Generator) -> None:
        world, config, n = setup.world, setup.config, setup.world.n
        self.n, self.space, self.config, self._world, self._rng = n, setup.space, config, world, rng
        self.state = world.state()
        """Ground truth, for experts."""
        objects = len(self.state.object_names)
        self._agenda = Agenda(setup.course, n)
        self._driver = BaseDriver(
            setup.surrogate, self._agenda, n=n, objects=objects, replan_steps=config.replan_steps
        )  # fmt: skip
        self._tracker = NoisyTracker(n, objects, config.noise, rng)
        self._trace = Trace(n)
        self._told: Bools = np.ones(n, dtype=bool)
        self._scale = setup.policy_scale
        self._watched: Floats | None = None if self._scale is None else np.zeros((n, self._scale.size))
        self.base: Floats = np.zeros((n, EE_DELTA.size))
        """Base actions for the coming step, shape (N, A), in `EE_DELTA` units."""
        self.features: Floats = np.zeros((n, setup.features))
        """Input of the residual policy, shape (N, F + P)."""
        self.steps: Ints = np.zeros(n, dtype=np.int64)
        """Steps since the recovery began, shape (N,)."""
        self.subtask: Ints = np.zeros(n, dtype=np.int64)
        """Sub-task that each recovery is about, shape (N,)."""
        self.eased: Bools = np.zeros(n, dtype=bool)
        """Which recoveries began in an easier scene, shape (N,)."""
        self._limit: Ints = np.full(n, config.episode_steps)
        self._last: Bools = np.zeros(n, dtype=bool)
        self._stays: Bools = np.zeros(n, dtype=bool)
        self._roles: Ints = np.full((n, len(ROLES)), -1, dtype=np.int64)

    def start(
        self, ids: Ints, states: Sequence[FailureState], edits: Sequence[SceneEdit] = (), eased: Bools | None = None
    ) -> None:
        """Begins recoveries in worlds `ids` from captured failures, one each.

        Args:
            ids: Worlds, shape (M,).
            states: Failures, one per id.
            edits: What makes a scene easier.
            eased: Which of the M scenes are made easier; none when None.
        """
        easy = np.zeros(len(ids), dtype=bool) if eased is None or not edits else eased
        steady, longer = (easy & any(e.kind == kind for e in edits) for kind in ("steady", "longer"))
        domain = None if self.config.domain is None else self.config.domain.draw(len(ids), self._rng, steady)
        self._world.restore(ids, [s.snapshot for s in states], domain)
        for edit in (e for e in edits if e.kind == "remove"):
            names = [s.snapshot.roles.of(edit.role) if on else "" for s, on in zip(states, easy, strict=True)]
            self._world.park(ids, names)
        self._limit[ids] = np.where(longer, self.config.episode_steps * 3 // 2, self.config.episode_steps)
        self.eased[ids] = easy
        self.state = self._world.state()
        self._aim(ids, states)
        truth = self.state.object_pos_in_base[ids]
        self._tracker.start(ids, truth, steady)
        self._trace.forget(ids)
        knows = self._rng.random(len(ids)) < self.config.base_knows
        self._driver.start(ids, states, self.state.object_names, truth, knows)
        self._told[ids] = self._rng.random(len(ids)) >= self.config.stage_dropout
        if self._watched is not None and self._scale is not None:
            self._watched[ids] = self._scale.standardised(states)
        self.steps[ids] = 0
        self._sense(ids)

    def step(self, residual: Floats) -> None:
        """Runs one control step.

        Args:
            residual: Dimensionless in [-1, 1], shape (N, A), 0 outside the residual space's dims.
        """
        composed = self.space.compose(EE_DELTA, self.base, residual)
        self._trace.acted(residual, composed)
        self._world.step(composed)
        self.state = self._world.state()
        self.steps += 1
        self._sense(np.arange(self.n))

    def spread(self, values: Floats) -> Floats:
        """Returns residuals (N, A) from values (N, D) on the residual space's dims."""
        residual = np.zeros((len(values), EE_DELTA.size))
        residual[:, self.space.dims] = np.clip(values, -1.0, 1.0)
        return residual

    def squeezed(self, wanted: Floats) -> Floats:
        """Returns the residuals (N, A) that come closest to composing `wanted` actions (N, A) with the base."""
        with np.errstate(divide="ignore", invalid="ignore"):
            rest = EE_DELTA.normalise(EE_DELTA.clip(wanted)) - self.space.alpha * EE_DELTA.normalise(self.base)
            return np.where(self.space.beta > 0, np.clip(rest / self.space.beta, -1.0, 1.0), 0.0)

    def recovered(self) -> Bools:
        """Returns whether the sub-task is done and the hand free of it, or the whole task done, shape (N,)."""
        state = self.state
        away = self._wanted() - state.tcp_pos_in_base
        free = self._stays | ((state.gripper_command >= 0.5) & ((away * away).sum(axis=1) > FREE_M**2))
        done = ~self._last & (state.subtask > self.subtask) & free
        return np.asarray((state.success | done) & ~state.physics_reset)

    def lost(self) -> Bools:
        """Returns whether what the sub-task is about fell from the table, shape (N,)."""
        return np.asarray(self._wanted()[:, 2] < FALLEN_M)

    def over(self) -> Bools:
        """Returns whether a recovery has ended, well, badly or void, shape (N,); running out of time is not an end."""
        return np.asarray(self.recovered() | self.lost() | self.state.physics_reset)

    def timed_out(self) -> Bools:
        """Returns whether the time is up, shape (N,)."""
        return np.asarray(self.steps >= self._limit)

    def judged(self) -> WorldState:
        """Returns the ground truth as a reward sees it: success and who is who are those of these recoveries."""
        return replace(self.state, roles=self._roles.copy(), success=self.recovered())

    def _aim(self, ids: Ints, states: Sequence[FailureState]) -> None:
        """Notes what the recoveries in worlds `ids` are about."""
        self._agenda.tell(ids, [s.snapshot.instruction for s in states])
        count = self._agenda.count(ids)
        subtask = np.minimum([s.subtask for s in states], count - 1)
        self.subtask[ids], self._last[ids] = subtask, subtask == count - 1
        self._stays[ids] = np.isin(self._agenda.manner(ids, subtask), _HANDS_ON)
        self._roles[ids] = self._agenda.roles(ids, subtask)

    def _wanted(self) -> Floats:
        """Returns where the targets of the recoveries are, shape (N, 3) [m]."""
        return self.state.object_pos_in_base[np.arange(self.n), self._roles[:, _TARGET]]

    def _sense(self, ids: Ints) -> None:
        whole = len(ids) == self.n
        state, trace = (self.state, self._trace) if whole else (self.state.take(ids), None)
        body, truth = body_of_state(state), state.object_pos_in_base
        self.base[ids] = self._driver.act(ids, body, truth)
        seen = self._tracker.track(ids, truth)
        self._trace.observe(ids, body.tcp_pos_in_base)
        self.features[ids] = assemble(
            body,
            tracked_by_role(seen, self._agenda.due(ids, seen)),
            self.base[ids],
            self._trace.take(ids) if trace is None else trace,
            stage_known=self._told[ids],
            policy_features=None if self._watched is None else self._watched[ids],
        )
