"""A dataclass becomes a node's parameters: typed, ranged, read-only unless said otherwise, unknown ones refused."""

from dataclasses import dataclass

import pytest
import rclpy
from rclpy.context import Context
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter

from bridge.ros.parameters import current, declare, described, parameter, ros_arguments
from core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyConfig:
    speed: float = parameter(1.0, says="How fast [m/s].", low=0.0, high=2.0)
    count: int = parameter(3, says="How many.", low=1, high=9)
    name: str = parameter("red", says="Which one.", choices=("red", "it's: blue"))
    on: bool = parameter(False, says="Whether.", live=True)
    words: tuple[str, ...] = parameter((), says="Some words.")
    sizes: tuple[float, ...] = parameter((1.0, 2.0), says="Sizes [m].", low=0.0, high=10.0)


@pytest.fixture
def start():
    """Starts a node with command-line words and returns it with its values."""
    opened = []

    def begin(*words):
        context = Context()
        rclpy.init(args=list(words), context=context)
        node = LifecycleNode("toy", context=context, automatically_declare_parameters_from_overrides=True)
        opened.append((node, context))
        return node, declare(node, ToyConfig)

    yield begin
    for node, context in opened:
        node.destroy_node()
        context.try_shutdown()


def test_without_words_every_value_is_the_default(start):
    _, values = start()
    assert values == ToyConfig()


def test_values_go_to_a_process_and_come_back(start):
    wanted = ToyConfig(speed=0.5, count=7, name="it's: blue", on=True, words=("a b", "c,d"), sizes=(0.25, 3.0))
    _, values = start(*ros_arguments(wanted))
    assert values == wanted


def test_defaults_need_no_words_and_an_empty_list_has_none():
    assert ros_arguments(ToyConfig()) == []
    assert ros_arguments(ToyConfig(), namespace="/xarm") == ["--ros-args", "-r", "__ns:=/xarm"]
    with pytest.raises(ConfigError, match="sizes"):
        ros_arguments(ToyConfig(sizes=()))


def test_a_whole_number_is_taken_for_a_float(start):
    _, values = start("--ros-args", "-p", "speed:=2")
    assert values.speed == 2.0
    assert isinstance(values.speed, float)


def test_an_unknown_parameter_is_refused_with_the_nearest_name(start):
    with pytest.raises(ConfigError, match="did you mean 'speed'"):
        start("--ros-args", "-p", "sped:=1.0")


@pytest.mark.parametrize(
    "word",
    ["speed:=2.5", "count:=0", "name:=green", "count:=2.0", "on:=1", "words:=a", "sizes:=[1.0, 11.0]", "speed:=.nan"],
)  # fmt: skip
def test_values_of_the_wrong_type_or_outside_the_range_are_refused(start, word):
    with pytest.raises(ConfigError, match=f"parameter {word.split(':')[0]} is"):
        start("--ros-args", "-p", word)


def test_ros_parameters_of_its_own_are_left_alone(start):
    _, values = start("--ros-args", "-p", "use_sim_time:=false")
    assert values == ToyConfig()


def test_only_live_parameters_can_be_changed_and_only_within_their_range(start):
    node, _ = start()
    refused, done = node.set_parameters([Parameter("speed", value=1.5), Parameter("on", value=True)])
    assert (refused.successful, done.successful) == (False, True)
    assert current(node, ToyConfig) == ToyConfig(on=True)


def test_ranges_and_words_are_told_to_the_graph(start):
    node, _ = start()
    speed = node.describe_parameter("speed")
    assert (speed.description, speed.read_only) == ("How fast [m/s].", True)
    assert (speed.floating_point_range[0].from_value, speed.floating_point_range[0].to_value) == (0.0, 2.0)
    assert node.describe_parameter("count").integer_range[0].to_value == 9
    assert "red" in node.describe_parameter("name").additional_constraints


def test_all_values_are_printed():
    assert "speed = 1.0" in described(ToyConfig())
    assert len(described(ToyConfig()).splitlines()) == 6
