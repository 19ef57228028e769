"""The table of processes, from which `regrasp up` and the launch file both start a robot."""

import os
import re
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from core.errors import ConfigError
from regrasp.bringup import OnExit, Process, command, in_start_order, stop_ranks
from regrasp.launch_arguments import arguments, parsed
from regrasp.processes import Bringup, table
from regrasp.up import UpConfig

ROOT = Path(__file__).parents[2]
ON_TWIN = Bringup(episodes=2)
ON_ARM = Bringup(robot="xarm", ip="192.168.1.213", calibration=Path("cell.json"))


def names(given):
    return [process.name for process in table(given)]


def process(name, **rest):
    return Process(name=name, purpose="a test", module="m", **rest)


def test_a_twin_has_its_box_and_a_driver_and_an_arm_has_neither():
    assert set(names(ON_TWIN)) - set(names(ON_ARM)) == {"twin", "driver"}
    assert "driver" not in names(Bringup())


def test_a_policy_server_elsewhere_is_not_started_here():
    given = replace(ON_ARM, policy="tcp://127.0.0.1:5555")
    assert "policy_server" not in names(given)
    runtime = next(one for one in table(given) if one.name == "runtime")
    assert runtime.parameters["policy"] == "tcp://127.0.0.1:5555"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ip": ""}, "needs its control box's address"),
        ({"calibration": None}, "measured cell"),
        ({"episodes": 3}, "only a twin"),
        ({"readonly": True, "shadow": True}, "choose one"),
    ],
)
def test_settings_that_cannot_be_combined_are_refused(change, expected):
    with pytest.raises(ConfigError, match=expected):
        table(replace(ON_ARM, **change))


def test_who_only_watches_never_moves_at_the_arm_node_either():
    for given in (replace(ON_ARM, readonly=True), replace(ON_ARM, shadow=True, calibration=None)):
        arm = next(one for one in table(given) if one.name == "arm")
        assert arm.parameters["readonly"] is True


def doors_of(given):
    words = [word for one in table(given) for word in (*one.arguments, *map(str, (one.parameters or {}).values()))]
    return {word for word in words if "/tmp" in word}


def test_two_robots_share_no_door():
    first, second = doors_of(Bringup(ip="127.0.0.2")), doors_of(Bringup(ip="127.0.0.3"))
    assert first
    assert not first & second


@pytest.mark.parametrize("given", [ON_TWIN, ON_ARM])
def test_every_process_can_be_run_and_has_an_executable_of_its_name(given):
    for one in table(given):
        assert find_spec(one.module) is not None, one.module
        file = ROOT / "ros_bin" / one.name
        assert os.access(file, os.X_OK)
        assert f"from {one.module} import main" in file.read_text()


@pytest.mark.parametrize("given", [ON_TWIN, ON_ARM])
def test_every_node_knows_the_parameters_it_is_started_with(given):
    for one in table(given):
        if one.parameters is None:
            continue
        module = import_module(one.module)
        config = next(value for name, value in vars(module).items() if re.fullmatch(r"\w+NodeConfig", name))
        assert set(one.parameters) <= set(config.__dataclass_fields__), one.name
        config(**one.parameters)


def test_the_arm_is_stopped_after_all_that_could_move_it_and_before_the_box():
    ranks = stop_ranks(table(ON_TWIN))
    assert set(ranks[0]) == {"runtime", "driver"}
    assert ranks[-2:] == (("arm",), ("twin",))


def test_only_the_driver_ends_the_run_and_only_what_nobody_waits_for_is_started_again():
    by_meaning = {meaning: {p.name for p in table(ON_TWIN) if p.on_exit is meaning} for meaning in OnExit}
    assert by_meaning[OnExit.ENDS] == {"driver"}
    assert by_meaning[OnExit.RESTARTS] == {"policy_server"}


def test_parameters_are_written_so_that_ros_reads_the_same_type():
    one = process("a", parameters={"ip": "127.0.0.2", "text": "on", "flag": True, "x": 1.0})
    words = command(one, "/xarm", files=["cell.yaml"])
    assert words[3:] == [
        "--ros-args", "-r", "__ns:=/xarm", "--params-file", "cell.yaml",
        "-p", 'ip:="127.0.0.2"', "-p", 'text:="on"', "-p", "flag:=true", "-p", "x:=1.0",
    ]  # fmt: skip
    assert "--ros-args" not in command(process("b"), "/xarm")


def test_processes_start_behind_those_they_wait_for():
    ordered = in_start_order([process("b", after=("a",)), process("c"), process("a")])
    assert [one.name for one in ordered] == ["c", "a", "b"]


def test_a_process_that_waits_for_nobody_known_is_refused():
    with pytest.raises(ConfigError, match="waits for ghost"):
        in_start_order([process("a", after=("ghost",))])


def test_launch_arguments_and_flags_are_the_same_settings():
    described = arguments(Bringup)
    assert {one.name for one in described} == set(UpConfig.__dataclass_fields__)
    assert all(one.description for one in described)
    assert next(one for one in described if one.name == "robot").choices == ("twin", "xarm")
    assert parsed(Bringup, {one.name: one.default for one in described}) == Bringup()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"robot": "ur5"}, "allowed: twin, xarm"),
        ({"readonly": "yes"}, "allowed: true, false"),
        ({"episodes": "ten"}, "whole number"),
        ({"episods": "10"}, "did you mean 'episodes'"),
    ],
)
def test_a_wrong_launch_argument_is_named(words, expected):
    with pytest.raises(ConfigError, match=expected):
        parsed(Bringup, words)


def test_launch_arguments_become_values_of_their_types():
    given = parsed(Bringup, {"readonly": "true", "episodes": "4", "out": "/tmp/x", "models": ""})
    assert given == Bringup(readonly=True, episodes=4, out=Path("/tmp/x"))
