"""The reward library: what every value says on worlds laid out by hand, what is refused, what absent roles mean."""

from dataclasses import replace

import numpy as np
import pytest

from core.errors import ConfigError
from core.transforms import quat_from_rotvec, quat_multiply
from residual.library import LIBRARY
from residual.sweeps import evaluate
from residual.term import Number
from term_scenes import DOWN, GOAL, N, away, cost, from_goal, gripped, rises, scene, step, tool_turned, turned, value


def test_the_library_has_enough_terms_of_both_kinds_and_of_every_category() -> None:
    terms = LIBRARY.terms.values()
    assert [t.kind for t in terms].count("value") >= 25
    assert [t.kind for t in terms].count("penalty") >= 10
    assert {t.category for t in terms} == {"positional", "orientational", "kinematic", "state", "contact"}


def test_a_parameter_without_unit_or_with_a_default_outside_its_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no unit"):
        Number(name="size", default=1.0, low=0.0, high=2.0)
    with pytest.raises(ConfigError, match="outside"):
        Number(name="size_m", default=3.0, low=0.0, high=2.0)
    assert Number(name="limit_rad_s2", default=1.0, low=0.0, high=2.0).unit == "rad/s^2"


def test_approach_and_align_rise_as_the_tool_comes_near() -> None:
    state = scene(target=away(0.4, 0.3, 0.2, 0.1, 0.0))
    assert rises(value("approach", state, role="target", height_m=0.0, scale_m=0.1))
    assert rises(value("align", state, role="target", scale_m=0.1))
    assert value("approach", state, role="target", height_m=0.0, scale_m=0.1)[-1] == 1.0


def test_align_does_not_mind_height() -> None:
    state = scene(target=away(-0.15, -0.1, -0.05, 0.0, 0.1, axis=2))
    assert value("align", state, role="target", scale_m=0.1) == pytest.approx(np.ones(N))


def test_near_is_sure_inside_and_nothing_beyond_twice_the_radius() -> None:
    there = value("near", scene(target=away(0.0, 0.02, 0.03, 0.04, 0.5)), role="target", radius_m=0.02)
    assert there[[0, 1]] == pytest.approx([1, 1])
    assert 0.1 < there[2] < 0.9
    assert there[[3, 4]] == pytest.approx([0, 0])


def test_the_hand_should_be_open_away_from_the_target_and_closed_at_it() -> None:
    state = scene(target=away(0.0, 0.01, 0.1, 0.2, 0.3))
    assert value("grasp_open", gripped(state, 0.0), role="target", near_m=0.03) == pytest.approx([1, 1, 0, 0, 0])
    assert value("grasp_close", gripped(state), role="target", near_m=0.03) == pytest.approx([1, 1, 0, 0, 0])
    assert value("grasp_close", state, role="target", near_m=0.03) == pytest.approx(np.zeros(N))


def test_held_needs_nearness_a_closing_command_and_fingers_that_stay_apart() -> None:
    near = scene(target=away(0, 0.01, 0.02, 0.2, 0.3))
    assert value("held", gripped(near), role="target", near_m=0.03) == pytest.approx([1, 1, 1, 0, 0])
    assert not value("held", gripped(near, 0.0), role="target", near_m=0.03).any()
    assert not value("held", near, role="target", near_m=0.03).any()


def test_lift_is_the_share_of_the_wanted_height() -> None:
    heights = np.tile([0.4, 0.0, 0.0], (N, 1))
    heights[:, 2] = [0.03, 0.07, 0.11, 0.2, 0.0]
    lifted = value("lift", scene(target=heights), role="target", rest_m=0.03, height_m=0.08)
    assert lifted == pytest.approx([0, 0.5, 1, 1, 0])


def test_transport_over_goal_lower_and_on_goal_lead_to_the_goal() -> None:
    goal = np.array([0.5, 0.2, 0.0])
    carried = scene(
        target=goal + np.array([[0.3, 0, 0.1], [0.1, 0, 0.1], [0, 0, 0.1], [0, 0, 0.05], [0, 0, 0.03]]), goal=goal
    )
    assert rises(value("transport", carried, role="target", goal="goal", scale_m=0.1))
    assert rises(value("over_goal", carried, role="target", goal="goal", radius_m=0.04))
    assert rises(value("lower", carried, role="target", goal="goal", height_m=0.12))
    on = value("on_goal", carried, role="target", goal="goal", radius_m=0.06, height_m=0.05)
    assert on == pytest.approx([0, 0, 0, 1, 1])


def test_released_rises_with_the_opening_and_is_sure_away() -> None:
    state = replace(scene(target=away(0, 0, 0, 0, 0.2)), gripper_opening=np.array([0, 0.5, 0.9, 1.0, 0.0]))
    assert value("released", state, role="target", near_m=0.03) == pytest.approx([0, 0.5, 0.9, 1, 1])


def test_retreat_and_avoid_rise_with_distance() -> None:
    state = scene(target=away(0, 0.02, 0.05, 0.1, 0.3), obstacle=away(0, 0.02, 0.05, 0.1, 0.3))
    assert rises(value("retreat", state, role="target", distance_m=0.1))
    assert rises(value("avoid", state, role="obstacle", margin_m=0.1))
    assert value("avoid", scene(), role="obstacle", margin_m=0.1) == pytest.approx(np.ones(N))


def test_clearance_is_free_aside_and_wants_height_above() -> None:
    above = scene(obstacle=np.array([0.4, 0.0, 0.0]), tcp=np.array([[0.4, 0, z] for z in (0.0, 0.05, 0.1, 0.2, 0.3)]))
    assert rises(value("clearance", above, role="obstacle", radius_m=0.1, height_m=0.2))
    aside = scene(obstacle=np.array([0.7, 0.0, 0.2]))
    assert value("clearance", aside, role="obstacle", radius_m=0.1, height_m=0.2) == pytest.approx(np.ones(N))


def test_upright_and_tilted_fall_with_tilt() -> None:
    tilts = np.zeros((N, 3))
    tilts[:, 0] = [0.0, 0.1, 0.3, 0.6, 1.2]
    state = replace(scene(), tcp_quat_xyzw_in_base=quat_multiply(quat_from_rotvec(tilts), np.tile(DOWN, (N, 1))))
    assert rises(-value("upright", state, limit_rad=1.0))
    assert rises(-cost("tilted", step(state, state), limit_rad=1.0))


def test_still_falls_with_joint_speed() -> None:
    speed = np.zeros((N, 7))
    speed[:, 3] = [0, -0.5, 1, -1.5, 4]
    assert rises(-value("still", replace(scene(), joint_vel=speed), speed_rad_s=2.0))


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


def test_parameters_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="make low_n smaller than high_n"):
        LIBRARY.term("pressing").bind({"low_n": 30.0})
    with pytest.raises(ConfigError, match="make low_m smaller than high_m"):
        LIBRARY.term("is_inside").bind({"low_m": 0.1})


def test_centred_still_tells_millimetres_apart() -> None:
    off = scene(target=from_goal(0.1, 0.008, 0.004, 0.001, 0.0), goal=GOAL)
    assert value("centred", off, scale_m=0.004) == pytest.approx([1 / 626, 0.2, 0.5, 16 / 17, 1])


def test_a_peg_is_inserted_by_what_is_below_the_rim_and_only_inside_the_hole() -> None:
    rim, tip = {"rim_m": 0.02, "depth_m": 0.03, "radius_m": 0.005}, 0.04
    over = scene(target=from_goal(0.1, 0.06, 0.045, 0.03, 0.0, axis=2), goal=GOAL)
    assert value("insertion", over, tip_m=tip, **rim) == pytest.approx([0, 0, 0.5, 1, 1])
    beside = scene(target=from_goal(0.0, 0.004, 0.0075, 0.01, 0.1), goal=GOAL)
    assert value("insertion", beside, tip_m=tip, **rim) == pytest.approx([1, 1, 0.5, 0, 0])


def test_inside_a_box_is_asked_on_every_side() -> None:
    box = {"half_x_m": 0.05, "half_y_m": 0.03, "low_m": -0.01, "high_m": 0.04}
    for axis, edge in ((0, 0.05), (1, 0.03), (2, 0.04)):
        state = scene(target=from_goal(0.0, edge, edge + 0.01, edge + 0.02, 0.3, axis=axis), goal=GOAL)
        assert value("is_inside", state, **box) == pytest.approx([1, 1, 0.5, 0, 0])
    below = scene(target=from_goal(0.0, -0.01, -0.02, -0.03, -0.09, axis=2), goal=GOAL)
    assert value("is_inside", below, **box) == pytest.approx([1, 1, 0.5, 0, 0])


def test_the_place_to_push_from_is_behind_the_object() -> None:
    pushed = scene(target=away(0.04, 0.0, -0.04, 0.14, 0.24))
    assert np.argmax(value("behind", pushed, heading_rad=0.0, distance_m=0.04)) == 0
    assert np.argmax(value("behind", pushed, heading_rad=np.pi, distance_m=0.04)) == 2


def test_a_wanted_distance_of_two_objects_is_best_neither_nearer_nor_farther() -> None:
    apart = scene(target=from_goal(0.02, 0.06, 0.1, 0.14, 0.3), goal=GOAL)
    kept = value("maintain_distance", apart, distance_m=0.1, scale_m=0.05)
    assert kept[2] == pytest.approx(1.0)
    assert kept[1] == pytest.approx(kept[3])
    assert kept[0] < kept[1]
    assert kept[4] < kept[3]


def test_the_heading_of_the_hand_is_the_same_half_a_turn_on_and_is_no_tilt() -> None:
    state = tool_turned(0.0, 0.4, np.pi / 2, np.pi, -np.pi + 0.4, about=2)
    assert value("upright", state) == pytest.approx(np.ones(N))
    assert value("maintain_orientation", state, limit_rad=0.8) == pytest.approx([1, 0.5, 0, 1, 0.5])
    assert value("maintain_orientation", state, yaw_rad=0.4, limit_rad=0.8) == pytest.approx([0.5, 1, 0, 0.5, 1])


def test_the_fingers_are_aligned_with_the_objects_heading() -> None:
    at = turned(scene(target=away(0, 0, 0, 0, 0)), "target", 0.0, 0.4, np.pi, -0.4, np.pi / 2, about=2)
    assert value("align_heading", at, limit_rad=0.8) == pytest.approx([1, 0.5, 1, 0.5, 0])
    assert value("align_heading", at, turn_rad=np.pi / 2, limit_rad=0.8)[4] == pytest.approx(1)


def test_the_tool_looks_at_what_is_below_it() -> None:
    state = scene(target=np.array([0.4, 0.0, 0.0]) + np.array([[x, 0, 0] for x in (0, 0.1, 0.2, 0.4, 9.0)]))
    assert value("look_at", state, limit_rad=np.pi / 2)[[0, 2]] == pytest.approx([1, 0.5])
    assert rises(-value("look_at", state))
    assert value("look_at", scene(target=away(0, 0, 0, 0, 0))) == pytest.approx(np.ones(N))


def test_a_peg_stands_and_is_parallel_to_its_hole() -> None:
    lying = turned(scene(target=GOAL, goal=GOAL), "target", 0.0, 0.1, 0.25, 0.5, 3.0)
    assert value("standing", lying, limit_rad=0.5) == pytest.approx([1, 0.8, 0.5, 0, 0])
    assert value("parallel", lying, limit_rad=0.5) == pytest.approx([1, 0.8, 0.5, 0, 1 - (np.pi - 3.0) / 0.5])
    both = turned(lying, "goal", 0.0, 0.1, 0.25, 0.5, 3.0)
    assert value("parallel", both, limit_rad=0.5) == pytest.approx(np.ones(N))


def test_a_drawer_opens_along_its_heading() -> None:
    drawer = scene(target=from_goal(0.0, -0.05, -0.1, -0.15, 0.1), goal=GOAL)
    slide = {"heading_rad": np.pi, "closed_m": 0.05, "travel_m": 0.1}
    assert value("is_open", drawer, **slide) == pytest.approx([0, 0, 0.5, 1, 0], abs=1e-9)
    assert value("is_closed", drawer, **slide) == pytest.approx([1, 1, 0.5, 0, 1], abs=1e-9)
    for name in ("is_open", "is_closed"):
        assert not value(name, scene(target=GOAL), **slide).any()


def test_what_vanished_is_gone_but_nobody_is_not() -> None:
    heights = np.tile([0.4, 0.0, 0.0], (N, 1))
    heights[:, 2] = [0.1, 0.0, -0.05, -0.5, -5.0]
    state = scene(goal=heights)
    assert value("gone", state) == pytest.approx([0, 0, 0, 1, 1])
    assert not value("gone", replace(state, roles=np.full((N, 4), -1))).any()


def test_sub_tasks_done_are_counted_up_to_the_wanted_number() -> None:
    state = replace(scene(), subtask=np.arange(N))
    assert value("subtasks_done", state, wanted_count=2) == pytest.approx([0, 0.5, 1, 1, 1])


def test_a_thin_thing_is_held_with_a_smaller_gap() -> None:
    thin = gripped(scene(target=away(0, 0, 0, 0, 0)), 0.05)
    assert not value("held", thin).any()
    assert value("held", thin, gap_share=0.03).all()


def test_pressing_wants_a_force_inside_the_band() -> None:
    pressed = replace(scene(), pressed_n=np.array([0, 1, 5, 15, 30.0]))
    assert value("pressing", pressed, low_n=2.0, high_n=10.0) == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert cost("overpressed", step(pressed, pressed), limit_n=10.0) == pytest.approx([0, 0, 0, -0.5, -1])


def test_a_gentle_hand_and_a_closed_one() -> None:
    touching = replace(scene(), contact_force_n=np.array([0, 5, 10, 20, 100.0]))
    assert value("gentle", touching, limit_n=20.0) == pytest.approx([1, 0.75, 0.5, 0, 0])
    closing = replace(scene(), gripper_opening=np.linspace(1, 0, N))
    assert value("hand_closed", closing) == pytest.approx(np.linspace(0, 1, N))


@pytest.mark.parametrize("name", list(LIBRARY.terms))
def test_with_nobody_in_any_role_every_term_says_what_its_page_says(name: str) -> None:
    nobody = replace(scene(target=GOAL), roles=np.full((N, 4), -1))
    term = LIBRARY.term(name)
    said = evaluate(term, term.bind({}), step(nobody, nobody))
    if any(p.name == "role" for p in term.parameters):
        ones = ("retreat", "avoid", "clearance", "grasp_open", "released")
        assert said == pytest.approx(np.full(N, float(name in ones)))
    else:
        assert said == pytest.approx(evaluate(term, term.bind({}), step(scene(), scene())))
