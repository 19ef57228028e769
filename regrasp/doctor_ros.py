"""Is ROS 2 here, and set up so that nodes find each other and nobody else? Checked in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bridge.ros.environment import find_profile, node_environment
from core.errors import ConfigError
from regrasp.doctor_check import Check

TIMEOUT_S = 30.0
"""How long a first node may take on a cold machine [s]."""
HIGHEST_DOMAIN = 101
"""Higher ones reach into the ports that systems hand out. Source: ROS 2 documentation, "The ROS_DOMAIN_ID"."""
FAST_DDS = "rmw_fastrtps_cpp"
INSTALL = "pip install 'regrasp[ros]' (Linux on x86_64), or source your ROS 2: `source /opt/ros/jazzy/setup.bash`"
_PROBE = """
import json, rclpy
from rclpy.utilities import get_rmw_implementation_identifier
rclpy.init()
node = rclpy.create_node("doctor")
print(json.dumps({"file": rclpy.__file__, "rmw": get_rmw_implementation_identifier()}))
node.destroy_node()
rclpy.shutdown()
"""


def ros_checks(environment: Mapping[str, str], *, needed: bool) -> Sequence[Check]:
    """Returns what is found about ROS.

    Args:
        environment: Of this process; nodes add their own settings where it has none.
        needed: Whether a robot is to be brought up here.
    """
    try:
        profile = find_profile()
    except ConfigError as error:
        return [Check(name="ros profile", ok=False, found=str(error), remedy="install regrasp again", required=needed)]
    nodes = node_environment(environment, profile=profile, log_dir=Path("/tmp/regrasp-doctor"))
    return [
        check_node(nodes, needed=needed),
        check_profile(nodes["FASTRTPS_DEFAULT_PROFILES_FILE"], profile, needed=needed),
        check_discovery(nodes, needed=needed),
    ]


def check_node(environment: Mapping[str, str], *, needed: bool) -> Check:
    """Checks that a node can be made, with the middleware that the profile is for."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], env=dict(environment), capture_output=True, text=True, timeout=TIMEOUT_S,
        check=False,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Check(name="ros", ok=False, found=f"no node can be made: {last}", remedy=INSTALL, required=needed)
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return Check(
        name="ros", ok=said["rmw"] == FAST_DDS, found=f"rclpy at {Path(said['file']).parent}, {said['rmw']}",
        remedy=f"unset RMW_IMPLEMENTATION, or set it to {FAST_DDS}: limits and profile were measured with it alone",
        required=needed,
    )  # fmt: skip


def check_profile(used: str, ours: Path, *, needed: bool) -> Check:
    """Checks that the middleware's profile is there; another one than ours is a note."""
    there = Path(used).is_file()
    return Check(
        name="ros profile", ok=there and Path(used) == ours, found=used if there else f"{used} does not exist",
        remedy=f"unset FASTRTPS_DEFAULT_PROFILES_FILE to use {ours}: others may lose images",
        required=needed and not there,
    )  # fmt: skip


def check_discovery(environment: Mapping[str, str], *, needed: bool) -> Check:
    """Checks that the domain exists and that nodes are found from this machine alone."""
    domain, reach = environment.get("ROS_DOMAIN_ID", "0"), environment["ROS_AUTOMATIC_DISCOVERY_RANGE"]
    exists = domain.isdecimal() and int(domain) <= HIGHEST_DOMAIN
    alone = reach in ("LOCALHOST", "OFF")
    remedies = [
        f"set ROS_DOMAIN_ID to 0..{HIGHEST_DOMAIN}" if not exists else "",
        "unset ROS_AUTOMATIC_DISCOVERY_RANGE: whoever is on the network can command this arm" if not alone else "",
    ]
    return Check(
        name="discovery", ok=exists and alone, found=f"domain {domain}, {reach}",
        remedy="; ".join(filter(None, remedies)), required=needed and not exists,
    )  # fmt: skip
