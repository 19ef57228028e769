"""The twin's HTTP control from outside: scenes, faults, truth, traces. Used by the driver, benches and tests only.

What comes from here is the simulator's truth: it scores and breaks things, it never drives.
"""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from core.arrays import Floats, Ints
from core.errors import DeviceError, DeviceNotConnected

TIMEOUT_S = 5.0
"""Longest wait for an answer [s]; a reset compiles nothing and takes milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinScene:
    """A scene that was laid out."""

    instruction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinTruth:
    """What is true in the twin at one instant."""

    t_ns: int
    """On the machine's monotonic clock [ns]."""
    time_s: float
    """Simulated time since the scene was laid out [s]."""
    mode: int
    state: int
    error: int
    joint_pos: Floats
    """Shape (7,) [rad]."""
    success: bool
    q_score: float
    instruction: str
    injected_at_s: float | None
    """When the failure struck, in simulated time [s]; None before."""
    physics_reset: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinTrace:
    """Cycles of the control box, oldest first. T cycles."""

    t_ns: Ints
    """Shape (T,), on the machine's monotonic clock [ns]."""
    joint_pos: Floats
    """Measured, shape (T, 7) [rad]."""
    joint_target: Floats
    """Commanded, shape (T, 7) [rad]."""
    state: Ints
    """Shape (T,), as on the wire."""
    error: Ints
    """Shape (T,)."""


class TwinControl:
    """A client of one twin, while it is open as a context manager.

    Args:
        port: The twin's loopback port.
    """

    def __init__(self, port: int) -> None:
        self._port = port

    def __enter__(self) -> Self:
        self._link = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._link.close()

    def reset(self, seed: int, injected: str | None) -> TwinScene:
        """Lays out the scene of a seed, arms a failure, puts the arm to its start."""
        answer = self._post("/reset", {"seed": seed, "injected": injected})
        return TwinScene(instruction=str(answer["instruction"]))

    def fault(self, kind: str, duration_s: float) -> None:
        """Makes the control box fail, for `duration_s` [s]."""
        self._post("/fault", {"kind": kind, "duration_s": duration_s})

    def camera(self, camera: str, fault: str, duration_s: float) -> None:
        """Makes a camera fail: "frozen", "black", "late" or "none", for `duration_s` [s]."""
        self._post("/camera", {"camera": camera, "fault": fault, "duration_s": duration_s})

    def truth(self) -> TwinTruth:
        """Returns what is true now."""
        now = self._get("/state")
        injected_at = now["injected_at"]
        return TwinTruth(
            t_ns=int(now["t_ns"]), time_s=float(now["time_s"]), mode=int(now["mode"]), state=int(now["state"]),
            error=int(now["error"]), joint_pos=np.array(now["joints"]), success=bool(now["success"]),
            q_score=float(now["q_score"]), instruction=str(now["instruction"]),
            injected_at_s=None if injected_at is None else float(injected_at), physics_reset=bool(now["physics_reset"]),
        )  # fmt: skip

    def trace(self, since_ns: int) -> TwinTrace:
        """Returns every cycle after an instant of the monotonic clock [ns], as far back as the twin remembers."""
        rows = [json.loads(line) for line in self._ask("GET", f"/trace?since_ns={since_ns}").splitlines()]
        return TwinTrace(
            t_ns=np.array([row["t_ns"] for row in rows], dtype=np.int64),
            joint_pos=np.array([row["joint_pos"] for row in rows]).reshape(-1, 7),
            joint_target=np.array([row["joint_target"] for row in rows]).reshape(-1, 7),
            state=np.array([row["state"] for row in rows], dtype=np.int64),
            error=np.array([row["error"] for row in rows], dtype=np.int64),
        )

    def _get(self, path: str) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = json.loads(self._ask("GET", path))
        return answer

    def _post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = json.loads(self._ask("POST", path, json.dumps(body)) or "{}")
        return answer

    def _ask(self, method: str, path: str, body: str | None = None) -> str:
        device = f"twin control 127.0.0.1:{self._port}"
        try:
            self._link.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = self._link.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self._link.close()
            raise DeviceNotConnected(
                f"{method} {path}: {error!r}", device=device, remedy="start it with `regrasp twin`"
            ) from error
        if answer.status != http.HTTPStatus.OK:
            raise DeviceError(f"{method} {path}: {text}", device=device, code=answer.status, remedy="see its message")
        return text
