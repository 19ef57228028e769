"""Injected failures strike, defeat whoever does not look, and can be recovered from."""

from dataclasses import replace

import numpy as np
import pytest

from core.arrays import Bools, Floats
from core.failures import FailureMode
from core.worlds import Injection, WorldState
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import INFO, PLATE_LOW_M, FruitOnPlate
from sim.world import BatchWorld

N = 100
EXPERT = FruitExpert()


def struck(world: BatchWorld) -> Bools:
    return np.array([not np.isnan(world.injected_at(i)) for i in range(world.n)])


def blind(state: WorldState, world: BatchWorld, hit: Bools) -> Floats:
    """What the expert would do if it had noticed nothing: things are where they were, the target is in the hand."""
    pos = state.object_pos_in_base.copy()
    rows = np.flatnonzero(hit)
    for i in rows:
        pos[i] = world.before_injection(int(i))
    pos[rows, state.roles[rows, 0]] = state.tcp_pos_in_base[rows]
    closed = hit & (state.gripper_command < 0.5)
    return EXPERT.act(
        replace(state, object_pos_in_base=pos, gripper_opening=np.where(closed, 0.74, state.gripper_opening))
    )


def armed(mode: FailureMode, strength: float | None = None, n: int = 24) -> BatchWorld:
    world = BatchWorld(FruitOnPlate(), n)
    world.reset(np.arange(n), 700 + np.arange(n))
    for i in range(n):
        world.inject(i, Injection(mode=mode, strength=strength), seed=i)
    return world


@pytest.fixture(scope="module", params=INFO.modes)
def recovery(request: pytest.FixtureRequest) -> tuple[FailureMode, Bools, Bools, Bools]:
    """Drives blindly for a random 0 to 4 s after the failure, then with the expert: struck, blind and final success."""
    world = armed(request.param, n=N)
    delay = np.random.default_rng(1).integers(0, 80, N)
    since, blind_success, success = np.zeros(N, dtype=int), np.zeros(N, dtype=bool), np.zeros(N, dtype=bool)
    for _ in range(190):
        state, hit = world.state(), struck(world)
        since += hit
        sees = since > delay
        blind_success |= state.success & ~sees
        success |= state.success & sees
        world.step(np.where((sees | ~hit)[:, None], EXPERT.act(state), blind(state, world, hit)))
    return request.param, struck(world), blind_success, success


def test_every_failure_strikes(recovery: tuple[FailureMode, Bools, Bools, Bools]) -> None:
    assert recovery[1].all()


def test_who_does_not_look_fails(recovery: tuple[FailureMode, Bools, Bools, Bools]) -> None:
    assert recovery[2].mean() <= 0.05


def test_the_expert_recovers_from_early_and_late_states(recovery: tuple[FailureMode, Bools, Bools, Bools]) -> None:
    mode, _, blind_success, success = recovery
    assert success[~blind_success].mean() >= 0.95, mode


def displacement(mode: FailureMode, strength: float, name: str) -> Floats:
    """How far `name` is from where it was just before the failure, once it has struck, shape (M,) [m]."""
    world = armed(mode, strength)
    moved = np.full(world.n, np.nan)
    index = [o.name for o in INFO.objects].index(name)
    for _ in range(60):
        before = struck(world)
        world.step(EXPERT.act(world.state()))
        for i in np.flatnonzero(struck(world) & ~before):
            change = world.state().object_pos_in_base[i, index] - world.before_injection(int(i))[index]
            moved[i] = np.linalg.norm(change[:2])
    return np.asarray(moved[~np.isnan(moved)])


def test_a_missed_fruit_lies_as_far_away_as_the_strength_says() -> None:
    moved = np.concatenate([displacement(FailureMode.MISSED_GRASP, 0.09, n) for n in ("apple", "lemon")])
    assert np.median(moved[moved > 0.02]) == pytest.approx(0.09, abs=0.005)


def test_a_moved_plate_lies_as_far_outside_its_zone_as_the_strength_says() -> None:
    world = armed(FailureMode.TARGET_MOVED, 0.3)
    for _ in range(45):
        world.step(EXPERT.act(world.state()))
    assert struck(world).all()
    assert world.state().of("goal")[:, 1] == pytest.approx(np.full(world.n, PLATE_LOW_M[1] - 0.3))


def test_a_block_stands_between_hand_and_plate() -> None:
    world = armed(FailureMode.COLLISION)
    seen = np.zeros(world.n, dtype=bool)
    for _ in range(40):
        before = struck(world)
        world.step(EXPERT.act(world.state()))
        state = world.state()
        for i in np.flatnonzero(struck(world) & ~before):
            hand, plate, block = (p[i, :2] for p in (state.tcp_pos_in_base, state.of("goal"), state.of("obstacle")))
            share = (block - hand) @ (plate - hand) / ((plate - hand) @ (plate - hand))
            assert 0.2 < share < 0.8
            assert np.linalg.norm(hand + share * (plate - hand) - block) < 0.02
            seen[i] = True
    assert seen.all()


def test_fruits_swap_as_the_hand_closes() -> None:
    world = armed(FailureMode.WRONG_OBJECT)
    for _ in range(45):
        before = struck(world)
        world.step(EXPERT.act(world.state()))
        state = world.state()
        for i in np.flatnonzero(struck(world) & ~before):
            assert np.linalg.norm(state.of("distractor")[i] - state.tcp_pos_in_base[i]) < 0.04
    assert struck(world).all()


def test_the_same_seed_injects_the_same_failure() -> None:
    worlds = [armed(FailureMode.DROP) for _ in range(2)]
    for world in worlds:
        for _ in range(40):
            world.step(EXPERT.act(world.state()))
    assert (worlds[0].state().object_pos_in_base == worlds[1].state().object_pos_in_base).all()
