"""The environment variables a node's process starts with. Called by whoever starts nodes: launchers and tests."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.errors import ConfigError

PROFILE = Path("config") / "fastdds.xml"
"""The middleware's profile, below the package's share folder."""


def profile_places() -> tuple[Path, ...]:
    """Returns where the middleware's profile may lie: beside the sources, or installed."""
    here = Path(__file__).resolve()
    installed = [Path(sys.prefix), *here.parents]
    return (here.parents[2] / PROFILE, *(root / "share" / "runtime" / PROFILE for root in installed))


def find_profile(places: Sequence[Path] | None = None) -> Path:
    """Returns the middleware's profile.

    Args:
        places: Where to look, the first match wins; `profile_places()` when None.

    Raises:
        ConfigError: It is nowhere.
    """
    looked = profile_places() if places is None else places
    for place in looked:
        if place.is_file():
            return place
    raise ConfigError(
        f"no {PROFILE} at {looked[0]} or below share/runtime of {sys.prefix}; install regrasp again, without it "
        "images get lost and nodes find each other slowly"
    )


def node_environment(
    base: Mapping[str, str], *, profile: Path, log_dir: Path, domain: int | None = None
) -> dict[str, str]:
    """Returns what a node's process needs: `base` and, where it does not say otherwise, our own settings.

    Nodes are found on this machine alone unless ROS_AUTOMATIC_DISCOVERY_RANGE was set by the user.

    Args:
        base: The starter's own environment; a variable set there wins.
        profile: The middleware's profile, from `find_profile`.
        log_dir: Where ROS writes its logs.
        domain: ROS domain; None leaves the user's.
    """
    ours = {
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(profile),
        "FASTDDS_DEFAULT_PROFILES_FILE": str(profile),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(log_dir),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
    }
    chosen = {} if domain is None else {"ROS_DOMAIN_ID": str(domain)}
    return {**ours, **base, **chosen}
