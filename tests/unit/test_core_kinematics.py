"""The arm's kinematics against published poses, MuJoCo and finite differences."""

import mujoco
import numpy as np
import pytest

from core.kinematics import HOME_RAD, TCP_OFFSET_M, XARM7, chain, forward, ik_step, jacobian, quat_from_matrix
from core.transforms import matrix_from_quat, quat_conjugate, quat_from_rotvec, quat_multiply, rotvec_from_quat
from sim.cell import build_cell, home_qpos
from sim.tasks.fruit_on_plate import INFO


def random_joints(n: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(XARM7.joint_low, XARM7.joint_high, (n, 7))


@pytest.mark.parametrize(
    ("joints", "flange_mm", "rpy"),
    [
        ([0.0] * 7, [206.0, 0.0, 120.5], [np.pi, 0.0, 0.0]),
        ([0, -0.247, 0, 0.909, 0, 1.15644, 0], [399.915, 0.0, 399.809], [np.pi, 0.00044, 0.0]),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], [262.2122, 115.1862, 106.8620], [2.965921, 0.435673, -0.804720]),
    ],
)
def test_the_flange_is_where_the_vendor_says(joints: list[float], flange_mm: list[float], rpy: list[float]) -> None:
    turn, origin = chain(np.array([joints]))
    r = turn[-1, 0]
    found = [np.arctan2(r[2, 1], r[2, 2]), np.arcsin(-r[2, 0]), np.arctan2(r[1, 0], r[0, 0])]
    assert origin[-1, 0] * 1e3 == pytest.approx(flange_mm, abs=1e-3)
    assert found == pytest.approx(rpy, abs=1e-5)


def test_forward_kinematics_agrees_with_mujoco() -> None:
    model = build_cell(INFO.objects).model
    data = mujoco.MjData(model)
    joints = random_joints(20)
    pos, quat = forward(joints)
    for i, q in enumerate(joints):
        data.qpos[:7] = q
        mujoco.mj_kinematics(model, data)
        assert pos[i] == pytest.approx(data.site("tcp").xpos, abs=1e-12)
        assert matrix_from_quat(quat[i]) == pytest.approx(data.site("tcp").xmat.reshape(3, 3), abs=1e-9)


def test_the_jacobian_agrees_with_finite_differences() -> None:
    joints, step = random_joints(5), 1e-6
    jac = jacobian(*chain(joints))
    for j in range(7):
        moved = joints + step * np.eye(7)[j]
        (p0, q0), (p1, q1) = forward(joints), forward(moved)
        turn = rotvec_from_quat(quat_multiply(q1, quat_conjugate(q0)))
        assert np.concatenate([p1 - p0, turn], axis=1) / step == pytest.approx(jac[:, :, j], abs=1e-4)


def test_home_points_the_tool_straight_down() -> None:
    pos, quat = forward(HOME_RAD[None])
    assert pos[0] == pytest.approx([0.40, 0.0, 0.30], abs=1e-3)
    assert np.abs(quat[0]) == pytest.approx([1.0, 0.0, 0.0, 0.0], abs=1e-3)
    assert TCP_OFFSET_M == 0.172


def test_inverse_kinematics_arrives_and_stays_within_limits() -> None:
    goals = np.random.default_rng(1).uniform([0.28, -0.3, 0.02], [0.6, 0.3, 0.35], (50, 3))
    quat = np.broadcast_to([1.0, 0.0, 0.0, 0.0], (50, 4))
    joints = np.tile(HOME_RAD, (50, 1))
    for _ in range(60):
        joints = ik_step(joints, goals, quat)
    pos, found = forward(joints)
    assert np.linalg.norm(pos - goals, axis=1).max() < 2e-3
    assert np.abs(rotvec_from_quat(quat_multiply(found, quat_conjugate(quat)))).max() < 5e-3
    assert ((joints >= XARM7.joint_low) & (joints <= XARM7.joint_high)).all()


def test_one_step_never_moves_a_joint_faster_than_it_can() -> None:
    far = np.array([[0.1, 0.6, 0.5]])
    step = ik_step(HOME_RAD[None], far, np.array([[0.0, 0.0, 0.0, 1.0]])) - HOME_RAD
    assert np.abs(step).max() <= np.pi * 0.05 + 1e-12


def test_quaternions_survive_the_matrix_and_back() -> None:
    rotvec = np.random.default_rng(2).uniform(-1, 1, (100, 3))
    rotvec *= np.random.default_rng(3).uniform(0, np.pi, (100, 1)) / np.linalg.norm(rotvec, axis=1, keepdims=True)
    quat = quat_from_rotvec(rotvec)
    back = quat_from_matrix(matrix_from_quat(quat))
    assert np.abs((quat * back).sum(axis=1)) == pytest.approx(np.ones(100), abs=1e-12)


def test_the_cell_starts_at_home_with_an_open_hand() -> None:
    qpos = home_qpos(build_cell(INFO.objects))
    assert qpos[:7] == pytest.approx(HOME_RAD)
    assert qpos[7:9].sum() == pytest.approx(0.084)
