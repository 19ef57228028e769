"""Laws of rotations and poses."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.arrays import Floats
from core.transforms import (
    Pose,
    matrix_from_quat,
    quat_conjugate,
    quat_from_rotvec,
    quat_multiply,
    quat_rotate,
    rotvec_from_quat,
)

metres = arrays(np.float64, (3,), elements=st.floats(-2.0, 2.0, allow_subnormal=False))
rotvecs = arrays(np.float64, (3,), elements=st.floats(-1.8, 1.8, allow_subnormal=False))
"""At most 3.12 rad: the shorter way round is the way they say."""
quats = rotvecs.map(quat_from_rotvec)
law = settings(deadline=None)
poses = st.builds(lambda pos, quat: Pose(pos=pos, quat_xyzw=quat), metres, quats)


def near(a: Floats, b: Floats) -> bool:
    return bool(np.abs(a - b).max() < 1e-9)


@law
@given(quats, quats, metres)
def test_a_product_turns_like_one_turn_after_the_other(a: Floats, b: Floats, v: Floats) -> None:
    assert near(quat_rotate(quat_multiply(a, b), v), quat_rotate(a, quat_rotate(b, v)))


@law
@given(quats, quats, quats)
def test_products_are_associative_and_stay_unit(a: Floats, b: Floats, c: Floats) -> None:
    assert near(quat_multiply(quat_multiply(a, b), c), quat_multiply(a, quat_multiply(b, c)))
    assert abs(np.linalg.norm(quat_multiply(a, b)) - 1.0) < 1e-9


@law
@given(quats, metres)
def test_the_conjugate_turns_back(q: Floats, v: Floats) -> None:
    assert near(quat_rotate(quat_conjugate(q), quat_rotate(q, v)), v)


@law
@given(quats, metres, metres)
def test_turning_keeps_lengths_angles_and_handedness(q: Floats, a: Floats, b: Floats) -> None:
    turned_a, turned_b = quat_rotate(q, a), quat_rotate(q, b)
    assert abs(turned_a @ turned_b - a @ b) < 1e-9
    assert near(quat_rotate(q, np.cross(a, b)), np.cross(turned_a, turned_b))


@law
@given(quats, metres)
def test_a_matrix_turns_like_its_quaternion(q: Floats, v: Floats) -> None:
    matrix = matrix_from_quat(q)
    assert near(matrix @ v, quat_rotate(q, v))
    assert near(matrix.T @ matrix, np.eye(3))


@law
@given(rotvecs)
def test_a_rotation_vector_comes_back(rotvec: Floats) -> None:
    assert np.abs(rotvec_from_quat(quat_from_rotvec(rotvec)) - rotvec).max() < 1e-7


@law
@given(rotvecs)
def test_the_opposite_quaternion_is_the_same_rotation(rotvec: Floats) -> None:
    assert near(rotvec_from_quat(-quat_from_rotvec(rotvec)), rotvec_from_quat(quat_from_rotvec(rotvec)))


@law
@given(rotvecs, metres)
def test_turning_about_an_axis_leaves_the_axis_alone(rotvec: Floats, v: Floats) -> None:
    q = quat_from_rotvec(rotvec)
    assert near(quat_rotate(q, rotvec), rotvec)
    assert abs(quat_rotate(q, v) @ rotvec - v @ rotvec) < 1e-9


@law
@given(poses, poses, metres)
def test_a_composed_pose_applies_one_after_the_other(a: Pose, b: Pose, point: Floats) -> None:
    assert near(a.compose(b).apply(point), a.apply(b.apply(point)))


@law
@given(poses, metres)
def test_a_pose_and_its_inverse_undo_each_other(pose: Pose, point: Floats) -> None:
    assert near(pose.inverse().apply(pose.apply(point)), point)
    assert near(pose.compose(pose.inverse()).pos, np.zeros(3))


@law
@given(st.lists(st.tuples(rotvecs, metres), min_size=1, max_size=4))
def test_a_batch_gives_what_each_row_gives_alone(rows: list[tuple[Floats, Floats]]) -> None:
    rotvec, v = (np.array(column) for column in zip(*rows, strict=True))
    q = quat_from_rotvec(rotvec)
    for i, (one, point) in enumerate(rows):
        alone = quat_from_rotvec(one)
        assert np.array_equal(q[i], alone)
        assert np.array_equal(quat_rotate(q, v)[i], quat_rotate(alone, point))
        assert np.array_equal(quat_multiply(q, q)[i], quat_multiply(alone, alone))
        assert np.array_equal(matrix_from_quat(q)[i], matrix_from_quat(alone))
        assert np.array_equal(rotvec_from_quat(q)[i], rotvec_from_quat(alone))
