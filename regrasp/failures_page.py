"""The page docs/failures.md, from the injectors and their docstrings: `python -m regrasp.failures_page` writes it."""

import inspect
import re
from pathlib import Path

from regrasp.task_registry import find_task, task_names
from sim import failures
from sim.task import Injector
from sim.tasks import drawer_failures, peg_failures, pick_card, sort_two_failures, wipe_failures

PAGE = Path(__file__).resolve().parent.parent / "docs" / "failures.md"
_FIGURES: dict[str, object] = {
    "fruit_on_plate": failures, "peg_in_hole": peg_failures, "pick_card": pick_card._injectors,
    "sort_two": sort_two_failures, "tidy_drawer": drawer_failures, "wipe_board": wipe_failures,
}  # fmt: skip
"""Whose docstring tells how often each task's failures strike, and what becomes of them."""
_HEAD = """# The injected failures

Written from the code by `python -m regrasp.failures_page`; do not edit.

An injector is worth its name only if it makes a policy that goes on blindly fail, while a scripted expert can still
recover from what is left. It looks at the simulator's truth, strikes once in an episode at the moment that the failure
is known for, and is the same for the same seed in every arm of an evaluation. Strengths were set on blind and scripted
drivers before any recovery was trained. How often the frozen *image* policy fails with them, alone and in the other
arms, is measured by `regrasp eval` and stands in [results.md](results.md).
"""


_FOUND = re.compile("In the fruit task|At the default strengths|Each strikes")


def page() -> str:
    """Returns the page."""
    return "\n".join([_HEAD, *(_section(name) for name in task_names())])


def _section(name: str) -> str:
    task = find_task(name).make()
    rows = ["| mode | what happens | strength | unit |", "|---|---|---|---|"]
    rows += [f"| `{mode}` | {_told(made)} | {made.default:g} | {made.unit} |" for mode, made in task.injectors.items()]
    return "\n".join([f"## {name}\n", *rows, "", _figures(name), ""])


def _told(injector: Injector) -> str:
    """Returns what an injector does, in the first sentence of its own docstring and of what it wraps."""
    inner = getattr(injector, "injector", None) or getattr(injector, "failure", None)
    own = (inspect.getdoc(type(injector)) or "").splitlines()[0]
    if inner is None:
        return own
    where = f"sub-task {injector.subtask + 1}" if hasattr(injector, "subtask") else "a sub-task drawn from the seed"
    return f"{_told(inner)} Only in {where}."


def _figures(name: str) -> str:
    """Returns the paragraphs of a docstring that say how often the failures strike."""
    text = inspect.getdoc(_FIGURES[name]) or ""
    found = _FOUND.search(text)
    return text[found.start() :] if found else "How often each strikes was not measured."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
