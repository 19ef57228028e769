"""The launch folder: parameter files that the nodes accept, and a launch file that starts what the table says."""

import ast
import re
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context

from bridge.ros.parameters import declare
from regrasp.launch_arguments import arguments
from regrasp.processes import Bringup, table

ROOT = Path(__file__).parents[2]
LAUNCH_FILE = ROOT / "launch" / "robot.launch.py"
NODES = {one.name: one.module for one in table(Bringup()) if one.parameters is not None}


@pytest.fixture
def node_with(monkeypatch, domain):
    """Makes a node of a name, started with a file of parameters."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    opened = []

    def make(name, file):
        context = Context()
        rclpy.init(args=["--ros-args", "--params-file", str(file)], context=context)
        node = rclpy.create_node(
            name, namespace="/xarm", context=context, automatically_declare_parameters_from_overrides=True
        )
        opened.append((node, context))
        return node

    yield make
    for node, context in opened:
        node.destroy_node()
        rclpy.shutdown(context=context)


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("file", sorted((ROOT / "launch").glob("*.yaml")), ids=lambda file: file.name)
def test_every_node_accepts_every_shipped_parameter_file(name, file, node_with):
    values = vars(import_module(NODES[name])).items()
    config = next(value for key, value in values if re.fullmatch(r"\w+NodeConfig", key))
    given = declare(node_with(name, file), config)
    assert isinstance(given, config)
    named = re.search(rf"^/\*\*/{name}:", file.read_text(), re.MULTILINE)
    assert (given != config()) or not named or name in ("arm", "supervisor")  # these two repeat their defaults


def test_parameter_files_name_only_nodes_that_exist():
    for file in (ROOT / "launch").glob("*.yaml"):
        assert set(re.findall(r"^/\*\*/(\w+):", file.read_text(), re.MULTILINE)) <= set(NODES), file


def test_the_launch_file_uses_only_what_this_project_has():
    tree = ast.parse(LAUNCH_FILE.read_text())
    ours = [
        n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and str(n.module).startswith(("bridge", "regrasp"))
    ]
    assert ours
    for node in ours:
        module = import_module(str(node.module))
        assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.fixture
def launch_file(monkeypatch, tmp_path):
    """The launch file as a module; ROS's launch tools are not on PyPI, so plain machines do not have them."""
    if find_spec("launch_ros") is None:
        pytest.skip("ROS's launch tools are not installed here")
    monkeypatch.chdir(tmp_path)
    spec = spec_from_file_location("robot_launch", LAUNCH_FILE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def launched(launch_file, **words):
    from launch import LaunchContext  # noqa: PLC0415, only where it is installed

    context = LaunchContext()
    context.launch_configurations.update({one.name: one.default for one in arguments(Bringup)} | words)
    return launch_file.robot(context)


def test_the_launch_file_declares_every_argument(launch_file):
    declared = launch_file.generate_launch_description().get_launch_arguments()
    assert {one.name for one in declared} == {one.name for one in arguments(Bringup)}
    assert all(one.description for one in declared)
    assert next(one for one in declared if one.name == "robot").choices == ("twin", "xarm")


@pytest.mark.parametrize("words", [{}, {"episodes": "3"}, {"robot": "xarm", "ip": "192.168.1.5", "readonly": "true"}])
def test_the_launch_file_starts_or_waits_to_start_what_the_table_says(words, launch_file):
    from launch.actions import ExecuteProcess, RegisterEventHandler  # noqa: PLC0415, only where it is installed

    actions = launched(launch_file, **words)
    at_once = [action for action in actions if isinstance(action, ExecuteProcess)]
    watched = [action for action in actions if isinstance(action, RegisterEventHandler)]
    processes = table(launch_file.parsed(Bringup, words))
    waiting = [one for one in processes if one.after]
    restarted = [one for one in processes if one.on_exit == "restarts"]
    assert len(at_once) == len(processes) - len(waiting)
    assert len(watched) == len(processes) - len(restarted) + len(waiting)
