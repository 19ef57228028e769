"""What a reward is probed with: recoveries of a scripted expert, and rivals that deserve less than they.

Runs are recorded on a `World` from captured failure states: the expert, a hand that shakes where the potential is high,
one that shoves the goal, random policies of which half begin in the middle of a recovery. `pushed` makes up states in
which a hand moves the goal to the target, for goals that stand fast. Nothing here judges: `residual.lint` does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from math import ceil

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.errors import ConfigError
from core.ports import Expert, World
from core.robots import EE_DELTA
from core.scene import ROLES
from core.worlds import FailureState, WorldState
from residual.terms import PARKED_BELOW_M

PUSH_STEP_M = 0.01
"""How far the made-up hand moves the goal in one step [m]: 0.2 m/s."""
SHOVE_FROM_M = 0.14
"""How far beyond the goal's centre a hand comes down to shove it [m]."""
HOLD_STEPS = 8
"""A random policy keeps an action for so many steps at most."""
MOST_TRIES = 3
"""Random policies may succeed by chance; so many times the wanted number of rollouts is tried at most."""
_GRIPPER = EE_DELTA.names.index("gripper")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """Where a reward is probed, and how hard."""

    world: World
    """Simulated cells; all of them are used."""
    expert: Expert
    """Demonstrator over ground truth."""
    states: Sequence[FailureState]
    """Failures that the reward is for; one per world is used."""
    steps: int
    """Control steps of an episode."""
    subtasks: int = 1
    """Sub-tasks of the task, S; an attempt at the last one ends with the task's success."""
    rollouts: int = 50
    """Random-policy rollouts, at least."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.states or self.steps < 2 or self.rollouts < 1:
            raise ConfigError(
                f"a reward is probed from {len(self.states)} failure states for {self.steps} steps with "
                f"{self.rollouts} rollouts; give at least 1, 2 and 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """N worlds over T control steps."""

    flat: WorldState
    """T + 1 states of N worlds one after another, (T + 1) * N rows, with the roles of the first throughout."""
    actions: Floats
    """What was done, on [-1, 1], shape (T, N, A)."""
    won: Bools
    """Where the attempt had reached what it is for, shape (T + 1, N)."""
    passed: Bools
    """Where the positions alone say that its sub-task is done, shape (T + 1, N); things may have vanished then."""

    @property
    def steps(self) -> int:
        """T."""
        return len(self.actions)

    @property
    def n(self) -> int:
        """N."""
        return int(self.won.shape[1])

    def rows(self, index: Ints) -> WorldState:
        """Returns the states at steps `index` (K, N) of the same world, K * N rows."""
        return self.flat.take((index * self.n + np.arange(self.n)).ravel())

    def ends(self) -> Ints:
        """Returns the step of the first success, T + 1 where there is none, shape (N,)."""
        return _first(self.won)

    def passes(self) -> Ints:
        """Returns the first step at which the sub-task is done or the attempt a success, T + 1 if never, shape (N,)."""
        return _first(self.won | self.passed)

    def failed(self) -> int:
        """Returns how many worlds did not succeed."""
        return int((self.ends() > self.steps).sum())


def _first(where: Bools) -> Ints:
    """Returns the first row that is true, the number of rows where none is, shape (N,)."""
    return np.where(where.any(axis=0), where.argmax(axis=0), len(where))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was seen whatever the reward: worth keeping when several rewards are probed from the same states."""

    expert: Run
    shoved: Run
    """A hand that pushes the goal to the target."""
    random: tuple[Run, ...]
    """Random policies, half of them after the first steps of the expert."""


Pilot = Callable[[int, WorldState], Floats]
"""Returns actions (N, A), in `EE_DELTA` units, from the step's number and the state."""


def record(probing: Probing, pilot: Pilot) -> Run:
    """Returns what happens from the failure states when `pilot` acts for an episode."""
    world, n = probing.world, probing.world.n
    chosen = [probing.states[k % len(probing.states)] for k in range(n)]
    world.restore(np.arange(n), [s.snapshot for s in chosen])
    seen, taken = [world.state()], []
    for k in range(probing.steps):
        taken.append(pilot(k, seen[-1]))
        world.step(taken[-1])
        seen.append(world.state())
    begun = seen[0].subtask
    last = begun >= probing.subtasks - 1
    passed = np.stack([s.subtask > begun for s in seen])
    won = np.where(last, np.stack([s.success for s in seen]), passed)
    actions = np.clip(EE_DELTA.normalise(np.stack(taken)), -1.0, 1.0)
    flat = replace(joined(seen), roles=np.tile(seen[0].roles, (len(seen), 1)))
    return Run(flat=flat, actions=actions, won=won, passed=passed)


def record_all(probing: Probing) -> Recorded:
    """Returns the expert's recoveries and the random policies' runs.

    Raises:
        ConfigError: The expert recovers from none of the states, so that nothing can be compared.
    """
    expert = record(probing, lambda _, state: probing.expert.act(state))
    ends = expert.ends()
    recovered = int(((ends <= expert.steps) & (ends > 0)).sum())
    if not recovered:
        raise ConfigError(
            f"the expert recovers from none of {expert.n} failure states within {probing.steps} steps; "
            f"the lint needs recoveries: probe from other states or allow more steps"
        )
    rng, runs = np.random.default_rng([probing.seed, 0]), list[Run]()
    for batch in range(ceil(MOST_TRIES * probing.rollouts / recovered)):
        begins = rng.integers(0, np.minimum(ends, expert.steps) + 1) * (rng.random(expert.n) < 0.5)
        runs.append(record(probing, wandering(probing, begins, batch)))
        if sum(run.failed() for run in runs) >= probing.rollouts:
            break
    return Recorded(expert=expert, shoved=record(probing, shoving()), random=tuple(runs))


def joined(states: Sequence[WorldState]) -> WorldState:
    """Returns the rows of several states one after another."""
    names = [f.name for f in fields(WorldState) if f.name != "object_names"]
    values = {name: np.concatenate([getattr(s, name) for s in states]) for name in names}
    return WorldState(object_names=states[0].object_names, **values)


def shaking(probing: Probing, begins: Ints, *, gripper: bool) -> Pilot:
    """Returns a hand that follows the expert up to a step and then goes to and fro as fast as it may.

    Args:
        probing: Whose expert.
        begins: First step of the shaking, shape (N,).
        gripper: Whether the fingers open and close too; else they stay as they were told.
    """
    rng = np.random.default_rng([probing.seed, 1])
    way = EE_DELTA.high * rng.choice([-1.0, 1.0], (len(begins), EE_DELTA.size))

    def act(k: int, state: WorldState) -> Floats:
        shake = way * (-1.0) ** k
        toggled = np.full(len(begins), float(k // 3 % 2))
        shake[:, _GRIPPER] = toggled if gripper else np.clip(state.gripper_command, 0.0, 1.0)
        return np.where((k < begins)[:, None], probing.expert.act(state), shake)

    return act


def wandering(probing: Probing, begins: Ints, batch: int) -> Pilot:
    """Returns a random policy that keeps each action for a few steps, after the expert's first `begins` (N,) steps."""
    rng = np.random.default_rng([probing.seed, 2, batch])
    held = np.zeros((len(begins), EE_DELTA.size))

    def act(k: int, state: WorldState) -> Floats:
        fresh = rng.uniform(EE_DELTA.low, EE_DELTA.high, held.shape)
        change = (rng.random(len(held)) < 1.0 / HOLD_STEPS) | (k == begins) | (k == 0)
        held[change] = fresh[change]
        return np.where((k < begins)[:, None], probing.expert.act(state), held)

    return act


def shoving() -> Pilot:
    """Returns a closed hand that comes down beyond the goal and drives towards the target, whatever gives way."""

    def act(_: int, state: WorldState) -> Floats:
        goal, target, tcp = state.of("goal"), state.of("target"), state.tcp_pos_in_base
        there = _there(target) & _there(goal)
        way = np.where(there[:, None], target - goal, 0.0)[:, :2]
        way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
        goal = np.where(there[:, None], goal, tcp)
        start = goal[:, :2] - SHOVE_FROM_M * way
        offset = tcp[:, :2] - goal[:, :2]
        along = (offset * way).sum(axis=1)
        aside = np.linalg.norm(offset - along[:, None] * way, axis=1)
        behind = (aside < 0.03) & (along < -0.03)
        low = tcp[:, 2] < goal[:, 2] + 0.05
        over = np.linalg.norm(tcp[:, :2] - start, axis=1) < 0.02
        height = goal[:, 2] + np.where(over | (behind & low), 0.03, 0.2)
        aim = np.where((behind & low)[:, None], tcp[:, :2] + way, start)
        actions = np.zeros((len(tcp), EE_DELTA.size))
        actions[:, :3] = np.concatenate([aim, height[:, None]], axis=1) - tcp
        return EE_DELTA.clip(np.where(there[:, None], actions, 0.0))

    return act


def _there(pos: Floats) -> Bools:
    """Returns whether an object at `pos` (N, 3) is on the table, shape (N,)."""
    return np.asarray(np.nan_to_num(pos[:, 2], nan=-1.0) > PARKED_BELOW_M)


def pushed(run: Run) -> tuple[Run, Run]:
    """Returns made-up runs from the first states: a hand pushes the goal to the target, and moves so without the goal.

    Nothing else moves, and nothing succeeds: the target is where it was, only the goal came.

    Args:
        run: Whose first states; worlds without a goal or a target, or with one that is absent, stand still.
    """
    n = run.n
    first = run.flat.take(np.arange(n))
    target, goal = first.of("target"), first.of("goal")
    way = np.where((_there(target) & _there(goal))[:, None], target - goal, 0.0)
    way[:, 2] = 0.0
    length = np.linalg.norm(way, axis=1)
    steps = max(2, int(np.ceil(length.max() / PUSH_STEP_M)))
    index = first.roles[:, ROLES.index("goal")]
    states: tuple[list[WorldState], list[WorldState]] = ([], [])
    for k in range(steps + 1):
        moved = way * np.minimum(1.0, k * PUSH_STEP_M / np.maximum(length, 1e-9))[:, None]
        hand = np.where(length[:, None] > 0, goal + moved, first.tcp_pos_in_base)
        pos = first.object_pos_in_base.copy()
        pos[np.arange(n), index] += np.where(index[:, None] >= 0, moved, 0.0)
        states[1].append(replace(first, tcp_pos_in_base=hand))
        states[0].append(replace(states[1][-1], object_pos_in_base=pos))
    still, lost = np.zeros((steps, n, EE_DELTA.size)), np.zeros((steps + 1, n), dtype=bool)
    with_goal, without = (Run(flat=joined(s), actions=still, won=lost, passed=lost) for s in states)
    return with_goal, without
