"""The page of injected failures is what the code says."""

from regrasp.failures_page import PAGE, page
from regrasp.task_registry import find_task, task_names


def test_page_on_disk_is_the_one_that_the_code_makes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m regrasp.failures_page`"


def test_page_has_every_mode_of_every_task_and_figures_for_each() -> None:
    sections = dict(zip(task_names(), page().split("\n## ")[1:], strict=True))
    for name, text in sections.items():
        assert all(f"| `{mode}` |" in text for mode in find_task(name).info.modes)
        assert "not measured" not in text
