"""Every term of the reward library: its range, its direction, its missing objects."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.arrays import Floats
from core.errors import ConfigError
from core.scene import ROLES
from core.transforms import quat_from_rotvec, quat_multiply
from core.worlds import WorldState
from residual import penalties, terms
from residual.library import LIBRARY, Number
from residual.penalties import Transition

N = 5
DOWN = np.array([1.0, 0.0, 0.0, 0.0])


def scene(**places: Floats) -> WorldState:
    """N worlds with the tool at (0.4, 0, 0.2); positions (3,) or (N, 3) by role, or `tcp`; absent roles are parked."""
    where = {role: np.broadcast_to(places.get(role, np.array([0.0, 0.0, -5.0])), (N, 3)) for role in ROLES}
    return WorldState(
        time_s=np.zeros(N), joint_pos=np.zeros((N, 7)), joint_vel=np.zeros((N, 7)),
        tcp_pos_in_base=np.broadcast_to(places.get("tcp", np.array([0.4, 0.0, 0.2])), (N, 3)),
        tcp_quat_xyzw_in_base=np.tile(DOWN, (N, 1)), tcp_goal_in_base=np.zeros((N, 3)),
        gripper_opening=np.ones(N), gripper_command=np.ones(N), contact_force_n=np.zeros(N),
        object_names=ROLES, object_pos_in_base=np.stack([where[r] for r in ROLES], axis=1),
        object_quat_xyzw_in_base=np.tile(DOWN, (N, len(ROLES), 1)), roles=np.tile(np.arange(len(ROLES)), (N, 1)),
        success=np.zeros(N, dtype=bool), q_score=np.zeros(N), physics_reset=np.zeros(N, dtype=bool),
    )  # fmt: skip


def gripped(state: WorldState, opening: float = 0.7) -> WorldState:
    return replace(state, gripper_opening=np.full(N, opening), gripper_command=np.zeros(N))


def step(prev: WorldState, state: WorldState, action: Floats | None = None) -> Transition:
    action = np.zeros((N, 7)) if action is None else action
    return Transition(prev=prev, state=state, action=action, prev_action=np.zeros((N, 7)))


def away(*distances: float, axis: int = 0) -> Floats:
    """Positions at given distances from the tool of `scene`, one a world."""
    pos = np.tile([0.4, 0.0, 0.2], (N, 1))
    pos[:, axis] += distances
    return pos


def rises(values: Floats) -> bool:
    return bool((np.diff(values) >= 0).all() and values[-1] > values[0])


def test_the_library_has_enough_terms_of_both_kinds() -> None:
    kinds = [t.kind for t in LIBRARY.terms.values()]
    assert kinds.count("value") >= 10
    assert kinds.count("penalty") >= 4


def test_every_term_says_its_range_and_source() -> None:
    for term in LIBRARY.terms.values():
        text = term.function.__doc__ or ""
        assert "[0, 1]" in text or "[-1, 0]" in text or "0 or 1" in text or "1 " in text, term.name
        assert "Args:" in text, term.name


def test_every_number_has_a_unit_and_a_default_inside_its_range() -> None:
    units = ("_m", "_rad", "_n", "_m_s", "_rad_s")
    for term in LIBRARY.terms.values():
        for parameter in term.parameters:
            assert parameter.check(term.name, parameter.default) == parameter.default
            assert hasattr(parameter, "low") == parameter.name.endswith(units)


@pytest.mark.parametrize("name", [n for n, t in LIBRARY.terms.items() if t.kind == "value"])
def test_a_value_lies_in_zero_to_one_even_when_nothing_is_on_the_table(name: str) -> None:
    term = LIBRARY.term(name)
    for state in (scene(), scene(target=away(0, 0.1, 0.2, 0.3, 0.4), goal=np.array([0.5, 0.2, 0.0]))):
        value = term.function(state, **term.bind({}))
        assert value.shape == (N,)
        assert ((value >= 0) & (value <= 1)).all()


@pytest.mark.parametrize("name", [n for n, t in LIBRARY.terms.items() if t.kind == "penalty"])
def test_a_penalty_lies_in_minus_one_to_zero_even_when_nothing_is_on_the_table(name: str) -> None:
    term, rng = LIBRARY.term(name), np.random.default_rng(0)
    cost = term.function(step(scene(), scene(), rng.normal(0, 3, (N, 7))), **term.bind({}))
    assert cost.shape == (N,)
    assert ((cost >= -1) & (cost <= 0)).all()


def test_approach_and_align_rise_as_the_tool_comes_near() -> None:
    state = scene(target=away(0.4, 0.3, 0.2, 0.1, 0.0))
    assert rises(terms.approach(state, role="target", height_m=0.0, scale_m=0.1))
    assert rises(terms.align(state, role="target", scale_m=0.1))
    assert terms.approach(state, role="target", height_m=0.0, scale_m=0.1)[-1] == 1.0


def test_align_does_not_mind_height() -> None:
    state = scene(target=away(-0.15, -0.1, -0.05, 0.0, 0.1, axis=2))
    assert terms.align(state, role="target", scale_m=0.1) == pytest.approx(np.ones(N))


def test_near_is_sure_inside_and_nothing_beyond_twice_the_radius() -> None:
    value = terms.near(scene(target=away(0.0, 0.02, 0.03, 0.04, 0.5)), role="target", radius_m=0.02)
    assert value[[0, 1]] == pytest.approx([1, 1])
    assert 0.1 < value[2] < 0.9
    assert value[[3, 4]] == pytest.approx([0, 0])


def test_the_hand_should_be_open_away_from_the_target_and_closed_at_it() -> None:
    state = scene(target=away(0.0, 0.01, 0.1, 0.2, 0.3))
    assert terms.grasp_open(gripped(state, 0.0), role="target", near_m=0.03) == pytest.approx([1, 1, 0, 0, 0])
    assert terms.grasp_close(gripped(state), role="target", near_m=0.03) == pytest.approx([1, 1, 0, 0, 0])
    assert terms.grasp_close(state, role="target", near_m=0.03) == pytest.approx(np.zeros(N))


def test_held_needs_nearness_a_closing_command_and_fingers_that_stay_apart() -> None:
    near = scene(target=away(0, 0.01, 0.02, 0.2, 0.3))
    assert terms.held(gripped(near), role="target", near_m=0.03) == pytest.approx([1, 1, 1, 0, 0])
    assert not terms.held(gripped(near, 0.0), role="target", near_m=0.03).any()
    assert not terms.held(near, role="target", near_m=0.03).any()


def test_lift_is_the_share_of_the_wanted_height() -> None:
    heights = np.tile([0.4, 0.0, 0.0], (N, 1))
    heights[:, 2] = [0.03, 0.07, 0.11, 0.2, 0.0]
    value = terms.lift(scene(target=heights), role="target", rest_m=0.03, height_m=0.08)
    assert value == pytest.approx([0, 0.5, 1, 1, 0])


def test_transport_over_goal_lower_and_on_goal_lead_to_the_goal() -> None:
    goal = np.array([0.5, 0.2, 0.0])
    carried = scene(
        target=goal + np.array([[0.3, 0, 0.1], [0.1, 0, 0.1], [0, 0, 0.1], [0, 0, 0.05], [0, 0, 0.03]]), goal=goal
    )
    assert rises(terms.transport(carried, role="target", goal="goal", scale_m=0.1))
    assert rises(terms.over_goal(carried, role="target", goal="goal", radius_m=0.04))
    assert rises(terms.lower(carried, role="target", goal="goal", height_m=0.12))
    on = terms.on_goal(carried, role="target", goal="goal", radius_m=0.06, height_m=0.05)
    assert on == pytest.approx([0, 0, 0, 1, 1])


def test_released_rises_with_the_opening_and_is_sure_away() -> None:
    state = replace(scene(target=away(0, 0, 0, 0, 0.2)), gripper_opening=np.array([0, 0.5, 0.9, 1.0, 0.0]))
    assert terms.released(state, role="target", near_m=0.03) == pytest.approx([0, 0.5, 0.9, 1, 1])


def test_retreat_and_avoid_rise_with_distance() -> None:
    state = scene(target=away(0, 0.02, 0.05, 0.1, 0.3), obstacle=away(0, 0.02, 0.05, 0.1, 0.3))
    assert rises(terms.retreat(state, role="target", distance_m=0.1))
    assert rises(terms.avoid(state, role="obstacle", margin_m=0.1))
    assert terms.avoid(scene(), role="obstacle", margin_m=0.1) == pytest.approx(np.ones(N))


def test_clearance_is_free_aside_and_wants_height_above() -> None:
    above = scene(obstacle=np.array([0.4, 0.0, 0.0]), tcp=np.array([[0.4, 0, z] for z in (0.0, 0.05, 0.1, 0.2, 0.3)]))
    assert rises(terms.clearance(above, role="obstacle", radius_m=0.1, height_m=0.2))
    aside = scene(obstacle=np.array([0.7, 0.0, 0.2]))
    assert terms.clearance(aside, role="obstacle", radius_m=0.1, height_m=0.2) == pytest.approx(np.ones(N))


def test_upright_and_tilted_fall_with_tilt() -> None:
    tilts = np.zeros((N, 3))
    tilts[:, 0] = [0.0, 0.1, 0.3, 0.6, 1.2]
    state = replace(scene(), tcp_quat_xyzw_in_base=quat_multiply(quat_from_rotvec(tilts), np.tile(DOWN, (N, 1))))
    assert rises(-terms.upright(state, limit_rad=1.0))
    assert rises(-penalties.tilted(step(state, state), limit_rad=1.0))


def test_still_falls_with_joint_speed() -> None:
    speed = np.zeros((N, 7))
    speed[:, 3] = [0, -0.5, 1, -1.5, 4]
    assert rises(-terms.still(replace(scene(), joint_vel=speed), speed_rad_s=2.0))


def test_effort_and_jerkiness_grow_with_the_correction() -> None:
    action = np.linspace(0, 1, N)[:, None] * np.ones((N, 7))
    for cost in (penalties.effort, penalties.jerkiness):
        assert rises(-cost(step(scene(), scene(), action)))
    steady = Transition(prev=scene(), state=scene(), action=action, prev_action=action)
    assert not penalties.jerkiness(steady).any()


def test_force_speed_and_intrusion_are_charged() -> None:
    hit = replace(scene(), contact_force_n=np.array([0, 5, 10, 20, 100.0]))
    assert penalties.collision_force(step(hit, hit), limit_n=20.0) == pytest.approx([0, -0.25, -0.5, -1, -1])
    moved = scene(tcp=away(0, 0.01, 0.025, 0.03, 0.05))
    assert penalties.speeding(step(scene(), moved), limit_m_s=0.5) == pytest.approx([0, 0, 0, -0.2, -1])
    inside = scene(obstacle=away(0.2, 0.08, 0.06, 0.04, 0.0))
    assert penalties.intrusion(step(inside, inside), role="obstacle", margin_m=0.08) == pytest.approx(
        [0, 0, -0.25, -0.5, -1]
    )


def test_only_the_step_in_which_the_target_falls_is_charged() -> None:
    lying, fallen = scene(target=np.array([0.4, 0, 0.03])), scene(target=np.array([0.9, 0, -0.4]))
    assert penalties.off_table(step(lying, fallen), role="target") == pytest.approx(-np.ones(N))
    assert not penalties.off_table(step(fallen, fallen), role="target").any()
    assert not penalties.off_table(step(lying, lying), role="target").any()


def test_disturbed_grows_with_what_was_moved_and_ignores_the_absent() -> None:
    before = scene(distractor=np.array([0.4, 0.2, 0.03]))
    after = scene(distractor=np.array([0.4, 0.2, 0.03]) + np.array([[d, 0, 0] for d in (0, 0.002, 0.005, 0.01, 0.1)]))
    cost = penalties.disturbed(step(before, after), role="distractor", scale_m=0.01)
    assert cost == pytest.approx([0, -0.2, -0.5, -1, -1])
    nobody = replace(before, roles=np.full((N, 4), -1))
    assert not penalties.disturbed(step(nobody, nobody), role="distractor", scale_m=0.01).any()


def test_an_unknown_term_parameter_or_role_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'approach'"):
        LIBRARY.term("aproach")
    with pytest.raises(ConfigError, match="did you mean 'scale_m'"):
        LIBRARY.term("approach").bind({"scal_m": 0.1})
    with pytest.raises(ConfigError, match="did you mean 'target'"):
        LIBRARY.term("approach").bind({"role": "targt"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 5.0, "wide", True])
def test_an_unbounded_parameter_is_refused_with_its_range(value: float | str) -> None:
    with pytest.raises(ConfigError, match=r"finite number in \[0.01, 1\]"):
        LIBRARY.term("approach").bind({"scale_m": value})


def test_a_role_that_is_a_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="give one of"):
        LIBRARY.term("approach").bind({"role": 3.0})


def test_the_documentation_lists_every_term_with_its_ranges() -> None:
    text = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text(encoding="utf-8")
    for term in LIBRARY.terms.values():
        row = next((line for line in text.splitlines() if line.startswith(f"| `{term.name}` |")), "")
        assert row, f"{term.name} is missing"
        for parameter in term.parameters:
            known = f"[{parameter.low:g}, {parameter.high:g}]" if isinstance(parameter, Number) else parameter.default
            assert f"`{parameter.name}`" in row
            assert known in row
