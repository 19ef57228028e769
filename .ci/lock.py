"""Prints requirements.txt: everything regrasp needs, for tests and ROS too, in the versions installed here.

Called by `make lock`. What happens to be installed besides is left out, and so are the names under which the ROS wheels
appear a second time (`sensor_msgs`), which no index has.
"""

import sys
from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

EXTRAS = ("dev", "ros")
ROS_WHEELS_EXIST_FOR = 'sys_platform == "linux" and platform_machine == "x86_64" and python_version < "3.14"'
TORCH_PICKS = ("nvidia-", "cuda-", "triton")
"""Each build of torch brings its own of these, in versions it pins itself."""


def pins(name: str, extras: tuple[str, ...], found: dict[str, str]) -> dict[str, str]:
    """Adds to `found` the version of every distribution that `name` with `extras` needs, by canonical name."""
    for text in distribution(name).requires or []:
        wanted = Requirement(text)
        needed = wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        child = canonicalize_name(wanted.name)
        if needed and child not in found and not child.startswith(TORCH_PICKS):
            found[child] = Version(distribution(child).version).public  # without a local build tag such as +cpu
            pins(child, tuple(wanted.extras), found)
    return found


def line(name: str, version: str) -> str:
    """Returns one line of the lock; ROS comes from the system where there are no wheels."""
    return f"{name}=={version}" + (f" ; {ROS_WHEELS_EXIST_FOR}" if name.startswith("ros-") else "")


if __name__ == "__main__":
    lines = sorted(line(*pin) for pin in pins("regrasp", EXTRAS, {}).items())
    sys.stdout.write("\n".join([*lines, ""]))
