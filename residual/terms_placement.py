"""Positional terms about objects: where one is from another. Values in [0, 1], batched over N worlds, pure.

They read ground truth, so they are for training only. Where either object is absent the value is 0. Called by
`residual.library`, which gives each its parameters.
"""

import numpy as np

from core.arrays import Floats
from core.worlds import WorldState
from residual.terms import kernel, norm, offset, position, share, smooth


def lift(state: WorldState, *, role: str, rest_m: float, height_m: float) -> Floats:
    """Height of an object above where it rests as a share of a wanted height, dimensionless in [0, 1]; 0 if absent.

    Formula: clip((role_z - rest_m) / height_m)

    Args:
        state: N worlds.
        role: Who should be lifted.
        rest_m: Height of its centre when it lies on the table [m].
        height_m: Wanted height above that [m].

    Source: ours.
    """
    height = position(state, role)[:, 2]
    return share(np.where(np.isfinite(height), height - rest_m, 0.0), height_m)


def transport(state: WorldState, *, role: str, goal: str, scale_m: float) -> Floats:
    """Horizontal closeness of an object to where it belongs, dimensionless in [0, 1]; 0 if either is absent.

    Formula: 1 - tanh(d / scale_m), d = |role_xy - goal_xy|

    Args:
        state: N worlds.
        role: Who is carried.
        goal: Where to.
        scale_m: Horizontal distance at which 0.24 is left [m].

    Source: same kernel as `approach`.
    """
    return kernel(norm(offset(state, role, goal)[:, :2]), scale_m)


def centred(state: WorldState, *, role: str, goal: str, scale_m: float) -> Floats:
    """Fine horizontal closeness of an object to its goal's axis, dimensionless in [0, 1]; 0 if either is absent.

    `transport` leads there; this one still tells millimetres apart, as a peg over its hole needs.

    Formula: 1 / (1 + (d / scale_m)^2), d = |role_xy - goal_xy|

    Args:
        state: N worlds.
        role: Who is to be centred.
        goal: Over whom.
        scale_m: Horizontal distance at which one half is left [m].

    Source: Cauchy (Lorentz) kernel, chosen over tanh because it is flat at the axis and has a tail.
    """
    distance = norm(offset(state, role, goal)[:, :2])
    return np.asarray(1.0 / (1.0 + np.square(distance / scale_m)), dtype=np.float64)


def over_goal(state: WorldState, *, role: str, goal: str, radius_m: float) -> Floats:
    """Whether an object is above its goal, dimensionless in [0, 1]: 1 in the radius, 0 from twice it on; 0 if absent.

    Formula: 1 - smooth((d - radius_m) / radius_m), d = |role_xy - goal_xy|

    Args:
        state: N worlds.
        role: Who is carried.
        goal: Where to.
        radius_m: Largest horizontal distance that counts [m].

    Source: ours; smooth step as in `near`.
    """
    return 1.0 - smooth((norm(offset(state, role, goal)[:, :2]) - radius_m) / radius_m)


def lower(state: WorldState, *, role: str, goal: str, height_m: float) -> Floats:
    """How low an object is above its goal, dimensionless in [0, 1]: 1 at the goal's height or below; 0 if absent.

    Formula: 1 - clip(h / height_m), h = role_z - goal_z

    Args:
        state: N worlds.
        role: Who is put down.
        goal: On what.
        height_m: Height of its centre above the goal's centre at which nothing is left [m].

    Source: ours.
    """
    return 1.0 - share(offset(state, role, goal)[:, 2], height_m)


def on_goal(state: WorldState, *, role: str, goal: str, radius_m: float, height_m: float) -> Floats:
    """Whether an object lies on its goal, dimensionless in [0, 1]: in the radius, not above the height; 0 if absent.

    Falls smoothly to 0 at five quarters of the radius, and at one and a half times the height.

    Formula: [1 - smooth(4 (d - radius_m) / radius_m)] * [1 - smooth(2 (h - height_m) / height_m)]

    Args:
        state: N worlds.
        role: Who should lie there.
        goal: On what.
        radius_m: Largest horizontal distance d between the centres [m].
        height_m: Largest height h of its centre above the goal's centre [m].

    Source: ours; product of two smooth steps.
    """
    away = offset(state, role, goal)
    low = 1.0 - smooth((away[:, 2] - height_m) / (0.5 * height_m))
    return low * (1.0 - smooth((norm(away[:, :2]) - radius_m) / (0.25 * radius_m)))


def insertion(
    state: WorldState, *, role: str, goal: str, rim_m: float, tip_m: float, depth_m: float, radius_m: float
) -> Floats:
    """Depth of an object's tip below its goal's rim as a share of a wanted depth, dimensionless in [0, 1]; 0 if absent.

    Beside the hole it counts nothing: it fades out between `radius_m` and twice that off the goal's axis.

    Formula: clip(t / depth_m) * [1 - smooth((d - radius_m) / radius_m)], t = goal_z + rim_m - (role_z - tip_m)

    Args:
        state: N worlds.
        role: What is inserted, standing.
        goal: What it is inserted into.
        rim_m: Height of the goal's rim above its centre [m].
        tip_m: Depth of the object's lower end below its centre [m].
        depth_m: Wanted depth of the tip below the rim [m].
        radius_m: Largest horizontal distance d from the goal's axis at which the tip is in the hole [m].

    Source: ours.
    """
    away = offset(state, role, goal)
    aside = norm(away[:, :2])
    deep = share(np.where(np.isfinite(aside), rim_m + tip_m - away[:, 2], 0.0), depth_m)
    return deep * (1.0 - smooth((aside - radius_m) / radius_m))


def is_inside(
    state: WorldState, *, role: str, goal: str, half_x_m: float, half_y_m: float, low_m: float, high_m: float
) -> Floats:
    """Whether an object's centre is in a box about another, dimensionless in [0, 1]: 1 inside; 0 if either is absent.

    It fades out over `FADE_M` outside each face.

    Formula: product over x, y, z of [1 - smooth(e / 0.02)], e = how far outside the box [m]

    Args:
        state: N worlds.
        role: Who should be inside.
        goal: In what.
        half_x_m: Half the box along x of the base, about the goal's centre [m].
        half_y_m: Half the box along y of the base [m].
        low_m: Lower face from the goal's centre [m].
        high_m: Upper face from the goal's centre [m].

    Source: Reflective Self-Adaptation, component is_inside(a, b).
    """
    x, y, z = offset(state, role, goal).T
    inside = 1.0 - smooth((np.abs(x) - half_x_m) / FADE_M)
    inside = inside * (1.0 - smooth((np.abs(y) - half_y_m) / FADE_M))
    return inside * (1.0 - smooth(np.maximum(z - high_m, low_m - z) / FADE_M))


FADE_M = 0.02
"""How far outside a box `is_inside` comes down to 0 [m]."""


def maintain_distance(state: WorldState, *, role: str, goal: str, distance_m: float, scale_m: float) -> Floats:
    """Closeness of two objects' distance to a wanted one, dimensionless in [0, 1]; 0 if either is absent.

    Formula: 1 - tanh(|d - distance_m| / scale_m), d = |role - goal|

    Args:
        state: N worlds.
        role: One of them.
        goal: The other one.
        distance_m: Wanted distance between the centres [m].
        scale_m: Error at which 0.24 is left [m].

    Source: Reflective Self-Adaptation, component maintain_distance(a, b, d); same kernel as `approach`.
    """
    return kernel(np.abs(norm(offset(state, role, goal)) - distance_m), scale_m)
