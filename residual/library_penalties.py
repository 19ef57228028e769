"""The penalties' entries of the reward library: parameters, their ranges, and what is known of their shape.

Called by `residual.library`, which joins them to the values.
"""

from residual import penalties as pen
from residual import penalties_motion as motion
from residual.term import NEAR, TARGET, Role, Term, number

_DISTRACTOR = Role(name="role", default="distractor")
_OBSTACLE = Role(name="role", default="obstacle")

PENALTIES = (
    Term(
        function=motion.elapsed, kind="penalty", category="state",
        variable="", unit="1", scale=1, monotone="is constant",
    ),
    Term(
        function=motion.effort, kind="penalty", category="kinematic",
        variable="correction", unit="1", scale=1, monotone="falls with correction",
    ),
    Term(
        function=motion.jerkiness, kind="penalty", category="kinematic",
        variable="change of the correction", unit="1", scale=1, monotone="falls with change",
    ),
    Term(
        function=motion.speeding, kind="penalty", category="kinematic",
        variable="tool speed", unit="m/s", scale=0.5, monotone="falls with speed",
        parameters=(number("limit_m_s", 0.5, 0.05, 1),),
    ),
    Term(
        function=motion.rushing, kind="penalty", category="kinematic",
        variable="tool speed from the object", unit="m/s", scale=0.1, monotone="falls with speed",
        parameters=(TARGET, number("near_m", 0.05, 0.005, 0.2), number("limit_m_s", 0.1, 0.01, 1)),
    ),
    Term(
        function=motion.limit_acceleration, kind="penalty", category="kinematic",
        variable="joint acceleration", unit="rad/s^2", scale=10, monotone="falls with acceleration",
        parameters=(number("limit_rad_s2", 10, 1, 60),),
    ),
    Term(
        function=motion.joint_margin, kind="penalty", category="kinematic",
        variable="distance from the nearest joint limit", unit="rad", scale=0.15, monotone="rises with distance",
        parameters=(number("margin_rad", 0.15, 0.01, 1),),
    ),
    Term(
        function=motion.outside_workspace, kind="penalty", category="positional",
        variable="distance outside the box", unit="m", scale=0.05, monotone="falls with distance",
        parameters=(
            number("near_x_m", 0.25, 0, 0.4), number("far_x_m", 0.65, 0.45, 0.8),
            number("side_y_m", 0.4, 0.1, 0.7), number("floor_z_m", 0.005, -0.05, 0.1),
            number("ceiling_z_m", 0.5, 0.15, 0.9), number("scale_m", 0.05, 0.005, 0.3),
        ),
    ),
    Term(
        function=motion.tilted, kind="penalty", category="orientational",
        variable="tilt of the tool", unit="rad", scale=0.6, monotone="falls with tilt",
        parameters=(number("limit_rad", 0.6, 0.1, 3.14),),
    ),
    Term(
        function=pen.off_table, kind="penalty", category="state",
        variable="height of the object after the step", unit="m", scale=0.1, monotone="rises with height",
        parameters=(TARGET,),
    ),
    Term(
        function=pen.disturbed, kind="penalty", category="state",
        variable="movement in one step", unit="m", scale=0.01, monotone="falls with movement",
        parameters=(_DISTRACTOR, number("scale_m", 0.01, 0.001, 0.1)),
    ),
    Term(
        function=pen.intrusion, kind="penalty", category="positional",
        variable="distance of the tool", unit="m", scale=0.08, monotone="rises with distance",
        parameters=(_OBSTACLE, number("margin_m", 0.08, 0.02, 0.4)),
    ),
    Term(
        function=pen.slipped, kind="penalty", category="contact",
        variable="movement in the hand in one step", unit="m", scale=0.01, monotone="falls with movement",
        parameters=(TARGET, NEAR, number("scale_m", 0.01, 0.001, 0.1)),
    ),
    Term(
        function=pen.collision_force, kind="penalty", category="contact",
        variable="contact force", unit="N", scale=30, monotone="falls with force",
        parameters=(number("limit_n", 30, 1, 500),),
    ),
    Term(
        function=pen.overpressed, kind="penalty", category="contact",
        variable="pressing force", unit="N", scale=10, monotone="falls with force",
        parameters=(number("limit_n", 25, 0.5, 100),),
    ),
)  # fmt: skip
"""In the order of the library."""
