"""A node's parameters are the fields of one frozen dataclass: declared, typed, ranged, printed, unknown ones refused.

Nodes call `declare` when they start; launchers call `ros_arguments` to write the same dataclass as flags of a process.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class CameraNodeConfig:
        rate_hz: float = parameter(30.0, says="Frames per second [Hz].", low=1.0, high=120.0)
"""

from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, Protocol, TypeVar, get_args, get_origin

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python

from core.errors import ConfigError, unknown_name

Plain = bool | int | float | str | tuple[bool, ...] | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
"""What a parameter can be."""


class Config(Protocol):
    """A dataclass whose fields were made by `parameter`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


C = TypeVar("C", bound=Config)

_KINDS: dict[Any, Parameter.Type] = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
    tuple[bool, ...]: Parameter.Type.BOOL_ARRAY,
    tuple[int, ...]: Parameter.Type.INTEGER_ARRAY,
    tuple[float, ...]: Parameter.Type.DOUBLE_ARRAY,
    tuple[str, ...]: Parameter.Type.STRING_ARRAY,
}
_NOT_OURS = ("use_sim_time", "start_type_description_service", "qos_overrides.")
"""Parameters that rclpy itself declares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    says: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    live: bool


def parameter(
    default: Plain,
    *,
    says: str,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    live: bool = False,
) -> Any:
    """Returns a dataclass field that becomes a ROS parameter.

    Args:
        default: Its value when nobody sets it.
        says: What it is, with its unit in brackets.
        low: Least allowed number; for tuples, of every element.
        high: Largest allowed number.
        choices: Allowed texts; any text when empty.
        live: Whether it may be changed while the node runs; read-only otherwise.
    """
    rule = _Rule(says=says, low=low, high=high, choices=tuple(choices), live=live)
    return field(default=default, metadata={"parameter": rule})


def declare(node: Node, config: type[C]) -> C:
    """Declares every field as a parameter of `node` and returns the values it was started with.

    Args:
        node: Created with `automatically_declare_parameters_from_overrides=True`.
        config: The dataclass.

    Raises:
        ConfigError: A parameter is unknown, of the wrong type, or out of its range.
    """
    given = _overrides(node)
    known = {one.name: one for one in fields(config)}
    for name in given:
        if name not in known:
            raise unknown_name(f"parameter of node {node.get_name()}", name, known)
    values = {name: _checked(one, given.get(name, one.default)) for name, one in known.items()}
    for name, one in known.items():
        if name in given:
            node.undeclare_parameter(name)
        node.declare_parameter(name, _listed(values[name]), _descriptor(one), ignore_override=True)
    return config(**values)


def current(node: Node, config: type[C]) -> C:
    """Returns the values of now, for those that may change while the node runs."""
    values = {one.name: node.get_parameter(one.name).value for one in fields(config)}
    return config(**{one.name: _checked(one, values[one.name]) for one in fields(config)})


def described(config: Config) -> str:
    """Returns every value, one a line, as it is printed at a node's start."""
    return "\n".join(f"  {one.name} = {getattr(config, one.name)!r}" for one in fields(config))


def ros_arguments(config: Config, *, name: str = "", namespace: str = "") -> list[str]:
    """Returns the arguments that start a node's process with these values; what is at its default is left out.

    Args:
        config: The dataclass's instance.
        name: The node's name, the executable's own when "".
        namespace: Its namespace, none when "".

    Raises:
        ConfigError: An empty list stands where the default is not empty: the command line has no word for it.
    """
    changed = [one for one in fields(config) if getattr(config, one.name) != one.default]
    flags = [part for one in changed for part in ("-p", f"{one.name}:={_word(one.name, getattr(config, one.name))}")]
    remaps = [("__node", name), ("__ns", namespace)]
    flags += [part for key, value in remaps if value for part in ("-r", f"{key}:={value}")]
    return ["--ros-args", *flags] if flags else []


def _overrides(node: Node) -> dict[str, Any]:
    found = node.get_parameters_by_prefix("")
    return {name: _plain(one) for name, one in found.items() if not name.startswith(_NOT_OURS)}


def _plain(given: Any) -> Any:
    """Returns a Python value of what rclpy calls a parameter, whichever of its kinds that is."""
    value = given.value if isinstance(given, Parameter) else given
    return parameter_value_to_python(value) if hasattr(value, "string_array_value") else value


def _checked(one: "Field[Any]", value: Any) -> Plain:
    """Returns a value of the field's type inside its range; whole numbers are taken for floats."""
    rule: _Rule = one.metadata["parameter"]
    many = get_origin(one.type) is tuple
    element: Any = get_args(one.type)[0] if many else one.type
    if many and (isinstance(value, str) or not hasattr(value, "__iter__")):
        raise _wrong(one, value, f"a list of {element.__name__}")
    elements = [_element(one, rule, element, part) for part in (value if many else [value])]
    return tuple(elements) if many else elements[0]


def _element(one: "Field[Any]", rule: _Rule, kind: Any, value: Any) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise _wrong(one, value, f"a {kind.__name__}")
    low, high = rule.low, rule.high
    if kind in (int, float) and not ((low is None or value >= low) and (high is None or value <= high)):
        raise _wrong(one, value, f"a number in [{low}, {high}]")
    if rule.choices and value not in rule.choices:
        raise _wrong(one, value, f"one of {', '.join(rule.choices)}")
    return value


def _wrong(one: "Field[Any]", value: Any, allowed: str) -> ConfigError:
    return ConfigError(f"parameter {one.name} is {value!r}; allowed: {allowed} ({one.metadata['parameter'].says})")


def _descriptor(one: "Field[Any]") -> ParameterDescriptor:
    rule: _Rule = one.metadata["parameter"]
    if one.type not in _KINDS or one.default is MISSING:
        raise ConfigError(f"parameter {one.name} needs a default and one of the types of ROS parameters")
    made = ParameterDescriptor(
        name=one.name, type=_KINDS[one.type].value, description=rule.says, read_only=not rule.live
    )
    made.additional_constraints = f"one of {', '.join(rule.choices)}" if rule.choices else ""
    ranged = rule.low is not None and rule.high is not None
    if ranged and one.type is int:
        made.integer_range = [IntegerRange(from_value=int(rule.low or 0), to_value=int(rule.high or 0))]
    if ranged and one.type is float:
        made.floating_point_range = [
            FloatingPointRange(from_value=float(rule.low or 0), to_value=float(rule.high or 0))
        ]
    return made


def _listed(value: Plain) -> bool | int | float | str | list[Any]:
    return list(value) if isinstance(value, tuple) else value


def _word(name: str, value: Plain) -> str:
    """Returns a value as the command line's YAML."""
    if isinstance(value, tuple):
        if not value:
            raise ConfigError(f"parameter {name} cannot be set to an empty list; leave it at its default")
        return f"[{', '.join(_word(name, part) for part in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)
