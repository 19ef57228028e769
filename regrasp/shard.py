"""The child process of `regrasp.shards`: reads a job on standard input, prints one JSON line an episode."""

import sys

from core.errors import RegraspError
from regrasp.episode import live
from regrasp.shards import RESULT, SHARD
from regrasp.stack import CellStack


def main() -> int:
    """Lives through the job's episodes; returns the exit code."""
    job = SHARD.validate_json(sys.stdin.buffer.read())
    try:
        with CellStack(job.stack, arms=tuple(dict.fromkeys(j.arm for j in job.jobs))) as stack:
            for episode in job.jobs:
                result = live(stack, episode, job.out)
                sys.stdout.buffer.write(RESULT.dump_json(result) + b"\n")
                sys.stdout.buffer.flush()
    except RegraspError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
