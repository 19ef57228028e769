"""The lint: whether a reward may be trained on. It looks at the spec, and probes it on recoveries and on their rivals.

A success must be worth more than each of its own truncations, standing still, shaking, going to and fro, random
policies, hovering in the best state that is no success, and pushing the goal to the target; with discount 0.97 and
without. Called by `train`; the report is kept on the spec, and a spec that fails is trained on only by force.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.errors import ConfigError
from core.rewards import LintCheck, LintReport, RewardNode, RewardSpec
from core.worlds import WorldState
from residual.compile import check_consistency, written_out
from residual.library import LIBRARY, Library
from residual.outline import own_value, told
from residual.probes import Probing, Recorded, Run, pushed, record, record_all, shaking
from residual.reward import SUCCESS_BONUS, CompiledReward
from residual.stages import leaves

DISCOUNTS = (1.0, 0.97)
"""Returns are compared with each; the second is the trainer's."""
STRICT = 1.0
"""The discount with which a success has to be worth more in every world; with others, in most."""
MORE = 1e-6
"""By so much at least a success must be worth more than a rival, reward units."""
CYCLES = (1, 4)
"""Lengths of going to and fro along a recovery [control steps]."""


def lint_reward(
    spec: RewardSpec, probing: Probing, *, recorded: Recorded | None = None, library: Library = LIBRARY
) -> LintReport:
    """Lints and probes a reward.

    Args:
        spec: Compiled, or made by hand.
        probing: World, expert and failure states to probe it from.
        recorded: What `record_all` saw with the same probing; recorded here when None.
        library: Terms it was compiled against.

    Raises:
        ConfigError: The expert recovers from none of the states, so that nothing can be said; a spec that cannot be
            evaluated.
    """
    spec = written_out(spec, library)
    reward = CompiledReward(spec, library)
    seen = record_all(probing) if recorded is None else recorded
    trial = _Trial(reward, seen.expert)
    shaken = _shaken(probing, trial)
    checks = [
        *_static(spec),
        *_terms(spec, library, [seen.expert, *shaken, seen.shoved, *seen.random]),
        *_course(trial),
        *_rivals(trial, shaken, seen),
    ]
    lost = sum(run.failed() for run in seen.random)
    return LintReport(checks=tuple(checks), successes=int(trial.on.sum()), rollouts=lost)


def linted(spec: RewardSpec, report: LintReport) -> RewardSpec:
    """Returns the spec with what its lint found; its hash stays the same."""
    return replace(spec, lint=report)


def require_lint(spec: RewardSpec, *, force: bool) -> str:
    """Returns how the spec came to be trained on, for the skill card: "passed" or "forced: ...".

    Args:
        spec: With its lint report, when it has one.
        force: Whether to go on although it was not linted or did not pass.

    Raises:
        ConfigError: It was not linted or did not pass, and is not forced.
    """
    if spec.lint is not None and spec.lint.ok:
        return "passed"
    if spec.lint is None:
        found = "it was never linted"
    else:
        found = "; ".join(f"{c.name}: {c.value:.4g}, at least {c.needed:.4g} needed" for c in spec.lint.failed)
    if not force:
        raise ConfigError(
            f"reward {spec.hash[:12]} can be hacked or is not sound ({found}); change its mask or parameters, "
            f"or train on it with --force, which the card records"
        )
    return f"forced: {found}"


@dataclass(frozen=True, slots=True)
class _Returns:
    """Rewards of one run, and their sums up to every step."""

    rewards: Floats
    """Shape (T, N)."""

    def prefix(self, discount: float) -> Floats:
        """Returns the sums of the first 0..T rewards, shape (T + 1, N)."""
        weights = discount ** np.arange(len(self.rewards))[:, None]
        return np.concatenate([np.zeros((1, self.rewards.shape[1])), np.cumsum(weights * self.rewards, axis=0)])


class _Trial:
    """A reward and the expert's run that it is probed against.

    Args:
        reward: Under test.
        run: The expert's.
    """

    def __init__(self, reward: CompiledReward, run: Run) -> None:
        self.reward, self.run, self.ends = reward, run, run.ends()
        self.on = (self.ends <= run.steps) & (self.ends > 0)
        """Worlds whose recovery is compared with, shape (N,)."""
        self.phi = reward.potential(run.flat).reshape(run.steps + 1, run.n)
        self._returns = _Returns(self.along(run, charged=True))

    def success(self, discount: float) -> Floats:
        """Returns what each success is worth, shape (N,); -inf where there is none."""
        at = np.minimum(self.ends, self.run.steps)
        worth = self._returns.prefix(discount)[at, np.arange(self.run.n)]
        return np.where(self.on, worth, -np.inf)

    def prefix(self, discount: float) -> Floats:
        """Returns the worth of the expert's first t steps, shape (T + 1, N)."""
        return self._returns.prefix(discount)

    def along(self, run: Run, *, charged: bool = False) -> Floats:
        """Returns the rewards of a run, shape (T, N).

        Args:
            run: In the same worlds.
            charged: Whether its actions cost what they would cost as residuals; rivals move for free.
        """
        index = np.arange(run.steps)[:, None] + np.zeros((1, run.n), dtype=np.int64)
        actions = run.actions if charged else np.zeros_like(run.actions)
        return self.between(run, index, index + 1, actions)

    def between(self, run: Run, start: Ints, stop: Ints, actions: Floats) -> Floats:
        """Returns the rewards of steps from `start` to `stop` (K, N) of a run, shape (K, N)."""
        before, after = run.rows(start), run.rows(stop)
        won = run.won[stop, np.arange(run.n)].ravel()
        action = actions.reshape(len(won), -1)
        memory = self.reward.memory(len(won), action.shape[1])
        self.reward.begin(before, memory, np.arange(len(won)))
        memory.action = np.concatenate([np.zeros_like(actions[:1]), actions[:-1]]).reshape(action.shape)
        return self.reward.evaluate(before, after, action, memory, won).reshape(start.shape)


def _shaken(probing: Probing, trial: _Trial) -> tuple[Run, Run]:
    """Returns a hand that shakes where phi is highest before the success, and one that shakes half way there."""
    run, n = trial.run, trial.run.n
    before = np.arange(run.steps + 1)[:, None] < trial.ends
    peak = np.where(before, trial.phi, -1.0).argmax(axis=0)
    half = trial.phi[0] + 0.5 * (trial.phi[peak, np.arange(n)] - trial.phi[0])
    middle = (trial.phi >= half).argmax(axis=0)
    here, there = (shaking(probing, at, gripper=g) for at, g in ((peak, False), (middle, True)))
    return record(probing, here), record(probing, there)


def _static(spec: RewardSpec) -> Iterator[LintCheck]:
    total = sum(s.value.weight for s in spec.stages)
    yield LintCheck(name="weights of the stages sum to 1", value=-abs(total - 1.0), needed=-1e-6)
    for stage in spec.stages:
        off = max((abs(sum(c.weight for c in n.children) - 1.0) for n in _sums(stage.value)), default=0.0)
        yield LintCheck(name=f"weights inside stage {stage.stage} sum to 1", value=-off, needed=-1e-6)
    fault = ""
    try:
        check_consistency(spec)
    except ConfigError as error:
        fault = str(error)
    yield LintCheck(name="parameters agree", value=0.0 if fault else 1.0, needed=1.0, note=fault)


def _sums(node: RewardNode) -> Iterator[RewardNode]:
    if node.kind == "and":
        yield node
    for child in node.children:
        yield from _sums(child)


def _terms(spec: RewardSpec, library: Library, runs: Sequence[Run]) -> Iterator[LintCheck]:
    """Every term keeps its range on all that was seen; a value does not fall while its stage succeeds."""
    expert = runs[0]
    for node in {repr(n): n for s in spec.stages for n in leaves(s.value)}.values():
        seen = np.concatenate([library.term(node.term).function(run.flat, **node.params) for run in runs])
        slack = float(np.min([seen.min(), 1.0 - seen.max()])) if np.isfinite(seen).all() else float("nan")
        yield LintCheck(name=f"scale of {told(node)} in [0, 1]", value=min(slack, 0.0), needed=-1e-9)
    reward = CompiledReward(spec, library)
    done = reward.stages_done(expert.flat).reshape(expert.steps + 1, expert.n, -1)
    for z, stage in enumerate(spec.stages):
        entered = (done[:, :, :z] > 0.5).all(axis=2) & (done[:, :, z] <= 0.5)
        for node in _drivers(own_value(stage)):
            value = _value(node, expert.flat, library).reshape(entered.shape)
            yield LintCheck(
                name=f"sign of {told(node)} in stage {stage.stage}", value=_change(value, entered, expert),
                needed=-0.25, note="mean change while the stage is done",
            )  # fmt: skip


def _drivers(node: RewardNode) -> Iterator[RewardNode]:
    """Yields what a stage's weighted sum is made of: terms, and whole IF and OR nodes."""
    if node.kind != "and":
        yield node
        return
    for child in node.children:
        yield from _drivers(child)


def _value(node: RewardNode, state: WorldState, library: Library) -> Floats:
    """Returns a tree's value in N states, shape (N,)."""
    if node.kind == "term":
        return library.term(node.term).function(state, **node.params)
    values = np.stack([_value(c, state, library) for c in node.children])
    weights = np.array([c.weight for c in node.children])
    combined = {"and": weights @ values, "if": values.prod(axis=0), "or": values.max(axis=0)}
    return np.asarray(combined[node.kind])


def _change(value: Floats, entered: Bools, run: Run) -> float:
    """Returns the mean change of a term from the first step of its stage to the step after its last, 0 if never.

    The step in which the sub-task is done does not count: what was wiped is gone then.
    """
    changes = []
    for i, (end, done) in enumerate(zip(run.ends(), run.passes(), strict=True)):
        inside = np.flatnonzero(entered[:done, i])
        if end <= run.steps and len(inside) > 1:
            stop = min(int(inside[-1]) + 1, int(done) - 1)
            changes.append(float(value[stop, i] - value[inside[0], i]))
    return float(np.mean(changes)) if changes else 0.0


def _course(trial: _Trial) -> Iterator[LintCheck]:
    """Along successes phi rises, every stage is reached, and the costs leave most of what is earned."""
    run, on, ends, phi = trial.run, trial.on, trial.ends, trial.phi
    counted = (np.arange(1, run.steps + 1)[:, None] < ends) & on
    change = np.where(counted, np.diff(phi, axis=0), 0.0)
    kept = change.sum(axis=0)[on] / np.maximum(np.abs(change).sum(axis=0)[on], 1e-9)
    yield LintCheck(
        name="phi rises along successes",
        value=float(kept.mean()),
        needed=0.2,
        note="rise over all that phi moves; a jam has to be backed out of",
    )
    last = phi[np.maximum(np.minimum(ends, run.steps) - 1, 0), np.arange(run.n)]
    yield LintCheck(name="phi gains along successes", value=float((last - phi[0])[on].mean()), needed=0.02)
    done = trial.reward.stages_done(run.flat).reshape(run.steps + 1, run.n, -1) > 0.5
    for z, stage in enumerate(trial.reward.spec.stages):
        reached = done[:, on, z].any(axis=0).mean()
        yield LintCheck(name=f"stage {stage.stage} is reached", value=float(reached), needed=0.01)
    yield LintCheck(name="costs leave half of what a success earns", value=_left(trial), needed=0.5)


def _left(trial: _Trial) -> float:
    """Returns the share of its earnings that the costs leave a success, in the median world."""
    index = np.arange(trial.run.n)
    at = np.minimum(trial.ends, trial.run.steps)
    free = CompiledReward(replace(trial.reward.spec, costs=_weightless(trial.reward.spec.costs)))
    earned = _Returns(_Trial(free, trial.run).along(trial.run)).prefix(1.0)[at, index]
    paid = earned - trial.success(1.0)
    return float(np.median((1.0 - paid / np.maximum(earned, 1e-9))[trial.on]))


def _weightless(costs: RewardNode) -> RewardNode:
    return replace(costs, children=tuple(replace(c, weight=0.0) for c in costs.children))


def _rivals(trial: _Trial, shaken: Sequence[Run], seen: Recorded) -> Iterator[LintCheck]:
    run = trial.run
    live = np.arange(run.steps + 1)[:, None] < trial.ends
    worths = {d: np.where(live, trial.prefix(d), -np.inf).max(axis=0) for d in DISCOUNTS}
    yield _beaten(trial, "its own truncations", worths)
    yield _beaten(trial, "standing still", {d: _hover(trial, run, d, first=True) for d in DISCOUNTS})
    yield _beaten(trial, "shaking", {d: _best(trial, shaken, d) for d in DISCOUNTS})
    yield _beaten(trial, "going to and fro", {d: _cycling(trial, d) for d in DISCOUNTS})
    yield _beaten(trial, "random policies", {d: _best(trial, seen.random, d) for d in DISCOUNTS})
    hovers = {
        d: np.max([_hover(trial, r, d) for r in (run, *shaken, seen.shoved, *seen.random)], axis=0) for d in DISCOUNTS
    }
    yield _beaten(trial, "hovering in the best state that is no success", hovers)
    if (run.flat.of("goal")[: run.n, 2] > -0.1).any():
        yield from _pushing(trial, seen.shoved)


def _beaten(trial: _Trial, rival: str, worth: dict[float, Floats]) -> LintCheck:
    """Returns by how much the success is worth more than a rival, at the worst discount: in the worst or median world.

    A recovery that takes long is worth little by discounted return; docs/rewards.md says what the median leaves out.
    """
    margins = {d: (trial.success(d) - worth[d])[trial.on] for d in worth}
    least = {d: float(m.min() if d == STRICT else np.median(m)) for d, m in margins.items()}
    worst = min(least, key=lambda d: least[d])
    return LintCheck(
        name=f"success beats {rival}", value=least[worst], needed=MORE, note=f"smallest at discount {worst:g}"
    )


def _best(trial: _Trial, runs: Sequence[Run], discount: float) -> Floats:
    """Returns the most that any run was worth at any step before it succeeded, shape (N,)."""
    worth = []
    for run in runs:
        live = np.arange(run.steps + 1)[:, None] < run.ends()
        worth.append(np.where(live, _Returns(trial.along(run)).prefix(discount), -np.inf).max(axis=0))
    return np.asarray(np.max(worth, axis=0))


def _hover(trial: _Trial, run: Run, discount: float, *, first: bool = False) -> Floats:
    """Returns the most that staying in a state of a run until the time is up is worth, shape (N,).

    Args:
        trial: Reward.
        run: Whose states before its success.
        discount: Of the returns.
        first: Whether to stay in its first state only.
    """
    count = 1 if first else run.steps + 1
    index = np.arange(count)[:, None] + np.zeros((1, run.n), dtype=np.int64)
    stay = trial.between(run, index, index, np.zeros((count, run.n, run.actions.shape[2])))
    left = np.cumsum(discount ** np.arange(run.steps + 1)[::-1])[::-1] - discount**run.steps
    worth = _Returns(trial.along(run)).prefix(discount)[:count] + stay * left[:count, None]
    return np.asarray(np.where(index < run.ends(), worth, -np.inf).max(axis=0))


def _cycling(trial: _Trial, discount: float) -> Floats:
    """Returns the most that a recovery up to a step, and then going back and on again, is worth, shape (N,)."""
    run = trial.run
    index = np.arange(run.steps)[:, None] + np.zeros((1, run.n), dtype=np.int64)
    on, back = trial.along(run), trial.between(run, index + 1, index, np.zeros_like(run.actions))
    prefix = _Returns(on).prefix(discount)
    best = np.full(run.n, -np.inf)
    for length in CYCLES:
        for k in range(length, run.steps + 1):
            loop = np.concatenate([back[k - length : k][::-1], on[k - length : k]])
            once = (discount ** np.arange(2 * length)) @ loop
            times = discount ** (2 * length * np.arange((run.steps - k) // (2 * length)))
            best = np.where(k < trial.ends, np.maximum(best, prefix[k] + discount**k * once * times.sum()), best)
    return best


def _pushing(trial: _Trial, shoved: Run) -> Iterator[LintCheck]:
    """Yields that a success beats bringing the goal to the target, and that the goal's own way earns nothing."""
    with_goal, without = pushed(trial.run)
    ways = [_Returns(trial.along(r)) for r in (with_goal, without)]
    worths = {d: np.maximum(ways[0].prefix(d).max(axis=0), _best(trial, [shoved], d)) for d in DISCOUNTS}
    yield _beaten(trial, "pushing the goal to the target", worths)
    gains = [(ways[0].prefix(d) - ways[1].prefix(d))[1:].max() for d in DISCOUNTS]
    allowed = 0.01 * (trial.reward.spec.scale + SUCCESS_BONUS)
    yield LintCheck(name="moving the goal earns nothing", value=-float(max(gains)), needed=-allowed)
