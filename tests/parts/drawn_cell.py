"""A cell that is drawn ray by ray from known places, without a simulator: cameras, pictures, observations."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from core.arrays import Floats, Image
from core.calibration import CalibrationBundle, CameraModel
from core.flow import Observation
from core.scene import SceneState
from core.tasks import ObjectInfo, TaskInfo
from core.transforms import Pose, quat_from_rotvec, quat_multiply

PX = 192
TICK_NS = 50_000_000
HIGH = np.array([0.40, -0.05, 0.20])
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
SKIN = np.array([30.0, 30.0, 32.0])
TABLE = np.array([205.0, 195.0, 176.0])


def camera(name: str, mount: str, pose: Pose, focal_px: float) -> CameraModel:
    middle = (PX - 1) / 2
    intrinsics = np.array([[focal_px, 0, middle], [0, focal_px, middle], [0, 0, 1]])
    return CameraModel(name=name, width_px=PX, height_px=PX, intrinsics=intrinsics, mount=mount, pose=pose)


def looking_back() -> Pose:
    """A camera in front of the table that looks back and down at it."""
    sideways = quat_from_rotvec(np.array([0.0, 0.0, np.pi / 2]))
    return Pose(
        pos=np.array([1.1, 0.0, 0.75]), quat_xyzw=quat_multiply(sideways, quat_from_rotvec(np.array([-2.28, 0.0, 0.0])))
    )


def drawn_bundle() -> CalibrationBundle:
    """Returns the cameras of the drawn cell."""
    behind = quat_multiply(
        quat_from_rotvec(np.array([0.0, 0.0, np.pi / 2])), quat_from_rotvec(np.array([-0.35, 0.0, 0.0]))
    )
    wrist = Pose(pos=np.array([0.08, 0.0, -0.135]), quat_xyzw=behind)
    front = camera("front", "base", looking_back(), 230.0)
    return CalibrationBundle(
        cell="drawn", cameras={"front": front, "wrist": camera("wrist", "tcp", wrist, 130.0)},
        workspace_low=np.array([0.2, -0.4, 0.0]), workspace_high=np.array([0.7, 0.4, 0.5]),
        table_height_m=0.0, held_out_error_px=0.2, measured_on="2026-11-20",
    )  # fmt: skip


def depth_of(solid: tuple[ObjectInfo, Floats, float], origin: Floats, rays: Floats) -> Floats:
    """Returns how far along each ray (M, 3) the solid begins, infinity where the ray misses it."""
    (info, pos, yaw) = solid
    shape, size = info.shape, info.size_m
    cosine, sine = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    o, d = turn @ (origin - pos), rays @ turn.T
    if shape in ("box", "built"):
        near = np.sort(np.stack([(-size - o) / d, (size - o) / d]), axis=0)
        first, last = near[0].max(axis=1), near[1].min(axis=1)
        return np.where((first < last) & (first > 0), first, np.inf)
    flat = np.array([1.0, 1.0, 1.0 if shape == "sphere" else 0.0])
    a, b, c = (d * d) @ flat, (d * o) @ flat, (o * o) @ flat - size[0] ** 2
    root = b * b - a * c
    side = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    if shape == "sphere":
        return side
    side = np.where(np.abs(o[2] + side * d[:, 2]) <= size[2], side, np.inf)
    top = (size[2] - o[2]) / d[:, 2]
    return np.minimum(side, np.where(np.linalg.norm(o[:2] + top[:, None] * d[:, :2], axis=1) <= size[0], top, np.inf))


def draw(model: CameraModel, tool: Pose, solids: list[tuple[ObjectInfo, Floats, float]]) -> Image:
    pose = model.in_base(tool)
    rows, columns = np.mgrid[0:PX, 0:PX]
    rays = model.rays(pose, np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float))
    colours = np.where((rays[:, 2] < 0)[:, None], TABLE, [60.0, 60.0, 65.0])
    nearest = np.full(len(rays), np.inf)
    for solid in solids:
        depth = depth_of(solid, pose.pos, rays)
        shade = 0.65 + 0.35 * np.abs(rays[:, 2])
        colours = np.where((depth < nearest)[:, None], solid[0].rgb * 255.0 * shade[:, None], colours)
        nearest = np.minimum(nearest, depth)
    return np.clip(colours, 0, 255).astype(np.uint8).reshape(PX, PX, 3)


class Stage:
    """Draws observations of a task's things tick by tick.

    Args:
        bundle: The cameras.
        task: The things.
        at: Where they are at first, by name.
    """

    def __init__(self, bundle: CalibrationBundle, task: TaskInfo, at: Mapping[str, Floats]) -> None:
        self.bundle, self.tick = bundle, 0
        self.tool = Pose(pos=HIGH, quat_xyzw=DOWN)
        self.opening = self.command = 1.0
        self.infos = {o.name: o for o in task.objects}
        self.at = {name: (pos, 0.0) for name, pos in at.items()}
        self.covers: list[tuple[ObjectInfo, Floats, float]] = []

    def put(self, name: str, pos: Floats | list[float], yaw: float = 0.0) -> None:
        self.at[name] = (np.asarray(pos, float), yaw)

    def turn_over(self, name: str, size: tuple[float, float, float]) -> None:
        """Makes a thing lie so that its half extents are `size` [m]."""
        self.infos[name] = replace(self.infos[name], size_m=np.array(size))

    def close_on(self, name: str, above_m: float, opening: float) -> None:
        """Puts the tool `above_m` above a thing's centre, with the fingers stopped by it."""
        self.tool = Pose(pos=self.at[name][0] + [0.0, 0.0, above_m], quat_xyzw=DOWN)
        self.opening, self.command = opening, 0.0

    def move(self, name: str, by: tuple[float, float, float]) -> Floats:
        """Moves the tool with a thing in it and returns where the thing is then."""
        self.tool = Pose(pos=self.tool.pos + by, quat_xyzw=self.tool.quat_xyzw)
        pos, yaw = self.at[name]
        self.put(name, pos + by, yaw)
        return self.at[name][0]

    def cover(self, pos: tuple[float, float, float], size: tuple[float, float, float]) -> None:
        dark = ObjectInfo(name="x", words=(), shape="box", size_m=np.array(size), rgb=SKIN / 255.0, graspable=False)
        self.covers = [(dark, np.array(pos), 0.3)]

    def observe(self, names: tuple[str, ...] = ("front", "wrist")) -> Observation:
        self.tick += 1
        solids = [(self.infos[n], pos, yaw) for n, (pos, yaw) in self.at.items()] + self.covers
        return Observation(
            t_ns=self.tick * TICK_NS, joint_pos=np.zeros(7), joint_vel=np.zeros(7), tcp_pos_in_base=self.tool.pos,
            tcp_quat_xyzw_in_base=self.tool.quat_xyzw, gripper_opening=self.opening, gripper_command=self.command,
            images={n: draw(self.bundle.cameras[n], self.tool, solids) for n in names},
            image_t_ns=dict.fromkeys(names, self.tick * TICK_NS),
        )  # fmt: skip


def error_m(scene: SceneState, name: str, pos: Floats) -> float:
    """Returns how far off a thing is thought to be; it must have been found."""
    found = scene.position(name)
    assert found is not None, f"{name} was not found"
    return float(np.linalg.norm(found - pos))
