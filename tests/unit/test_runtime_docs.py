"""The pages on safety and observations say what is true of the code."""

import re
from dataclasses import fields
from pathlib import Path

from core.flow import ActionChunk, Arrived, Observation, Step
from core.robots import EE_DELTA
from core.scene import SceneRoles
from runtime.config import RuntimeConfig
from runtime.guard import Guard
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
    source = Path(str(ROOT / "runtime/guard.py")).read_text()
    names = set(re.findall(r'"([a-z]+_[a-z]+|workspace)"', source))
    assert Guard.__name__ in source
    assert len(names) > 8
    assert [name for name in names if f"`{name}`" not in SAFETY] == []


def test_every_field_that_flows_is_on_the_observations_page() -> None:
    named = {f.name for kind in (Observation, ActionChunk, Arrived, Step) for f in fields(kind)}
    assert [name for name in sorted(named) if f"`{name}`" not in OBSERVATIONS] == []


def test_every_detector_is_on_the_observations_page() -> None:
    watches = standard_watches(RuntimeConfig(), EE_DELTA, SceneRoles(target="apple"), (), None)
    assert [w.name for w in watches if f"| `{w.name}` |" not in OBSERVATIONS] == []


def test_the_feature_layout_is_described_with_its_size() -> None:
    assert f"layout `{LAYOUT}`, float64 ({len(FIXED)} + F,)" in OBSERVATIONS
