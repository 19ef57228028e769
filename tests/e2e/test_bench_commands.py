"""The benches of time run as commands, with their real processes, for as short as they can be."""

import re
import subprocess
import sys
from pathlib import Path

from bridge.ring_file import FOLDER

ROOT = Path(__file__).parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "regrasp.cli", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def rings() -> set[str]:
    return {path.name for kind in ("bench-loop-", "bench_") for path in FOLDER.glob(f"regrasp-ring-{kind}*")}


def test_bench_loop_beats_beside_inference_and_rendering():
    before = rings()
    done = run("bench", "loop", "--seconds", "2", "--no-compare")
    assert done.returncode in (0, 1), done.stderr
    (rate,) = re.findall(r"([\d.]+) beats/s", done.stdout)
    assert float(rate) > 50.0
    (answers,) = re.findall(r"(\d+) chunks answered", done.stdout)
    assert int(answers) > 0, "inference did not run beside it"
    assert "; 0 not marked" in done.stdout
    assert rings() <= before


def test_bench_ipc_loses_nothing():
    before = rings()
    done = run("bench", "ipc", "--rounds", "1")
    assert done.returncode in (0, 1), done.stderr
    assert len(re.findall(r"^vga ", done.stdout, re.MULTILINE)) == 4
    for line in re.findall(r"^(?:vga|state) +ring.*$", done.stdout, re.MULTILINE):
        assert " 30 of 30 " in line
    assert rings() <= before
