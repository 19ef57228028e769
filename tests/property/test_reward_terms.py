"""Laws of every reward term: bounded, never NaN, pure, as monotone as claimed, one world at a time."""

import copy
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.arrays import Floats
from core.robots import EE_DELTA
from core.scene import ROLES
from core.worlds import WorldState
from residual.library import LIBRARY
from residual.penalties import Transition
from residual.sweeps import SWEEPS, evaluate, still_life
from residual.term import Number, Term

N = 12
TERMS = tuple(LIBRARY.terms.values())
seeds = st.integers(0, 2**32 - 1)


def wild(rng: np.random.Generator) -> WorldState:
    """N worlds as wild as they come: objects parked, missing, on top of each other, forces and speeds large."""
    quats = rng.normal(size=(2, N, len(ROLES), 4))
    quats /= np.linalg.norm(quats, axis=-1, keepdims=True)
    pos = rng.uniform([0.2, -0.4, -0.2], [0.7, 0.4, 0.4], (N, len(ROLES), 3))
    pos[rng.random((N, len(ROLES))) < 0.2] = [0.45, 0.9, -0.5]
    tcp = np.where(rng.random((N, 1)) < 0.5, pos[:, 0] + rng.normal(0, 0.02, (N, 3)), pos[:, 1])
    return replace(
        still_life(N), joint_pos=rng.uniform(-7, 7, (N, 7)), joint_vel=rng.normal(0, 3, (N, 7)),
        tcp_pos_in_base=tcp, tcp_quat_xyzw_in_base=quats[0, :, 0], gripper_opening=rng.uniform(-0.05, 1.05, N),
        gripper_command=rng.uniform(0, 1, N), contact_force_n=rng.exponential(40, N),
        pressed_n=rng.exponential(20, N), object_pos_in_base=pos, object_quat_xyzw_in_base=quats[1],
        roles=rng.integers(-1, len(ROLES), (N, len(ROLES))), subtask=rng.integers(0, 6, N),
    )  # fmt: skip


def happened(rng: np.random.Generator) -> Transition:
    actions = rng.normal(0, 2, (2, N, EE_DELTA.size))
    return Transition(prev=wild(rng), state=wild(rng), action=actions[0], prev_action=actions[1])


def taken(step: Transition, ids: np.ndarray) -> Transition:
    return Transition(
        prev=step.prev.take(ids), state=step.state.take(ids), action=step.action[ids], prev_action=step.prev_action[ids]
    )


def drawn(term: Term, rng: np.random.Generator) -> dict[str, float | str]:
    """Random parameters inside their ranges, the ends included, in the order the term demands."""
    params: dict[str, float | str] = {}
    for one in term.parameters:
        if isinstance(one, Number):
            low, high = one.low, one.high
            params[one.name] = float(rng.choice([low, high, rng.uniform(low, high)]))
        else:
            params[one.name] = one.default
    for small, large in term.ordered:
        least, most = sorted((float(params[small]), float(params[large])))
        params[small], params[large] = least, most + 1e-3
    allowed = {p.name: p for p in term.parameters if isinstance(p, Number)}
    return {k: min(v, allowed[k].high) if isinstance(v, float) else v for k, v in params.items()}


def bound(term: Term, rng: np.random.Generator) -> dict[str, float | str]:
    params = drawn(term, rng)
    if any(float(params[a]) >= float(params[b]) for a, b in term.ordered):
        params = {}
    return term.bind(params)


@pytest.mark.parametrize("term", TERMS, ids=lambda t: t.name)
@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_a_term_is_bounded_and_never_nan_whatever_the_worlds(term: Term, seed: int) -> None:
    rng = np.random.default_rng(seed)
    said = evaluate(term, bound(term, rng), happened(rng))
    low = 0.0 if term.kind == "value" else -1.0
    assert said.shape == (N,)
    assert said.dtype == np.float64
    assert ((said >= low) & (said <= low + 1.0)).all()


@pytest.mark.parametrize("term", TERMS, ids=lambda t: t.name)
@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_a_world_is_judged_the_same_in_any_company(term: Term, seed: int) -> None:
    rng = np.random.default_rng(seed)
    params, step, order = bound(term, rng), happened(rng), rng.permutation(N)
    together = evaluate(term, params, step)
    assert evaluate(term, params, taken(step, order)) == pytest.approx(together[order], abs=1e-12)
    alone = [evaluate(term, params, taken(step, np.array([i])))[0] for i in range(N)]
    assert alone == pytest.approx(together, abs=1e-12)


@pytest.mark.parametrize("term", TERMS, ids=lambda t: t.name)
def test_a_term_changes_nothing_it_is_given_and_says_the_same_twice(term: Term) -> None:
    rng = np.random.default_rng(7)
    params, step = bound(term, rng), happened(rng)
    before = copy.deepcopy(step)
    first = evaluate(term, params, step)
    assert (evaluate(term, params, step) == first).all()
    for was, now in ((before.prev, step.prev), (before.state, step.state)):
        assert all(np.array_equal(getattr(was, f.name), getattr(now, f.name)) for f in fields(was))
    assert np.array_equal(before.action, step.action)


@pytest.mark.parametrize("term", TERMS, ids=lambda t: t.name)
@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_a_term_is_as_monotone_as_it_claims(term: Term, seed: int) -> None:
    rng, sweep = np.random.default_rng(seed), SWEEPS[term.name]
    params = bound(term, rng)
    x = np.sort(rng.uniform(sweep.low, sweep.high, 40))
    assert _as_claimed(term.monotone, evaluate(term, params, sweep.place(x, params)))


@pytest.mark.parametrize("term", TERMS, ids=lambda t: t.name)
def test_the_main_variable_moves_a_term_markedly_over_its_sweep_and_typical_magnitude(term: Term) -> None:
    sweep, params = SWEEPS[term.name], term.bind({})
    x = np.linspace(sweep.low, sweep.high, 61)
    moved = np.ptp(evaluate(term, params, sweep.place(x, params)))
    assert moved > 0.6 if term.variable else moved == 0
    assert 0 < term.scale <= max(abs(sweep.low), abs(sweep.high))


def _as_claimed(claim: str, values: Floats) -> bool:
    change = np.diff(values)
    match claim.split(maxsplit=1)[0]:
        case "rises":
            return bool((change >= -1e-9).all())
        case "falls":
            return bool((change <= 1e-9).all())
        case "peaks":
            top = int(np.argmax(values))
            return bool((change[:top] >= -1e-9).all() and (change[top:] <= 1e-9).all())
        case "is":
            return bool((change == 0).all())
    return False


def test_a_claim_that_does_not_hold_is_seen() -> None:
    wavy = np.array([0.0, 1.0, 0.5, 0.7])
    assert not any(_as_claimed(claim, wavy) for claim in ("rises", "falls", "peaks", "is", "wobbles"))
