"""Real-time scheduling: what is granted is true, what is refused is said, and there is a way back."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.realtime import enter_realtime, freeze_garbage, leave_realtime, measure_jitter
from core.errors import ConfigError

ROOT = Path(__file__).parents[2]
THREADS = """
import os, threading
from bridge.realtime import enter_realtime, leave_realtime
report = enter_realtime(10, probe_s=0.02)
found = []
thread = threading.Thread(target=lambda: found.append(os.sched_getscheduler(0)))
thread.start()
thread.join()
print(report.realtime == (found[0] == os.SCHED_FIFO), report.realtime == (os.sched_getscheduler(0) == os.SCHED_FIFO))
leave_realtime()
print(os.sched_getscheduler(0) == os.SCHED_OTHER)
"""
UNHURRIED = """
import os
from bridge.realtime import enter_realtime, unhurried
report = enter_realtime(10, probe_s=0.02)
before = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
try:
    with unhurried():
        print(os.sched_getscheduler(0) == os.SCHED_OTHER)
        raise RuntimeError
except RuntimeError:
    print((os.sched_getscheduler(0), os.sched_getparam(0).sched_priority) == before)
"""
REFUSED = """
import os, resource
from bridge.realtime import enter_realtime
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
if os.geteuid() == 0:
    os.setuid(65534)
report = enter_realtime(10, probe_s=0.02)
assert not report.realtime, report
assert not report.memory_locked, report
assert len(report.warnings) == 2, report
assert "rtprio" in report.warnings[0] and "measured now" in report.warnings[0], report
assert "memlock" in report.warnings[1], report
print("said")
"""


def said_by(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_threads_inherit_what_was_granted_and_there_is_a_way_back():
    assert said_by(THREADS).split() == ["True", "True", "True"]


def test_long_work_is_done_unhurried_and_the_priority_comes_back():
    assert said_by(UNHURRIED).split() == ["True", "True"]


def test_what_is_refused_is_a_warning_with_a_remedy():
    assert said_by(REFUSED) == "said\n"


def test_jitter_is_measured():
    jitter = measure_jitter(0.05, period_s=0.005)
    assert jitter.wakes == 10
    assert 0.0 <= jitter.p50_s <= jitter.p99_s <= jitter.worst_s


@pytest.mark.parametrize("priority", [0, 100])
def test_a_priority_that_does_not_exist_is_refused(priority):
    with pytest.raises(ConfigError):
        enter_realtime(priority)


def test_a_core_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError):
        enter_realtime(10, cpus=[10_000])


def test_garbage_is_frozen_and_thawed():
    try:
        freeze_garbage()
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        leave_realtime()
    assert gc.isenabled()
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
