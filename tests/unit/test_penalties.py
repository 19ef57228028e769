"""Penalties of the reward library: what every one charges for a step laid out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from core.kinematics import XARM7
from core.robots import EE_DELTA
from residual.penalties import Transition
from term_scenes import GOAL, N, away, cost, gripped, rises, scene, step


def test_effort_and_jerkiness_grow_with_the_correction() -> None:
    action = np.linspace(0, 1, N)[:, None] * np.ones((N, 7))
    for name in ("effort", "jerkiness"):
        assert rises(-cost(name, step(scene(), scene(), action)))
    steady = Transition(prev=scene(), state=scene(), action=action, prev_action=action)
    assert not cost("jerkiness", steady).any()


def test_force_speed_and_intrusion_are_charged() -> None:
    hit = replace(scene(), contact_force_n=np.array([0, 5, 10, 20, 100.0]))
    assert cost("collision_force", step(hit, hit), limit_n=20.0) == pytest.approx([0, -0.25, -0.5, -1, -1])
    moved = scene(tcp=away(0, 0.01, 0.025, 0.03, 0.05))
    assert cost("speeding", step(scene(), moved), limit_m_s=0.5) == pytest.approx([0, 0, 0, -0.2, -1])
    inside = scene(obstacle=away(0.2, 0.08, 0.06, 0.04, 0.0))
    assert cost("intrusion", step(inside, inside), role="obstacle", margin_m=0.08) == pytest.approx(
        [0, 0, -0.25, -0.5, -1]
    )


def test_only_the_step_in_which_the_target_falls_is_charged() -> None:
    lying, fallen = scene(target=np.array([0.4, 0, 0.03])), scene(target=np.array([0.9, 0, -0.4]))
    assert cost("off_table", step(lying, fallen), role="target") == pytest.approx(-np.ones(N))
    assert not cost("off_table", step(fallen, fallen), role="target").any()
    assert not cost("off_table", step(lying, lying), role="target").any()


def test_disturbed_grows_with_what_was_moved_and_ignores_the_absent() -> None:
    before = scene(distractor=np.array([0.4, 0.2, 0.03]))
    after = scene(distractor=np.array([0.4, 0.2, 0.03]) + np.array([[d, 0, 0] for d in (0, 0.002, 0.005, 0.01, 0.1)]))
    charged = cost("disturbed", step(before, after), role="distractor", scale_m=0.01)
    assert charged == pytest.approx([0, -0.2, -0.5, -1, -1])
    nobody = replace(before, roles=np.full((N, 4), -1))
    assert not cost("disturbed", step(nobody, nobody), role="distractor", scale_m=0.01).any()


def test_rushing_is_charged_near_the_object_only_and_not_for_carrying_it() -> None:
    at, far = away(0, 0, 0, 0, 0), away(0.3, 0.3, 0.3, 0.3, 0.3)
    gone_on = away(0.0, 0.01, 0.015, 0.02, 0.02)
    near = step(scene(tcp=at, target=at), scene(tcp=gone_on, target=at))
    assert cost("rushing", near, limit_m_s=0.2) == pytest.approx([0, 0, -0.5, -1, -1])
    assert not cost("rushing", step(scene(tcp=at, target=far), scene(tcp=gone_on, target=far)), limit_m_s=0.1).any()
    assert not cost("rushing", step(scene(tcp=at, target=at), scene(tcp=gone_on, target=gone_on)), limit_m_s=0.1).any()


def test_joints_are_charged_for_acceleration_and_for_nearing_their_limits() -> None:
    faster = np.zeros((N, 7))
    faster[:, 2] = np.array([0, 10, 15, 20, 99]) * EE_DELTA.dt_s
    jump = step(scene(), replace(scene(), joint_vel=faster))
    assert cost("limit_acceleration", jump, limit_rad_s2=10.0) == pytest.approx([0, 0, -0.5, -1, -1])
    bent = scene().joint_pos.copy()
    bent[:, 3] = XARM7.joint_low[3] + np.array([1.0, 0.1, 0.05, 0.0, -0.1])
    near = replace(scene(), joint_pos=bent)
    assert cost("joint_margin", step(near, near), margin_rad=0.1) == pytest.approx([0, 0, -0.5, -1, -1])


def test_every_face_of_the_workspace_is_charged() -> None:
    edges = {"near_x_m": 0.2, "far_x_m": 0.6, "side_y_m": 0.3, "floor_z_m": 0.0, "ceiling_z_m": 0.4}
    out = scene(tcp=np.array([[0.17, 0, 0.2], [0.63, 0, 0.2], [0.4, -0.33, 0.2], [0.4, 0, -0.03], [0.4, 0, 0.43]]))
    assert cost("outside_workspace", step(out, out), scale_m=0.06, **edges) == pytest.approx(np.full(N, -0.5))
    assert not cost("outside_workspace", step(scene(), scene()), **edges).any()


def test_slipping_in_the_hand_is_charged_and_moving_with_it_is_not() -> None:
    before = gripped(scene(target=away(0, 0, 0, 0, 0)))
    after = gripped(scene(target=away(0, 0.005, 0.01, 0.02, 0.3)))
    assert cost("slipped", step(before, after), scale_m=0.01) == pytest.approx([0, -0.5, -1, -1, -1])
    carried = gripped(scene(target=away(0.1, 0.1, 0.1, 0.1, 0.1), tcp=away(0.1, 0.1, 0.1, 0.1, 0.1)))
    assert cost("slipped", step(before, carried)) == pytest.approx(np.zeros(N))
    assert not cost("slipped", step(before, replace(after, gripper_command=np.ones(N)))).any()


def test_a_role_that_passes_to_another_object_charges_nothing() -> None:
    before = gripped(scene(target=away(0, 0, 0, 0, 0), distractor=GOAL))
    after = replace(before, roles=before.roles[:, [1, 0, 2, 3]])
    for name in ("disturbed", "off_table", "slipped"):
        assert not cost(name, step(before, after), role="target").any()
    parked = gripped(scene(target=away(0, 0, 0, 0, 0)))
    passed = replace(parked, roles=parked.roles[:, [1, 0, 2, 3]])
    assert not cost("off_table", step(parked, passed), role="target").any()
