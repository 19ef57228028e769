"""Gap profiles: read strictly, drawn by seed and name, and felt where they should be."""

from pathlib import Path

import numpy as np
import pytest

from core.clock import ManualClock
from core.errors import ConfigError, ContractError
from core.flow import Observation
from core.robots import EE_DELTA
from core.scene import SceneState, TrackedObject
from regrasp.gap_tracker import GapTracker
from regrasp.gaps import KEYS, NAMED, GapProfile, find_gap, read_gap
from residual.noise import DomainRanges
from sim.cameras import DAYLIGHT, CameraSlip, CellCameras, Light, calibration_bundle
from sim.robot import SimRobot
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld

TRAINED = {  # by training range
    "friction_scale": "friction_scale", "mass_scale": "mass_scale", "actuator_gain_scale": "gain_scale",
    "action_latency_s": "action_latency_s", "table_height_m": "table_height_m",
    "joint_offset_rad": "joint_offset_rad", "gripper_friction_scale": "gripper_friction_scale",
}  # fmt: skip


def profile_of(tmp_path: Path, text: str) -> GapProfile:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return read_gap(path)


@pytest.fixture(scope="module")
def world() -> BatchWorld:
    return BatchWorld(FruitOnPlate(), 1)


@pytest.mark.parametrize("name", NAMED)
def test_shipped_profiles_say_all_keys_and_keep_their_draws_in_range(name: str) -> None:
    profile = find_gap(name)
    assert profile.name == name
    for seed in range(20):
        gap = profile.draw(seed)
        low, high = profile.friction_scale
        assert low <= gap.domain.friction_scale[0] <= high
        assert (np.abs(gap.domain.joint_offset_rad) <= max(map(abs, profile.joint_offset_rad))).all()
        for slip in gap.slips.values():
            assert np.linalg.norm(slip.shift_m) == pytest.approx(profile.camera_shift_m[0])
            assert np.degrees(np.linalg.norm(slip.turn_rad)) == pytest.approx(profile.camera_rot_deg[0])


def test_nominal_profile_is_the_default_and_lab_and_harsh_differ_in_every_key() -> None:
    nominal, lab, harsh = map(find_gap, NAMED)
    assert nominal == GapProfile(name="nominal")
    assert all(getattr(lab, key) != getattr(nominal, key) for key in KEYS)
    assert all(getattr(harsh, key) != getattr(lab, key) for key in KEYS)


@pytest.mark.parametrize("name", NAMED)
def test_no_shipped_profile_is_what_training_draws_from(name: str) -> None:
    profile, trained = find_gap(name), DomainRanges()
    assert all(getattr(profile, key) != getattr(trained, other) for key, other in TRAINED.items())


def test_draws_follow_from_seed_and_name_alone(tmp_path: Path) -> None:
    one = profile_of(tmp_path, "mass_scale: [0.5, 2]\n")
    assert one.draw(7).domain.mass_scale == one.draw(7).domain.mass_scale
    assert one.draw(7).domain.mass_scale != one.draw(8).domain.mass_scale
    (tmp_path / "other.yaml").write_text("mass_scale: [0.5, 2]\n")
    assert read_gap(tmp_path / "other.yaml").draw(7).domain.mass_scale != one.draw(7).domain.mass_scale


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("frictoin_scale: 1.0\n", r"mine\.yaml:1.*frictoin_scale.*friction_scale"),
        ("mass_scale: 1.0\nmass_scale: 2.0\n", r"mine\.yaml:2: mass_scale is there twice, first in line 1"),
        ("mass_scale: [2, 1]\n", r"mine\.yaml:1: mass_scale is \[2, 1\].*low first"),
        ("mass_scale: [1, 2, 3]\n", r"a number or \[low, high\]"),
        ("mass_scale: heavy\n", r"'heavy'.*within \[0\.1, 10\] 1"),
        ("tracker_noise_m: true\n", "True"),
        ("tracker_noise_m: 1e-3\n", r"1e-3 is written 0\.001"),
        ("camera_rot_deg: 45\n", r"within \[0, 30\] deg"),
        ("action_latency_s: [0.0, .nan]\n", "action_latency_s"),
        ("tracker_dropout: -0.1\n", r"tracker_dropout is -0\.1"),
        ("- friction_scale\n", "no `key: value` lines"),
        ("", "no `key: value` lines"),
        ("mass_scale: [1, 2\n", "is no YAML"),
        ("!!python/object/apply:os.system ['true']\n", "is no YAML"),
    ],
)
def test_bad_profiles_are_refused_with_place_and_remedy(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        profile_of(tmp_path, text)


def test_unknown_profile_and_missing_file_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lab"):
        find_gap("labb")
    with pytest.raises(ConfigError, match="cannot read"):
        find_gap(str(tmp_path / "nowhere.yaml"))


def test_slipped_camera_sees_something_else_until_it_is_put_back(world: BatchWorld) -> None:
    with CellCameras(world, size_px=48) as cameras:
        before = cameras.render(world, 0)
        slip = CameraSlip(shift_m=np.array([0.03, 0.0, 0.0]), turn_rad=np.zeros(3))
        cameras.slip({"front": slip})
        during = cameras.render(world, 0)
        cameras.slip({})
        after = cameras.render(world, 0)
    assert (before["front"] != during["front"]).any()
    assert (before["wrist"] == during["wrist"]).all()
    assert all((before[name] == after[name]).all() for name in before)


def test_camera_turned_about_itself_moves_what_it_sees_by_that_angle(world: BatchWorld) -> None:
    size = 192
    focal = calibration_bundle(size).cameras["front"].intrinsics[0, 0]
    with CellCameras(world, size_px=size) as cameras:
        before = cameras.render(world, 0, ("front",))["front"].astype(float)
        cameras.slip({"front": CameraSlip(shift_m=np.zeros(3), turn_rad=np.array([0.0, 0.0, np.radians(2.0)]))})
        during = cameras.render(world, 0, ("front",))["front"].astype(float)
    shifts = range(-15, 16)
    misfit = [np.abs(np.roll(during, s, axis=1)[40:-40, 40:-40] - before[40:-40, 40:-40]).mean() for s in shifts]
    found = abs(shifts[int(np.argmin(misfit))])
    assert found == pytest.approx(focal * np.tan(np.radians(2.0)), abs=2.5)


def test_light_of_the_gap_reaches_the_pictures(world: BatchWorld) -> None:
    with CellCameras(world, size_px=48) as cameras:
        seen = {}
        for light in (DAYLIGHT, Light(brightness=0.6)):
            with SimRobot(world, ManualClock(), cameras=cameras, light=light) as robot:
                seen[light.brightness] = robot.read().images["front"].mean()
    assert seen[0.6] < 0.8 * seen[1.0]


def driven(world: BatchWorld, latency_s: float) -> list[Observation]:
    world.reset(np.array([0]), np.array([3]))
    clock, found = ManualClock(), []
    with SimRobot(world, clock, latency_s=latency_s) as robot:
        for _ in range(8):
            found.append(robot.read())
            robot.send(np.array([0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
    return found


def test_late_readings_are_the_earlier_ones_and_say_when_they_were_so(world: BatchWorld) -> None:
    step_ns = round(EE_DELTA.dt_s * 1e9)
    prompt, late = driven(world, 0.0), driven(world, 0.05)
    assert [o.t_ns for o in prompt] == [i * step_ns for i in range(8)]
    assert [o.t_ns for o in late] == [max(0, i - 1) * step_ns for i in range(8)]
    for now, then in zip(late[1:], prompt, strict=False):
        assert now.tcp_pos_in_base == pytest.approx(then.tcp_pos_in_base, abs=1e-12)


def test_readings_between_two_steps_lie_between_them(world: BatchWorld) -> None:
    prompt, late = driven(world, 0.0), driven(world, 0.02)
    for i in range(2, 8):
        assert late[i].t_ns == prompt[i].t_ns - 20_000_000
        assert prompt[i - 1].tcp_pos_in_base[0] < late[i].tcp_pos_in_base[0] < prompt[i].tcp_pos_in_base[0]


def test_robot_refuses_a_latency_beyond_what_is_kept(world: BatchWorld) -> None:
    with pytest.raises(ContractError, match="latency_s"):
        SimRobot(world, ManualClock(), latency_s=1.0)


class Still:
    """A tracker that sees one thing at every second tick."""

    def __init__(self) -> None:
        self.ticks = 0

    def track(self, obs: Observation) -> SceneState:
        self.ticks += 1
        seen = TrackedObject(pos_in_base=np.zeros(3), t_ns=self.ticks // 2, confidence=1.0)
        return SceneState(t_ns=self.ticks, objects={"lemon": seen}, source="image")

    def reset(self) -> None:
        self.ticks = 0


def tracked(noise_m: float, dropout: float, count: int = 400) -> list[TrackedObject | None]:
    tracker = GapTracker(Still(), noise_m=noise_m, dropout=dropout, seed=1)
    obs = Observation(
        t_ns=0, joint_pos=np.zeros(7), joint_vel=np.zeros(7), tcp_pos_in_base=np.zeros(3),
        tcp_quat_xyzw_in_base=np.array([1.0, 0, 0, 0]), gripper_opening=1.0, gripper_command=1.0,
    )  # fmt: skip
    return [tracker.track(obs).objects.get("lemon") for _ in range(count)]


def test_tracker_noise_has_the_size_asked_for_and_one_error_a_sighting() -> None:
    found = [thing for thing in tracked(0.002, 0.0) if thing is not None]
    errors = {thing.t_ns: thing.pos_in_base for thing in found}
    assert np.std(list(errors.values())) == pytest.approx(0.002, rel=0.15)
    assert all((thing.pos_in_base == errors[thing.t_ns]).all() for thing in found)


def test_lost_sightings_keep_their_old_time() -> None:
    found = tracked(0.0, 0.3)
    late = [i for i, thing in enumerate(found, start=1) if thing is not None and thing.t_ns < i // 2]
    assert 0.15 < len(late) / len(found) < 0.3


def test_tracker_starts_each_episode_with_the_same_randomness() -> None:
    assert [t and t.pos_in_base.tolist() for t in tracked(0.01, 0.2, 20)] == [
        t and t.pos_in_base.tolist() for t in tracked(0.01, 0.2, 20)
    ]
