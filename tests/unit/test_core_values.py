"""Values of core refuse what breaks their shape, range or unit, and say so."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from core.arrays import floats, image, in_range
from core.errors import (
    ConfigError,
    ContractError,
    DeviceError,
    DeviceNotConnected,
    DeviceTimeout,
    RegraspError,
    ServiceTimeout,
    unknown_name,
)
from core.failures import FailureMode, FailureReport, Severity
from core.flow import ActionChunk, Arrived, Observation, OperatorInput, Phase, Source, Step
from core.robots import EE_DELTA, ActionSpace, ResidualSpace, RobotSpec
from core.scene import SceneRoles, SceneState, TrackedObject
from core.transforms import Pose, unit_quat


@pytest.fixture
def observation() -> Observation:
    return Observation(
        t_ns=1, joint_pos=np.zeros(7), joint_vel=np.zeros(7), tcp_pos_in_base=np.zeros(3),
        tcp_quat_xyzw_in_base=np.array([1.0, 0, 0, 0]), gripper_opening=0.5, gripper_command=1.0,
        images={"front": np.zeros((4, 6, 3), np.uint8)},
    )  # fmt: skip


@pytest.fixture
def step(observation: Observation) -> Step:
    return Step(
        index=0, observation=observation, arrived=Arrived(), phase=Phase.RUNNING, source=Source.POLICY, base=None,
        asked=np.zeros(7), commanded=np.zeros(7), clipped_by=(), report=None, next_phase=Phase.RUNNING,
    )  # fmt: skip


def test_arrays_are_checked_converted_and_sealed() -> None:
    array = floats("x [m]", [1, 2, 3], (3,))
    assert array.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0.0
    with pytest.raises(ContractError, match=r"x \[m\] has shape \(2,\); expected \(3,\)"):
        floats("x [m]", [1, 2], (3,))
    with pytest.raises(ContractError, match="NaN or infinity"):
        floats("x [m]", [1, np.inf, 3], (3,))
    assert np.isnan(floats("x", [np.nan], (None,), finite=False)).all()


def test_a_value_does_not_change_when_its_source_does() -> None:
    source = np.zeros(3)
    pose = Pose(pos=source, quat_xyzw=np.array([0.0, 0, 0, 1]))
    source[:] = 9.0
    assert not pose.pos.any()


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_only_rgb_bytes_are_an_image(bad: np.ndarray) -> None:
    with pytest.raises(ContractError, match=r"expected uint8 \(H, W, 3\)"):
        image("front", bad)


def test_a_range_excludes_nan() -> None:
    assert in_range("x", 1, 0.0, 1.0) == 1.0
    with pytest.raises(ContractError, match=r"x is nan; allowed \[0.0, 1.0\]"):
        in_range("x", float("nan"), 0.0, 1.0)


def test_errors_are_one_tree_with_pythons_own_kin() -> None:
    assert issubclass(ContractError, RegraspError)
    assert issubclass(ContractError, ValueError)
    assert issubclass(DeviceNotConnected, ConnectionError)
    assert issubclass(DeviceTimeout, TimeoutError)
    assert issubclass(ServiceTimeout, TimeoutError)


def test_a_device_error_carries_device_code_and_remedy() -> None:
    error = DeviceError("joint 3 is over its limit", device="xarm 192.168.1.213", code=23, remedy="move it back")
    assert (error.device, error.code, error.remedy) == ("xarm 192.168.1.213", 23, "move it back")
    assert str(error) == "xarm 192.168.1.213: joint 3 is over its limit (code 23); move it back"


def test_an_unknown_name_names_the_nearest_and_all() -> None:
    error = unknown_name("task", "fruit_on_plat", ["wipe_board", "fruit_on_plate"])
    assert isinstance(error, ConfigError)
    assert "did you mean 'fruit_on_plate'" in str(error)
    assert "allowed: fruit_on_plate, wipe_board" in str(error)
    assert "did you mean" not in str(unknown_name("task", "zzzzzz", ["fruit_on_plate"]))


def test_a_quaternion_must_be_unit_and_a_unit_one_is_kept_to_the_bit() -> None:
    with pytest.raises(ContractError, match=r"norm 2\.0000"):
        unit_quat("q", np.array([2.0, 0, 0, 0]))
    assert np.linalg.norm(unit_quat("q", np.array([1.0005, 0, 0, 0]))) == 1.0
    kept = np.array([0.1, 0.2, 0.3, np.sqrt(1 - 0.14)])
    assert np.array_equal(unit_quat("q", kept), kept)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"joint_vel": np.zeros(6)}, r"joint_vel \[rad/s\] has shape \(6,\)"),
        ({"joint_pos": np.full(7, np.nan)}, "joint_pos"),
        ({"gripper_opening": 1.2}, "gripper_opening"),
        ({"gripper_command": -0.1}, "gripper_command"),
        ({"wrench_in_tcp": np.zeros(3)}, "wrench_in_tcp"),
        ({"tcp_quat_xyzw_in_base": np.zeros(4)}, "norm"),
        ({"images": {"front": np.zeros((4, 4))}}, "image 'front'"),
    ],
)
def test_a_wrong_observation_is_refused_by_field(observation: Observation, change: dict, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        replace(observation, **change)


def test_values_are_frozen(observation: Observation) -> None:
    with pytest.raises(FrozenInstanceError):
        observation.t_ns = 2
    with pytest.raises(TypeError):
        observation.images["front"] = None


def test_a_chunk_is_indexed_by_time_not_by_call() -> None:
    chunk = ActionChunk(obs_t_ns=1_000, values=np.arange(6.0).reshape(3, 2), dt_s=0.05, policy_id="p@1")
    assert chunk.at(1_000) == pytest.approx([0, 1])
    assert chunk.at(1_000 + 50_000_000 + 20_000_000) == pytest.approx([2, 3])
    assert chunk.at(1_000 + 150_000_000) is None
    assert chunk.at(-200_000_000) is None


def test_a_chunk_may_hold_nan_for_the_guard_to_refuse_but_must_have_two_axes() -> None:
    assert np.isnan(ActionChunk(obs_t_ns=0, values=np.full((1, 7), np.nan), dt_s=0.05, policy_id="p").values).all()
    with pytest.raises(ContractError, match="chunk values"):
        ActionChunk(obs_t_ns=0, values=np.zeros(7), dt_s=0.05, policy_id="p")
    with pytest.raises(ContractError, match="dt_s"):
        ActionChunk(obs_t_ns=0, values=np.zeros((1, 7)), dt_s=0.0, policy_id="p")


def test_a_step_refuses_a_negative_index_and_a_command_of_another_size(step: Step) -> None:
    with pytest.raises(ContractError, match="index -1"):
        replace(step, index=-1)
    with pytest.raises(ContractError, match="commanded"):
        replace(step, commanded=np.zeros(6))
    with pytest.raises(ContractError, match="operator action"):
        OperatorInput(action=np.full(7, np.nan))


def test_severities_are_ordered_and_reports_checked() -> None:
    assert [s.rank for s in (Severity.NOTE, Severity.SLOW, Severity.HOLD, Severity.STOP)] == [0, 1, 2, 3]
    report = FailureReport(id="a", t_ns=0, detector="d", mode="drop", severity="hold", confidence=0.5)
    assert report.mode is FailureMode.DROP
    with pytest.raises(ContractError, match="confidence"):
        replace(report, confidence=1.5)
    with pytest.raises(ValueError, match="slipped"):
        replace(report, mode="slipped")


def test_a_scene_knows_positions_and_ages_and_refuses_foreign_sources() -> None:
    apple = TrackedObject(pos_in_base=np.array([0.4, 0, 0.03]), t_ns=500_000_000, confidence=0.9)
    scene = SceneState(t_ns=2_000_000_000, objects={"apple": apple}, source="image")
    assert scene.age_s("apple") == pytest.approx(1.5)
    assert scene.position("lemon") is None
    assert np.isinf(scene.age_s("lemon"))
    with pytest.raises(ContractError, match="'guess'"):
        replace(scene, source="guess")
    with pytest.raises(ContractError, match="confidence"):
        replace(apple, confidence=1.1)
    with pytest.raises(ContractError, match="role 'victim'"):
        SceneRoles(target="apple").of("victim")


def test_a_robot_needs_room_between_its_limits() -> None:
    two = np.zeros(2)
    with pytest.raises(ContractError, match="below joint_high"):
        RobotSpec(
            name="r", joint_names=("a", "b"), joint_low=two, joint_high=two, joint_vel_max=two + 1,
            joint_acc_max=two + 1, tcp_speed_max=1.0,
        )  # fmt: skip


def test_actions_come_back_from_the_unit_box_and_are_named_when_out_of_bounds() -> None:
    action = EE_DELTA.still(0.3)
    assert EE_DELTA.denormalise(EE_DELTA.normalise(action)) == pytest.approx(action)
    assert EE_DELTA.normalise(EE_DELTA.high) == pytest.approx(np.ones(7))
    with pytest.raises(ContractError, match=r"dz is 0.1 m; allowed \[-0.025, 0.025\]"):
        EE_DELTA.validate("asked", np.array([0, 0, 0.1, 0, 0, 0, 0]))
    with pytest.raises(ContractError, match="low < high"):
        ActionSpace(names=("a",), units=("m",), low=np.ones(1), high=np.ones(1), dt_s=0.05)


def test_a_residual_moves_only_its_dims_and_the_sum_stays_inside() -> None:
    space = ResidualSpace(dims=(0, 2), alpha=np.full(7, 0.5), beta=np.array([1.0, 0, 2.0, 0, 0, 0, 0]))
    base, residual = EE_DELTA.still(1.0), np.ones(7)
    composed = EE_DELTA.normalise(space.compose(EE_DELTA, base, residual))
    assert composed == pytest.approx(np.clip(0.5 * EE_DELTA.normalise(base) + space.beta, -1, 1))
    assert composed[2] == 1.0


@pytest.mark.parametrize(
    "change", [{"dims": (0, 0)}, {"dims": (0, 9)}, {"dims": (0,)}, {"alpha": np.full(7, 1.5)}, {"beta": -np.ones(7)}]
)
def test_a_contradictory_residual_space_is_refused(change: dict) -> None:
    fine = ResidualSpace(dims=(0, 2), alpha=np.full(7, 0.5), beta=np.array([1.0, 0, 2.0, 0, 0, 0, 0]))
    with pytest.raises(ContractError):
        replace(fine, **change)
