"""Measures how long the unmodified SDK waits for the box: `python tests/e2e/sdk_latency.py 127.0.0.2 [calls]`.

Streams the present joint positions to a box at 100 Hz in mode 1, as a real client does, and prints the round trips of
`set_servo_angle_j`, and of back-to-back `get_servo_angle`, as one line of JSON [ms].
"""

import contextlib
import json
import sys
import tempfile
import time
from os import environ

import numpy as np

PERIOD_S = 0.01


def percentiles(seconds):
    """Returns p50, p99 and the longest [ms]."""
    p50, p99 = np.percentile(seconds, [50, 99])
    return {"p50": round(1e3 * p50, 3), "p99": round(1e3 * p99, 3), "max": round(1e3 * max(seconds), 3)}


def timed(call, n, period_s):
    """Returns how long each of `n` calls took [s]; all must answer code 0."""
    taken, due = [], time.monotonic()
    for _ in range(n):
        begun = time.perf_counter()
        code = call()
        taken.append(time.perf_counter() - begun)
        assert code == 0, code
        due += period_s
        time.sleep(max(0.0, due - time.monotonic()) if period_s else 0.0)
    return taken


def measure(ip, calls):
    """Returns the figures of one box."""
    from xarm.wrapper import XArmAPI  # noqa: PLC0415

    arm = XArmAPI(ip, forbid_uds=True, is_radian=True)
    for code in (arm.clean_error(), arm.motion_enable(True), arm.set_mode(1), arm.set_state(0)):
        assert code == 0, code
    while arm.mode != 1:
        time.sleep(0.01)
    target = arm.get_servo_angle()[1]
    figures = {
        "servo_j_ms": percentiles(timed(lambda: arm.set_servo_angle_j(target), calls, PERIOD_S)),
        "get_servo_angle_ms": percentiles(timed(lambda: arm.get_servo_angle()[0], calls, 0.0)),
    }
    arm.set_state(4)
    arm.disconnect()
    return figures


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        environ["HOME"] = home
        with contextlib.redirect_stdout(sys.stderr):
            figures = measure(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 500)
        sys.stdout.write(json.dumps(figures) + "\n")
