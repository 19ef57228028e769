"""The reward library "regrasp@2": every term with its parameters, their ranges, and what is known of its shape.

`compile` validates masks and parameters against it, `reward` calls its functions, `docs/reward_terms.md` is written
from it. What a term and its parameters are: `residual.term`. The penalties' entries: `residual.library_penalties`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from core.errors import ConfigError, unknown_name
from residual import terms_motion as feel
from residual import terms_orientation as turn
from residual import terms_placement as place
from residual import terms_position as tool
from residual import terms_state as holds
from residual.library_penalties import PENALTIES
from residual.term import NEAR, TARGET, Role, Term, number
from residual.terms import GRIP_GAP


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A fixed set of terms under one name and version; a change of any function needs a new version."""

    name: str
    version: int
    terms: Mapping[str, Term]

    @property
    def id(self) -> str:
        """name@version, as in a mask."""
        return f"{self.name}@{self.version}"

    def term(self, name: str) -> Term:
        """Returns the term called `name`, or raises `ConfigError` naming the nearest."""
        if name not in self.terms:
            raise unknown_name("reward term", name, self.terms)
        return self.terms[name]

    def require(self, library: str) -> None:
        """Raises `ConfigError` unless `library` is this library's id."""
        if library != self.id:
            raise ConfigError(f"reward library {library!r} is not known here; this version has {self.id!r}: recompile")


_GOAL = Role(name="goal", default="goal")
_VANISHING = Role(name="role", default="goal")
_OBSTACLE = Role(name="role", default="obstacle")
_SLIDE = (
    TARGET, _GOAL, number("heading_rad", 3.1416, -3.15, 3.15), number("closed_m", 0.133, -0.5, 0.5),
    number("travel_m", 0.1, 0.01, 0.4),
)  # fmt: skip


_VALUES = (
    Term(
        function=tool.approach, kind="value", category="positional",
        variable="distance of the tool", unit="m", scale=0.12, monotone="falls with distance",
        parameters=(TARGET, number("height_m", 0, 0, 0.3), number("scale_m", 0.12, 0.01, 1)),
    ),
    Term(
        function=tool.align, kind="value", category="positional",
        variable="horizontal distance of the tool", unit="m", scale=0.03, monotone="falls with distance",
        parameters=(TARGET, number("scale_m", 0.03, 0.005, 0.5)),
    ),
    Term(
        function=tool.near, kind="value", category="positional",
        variable="distance of the tool", unit="m", scale=0.02, monotone="falls with distance",
        parameters=(TARGET, number("radius_m", 0.02, 0.005, 0.2)),
    ),
    Term(
        function=tool.behind, kind="value", category="positional",
        variable="distance of the tool", unit="m", scale=0.05, monotone="falls with distance",
        parameters=(
            TARGET, number("heading_rad", 0, -3.15, 3.15), number("distance_m", 0.04, 0, 0.3),
            number("height_m", 0, -0.1, 0.3), number("scale_m", 0.05, 0.01, 1),
        ),
    ),
    Term(
        function=tool.retreat, kind="value", category="positional",
        variable="distance of the tool", unit="m", scale=0.08, monotone="rises with distance",
        parameters=(TARGET, number("distance_m", 0.08, 0.03, 0.4)),
    ),
    Term(
        function=tool.avoid, kind="value", category="positional",
        variable="distance of the tool", unit="m", scale=0.1, monotone="rises with distance",
        parameters=(_OBSTACLE, number("margin_m", 0.1, 0.02, 0.4)),
    ),
    Term(
        function=tool.clearance, kind="value", category="positional",
        variable="height of the tool", unit="m", scale=0.12, monotone="rises with height",
        parameters=(_OBSTACLE, number("radius_m", 0.1, 0.02, 0.4), number("height_m", 0.12, 0.02, 0.4)),
    ),
    Term(
        function=place.lift, kind="value", category="positional",
        variable="height of the object", unit="m", scale=0.08, monotone="rises with height",
        parameters=(TARGET, number("rest_m", 0.03, 0, 0.2), number("height_m", 0.08, 0.01, 0.4)),
    ),
    Term(
        function=place.transport, kind="value", category="positional",
        variable="horizontal distance of the two", unit="m", scale=0.12, monotone="falls with distance",
        parameters=(TARGET, _GOAL, number("scale_m", 0.12, 0.01, 1)),
    ),
    Term(
        function=place.centred, kind="value", category="positional",
        variable="horizontal distance of the two", unit="m", scale=0.004, monotone="falls with distance",
        parameters=(TARGET, _GOAL, number("scale_m", 0.004, 0.0005, 0.1)),
    ),
    Term(
        function=place.over_goal, kind="value", category="positional",
        variable="horizontal distance of the two", unit="m", scale=0.045, monotone="falls with distance",
        parameters=(TARGET, _GOAL, number("radius_m", 0.045, 0.001, 0.2)),
    ),
    Term(
        function=place.lower, kind="value", category="positional",
        variable="height over the goal", unit="m", scale=0.15, monotone="falls with height",
        parameters=(TARGET, _GOAL, number("height_m", 0.15, 0.02, 0.5)),
    ),
    Term(
        function=place.on_goal, kind="value", category="positional",
        variable="horizontal distance of the two", unit="m", scale=0.066, monotone="falls with distance",
        parameters=(TARGET, _GOAL, number("radius_m", 0.066, 0.005, 0.3), number("height_m", 0.05, 0.005, 0.3)),
    ),
    Term(
        function=place.insertion, kind="value", category="positional",
        variable="depth of the tip below the rim", unit="m", scale=0.03, monotone="rises with depth",
        parameters=(
            TARGET, _GOAL, number("rim_m", 0.021, -0.05, 0.2), number("tip_m", 0.045, 0, 0.2),
            number("depth_m", 0.025, 0.002, 0.2), number("radius_m", 0.006, 0.001, 0.1),
        ),
    ),
    Term(
        function=place.is_inside, kind="value", category="positional",
        variable="horizontal distance of the two", unit="m", scale=0.05, monotone="falls with distance",
        parameters=(
            TARGET, _GOAL, number("half_x_m", 0.05, 0.005, 0.3), number("half_y_m", 0.05, 0.005, 0.3),
            number("low_m", -0.05, -0.3, 0.3), number("high_m", 0.05, -0.3, 0.3),
        ),
        ordered=(("low_m", "high_m"),),
    ),
    Term(
        function=place.maintain_distance, kind="value", category="positional",
        variable="distance of the two", unit="m", scale=0.05, monotone="peaks at distance_m",
        parameters=(TARGET, _GOAL, number("distance_m", 0.1, 0, 0.6), number("scale_m", 0.05, 0.005, 0.5)),
    ),
    Term(
        function=turn.upright, kind="value", category="orientational",
        variable="tilt of the tool", unit="rad", scale=0.3, monotone="falls with tilt",
        parameters=(number("limit_rad", 1, 0.1, 3.14),),
    ),
    Term(
        function=turn.maintain_orientation, kind="value", category="orientational",
        variable="turn of the tool", unit="rad", scale=0.3, monotone="falls with turn",
        parameters=(number("yaw_rad", 0, -3.15, 3.15), number("limit_rad", 1, 0.1, 3.14)),
    ),
    Term(
        function=turn.align_heading, kind="value", category="orientational",
        variable="difference of the headings", unit="rad", scale=0.3, monotone="falls with difference",
        parameters=(TARGET, number("turn_rad", 0, -1.58, 1.58), number("limit_rad", 0.8, 0.05, 1.57)),
    ),
    Term(
        function=turn.look_at, kind="value", category="orientational",
        variable="angle between tool and line of sight", unit="rad", scale=0.3, monotone="falls with angle",
        parameters=(TARGET, number("limit_rad", 0.8, 0.05, 3.14)),
    ),
    Term(
        function=turn.standing, kind="value", category="orientational",
        variable="tilt of the object", unit="rad", scale=0.2, monotone="falls with tilt",
        parameters=(TARGET, number("limit_rad", 0.5, 0.02, 3.14)),
    ),
    Term(
        function=turn.parallel, kind="value", category="orientational",
        variable="angle between the axes", unit="rad", scale=0.1, monotone="falls with angle",
        parameters=(TARGET, _GOAL, number("limit_rad", 0.3, 0.02, 1.57)),
    ),
    Term(
        function=feel.still, kind="value", category="kinematic",
        variable="largest joint speed", unit="rad/s", scale=1, monotone="falls with speed",
        parameters=(number("speed_rad_s", 2, 0.1, 6.3),),
    ),
    Term(
        function=holds.always, kind="value", category="state",
        variable="", unit="1", scale=1, monotone="is constant",
    ),
    Term(
        function=holds.grasp_open, kind="value", category="state",
        variable="opening, away from the object", unit="1", scale=1, monotone="rises with opening",
        parameters=(TARGET, NEAR),
    ),
    Term(
        function=holds.grasp_close, kind="value", category="state",
        variable="commanded opening, at the object", unit="1", scale=1, monotone="falls with opening",
        parameters=(TARGET, NEAR),
    ),
    Term(
        function=holds.hand_closed, kind="value", category="state",
        variable="opening", unit="1", scale=1, monotone="falls with opening",
    ),
    Term(
        function=holds.held, kind="value", category="state",
        variable="opening, told to close at the object", unit="1", scale=0.06, monotone="rises with opening",
        parameters=(TARGET, NEAR, number("gap_share", GRIP_GAP, 0.005, 0.5)),
    ),
    Term(
        function=holds.released, kind="value", category="state",
        variable="opening, at the object", unit="1", scale=1, monotone="rises with opening",
        parameters=(TARGET, NEAR),
    ),
    Term(
        function=holds.is_open, kind="value", category="state",
        variable="displacement", unit="m", scale=0.1, monotone="rises with displacement",
        parameters=_SLIDE,
    ),
    Term(
        function=holds.is_closed, kind="value", category="state",
        variable="displacement", unit="m", scale=0.1, monotone="falls with displacement",
        parameters=_SLIDE,
    ),
    Term(
        function=holds.gone, kind="value", category="state",
        variable="height of the object", unit="m", scale=0.1, monotone="falls with height",
        parameters=(_VANISHING,),
    ),
    Term(
        function=holds.subtasks_done, kind="value", category="state",
        variable="sub-tasks done", unit="1", scale=1, monotone="rises with sub-tasks",
        parameters=(number("wanted_count", 1, 1, 12),),
    ),
    Term(
        function=feel.pressing, kind="value", category="contact",
        variable="pressing force", unit="N", scale=5, monotone="peaks between low_n and high_n",
        parameters=(number("low_n", 3, 0.1, 50), number("high_n", 25, 0.2, 100)),
        ordered=(("low_n", "high_n"),),
    ),
    Term(
        function=feel.gentle, kind="value", category="contact",
        variable="contact force", unit="N", scale=15, monotone="falls with force",
        parameters=(number("limit_n", 15, 1, 200),),
    ),
)  # fmt: skip

LIBRARY = Library(name="regrasp", version=2, terms=MappingProxyType({t.name: t for t in (*_VALUES, *PENALTIES)}))
"""The library every mask of this release names."""
