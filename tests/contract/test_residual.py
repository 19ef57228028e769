"""What every `Residual` promises, and what the trained one adds."""

from collections.abc import Callable

import numpy as np
import pytest

from core.errors import ContractError
from core.failures import FailureMode
from core.fakes import FakeResidual
from core.flow import Observation
from core.ports import Policy, Residual
from core.recovery import Rate, RecoveryStage, SkillCard
from core.robots import EE_DELTA, ResidualSpace
from core.scene import SceneState, TrackedObject
from core.subtasks import Manner
from residual.cards import TrainedCard, actor_sha256
from residual.features import FEATURES
from residual.mlp import Mlp
from residual.policy import ResidualSkill
from residual.surrogate import INPUTS, SurrogatePolicy
from residual.surrogate_train import finished
from sim.tasks.fruit_on_plate import INFO

DIMS = (0, 1, 2, 6)


def random_network(inputs: int, outputs: int) -> Mlp:
    rng = np.random.default_rng(0)
    first, last = rng.normal(0, 0.3, (32, inputs)), rng.normal(0, 1, (outputs, 32))
    return Mlp(
        weights=(first.astype(np.float32), last.astype(np.float32)),
        biases=(np.zeros(32, dtype=np.float32), np.zeros(outputs, dtype=np.float32)),
        activation="tanh",
    )


def trained(policy_features: int = 0) -> ResidualSkill:
    alpha, beta = np.full(7, 0.3), np.zeros(7)
    beta[list(DIMS)] = 1.0
    actor = random_network(FEATURES + policy_features, len(DIMS))
    card = SkillCard(
        name="drop", task="fruit_on_plate", manner=Manner.PLACE, modes=(FailureMode.DROP,),
        stages=(RecoveryStage.APPROACH,), space=ResidualSpace(dims=DIMS, alpha=alpha, beta=beta), resume_when="placed",
        weights_file="drop.safetensors", weights_sha256=actor_sha256(actor), reward_hash="", base_policy="b@0",
        surrogate="s@0", warm_start="none", lint="passed", inputs="state", train_seed=0, train_steps=0,
        eval_seeds=(0, 0), evaluation=Rate(k=0, n=0), base_alone=Rate(k=0, n=0),
    )  # fmt: skip
    return ResidualSkill(TrainedCard(card=card, actor=actor), INFO.course("put the apple on the plate"))


@pytest.fixture(params=["trained", "fake"])
def build(request: pytest.FixtureRequest) -> Callable[[], Residual]:
    if request.param == "trained":
        return trained
    return lambda: FakeResidual(lambda obs, scene, base: np.zeros(EE_DELTA.size))


def observation(tick: int) -> Observation:
    return Observation(
        t_ns=tick * 50_000_000, joint_pos=np.zeros(7), joint_vel=np.zeros(7),
        tcp_pos_in_base=np.array([0.4, 0.002 * tick, 0.2]), tcp_quat_xyzw_in_base=np.array([1.0, 0, 0, 0]),
        gripper_opening=1.0, gripper_command=1.0, instruction="put the apple on the plate",
    )  # fmt: skip


def scene(tick: int, *names: str) -> SceneState:
    places = {"apple": (0.5, 0.1, 0.03), "lemon": (0.4, -0.1, 0.03), "plate": (0.45, 0.2, 0.006)}
    objects = {
        n: TrackedObject(pos_in_base=np.array(places[n]), t_ns=tick * 50_000_000, confidence=0.9)
        for n in names or tuple(places)
    }
    return SceneState(t_ns=tick * 50_000_000, objects=objects, source="image")


def drive(residual: Residual, ticks: int = 6) -> np.ndarray:
    base = EE_DELTA.still(1.0)
    return np.array([residual.correct(observation(t), scene(t), base) for t in range(ticks)])


def test_it_is_a_residual(build: Callable[[], Residual]) -> None:
    assert isinstance(build(), Residual)


def test_a_correction_is_dimensionless_bounded_and_finite(build: Callable[[], Residual]) -> None:
    corrections = drive(build())
    assert corrections.shape == (6, EE_DELTA.size)
    assert (np.abs(corrections) <= 1).all()


def test_the_same_inputs_after_a_reset_give_the_same_bits(build: Callable[[], Residual]) -> None:
    residual = build()
    first = drive(residual)
    residual.reset()
    assert (drive(residual) == first).all()
    assert (drive(build()) == first).all()


def test_a_scene_that_lacks_objects_is_borne(build: Callable[[], Residual]) -> None:
    residual, empty = build(), SceneState(t_ns=0, objects={}, source="image")
    assert np.isfinite(residual.correct(observation(0), empty, EE_DELTA.still(1.0))).all()
    assert np.isfinite(residual.correct(observation(1), scene(1, "plate"), EE_DELTA.still(1.0))).all()


def test_the_trained_one_moves_only_the_dims_of_its_space_and_remembers() -> None:
    residual = trained()
    corrections = drive(residual)
    outside = [d for d in range(EE_DELTA.size) if d not in DIMS]
    assert not corrections[:, outside].any()
    assert corrections[:, list(DIMS)].any()
    again = residual.correct(observation(0), scene(0), EE_DELTA.still(1.0))
    assert (again != corrections[0]).any()


def test_the_trained_one_ignores_how_far_a_base_action_lies_outside_its_bounds() -> None:
    far, edge = trained(), trained()
    wild, bound = np.full(7, 99.0), EE_DELTA.high
    assert (far.correct(observation(0), scene(0), wild) == edge.correct(observation(0), scene(0), bound)).all()


def test_a_skill_that_reads_the_policys_features_goes_by_what_it_was_shown_throughout_an_attempt() -> None:
    seeing = trained(policy_features=2)
    assert seeing.policy_features == 2
    assert trained().policy_features == 0
    plain = drive(seeing)
    seeing.reset()
    seeing.show(np.array([0.5, -0.5]))
    shown = drive(seeing)
    assert (shown[0] != plain[0]).any()
    seeing.reset()
    assert (drive(seeing) == shown).all()
    with pytest.raises(ContractError, match="policy features"):
        seeing.show(np.zeros(3))


def test_the_surrogate_is_a_policy_that_answers_once_and_forgets() -> None:
    surrogate = finished(random_network(INPUTS, 8 * 7), np.zeros(INPUTS), np.ones(INPUTS), 8)
    policy = SurrogatePolicy(surrogate, INFO.course, lambda: scene(0))
    assert isinstance(policy, Policy)
    assert policy.poll() is None
    policy.submit(observation(3))
    chunk = policy.poll()
    assert chunk is not None
    assert chunk.obs_t_ns == observation(3).t_ns
    assert chunk.values.shape == (8, 7)
    assert chunk.policy_id == policy.policy_id == surrogate.policy_id
    assert policy.poll() is None
    policy.submit(observation(4))
    policy.reset()
    assert policy.poll() is None
