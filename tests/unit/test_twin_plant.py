"""The twin's physical cell: the same physics as in process, forces felt, a gripper that holds, brakes that hold."""

from dataclasses import replace

import numpy as np
import pytest

from core.clock import ManualClock
from core.errors import ConfigError, ContractError
from core.failures import FailureMode
from core.kinematics import forward, ik_step
from core.robots import EE_DELTA
from core.servo import lead
from core.worlds import Injection
from sim.cell import STROKE_M, SUBSTEPS
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.twin.box import SimBox
from sim.twin.gripper import Gripper
from sim.twin.plant import STEP_S, Plant
from sim.world import BatchWorld


@pytest.fixture(scope="module")
def plant():
    return Plant(FruitOnPlate())


@pytest.fixture(scope="module")
def in_process():
    return BatchWorld(FruitOnPlate(), 1)


def servo_targets(world, actions):
    """Returns the servo targets (steps, SUBSTEPS, 8) that `actions` lead to in process, and runs them there."""
    targets = []
    for action in actions:
        world.step(action[None])
        targets.append(world._controller.pending[0, -SUBSTEPS:].copy())
    return np.array(targets)


@pytest.mark.parametrize("injected", [None, FailureMode.DROP])
def test_the_same_servo_targets_give_the_same_bits_as_in_process(plant, in_process, injected):
    injection = None if injected is None else Injection(mode=injected)
    in_process.reset(np.array([0]), np.array([104]))
    in_process.inject(0, injection, seed=104)
    expert, states = FruitExpert(), []
    targets = []
    for _ in range(40):
        in_process.step(EE_DELTA.clip(expert.act(in_process.state())))
        states.append(in_process.state())
        targets.append(in_process._controller.pending[0, -SUBSTEPS:].copy())
    plant.reset(104, injection)
    for state, period in zip(states, targets, strict=True):
        for target in period:
            plant.step(target[:7], target[7])
        truth = plant.truth()
        assert (truth.joint_pos == state.joint_pos).all()
        assert (truth.object_pos_in_base == state.object_pos_in_base).all()
        assert truth.contact_force_n == pytest.approx(state.contact_force_n)
        assert (truth.q_score, truth.success) == (state.q_score, state.success)
    assert plant.injected_at() == (None if injected is None else pytest.approx(in_process.injected_at(0)))


def test_targets_of_wrong_shape_or_beyond_the_period_are_refused():
    world = BatchWorld(FruitOnPlate(), 1)
    still = np.append(world.state().joint_pos[0], STROKE_M)
    world.drive(np.tile(still, (1, 7, 1)))
    for wrong in (np.tile(still, (1, 4, 1)), still[None], np.full((1, 1, 8), np.nan), np.zeros((1, 0, 8))):
        with pytest.raises(ContractError, match="targets"):
            world.drive(wrong)
    world.drive(np.tile(still, (1, 3, 1)))
    world.step(EE_DELTA.still(1.0)[None])
    assert world.state().time_s == pytest.approx(2 * EE_DELTA.dt_s)


class Cell:
    """A box in servo mode, tool offset set as for the gripper, driven as the product does."""

    def __init__(self, plant, *, seed=100, injected=None, sensitivity=3):
        self.clock = ManualClock(1)
        self.box = SimBox(plant, self.clock)
        self.box.new_episode(seed, None if injected is None else Injection(mode=injected))
        tool = np.array([0, 0, 0.172, 0, 0, 0])
        self.box.configure(
            replace(self.box.now().settings, collision_sensitivity=sensitivity, tcp_offset=tool), resets=True
        )
        self.box.set_mode(1)
        self.box.set_state(0)
        self.run(0.15)
        self.target = self.box.now().joint_pos
        self.goal = forward(self.target[None])

    def run(self, seconds):
        for _ in range(round(seconds / STEP_S)):
            self.clock.advance(STEP_S)
            self.box.cycle()

    def act(self, action):
        """Sends one action as five points, 10 ms apart."""
        measured = self.box.now().joint_pos[None]
        self.goal = lead(*self.goal, action[None], *forward(measured))
        following = ik_step(self.target[None], *self.goal)[0]
        self.box.gripper_move(action[6] * STROKE_M)
        for share in (0.2, 0.4, 0.6, 0.8, 1.0):
            self.box.servo_joints(self.target + share * (following - self.target))
            self.run(0.01)
        self.target = following

    def play(self, steps=120):
        expert = FruitExpert()
        for _ in range(steps):
            self.act(EE_DELTA.clip(expert.act(self.box.plant.truth()))[0])
            if self.box.now().error or self.box.plant.truth().success[0]:
                return


@pytest.mark.parametrize("seed", [100, 102, 105])
@pytest.mark.parametrize("injected", [None, FailureMode.MISSED_GRASP])
def test_normal_work_succeeds_and_is_no_collision_at_the_usual_sensitivity(plant, seed, injected):
    cell = Cell(plant, seed=seed, injected=injected)
    cell.play()
    assert cell.box.now().error == 0
    assert plant.truth().success[0]
    assert not plant.truth().physics_reset[0]


@pytest.mark.parametrize(("sensitivity", "force_n", "trips"), [(3, 90.0, True), (3, 10.0, False), (0, 90.0, False)])
def test_a_push_is_a_collision_when_it_is_strong_enough(plant, sensitivity, force_n, trips):
    cell = Cell(plant, sensitivity=sensitivity)
    plant.push("hand", np.array([0.0, 0.0, force_n]), 0.3)
    cell.run(0.25)
    assert cell.box.now().error == (31 if trips else 0)
    assert cell.box.now().state == (4 if trips else 2)


def test_after_a_collision_the_arm_does_not_push_on(plant):
    cell = Cell(plant)
    for _ in range(60):
        cell.act(np.array([0.0, 0.0, -0.02, 0, 0, 0, 1.0]))
        if cell.box.now().error:
            break
    assert cell.box.now().error == 31, "pressing the hand into the table"
    cell.run(0.5)
    now = cell.box.now()
    assert now.joint_target == pytest.approx(now.joint_pos, abs=5e-3)
    assert np.abs(plant.strain).max() < 6.0, "of 25 that it stopped at"


def test_the_wrench_is_what_pushes_the_hand(plant):
    cell = Cell(plant, sensitivity=0)
    plant.push("hand", np.array([0.0, 12.0, 0.0]), 1.0)
    cell.run(0.5)
    wrench = cell.box.now().wrench
    tool = forward(cell.box.now().joint_pos[None])[1]
    assert np.linalg.norm(wrench[:3]) == pytest.approx(12.0, abs=1.0)
    assert tool.shape == (1, 4)
    assert abs(wrench[1]) > 11.0, "the tool's y axis lies along the base's"


def test_nothing_from_outside_is_felt_while_it_moves_freely(plant):
    cell = Cell(plant)
    start, most = cell.box.now().joint_pos, 0.0
    for k in range(100):
        cell.box.servo_joints(start + 0.2 * (1 - np.cos(0.05 * k)) * np.array([1, 0.3, 1, -0.3, 1, 0.3, 1]))
        cell.run(0.01)
        most = max(most, float(np.abs(plant.strain).max()))
    assert most < 0.01
    assert np.abs(cell.box.now().joint_effort).max() > 5.0


def test_jerky_targets_that_drive_the_servos_to_their_limit_are_no_collision(plant):
    cell = Cell(plant)
    start = cell.box.now().joint_pos
    for k in range(6):
        cell.box.servo_joints(start + 0.08 * (k % 2))
        cell.run(0.2)
        assert cell.box.now().error == 0
        assert np.abs(plant.strain).max() < 0.01


def test_a_still_arm_spends_its_effort_on_gravity(plant):
    cell = Cell(plant)
    effort = cell.box.now().joint_effort
    assert abs(effort[1]) > 5.0
    assert abs(effort[0]) < 0.1


def test_unknown_bodies_cannot_be_pushed(plant):
    with pytest.raises(ConfigError, match="did you mean 'link4'"):
        plant.push("link_4", np.zeros(3), 0.1)


def grasped(plant):
    """Returns a cell whose hand has just lifted the fruit."""
    cell = Cell(plant, seed=100)
    expert = FruitExpert()
    for _ in range(60):
        cell.act(EE_DELTA.clip(expert.act(plant.truth()))[0])
        if plant.truth().of("target")[0, 2] > 0.12:
            return cell
    pytest.fail("the expert did not lift the fruit")


def test_the_gripper_holds_a_fruit_and_says_so_and_the_load_is_felt(plant):
    cell = grasped(plant)
    before = plant.truth().of("target")[0, 2]
    cell.run(2.0)
    now = cell.box.now()
    assert plant.truth().of("target")[0, 2] == pytest.approx(before, abs=0.02)
    assert now.gripper_holds
    assert not now.gripper_moving
    assert 0.02 < now.gripper_opening_m < STROKE_M
    assert 0.3 < np.linalg.norm(now.wrench[:3]) < 5.0, "the fruit's weight is on the tool"


@pytest.mark.parametrize("cut", ["disable", "estop_button", "power_cycle"])
def test_without_power_the_brakes_hold_the_arm_and_what_it_carries(plant, cut):
    cell = grasped(plant)
    if cut == "disable":
        cell.box.enable(8, False)
    elif cut == "power_cycle":
        cell.box.power_cycle()
    else:
        cell.box.inject(cut, 0.0)
    cell.run(0.3)
    before, height = cell.box.now().joint_pos, plant.truth().of("target")[0, 2]
    cell.run(2.0)
    assert cell.box.now().joint_pos == pytest.approx(before, abs=2e-3)
    assert plant.truth().of("target")[0, 2] == pytest.approx(height, abs=5e-3)
    assert not any(cell.box.now().enabled)


@pytest.mark.parametrize(("rpm", "seconds"), [(5000, 0.25), (2500, 0.5), (1000, 1.25)])
def test_a_stroke_takes_as_long_as_its_speed_says(plant, rpm, seconds):
    cell = Cell(plant)
    cell.box.gripper_speed(rpm)
    cell.box.gripper_move(0.0)
    assert cell.box.now().gripper_moving
    closing = 0.0
    while cell.box.now().gripper_opening_m > 0.004 and closing < 3.0:
        cell.run(STEP_S)
        closing += STEP_S
    assert closing == pytest.approx(seconds, rel=0.35, abs=0.1)
    cell.run(0.5)
    assert not cell.box.now().gripper_moving
    assert not cell.box.now().gripper_holds


def test_a_gripper_that_is_off_ignores_targets():
    gripper = Gripper()
    gripper.enabled = False
    gripper.move(0.0)
    assert gripper.step(STROKE_M, 0.0) == STROKE_M


def test_a_new_episode_is_the_same_for_the_same_seed_and_leaves_the_box_ready(plant):
    cell = Cell(plant, seed=7)
    start = plant.truth().object_pos_in_base
    cell.box.inject("collision", 5.0)
    cell.box.new_episode(7, None)
    now = cell.box.now()
    assert (now.state, now.error) == (1, 0) or (now.state, now.error) == (2, 0)
    assert (now.joint_target == now.joint_pos).all()
    assert plant.truth().object_pos_in_base == pytest.approx(start, abs=2e-3)
    cell.run(0.2)
    assert cell.box.now().state == 2
    assert plant.instruction()
    assert plant.roles().target
