"""The child process of `regrasp.learn_probe`: lives through episodes and writes their labelled rows."""

import sys

from bridge.pi0.policy import Pi0Policy
from core.errors import RegraspError
from regrasp.artifacts import find_models
from regrasp.lanes import Lanes
from regrasp.learn_probe import JOB, ProbeJob, write_rows
from regrasp.probe_data import ProbeRows, collect, stacked
from regrasp.stack import CAMERA_PX
from regrasp.task_registry import find_task
from sim.cameras import CellCameras, calibration_bundle
from sim.world import BatchWorld

LANES = 12
"""Episodes side by side."""


def main() -> int:
    """Collects the job's episodes, one printed line each; returns the exit code."""
    job = JOB.validate_json(sys.stdin.buffer.read())
    try:
        write_rows(job.file, stacked(_collected(job)))
    except RegraspError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def _collected(job: ProbeJob) -> list[ProbeRows]:
    policy = Pi0Policy.load(find_models(job.models).base, noise=job.noise)
    world = BatchWorld(find_task(job.task).make(), min(LANES, len(job.episodes)))
    parts = []
    with CellCameras(world, size_px=CAMERA_PX) as cameras:
        lanes = Lanes(world, cameras, policy, policy.policy_id, calibration_bundle(CAMERA_PX))
        for rows in lanes.live([collect(lanes, e.seed, e.mode) for e in job.episodes]):
            parts.append(rows)
            print(len(parts), flush=True)
    return parts


if __name__ == "__main__":
    sys.exit(main())
