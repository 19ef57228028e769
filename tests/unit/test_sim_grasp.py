"""The grasp-lift-hold gate keeps the physics settings honest."""

import mujoco
import pytest

from sim.cell import PhysicsSettings
from sim.grasp_gate import GraspReport, grasp_report
from sim.tasks.fruit_on_plate import FruitOnPlate


@pytest.mark.parametrize("friction_scale", [1.0, 0.7])
def test_the_settings_in_use_hold_a_fruit(friction_scale: float) -> None:
    report = grasp_report(FruitOnPlate(), friction_scale=friction_scale)
    assert report.holds, report


def test_a_line_search_that_stops_early_is_caught() -> None:
    settings = PhysicsSettings(integrator=mujoco.mjtIntegrator.mjINT_IMPLICITFAST, ls_iterations=10)
    assert not grasp_report(FruitOnPlate(), settings).holds


def test_weak_friction_constraints_are_caught() -> None:
    assert not grasp_report(FruitOnPlate(), PhysicsSettings(impratio=1.0)).holds


def test_a_slippery_fruit_is_not_lifted() -> None:
    assert not grasp_report(FruitOnPlate(), friction_scale=0.02).holds


def test_the_gate_is_2_mm_of_slip() -> None:
    assert GraspReport(lifted_m=0.12, slip_m=0.0019).holds
    assert not GraspReport(lifted_m=0.12, slip_m=0.0021).holds
    assert not GraspReport(lifted_m=0.05, slip_m=0.0).holds
