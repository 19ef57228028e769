"""The pages on safety and observations say what is true of the code."""

import re
from dataclasses import fields
from pathlib import Path

from core.flow import ActionChunk, Arrived, Observation, Step
from core.robots import EE_DELTA
from runtime.config import RuntimeConfig
from runtime.rehearsal import COURSE
from runtime.watch.features import FIXED, LAYOUT
from runtime.watch.standard import standard_watches

ROOT = Path(__file__).parents[2]
SAFETY = (ROOT / "docs/safety.md").read_text()
OBSERVATIONS = (ROOT / "docs/observations.md").read_text()


def test_every_test_that_the_safety_page_relies_on_exists() -> None:
    written = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", SAFETY)
    assert len(named) > 10
    assert [name for name in named if f"def {name}(" not in written] == []


def test_every_limit_the_guard_can_name_is_on_the_safety_page() -> None:
    source = "".join((ROOT / "runtime" / name).read_text() for name in ("guard.py", "guard_joints.py"))
    names = set(re.findall(r'"([a-z]+(?:_[a-z]+)*)"', source))
    assert {"not_finite", "wrench", "joint_jerk", "singularity", "gripper_rate"} <= names
    assert [name for name in sorted(names) if f"`{name}`" not in SAFETY] == []


def test_the_figures_of_the_declared_policies_are_the_defaults() -> None:
    config = RuntimeConfig()
    for line, figures in {
        "old robot state": [f"{config.stale_s * 1e3:.0f} ms"],
        "old or missing camera": [f"{config.stale_image_s * 1e3:.0f} ms"],
        "sensing lost": [f"{config.watch.robot_age_s * 1e3:.0f} ms", f"{config.watch.image_age_s * 1e3:.0f} ms"],
        "... and it lasts": [f"{config.watch.fault_s:g} s"],
        "stale chunk": [f"{config.chunk_age_s:g} s"],
        "external force": [f"{config.guard.force_n:g} N", f"{config.guard.torque_nm:g} N m"],
        "`joint_acceleration`, `joint_jerk`": ["40 rad/s²", "1000 rad/s³"],
        "`singularity`": [f"{config.guard.condition_slow:g}, {config.guard.condition_stop:g}"],
    }.items():
        (row,) = (row for row in SAFETY.splitlines() if row.startswith(f"| {line}"))
        assert [figure for figure in figures if figure not in row] == []


def test_every_field_that_flows_is_on_the_observations_page() -> None:
    named = {f.name for kind in (Observation, ActionChunk, Arrived, Step) for f in fields(kind)}
    assert [name for name in sorted(named) if f"`{name}`" not in OBSERVATIONS] == []


def test_every_detector_is_on_the_observations_page() -> None:
    watches = standard_watches(RuntimeConfig(), EE_DELTA, COURSE, (), None)
    assert [w.name for w in watches if f"| `{w.name}` |" not in OBSERVATIONS] == []


def test_the_feature_layout_is_described_with_its_size() -> None:
    assert f"layout `{LAYOUT}`, float64 ({len(FIXED)} + F,)" in OBSERVATIONS
