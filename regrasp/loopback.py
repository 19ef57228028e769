"""Places on this machine that no other run uses meanwhile: an address, a port, a ROS domain.

Called by what brings up a robot of its own beside others: `regrasp bench` and the tests.
"""

import errno
import os
import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from core.errors import ConfigError
from regrasp.doctor_ros import HIGHEST_DOMAIN

OWN_DOMAINS = range(1, HIGHEST_DOMAIN + 1)
"""ROS domains that runs may reserve: all but 0, which is everybody's."""


def own_address() -> str:
    """Returns a loopback address that follows from the process's number."""
    return f"127.{100 + os.getpid() // 250 % 100}.{1 + os.getpid() % 250}.2"


def free_port() -> int:
    """Returns a loopback port that nothing uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def own_domain(chosen: int = -1, *, among: Sequence[int] = OWN_DOMAINS) -> Iterator[int]:
    """Yields a ROS domain that is reserved until the block ends, or this process, however it ends.

    A domain is reserved by a socket's name, which lives in the same network namespace as what nodes send each other.

    Args:
        chosen: A domain that the caller was told to use, which is not reserved; -1 for one of `among`.
        among: Domains to choose from.

    Raises:
        ConfigError: All are reserved.
    """
    with socket.socket(socket.AF_UNIX) as mark:
        if chosen >= 0:
            yield chosen
        else:
            yield _reserve(mark, random.sample(among, len(among)))


def _reserve(mark: socket.socket, domains: Sequence[int]) -> int:
    for domain in domains:
        try:
            mark.bind(f"\0regrasp/ros-domain/{domain}")
        except OSError as taken:
            if taken.errno != errno.EADDRINUSE:
                raise
        else:
            return domain
    raise ConfigError(f"other runs use ROS domains {sorted(domains)}; end one of them, or choose with --domain")
