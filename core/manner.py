"""How a sub-task is done by hand. Used by sub-tasks, skill cards and reward templates."""

from enum import StrEnum


class Manner(StrEnum):
    """How a sub-task is done by hand."""

    PLACE = "place"
    """Grasp the target, let go of it on the goal."""
    INSERT = "insert"
    """Grasp the target, push it into the goal's hole, let go."""
    WIPE = "wipe"
    """Grasp the target, a tool, and press it on the goal; the tool stays in the hand."""
    PULL = "pull"
    """Grasp the target, a handle, pull it, let go."""
    PUSH = "push"
    """Push the target with the closed hand."""
