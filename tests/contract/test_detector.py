"""The contract of `Detector`, kept by every detector."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from core.failures import FailureReport
from core.flow import Step
from core.ports import Detector
from core.probe import NOMINAL, ProbeLayer, ProbeWeights
from core.robots import EE_DELTA
from runtime.config import HandRules, WatchLimits
from runtime.episode import run_episode
from runtime.record.codec import dumps
from runtime.rehearsal import COURSE, rehearsal
from runtime.watch.fault import ControllerFault
from runtime.watch.features import FIXED, LAYOUT
from runtime.watch.freshness import Freshness
from runtime.watch.grasp import GraspLost
from runtime.watch.probe import ProbeDetector
from runtime.watch.refused import RefusedChunk
from runtime.watch.reversal import Reversal
from runtime.watch.stall import Stall
from runtime.watch.tracking import TrackingError

LIMITS = WatchLimits()
TOUCHY = WatchLimits(
    robot_age_s=1e-9, image_age_s=1e-9, tracking_error_m=1e-9, tracking_lag_s=0.0, stall_s=0.1, stall_m=10.0,
    reversals=1, reversal_step_m=1e-9, lost_m=1e-9, fault_s=1e-9,
)  # fmt: skip


def probe(threshold: float) -> ProbeWeights:
    size = len(FIXED)
    layer = ProbeLayer(weight=np.zeros((size, 2)), bias=np.zeros(2))
    return ProbeWeights(
        name="p@1", layout=LAYOUT, policy="p", labels=(NOMINAL, "drop"), mean=np.zeros(size), scale=np.ones(size),
        layers=(layer,), temperature=1.0, threshold=threshold,
    )  # fmt: skip


MAKERS: dict[str, Callable[[WatchLimits], Detector]] = {
    "fault": ControllerFault,
    "freshness": lambda limits: Freshness(("front",), limits),
    "grasp": lambda limits: GraspLost(COURSE, HandRules(), limits),
    "probe": lambda limits: ProbeDetector(probe(0.0 if limits is TOUCHY else 0.9), COURSE),
    "refused": lambda limits: RefusedChunk(EE_DELTA, -0.999 if limits is TOUCHY else 0.1),
    "reversal": lambda limits: Reversal(EE_DELTA, limits),
    "stall": lambda limits: Stall(EE_DELTA, limits),
    "tracking": lambda limits: TrackingError(EE_DELTA, limits),
}


@pytest.fixture(scope="module")
def lived() -> list[Step]:
    """A whole episode of a policy that succeeds."""
    stage = rehearsal(images={"front": np.zeros((4, 4, 3), np.uint8)})
    with stage.cell:
        assert run_episode(stage.loop, 200, stage.done).claimed
    return stage.steps


def fed(detector: Detector, steps: list[Step]) -> list[FailureReport | None]:
    return [detector.update(step) for step in steps]


@pytest.fixture(params=MAKERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_is_a_detector(name: str) -> None:
    assert isinstance(MAKERS[name](LIMITS), Detector)


def test_a_success_raises_no_report(name: str, lived: list[Step]) -> None:
    assert not any(fed(MAKERS[name](LIMITS), lived))


def test_a_report_is_about_its_step_and_its_evidence_has_units(name: str, lived: list[Step]) -> None:
    found = fed(MAKERS[name](TOUCHY), troubled(lived))
    reports = [(s, r) for s, r in zip(troubled(lived), found, strict=True) if r is not None]
    assert reports
    units = ("_s", "_m", "_1", "_count", "_rad", "_n")
    for step, report in reports:
        assert report.id == f"{name}-{step.index}"
        assert report.detector == name
        assert report.t_ns == step.arrived.now_ns
        assert all(key.endswith(units) for key in report.evidence)


def test_ids_are_unique_and_the_same_steps_give_the_same_reports(name: str, lived: list[Step]) -> None:
    first, second = (fed(MAKERS[name](TOUCHY), troubled(lived)) for _ in range(2))
    assert dumps(first) == dumps(second)
    ids = [r.id for r in first if r is not None]
    assert len(set(ids)) == len(ids)


def test_reset_forgets_the_past(name: str, lived: list[Step]) -> None:
    used, fresh = MAKERS[name](TOUCHY), MAKERS[name](TOUCHY)
    fed(used, troubled(lived)[:40])
    used.reset()
    assert dumps(fed(used, troubled(lived)[40:])) == dumps(fed(fresh, troubled(lived)[40:]))


def troubled(steps: list[Step]) -> list[Step]:
    """The same episode read 10 ms late, by a hand that grips the target far away, trembling; the arm is in fault."""
    return [_troubled(step) for step in steps]


def _troubled(step: Step) -> Step:
    moved = np.array([0.02 * (-1) ** step.index, 0, 0, 0, 0, 0, 0.0])
    obs = replace(step.observation, gripper_command=0.0, gripper_opening=0.4, fault="C31")
    arrived = replace(step.arrived, now_ns=step.arrived.now_ns + 10_000_000, sent=moved)
    return replace(step, observation=obs, arrived=arrived, commanded=moved)
