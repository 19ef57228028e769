"""A skill that reads the frozen policy's features is shown, at each attempt's start, those of its last answer."""

from itertools import pairwise

import numpy as np
import pytest

from core.errors import ContractError
from core.failures import FailureMode
from core.fakes import ScriptedPolicy
from core.flow import Observation
from core.manner import Manner
from core.ports import Policy, Residual
from core.recovery import Rate, RecoveryStage, SkillCard
from core.robots import EE_DELTA
from core.scene import SceneState
from regrasp.overheard import InformedSkill, OverheardPolicy
from residual.cards import STATE_AND_POLICY, TrainedCard, actor_sha256
from residual.features import FEATURES
from residual.mlp import Mlp
from residual.policy import ResidualSkill
from residual.skills import default_space
from sim.tasks.fruit_on_plate import INFO

SEEN = 3
OBS = Observation(
    t_ns=0, joint_pos=np.zeros(7), joint_vel=np.zeros(7), tcp_pos_in_base=np.array([0.4, 0.0, 0.2]),
    tcp_quat_xyzw_in_base=np.array([1.0, 0, 0, 0]), gripper_opening=1.0, gripper_command=1.0,
)  # fmt: skip
NOWHERE = SceneState(t_ns=0, objects={}, source="image")


def skill() -> ResidualSkill:
    rng = np.random.default_rng(0)
    sizes = pairwise((FEATURES + SEEN, 8, EE_DELTA.size))
    weights = tuple(rng.normal(0, 0.1, (b, a)).astype(np.float32) for a, b in sizes)
    actor = Mlp(weights=weights, biases=tuple(np.zeros(len(w), np.float32) for w in weights), activation="tanh")
    card = SkillCard(
        name="drop", task=INFO.name, manner=Manner.PLACE, modes=(FailureMode.DROP,), stages=tuple(RecoveryStage),
        space=default_space(), resume_when="placed", weights_file="drop.safetensors",
        weights_sha256=actor_sha256(actor), reward_hash="", base_policy="scripted@0", surrogate="", warm_start="none",
        lint="passed", inputs=STATE_AND_POLICY, train_seed=0, train_steps=0, eval_seeds=(0, 0),
        evaluation=Rate(k=0, n=0), base_alone=Rate(k=0, n=0),
    )  # fmt: skip
    return ResidualSkill(TrainedCard(card=card, actor=actor), INFO.course("put the apple on the plate"))


def policy(*features: float) -> OverheardPolicy:
    still = np.tile(EE_DELTA.still(1.0), (4, 1))
    return OverheardPolicy(ScriptedPolicy(lambda _: still, features=np.array(features)))


def corrected(residual: Residual) -> list[float]:
    residual.reset()
    return residual.correct(OBS, NOWHERE, EE_DELTA.still(1.0)).tolist()


def shown(*features: float) -> list[float]:
    told = skill()
    told.show(np.array(features))
    return corrected(told)


def test_what_is_overheard_is_the_same_policy_and_the_skill_the_same_residual() -> None:
    overheard = policy(1.0, 2.0, 3.0)
    assert isinstance(overheard, Policy)
    assert isinstance(InformedSkill(skill(), overheard), Residual)
    assert overheard.policy_id == "scripted@0"
    assert overheard.poll() is None
    overheard.submit(OBS)
    chunk = overheard.poll()
    assert chunk is not None
    assert overheard.features is chunk.features
    overheard.reset()
    assert overheard.features is None


def test_each_attempt_begins_with_the_features_of_the_last_answer_before_it() -> None:
    overheard = policy(1.0, -2.0, 3.0)
    informed = InformedSkill(skill(), overheard)
    assert corrected(informed) == shown(0.0, 0.0, 0.0)
    overheard.submit(OBS)
    overheard.poll()
    assert corrected(informed) == shown(1.0, -2.0, 3.0) != shown(0.0, 0.0, 0.0)


def test_a_policy_with_another_number_of_features_is_refused_aloud() -> None:
    overheard = policy(1.0, 2.0)
    overheard.submit(OBS)
    overheard.poll()
    with pytest.raises(ContractError, match="policy features"):
        InformedSkill(skill(), overheard).reset()
