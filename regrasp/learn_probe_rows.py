"""The child process of `regrasp.learn_probe`: lives through episodes and writes their labelled rows."""

import sys

from core.errors import RegraspError
from regrasp.evaluation import ArmName
from regrasp.learn_probe import JOB, write_rows
from regrasp.probe_data import collect, stacked
from regrasp.stack import CellStack


def main() -> int:
    """Collects the job's episodes, one printed line each; returns the exit code."""
    job = JOB.validate_json(sys.stdin.buffer.read())
    parts = []
    try:
        with CellStack(job.stack, arms=(ArmName.BASE,)) as stack:
            for episode in job.episodes:
                parts.append(collect(stack, episode.seed, episode.mode))
                print(episode.seed, flush=True)
        write_rows(job.file, stacked(parts))
    except RegraspError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
