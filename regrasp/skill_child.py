"""What the child processes of `regrasp train` share: reading the job, telling how far they are, ending with a word."""

import sys
from collections.abc import Callable

from core.errors import RegraspError
from regrasp.train import JOB, NEWS, SkillJob, SkillNews


def run_job(work: Callable[[SkillJob], None]) -> int:
    """Does the job on standard input; returns the exit code.

    Args:
        work: Does it.
    """
    job = JOB.validate_json(sys.stdin.buffer.read())
    try:
        work(job)
    except RegraspError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def tell(job: SkillJob, share: float, words: str) -> None:
    """Tells the parent how far the job is.

    Args:
        job: The job.
        share: Share of the work that is done, [0, 1].
        words: A few plain words.
    """
    sys.stdout.buffer.write(NEWS.dump_json(SkillNews(name=job.name, share=share, words=words)) + b"\n")
    sys.stdout.buffer.flush()
