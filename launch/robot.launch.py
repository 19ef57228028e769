"""Brings up the whole stack of a robot: `ros2 launch runtime robot.launch.py robot:=twin`.

The processes are those of `regrasp up`, from the same table (`regrasp/processes.py`): what each is started with, what
it waits for, and what its end means. `ros2 launch runtime robot.launch.py --show-args` explains every argument.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import fields

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit, OnProcessIO
from launch.events import Shutdown
from launch.events.process import ProcessExited, ProcessIO
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from bridge.ros.environment import find_profile, node_environment
from core.errors import RegraspError
from regrasp.bringup import RESTARTS, ROS_PACKAGE, OnExit, Process, command
from regrasp.launch_arguments import arguments, parsed
from regrasp.processes import Bringup, logs_below, table

STOPPING = {"sigterm_timeout": "5", "sigkill_timeout": "2"}  # as long as `regrasp up` waits [s]


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch`."""
    declared = [
        DeclareLaunchArgument(
            one.name, default_value=one.default, description=one.description, choices=one.choices or None
        )
        for one in arguments(Bringup)
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=robot)])


def robot(context: LaunchContext) -> list:
    """Returns the actions that start the robot which the launch arguments describe."""
    words = {one.name: context.launch_configurations[one.name] for one in fields(Bringup)}
    given = parsed(Bringup, words)
    domain = None if given.domain < 0 else given.domain
    environment = node_environment(os.environ, profile=find_profile(), log_dir=logs_below(given.out), domain=domain)
    processes = {one.name: (one, started(one, given, environment)) for one in table(given)}
    actions = []
    for process, action in processes.values():
        actions += [RegisterEventHandler(handler) for handler in watched(process, action)]
        waited = [processes[name] for name in process.after]
        actions += waiting(action, waited) if waited else [action]
    return actions


def started(process: Process, given: Bringup, environment: dict[str, str]) -> ExecuteProcess:
    """Returns the action that starts one process."""
    own = {name: value for name, value in process.environment.items() if name not in environment}
    shared = {
        "output": "both", "env": {**environment, **own},
        "respawn": process.on_exit is OnExit.RESTARTS, "respawn_delay": 1.0, "respawn_max_retries": RESTARTS,
        **STOPPING,
    }  # fmt: skip
    if process.parameters is None:
        return ExecuteProcess(name=process.name, cmd=command(process, given.namespace), **shared)
    values = {name: ParameterValue(value, value_type=type(value)) for name, value in process.parameters.items()}
    return Node(
        package=ROS_PACKAGE, executable=process.name, exec_name=process.name, namespace=given.namespace,
        prefix=[sys.executable],  # the Python of this environment, whatever PATH begins with
        parameters=[*([str(given.params)] if given.params else []), *([values] if values else [])], **shared,
    )  # fmt: skip


def watched(process: Process, action: ExecuteProcess) -> list[OnProcessExit]:
    """Returns what happens when a process ends by itself; an end with an error is `ros2 launch`'s own exit code too."""
    if process.on_exit is OnExit.RESTARTS:
        return []

    def ended(event: ProcessExited, context: LaunchContext) -> EmitEvent | None:
        if context.is_shutdown:
            return None
        if process.on_exit is OnExit.ENDS and event.returncode == 0:
            return EmitEvent(event=Shutdown(reason=f"{process.name} is done"))
        raise RegraspError(f"{process.name} ended with code {event.returncode}, and nothing works without it")

    return [OnProcessExit(target_action=action, on_exit=ended)]


def waiting(action: ExecuteProcess, needed: list[tuple[Process, ExecuteProcess]]) -> list[RegisterEventHandler]:
    """Returns what starts a process once all that it needs have printed that they are ready."""
    missing = {process.name for process, _ in needed}

    def hears(process: Process) -> Callable[[ProcessIO], list[ExecuteProcess] | None]:
        def heard(event: ProcessIO) -> list[ExecuteProcess] | None:
            if process.name not in missing or process.ready.encode() not in event.text:
                return None
            missing.remove(process.name)
            return None if missing else [action]

        return heard

    return [
        RegisterEventHandler(OnProcessIO(target_action=its, on_stdout=hears(process), on_stderr=hears(process)))
        for process, its in needed
    ]
