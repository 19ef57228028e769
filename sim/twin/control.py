"""HTTP control of the twin on loopback: faults, pushes, new episodes, truth, trace and pictures.

Used by `sim.twin.process`; asked by tests, by the driver of episodes and by the camera node. docs/twin.md has examples.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from aiohttp import web

from core.arrays import floats, in_range
from core.errors import ContractError, RegraspError, unknown_name
from core.failures import FailureMode
from core.scene import ROLES
from core.worlds import Injection
from sim.twin.box import SimBox
from sim.twin.faults import KINDS
from sim.twin.frames import SIZE, SIZES, Frames
from sim.twin.pacer import Lag

LONGEST_S = 3600.0
"""No fault lasts longer [s]."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Fields = Mapping[str, object]


class Cable(Protocol):
    """What happens to the wire from outside."""

    def cut(self, duration_s: float) -> None:
        """Drops every client and refuses new ones for a time [s]."""
        ...

    def power_cycle(self, duration_s: float) -> None:
        """Switches the box off and on; it answers again after its boot and `duration_s` [s]."""
        ...


@dataclass(frozen=True, kw_only=True)
class Control:
    """Handlers of all addresses."""

    box: SimBox
    frames: Frames
    cable: Cable
    lag: Callable[[], Lag]
    task: str = field(default="")

    def app(self) -> web.Application:
        """Returns the application, ready to be served."""
        app = web.Application(middlewares=[refusals])
        app.add_routes(
            [
                web.post("/fault", self.fault),
                web.post("/camera", self.camera),
                web.post("/push", self.push),
                web.post("/reset", self.reset),
                web.get("/state", self.state),
                web.get("/trace", self.trace),
                web.get("/frame/{camera}", self.frame),
            ]
        )
        return app

    async def fault(self, request: web.Request) -> web.Response:
        """Injects a fault of `sim.twin.faults.KINDS`."""
        asked = await fields_of(request, {"kind": None, "duration_s": 0.0})
        kind, duration_s = _text(asked, "kind"), _seconds(asked)
        if kind not in KINDS:
            raise unknown_name("kind of fault", kind, KINDS)
        if kind == "unplug":
            self.cable.cut(duration_s)
        elif kind == "power_cycle":
            self.cable.power_cycle(duration_s)
        else:
            self.box.inject(kind, duration_s)
        return web.json_response({"kind": kind, "duration_s": duration_s})

    async def camera(self, request: web.Request) -> web.Response:
        """Makes something go wrong with a camera."""
        asked = await fields_of(request, {"camera": None, "fault": None, "duration_s": 1.0})
        self.frames.break_camera(_text(asked, "camera"), _text(asked, "fault"), _seconds(asked))
        return web.json_response(dict(asked))

    async def push(self, request: web.Request) -> web.Response:
        """Pushes a body of the cell."""
        asked = await fields_of(request, {"body": None, "force_n": None, "duration_s": 0.1})
        force = floats("force_n [N]", asked["force_n"], (3,))
        self.box.plant.push(_text(asked, "body"), force, _seconds(asked))
        return web.json_response(dict(asked))

    async def reset(self, request: web.Request) -> web.Response:
        """Starts a new episode."""
        asked = await fields_of(request, {"seed": None, "injected": ""})
        seed = asked["seed"]
        if not isinstance(seed, int) or seed < 0:
            raise ContractError(f"seed is {seed!r}; allowed: whole numbers from 0")
        self.box.new_episode(seed, injection_of(asked["injected"]))
        self.frames.forget()
        plant = self.box.plant
        return web.json_response(
            {"seed": seed, "injected": asked["injected"] or None, "instruction": plant.instruction(), **self._roles()}
        )

    async def state(self, request: web.Request) -> web.Response:  # noqa: ARG002
        """Tells the truth, for tests and scoring only."""
        now, plant = self.box.now(), self.box.plant
        truth = plant.truth()
        poses = np.concatenate([truth.object_pos_in_base[0], truth.object_quat_xyzw_in_base[0]], axis=1)
        return web.json_response(
            {
                "t_ns": now.t_ns,
                "time_s": plant.time_s,
                "mode": now.mode,
                "state": now.state,
                "error": now.error,
                "warning": now.warning,
                "queued": now.queued,
                "enabled": list(now.enabled),
                "joints": now.joint_pos.tolist(),
                "joint_vel": now.joint_vel.tolist(),
                "joint_effort": now.joint_effort.tolist(),
                "joint_target": now.joint_target.tolist(),
                "pose": now.pose.tolist(),
                "wrench": now.wrench.tolist(),
                "strain": plant.strain.tolist(),
                "gripper_opening_m": now.gripper_opening_m,
                "gripper_holds": now.gripper_holds,
                "objects": dict(zip(truth.object_names, poses.tolist(), strict=True)),
                "task": self.task,
                "instruction": plant.instruction(),
                **self._roles(),
                "success": bool(truth.success[0]),
                "q_score": float(truth.q_score[0]),
                "contact_force_n": float(truth.contact_force_n[0]),
                "injected_at": plant.injected_at(),
                "physics_reset": bool(truth.physics_reset[0]),
                "lag": self.lag().json(),
            }
        )

    async def trace(self, request: web.Request) -> web.StreamResponse:
        """Sends the cycles since a time as JSON lines, a few at a time so that physics goes on."""
        since = request.query.get("since_ns", "0")
        if not since.lstrip("-").isdigit():
            raise ContractError(f"since_ns is {since!r}; allowed: a whole number of nanoseconds")
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await answer.prepare(request)
        for lines in self.box.trace.lines(int(since)):
            await answer.write(lines)
        await answer.write_eof()
        return answer

    async def frame(self, request: web.Request) -> web.Response:
        """Sends a picture as raw RGB8 bytes."""
        size = request.query.get("size", str(SIZE))
        if not size.isdigit() or not SIZES[0] <= int(size) <= SIZES[1]:
            raise ContractError(f"size is {size!r}; allowed [{SIZES[0]}, {SIZES[1]}] px")
        picture = await self.frames.picture(request.match_info["camera"], int(size))
        height, width, _ = picture.image.shape
        headers = {
            "X-Width": str(width),
            "X-Height": str(height),
            "X-Capture-Ns": str(picture.t_ns),
            "X-Fault": picture.fault,
        }
        return web.Response(body=picture.image.tobytes(), headers=headers, content_type="application/octet-stream")

    def _roles(self) -> dict[str, dict[str, str | None]]:
        roles = self.box.plant.roles()
        return {"roles": {role: roles.of(role) or None for role in ROLES}}


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers what cannot be done with status 400 and why."""
    try:
        return await handler(request)
    except RegraspError as error:
        return web.json_response({"error": str(error)}, status=400)


async def fields_of(request: web.Request, defaults: Fields) -> Fields:
    """Returns the fields of a JSON request, filled up with defaults; those whose default is None must be given.

    Raises:
        ContractError: It is not a JSON object, or a field is missing.
        ConfigError: It has a field that nobody knows.
    """
    try:
        asked = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ContractError(f"the request is not JSON: {error}") from error
    if not isinstance(asked, dict):
        raise ContractError(f"the request is a {type(asked).__name__}; send an object")
    for key in asked:
        if key not in defaults:
            raise unknown_name("field", key, defaults)
    for key, default in defaults.items():
        if default is None and asked.get(key) is None:
            raise ContractError(f"field {key!r} is missing; fields: {', '.join(defaults)}")
    return {**defaults, **asked}


def injection_of(name: object) -> Injection | None:
    """Returns the failure called `name`; None and "" are none.

    Raises:
        ConfigError: There is no such failure.
    """
    if name in (None, ""):
        return None
    modes = [str(mode) for mode in FailureMode]
    if name not in modes:
        raise unknown_name("failure mode", str(name), modes)
    return Injection(mode=FailureMode(str(name)))


def _text(asked: Fields, key: str) -> str:
    value = asked[key]
    if not isinstance(value, str):
        raise ContractError(f"{key} is {value!r}; send text")
    return value


def _seconds(asked: Fields) -> float:
    value = asked["duration_s"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ContractError(f"duration_s is {value!r}; send a number of seconds")
    return in_range("duration_s [s]", value, 0.0, LONGEST_S)
