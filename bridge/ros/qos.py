"""How each kind of topic is delivered. Used by every node, so that both ends of a topic always agree.

Source: the defaults of ros2_control, Nav2 and REP 2003 for control, status and sensor topics.
"""

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy

COMMAND_DEADLINE_S = 0.1
"""Longest pause a sender of commands promises [s]; the arm's watchdog is of the same length and its own."""
HEARTBEAT_LEASE_S = 0.5
"""A node that gave no sign for so long counts as dead [s]."""


def _profile(*, depth: int, latched: bool = False, best_effort: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def _watched(profile: QoSProfile, lease_s: float) -> QoSProfile:
    profile.liveliness = LivelinessPolicy.MANUAL_BY_TOPIC
    profile.liveliness_lease_duration = Duration(nanoseconds=round(lease_s * 1e9))
    return profile


def measurement() -> QoSProfile:
    """Returns what joint states, poses, twists and wrenches use: the newest, reliably."""
    return _profile(depth=1)


def command() -> QoSProfile:
    """Returns what commands to the arm use: the newest, reliably, from a sender that promises to keep sending."""
    profile = _watched(_profile(depth=1), COMMAND_DEADLINE_S)
    profile.deadline = Duration(nanoseconds=round(COMMAND_DEADLINE_S * 1e9))
    return profile


def status() -> QoSProfile:
    """Returns what states use that a late joiner must see: the newest is kept for it."""
    return _profile(depth=1, latched=True)


def reports() -> QoSProfile:
    """Returns what failure reports use: the last ten are kept for late joiners."""
    return _profile(depth=10, latched=True)


def emergency() -> QoSProfile:
    """Returns what the emergency stop uses: reliable, none dropped."""
    return _profile(depth=10)


def heartbeat() -> QoSProfile:
    """Returns what heartbeats use: a sender that stops sending is reported by the middleware as well."""
    return _watched(_profile(depth=10), HEARTBEAT_LEASE_S)


def diagnostics() -> QoSProfile:
    """Returns what /diagnostics uses."""
    return _profile(depth=10)


def images() -> QoSProfile:
    """Returns what cameras use: best effort, a few deep, as REP 2003 has it for sensors."""
    return _profile(depth=5, best_effort=True)
