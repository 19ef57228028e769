"""Tasks, rates, reward masks and batches of worlds."""

from dataclasses import fields, replace

import numpy as np
import pytest

from core.calibration import CalibrationBundle, CameraModel
from core.errors import ConfigError, ContractError
from core.failures import FailureMode
from core.recovery import Rate, RecoveryDescriptor, RecoveryStage
from core.rewards import RewardMask, RewardNode, RewardSpec, StageReward
from core.scene import ROLES, SceneRoles, SceneState
from core.subtasks import Manner, SubTask, Where
from core.tasks import ObjectInfo, TaskInfo
from core.transforms import Pose, quat_from_rotvec
from core.worlds import DomainParams, FailureState, WorldSnapshot, WorldState


def fruit(name: str, *words: str) -> ObjectInfo:
    return ObjectInfo(
        name=name, words=words, shape="sphere", size_m=np.full(3, 0.03), rgb=np.zeros(3),
        graspable=name not in ("plate", "block"),
    )  # fmt: skip


def on_plate() -> SubTask:
    return SubTask(
        name="on the plate", manner=Manner.PLACE,
        roles=SceneRoles(target="{target}", distractor="{distractor}", goal="plate", obstacle="block"),
        done=(Where(thing="{target}", anchor="plate", low=np.full(3, -0.05), high=np.full(3, 0.05)),),
    )  # fmt: skip


@pytest.fixture
def task() -> TaskInfo:
    return TaskInfo(
        name="t",
        objects=(
            fruit("apple", "red fruit"), fruit("lemon", "yellow fruit"), fruit("plate", "dish"), fruit("block")
        ),
        goal="plate", obstacle="block", family="short_horizon", templates=("put the {target} on the {goal}",),
        subtasks=(on_plate(),), modes=(), episode_steps=10,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("instruction", "target", "other"),
    [
        ("put the apple on the plate", "apple", "lemon"),
        ("Onto the dish with the YELLOW FRUIT, please", "lemon", "apple"),
        ("move the red fruit", "apple", "lemon"),
    ],
)
def test_roles_are_read_from_the_words_alone(task: TaskInfo, instruction: str, target: str, other: str) -> None:
    roles = task.roles(instruction)
    assert (roles.target, roles.distractor, roles.goal, roles.obstacle) == (target, other, "plate", "block")


@pytest.mark.parametrize(
    "instruction", ["put it on the plate", "the apple and the lemon", "put the pineapple there", ""]
)
def test_an_instruction_that_names_no_fruit_or_two_is_refused(task: TaskInfo, instruction: str) -> None:
    with pytest.raises(ConfigError, match=r"name exactly one of \['apple', 'lemon'\]"):
        task.roles(instruction)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_a_rate_has_the_wilson_interval_of_the_textbook(k: int, n: int, low: float, high: float) -> None:
    assert Rate(k=k, n=n).rate == k / n
    assert Rate(k=k, n=n).ci95 == pytest.approx((low, high), abs=1e-4)


def test_a_rate_of_nothing_says_nothing_and_an_impossible_one_is_refused() -> None:
    assert np.isnan(Rate(k=0, n=0).rate)
    assert Rate(k=0, n=0).ci95 == (0.0, 1.0)
    for k, n in ((-1, 5), (6, 5)):
        with pytest.raises(ContractError, match=f"rate {k}/{n}"):
            Rate(k=k, n=n)


def test_a_descriptor_refuses_an_impossible_confidence_and_unknown_names() -> None:
    descriptor = RecoveryDescriptor(
        report_id="r", mode="drop", stage="approach", target="apple", obstacles=(), confidence=0.7, model_id="m",
        mask=RewardMask(library="l@1", active=frozenset({"reach"})),
    )  # fmt: skip
    assert (descriptor.mode, descriptor.stage) == (FailureMode.DROP, RecoveryStage.APPROACH)
    with pytest.raises(ContractError, match="confidence"):
        replace(descriptor, confidence=-0.1)
    with pytest.raises(ValueError, match="flail"):
        replace(descriptor, stage="flail")


def test_reward_nodes_have_the_right_number_of_children_and_names_only_at_leaves() -> None:
    leaf = RewardNode(kind="term", term="reach")
    assert RewardNode(kind="if", children=(leaf, leaf)).children == (leaf, leaf)
    for wrong in ({"kind": "if", "children": (leaf,)}, {"kind": "and"}, {"kind": "term"}, {"kind": "or", "term": "x"}):
        with pytest.raises(ContractError, match="reward node"):
            RewardNode(**wrong)
    with pytest.raises(ContractError, match="weight"):
        replace(leaf, weight=-1.0)


def test_a_reward_has_one_text_and_hash_that_provenance_does_not_change() -> None:
    leaf = RewardNode(kind="term", term="reach", params={"b_m": 2.0, "a_m": 1.0})
    turned = replace(leaf, params={"a_m": 1.0, "b_m": 2.0})
    spec = RewardSpec(
        library="l@1", stages=(StageReward(stage="grasp", value=leaf, gate=leaf, done=leaf),), costs=leaf, scale=0.5
    )
    same = replace(spec, costs=turned, provenance={"model": "m"})
    assert spec.canonical_json() == same.canonical_json()
    assert spec.hash == same.hash != replace(spec, scale=0.6).hash


@pytest.fixture
def worlds() -> WorldState:
    n, o = 3, 2
    shapes = {
        "joint_pos": (n, 7), "joint_vel": (n, 7), "tcp_pos_in_base": (n, 3), "tcp_quat_xyzw_in_base": (n, 4),
        "tcp_goal_in_base": (n, 3), "object_pos_in_base": (n, o, 3), "object_quat_xyzw_in_base": (n, o, 4),
    }  # fmt: skip
    names = [f.name for f in fields(WorldState) if f.name not in ("object_names", "roles")]
    values = {name: np.random.default_rng(i).random(shapes.get(name, (n,))) for i, name in enumerate(names)}
    return WorldState(
        object_names=("apple", "plate"), roles=np.array([[0, -1, 1, -1], [1, 0, -1, -1], [0, -1, 1, -1]]), **values
    )


def test_a_subset_of_worlds_is_those_rows_of_everything(worlds: WorldState) -> None:
    some = worlds.take(np.array([2, 0]))
    assert some.object_names == worlds.object_names
    for f in fields(WorldState):
        if f.name != "object_names":
            assert np.array_equal(getattr(some, f.name), getattr(worlds, f.name)[[2, 0]]), f.name


def test_a_role_gives_its_objects_place_and_nan_where_nobody_has_it(worlds: WorldState) -> None:
    target = worlds.of("target")
    assert np.array_equal(target[1], worlds.object_pos_in_base[1, 1])
    assert np.array_equal(target[2], worlds.object_pos_in_base[2, 0])
    assert np.isnan(worlds.of("distractor")[0]).all()
    assert ROLES == ("target", "distractor", "goal", "obstacle")


def test_the_nominal_domain_changes_nothing() -> None:
    domain = DomainParams.nominal(4)
    assert np.array_equal(domain.friction_scale, np.ones(4))
    assert not domain.action_latency_s.any()
    assert not domain.table_height_m.any()


def test_a_failure_state_cannot_precede_its_injection() -> None:
    row = np.zeros(2)
    snapshot = WorldSnapshot(physics=row, controller=row, task=row, roles=None, instruction="")
    scene = SceneState(t_ns=0, objects={}, source="truth")
    with pytest.raises(ContractError, match="age_s"):
        FailureState(snapshot=snapshot, mode=FailureMode.DROP, seed=1, age_s=-0.1, queue=None, belief=scene)
    with pytest.raises(ContractError, match="physics"):
        replace(snapshot, physics=np.array([np.nan]))


@pytest.fixture
def camera() -> CameraModel:
    pose = Pose(pos=np.array([0.5, 0.1, 0.7]), quat_xyzw=quat_from_rotvec(np.array([2.8, 0.4, -0.2])))
    intrinsics = np.array([[200.0, 0, 95.5], [0, 210.0, 90.0], [0, 0, 1]])
    return CameraModel(name="c", width_px=192, height_px=192, intrinsics=intrinsics, mount="base", pose=pose)


def test_a_ray_leads_back_to_the_point_it_was_projected_from(camera: CameraModel) -> None:
    local = np.random.default_rng(0).uniform([-0.2, -0.2, 0.2], [0.2, 0.2, 1.0], (20, 3))
    points = camera.pose.apply(local)
    uvz = camera.project(camera.pose, points)
    rays = camera.rays(camera.pose, uvz[:, :2])
    assert np.linalg.norm(rays, axis=1) == pytest.approx(np.ones(20))
    distance = np.linalg.norm(local, axis=1, keepdims=True)
    assert camera.pose.pos + rays * distance == pytest.approx(points, abs=1e-9)
    assert uvz[:, 2] == pytest.approx(local[:, 2])


def test_a_wrist_camera_moves_with_the_tool_and_a_fixed_one_does_not(camera: CameraModel) -> None:
    tool = Pose(pos=np.array([0.1, 0.2, 0.3]), quat_xyzw=np.array([1.0, 0, 0, 0]))
    assert camera.in_base(tool) is camera.pose
    assert replace(camera, mount="tcp").in_base(tool).pos == pytest.approx(tool.apply(camera.pose.pos))
    with pytest.raises(ContractError, match="mounted on 'head'"):
        replace(camera, mount="head")


def test_an_unknown_camera_is_named_with_the_nearest(camera: CameraModel) -> None:
    bundle = CalibrationBundle(
        cell="x", cameras={"front": camera}, workspace_low=np.zeros(3), workspace_high=np.ones(3), table_height_m=0.0,
        held_out_error_px=0.1, measured_on="2026-11-20",
    )  # fmt: skip
    assert bundle.camera("front") is camera
    with pytest.raises(ConfigError, match="did you mean 'front'"):
        bundle.camera("frnt")
    with pytest.raises(ContractError, match="empty"):
        replace(bundle, workspace_high=np.zeros(3))
