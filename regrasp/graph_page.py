"""Writes the tables of docs/graph.md that the code decides; run it as `python -m regrasp.graph_page`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from regrasp.bringup import OnExit, Process
from regrasp.processes import Bringup, table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "graph.md"
_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_MEANINGS = {
    OnExit.STOPS: "all are stopped",
    OnExit.ENDS: "done: all are stopped, its exit code is that of the whole",
    OnExit.RESTARTS: "started again, three times",
}


def page(text: str) -> str:
    """Returns the page with its tables written anew from the code."""
    return _BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}\n{found[3]}", text)


def processes_table() -> str:
    """Returns the processes of a twin with a driver, as Markdown."""
    rows = [
        (f"`{one.name}`", one.purpose, f"`{one.module}`", ", ".join(one.after) or "", _MEANINGS[one.on_exit],
         str(one.stop_rank + 1))
        for one in table(Bringup(episodes=1))
    ]  # fmt: skip
    return _markdown(("process", "what it does", "module", "starts after", "when it ends by itself", "stopped"), rows)


def parameters_tables() -> str:
    """Returns the parameters of every node, as Markdown."""
    nodes = [one for one in table(Bringup()) if one.parameters is not None]
    return "\n\n".join(f"### {one.name}\n\n{_parameters(node_config(one))}" for one in nodes)


def node_config(process: Process) -> Any:
    """Returns the dataclass of a node's parameters: the one in its module that is called ...NodeConfig."""
    found = vars(import_module(process.module)).items()
    return next(value for name, value in found if re.fullmatch(r"\w+NodeConfig", name))


def _parameters(config: Any) -> str:
    rows = []
    for one in fields(config):
        rule = one.metadata["parameter"]
        allowed = ", ".join(rule.choices) or (f"{rule.low:g} to {rule.high:g}" if rule.low is not None else "")
        rows.append((f"`{one.name}`", _plain(one.default), allowed, rule.says, "yes" if rule.live else ""))
    return _markdown(("parameter", "default", "allowed", "what it is", "live"), rows)


def _plain(default: object) -> str:
    text = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return f"`{text.lower() if isinstance(default, bool) else text}`" if text else "empty"


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


BLOCKS: Mapping[str, Callable[[], str]] = {"processes": processes_table, "parameters": parameters_tables}
"""What stands between `<!-- table: NAME -->` and `<!-- end -->`."""

if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
