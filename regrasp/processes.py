"""Which processes a running robot has: the one table behind `regrasp up` and `launch/robot.launch.py`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import ConfigError
from regrasp.bringup import OnExit, Process

TWIN_IP = "127.0.0.2"
"""Where the twin answers when nothing else is said: an address of this machine that nothing else uses."""
ENDPOINT_SCHEMES = ("tcp://", "ipc://")


@dataclass(frozen=True, kw_only=True)
class Bringup:
    """Bring up the whole stack of a robot."""

    robot: Literal["twin", "xarm"] = "twin"
    """A simulated control box on this machine, or a real arm."""
    ip: str = ""
    """Address of the control box; the twin's is 127.0.0.2 when not given, a real arm's has to be given."""
    policy: str = "pi0"
    """pi0: the trained checkpoint; sway: a figure without weights; or tcp:// or ipc:// and a server's address."""
    vlm: str = ""
    """Root of an OpenAI-compatible endpoint that names failures; the embedded probe does when empty."""
    vlm_model: str = ""
    """Model to ask there."""
    task: str = "fruit_on_plate"
    """Name of the task."""
    namespace: str = "/xarm"
    """ROS namespace of every node; one a robot."""
    readonly: bool = False
    """Watch and infer, but never send."""
    shadow: bool = False
    """Log what would be sent, but never send."""
    episodes: int = 0
    """Episodes a driver runs on the twin, then all ends; 0: until Ctrl-C, a person starts them by service."""
    arms: Literal["recovery", "both"] = "recovery"
    """Whether the driver also lives every episode through with the policy alone."""
    seed: int = 21000
    """Of the first episode; the others follow."""
    domain: int = -1
    """ROS domain, 0 to 101; -1: the environment's, or 0."""
    control_port: int = 8700
    """Loopback port of the twin's HTTP control."""
    firmware: Literal["v1.5.0", "v2.6.0", "v2.7.103"] = "v2.6.0"
    """Which control box the twin is."""
    params: Path | None = None
    """File of ROS parameters for this cell; see launch/."""
    calibration: Path | None = None
    """Calibration bundle of the cell; the simulated cell's on the twin, a real arm needs its own to move."""
    models: Path | None = None
    """Folder of trained models; the shipped ones when not given."""
    out: Path = Path("out/up")
    """Folder for episodes and logs."""


def table(given: Bringup) -> tuple[Process, ...]:
    """Returns every process of the robot these settings describe.

    Raises:
        ConfigError: The settings cannot be combined.
    """
    _check(given)
    twin = (_twin(given),) if given.robot == "twin" else ()
    server = () if given.policy.startswith(ENDPOINT_SCHEMES) else (_policy_server(given),)
    driver = (_driver(given),) if given.episodes else ()
    return (*twin, _arm(given), _camera(given), *server, _recorder(given), _runtime(given), _supervisor(given), *driver)


def _twin(given: Bringup) -> Process:
    return Process(
        name="twin", purpose="the simulated control box: xArm protocol over TCP, physics in real time behind it",
        module="regrasp.cli",
        arguments=(
            "twin", "--ip", address(given), "--firmware", given.firmware, "--control-port", str(given.control_port),
            "--task", given.task, "--seed", str(given.seed), "--realtime",
        ),
        environment={"MUJOCO_GL": "osmesa"}, ready="ready", stop_rank=4,
    )  # fmt: skip


def _arm(given: Bringup) -> Process:
    return Process(
        name="arm", purpose="owns the arm: SDK to topics, second wall of limits, watchdog, fault recovery",
        module="bridge.ros.arm_node",
        parameters={
            "ip": address(given), "simulated": given.robot == "twin", "readonly": mode(given) != "drive",
        },
        after=_with_twin(given), stop_rank=3,
    )  # fmt: skip


def _camera(given: Bringup) -> Process:
    return Process(
        name="camera", purpose="pictures to topics and to the runtime's shared memory",
        module="bridge.ros.camera_node", parameters={"source": control_url(given), "ring_prefix": ring_prefix(given)},
        after=_with_twin(given), stop_rank=2,
    )  # fmt: skip


def _policy_server(given: Bringup) -> Process:
    return Process(
        name="policy_server", purpose="the policy, behind ZeroMQ",
        module="regrasp.nodes.policy_server",
        arguments=("--endpoint", endpoint(given), "--policy", given.policy, *_models(given)),
        on_exit=OnExit.RESTARTS, stop_rank=2,
    )  # fmt: skip


def _recorder(given: Bringup) -> Process:
    return Process(
        name="recorder", purpose="writes every step to disk, and survives the runtime",
        module="regrasp.nodes.recorder",
        arguments=("--socket", recorder_socket(given)),
        stop_rank=2,
    )  # fmt: skip


def _runtime(given: Bringup) -> Process:
    return Process(
        name="runtime", purpose="the heartbeat: sense, act, watch, recover, 100 times a second",
        module="regrasp.nodes.runtime_node",
        parameters={
            "task": given.task, "models": str(given.models or ""), "calibration": str(given.calibration or ""),
            "policy": endpoint(given), "recorder": recorder_socket(given), "out": str(given.out),
            "ring_prefix": ring_prefix(given), "mode": mode(given), "vlm": given.vlm, "vlm_model": given.vlm_model,
            "skills": given.policy != "sway",  # skills belong to the policy that they were trained for
        },
        stop_rank=0,
    )  # fmt: skip


def _supervisor(given: Bringup) -> Process:
    return Process(
        name="supervisor", purpose="brings the nodes up in order and makes the arm safe when one dies or hangs",
        module="bridge.ros.supervisor_node", parameters={"ip": address(given)},
        after=_with_twin(given), stop_rank=1, spoken=True,
    )  # fmt: skip


def _driver(given: Bringup) -> Process:
    return Process(
        name="driver", purpose="plays the person: lays out scenes, starts episodes, scores them by the twin's truth",
        module="regrasp.nodes.driver",
        arguments=(
            "--task", given.task, "--episodes", str(given.episodes), "--seed", str(given.seed), "--arms", given.arms,
            "--namespace", given.namespace, "--control-port", str(given.control_port), "--out", str(given.out),
            *_models(given),
        ),
        on_exit=OnExit.ENDS, stop_rank=0, spoken=True,
    )  # fmt: skip


def _with_twin(given: Bringup) -> tuple[str, ...]:
    return ("twin",) if given.robot == "twin" else ()


def _models(given: Bringup) -> tuple[str, ...]:
    return ("--models", str(given.models)) if given.models else ()


def _check(given: Bringup) -> None:
    real, watches = given.robot == "xarm", given.readonly or given.shadow
    if real and not given.ip:
        raise ConfigError("a real arm needs its control box's address: --ip 192.168.1.xxx (ip:= in a launch file)")
    if real and not watches and given.calibration is None:
        raise ConfigError("a real arm moves only in a measured cell: give --calibration FILE, or --readonly to watch")
    if real and given.episodes:
        raise ConfigError("the driver resets scenes, which only a twin can; with a real arm leave --episodes at 0")
    if watches and given.episodes:
        raise ConfigError(
            "a robot that only watches plays no episodes; leave out --episodes, or --readonly and --shadow"
        )
    if given.readonly and given.shadow:
        raise ConfigError("--readonly sends nothing and --shadow logs what it would send; choose one")


def address(given: Bringup) -> str:
    """Returns the address of the control box."""
    return given.ip or TWIN_IP


def control_url(given: Bringup) -> str:
    """Returns the twin's HTTP control, "" for a real arm."""
    return f"http://127.0.0.1:{given.control_port}" if given.robot == "twin" else ""


def logs_below(out: Path) -> Path:
    """Returns the folder of the processes' logs."""
    return out / "logs"


def doors(given: Bringup) -> Path:
    """Returns the folder of this robot's sockets: short, as sockets want it, and one for each control box."""
    return Path("/tmp") / f"regrasp-{address(given)}-{given.control_port}"


def recorder_socket(given: Bringup) -> str:
    """Returns the path of the recorder's socket."""
    return str(doors(given) / "recorder")


def ring_prefix(given: Bringup) -> str:
    """Returns what the names of this robot's rings of images begin with."""
    return f"{doors(given).name}"


def mode(given: Bringup) -> str:
    """Returns what is done with actions: "drive", "shadow" (logged) or "readonly" (nothing is computed to be sent)."""
    return "readonly" if given.readonly else "shadow" if given.shadow else "drive"


def endpoint(given: Bringup) -> str:
    """Returns where the policy is served."""
    return given.policy if given.policy.startswith(ENDPOINT_SCHEMES) else f"ipc://{doors(given)}/policy"
