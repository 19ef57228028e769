"""The laws of the house that no other tool keeps: sizes, names, docstrings, no pickle, no room in another room."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from itertools import chain
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("core", "runtime", "sim", "residual", "bridge", "calibration", "regrasp")
MODULES = sorted(chain.from_iterable((ROOT / room).rglob("*.py") for room in ROOMS))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
VAGUE_WORDS = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "stuff"}
FORBIDDEN_CALLS = {"torch.load", "torch.save", "eval", "exec"}
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
LIGHT_THIRD_PARTIES = {"core": {"numpy"}, "runtime": {"numpy", "mcap"}}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def imported(tree: ast.Module) -> set[str]:
    """Returns every module a file imports, at its top or inside a function, as dotted names."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def public_nodes(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Returns the public functions and classes of a body, and of the public classes in it."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    here = [n for n in body if isinstance(n, kinds) and not n.name.startswith("_")]
    return here + list(chain.from_iterable(public_nodes(n.body) for n in here if isinstance(n, ast.ClassDef)))


def test_every_room_is_there_and_was_read():
    assert {p.relative_to(ROOT).parts[0] for p in MODULES} == set(ROOMS)
    assert len(MODULES) > 40


def test_import_contracts_hold():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_import_contracts_name_every_room():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert set(contracts["root_packages"]) == set(ROOMS)
    star = next(c for c in contracts["contracts"] if c["type"] == "layers")
    assert star["layers"] == ["regrasp", "runtime | sim | residual | bridge | calibration", "core"]
    assert not any("ignore_imports" in c for c in contracts["contracts"])


@pytest.mark.parametrize("room", LIGHT_THIRD_PARTIES)
def test_light_rooms_import_nothing_heavy(room):
    allowed = {"core", room, *LIGHT_THIRD_PARTIES[room], *sys.stdlib_module_names}
    for path in (ROOT / room).rglob("*.py"):
        tops = {name.split(".")[0] for name in imported(tree_of(path))}
        assert tops <= allowed, f"{name_of(path)} imports {sorted(tops - allowed)}"


def test_nobody_imports_the_commands():
    for path in MODULES:
        if path.relative_to(ROOT).parts[0] != "regrasp":
            assert "regrasp" not in {n.split(".")[0] for n in imported(tree_of(path))}, name_of(path)


def test_files_stay_below_400_lines():
    lengths = {name_of(p): len(p.read_text(encoding="utf-8").splitlines()) for p in [*MODULES, *TESTS]}
    assert {name: n for name, n in lengths.items() if n >= 400} == {}


def test_functions_are_short():
    lengths = [f.end_lineno - f.lineno + 1 for path in MODULES for f in functions(tree_of(path))]
    assert median(lengths) <= 12
    assert sum(n > 40 for n in lengths) <= 0.02 * len(lengths)


def test_everything_public_has_a_docstring():
    for path in MODULES:
        tree = tree_of(path)
        assert ast.get_docstring(tree), f"{name_of(path)} does not say what lives in it"
        for node in public_nodes(tree.body):
            assert ast.get_docstring(node), f"{name_of(path)}:{node.lineno} {node.name} has no docstring"


def test_no_module_has_a_name_that_says_nothing():
    parts = {path: set("_".join(path.relative_to(ROOT).with_suffix("").parts).split("_")) for path in MODULES}
    assert [name_of(path) for path, words in parts.items() if words & VAGUE_WORDS] == []


def test_nothing_is_pickled():
    for path in MODULES:
        tops = {name.split(".")[0] for name in imported(tree_of(path))}
        assert not tops & PICKLES, f"{name_of(path)} imports {sorted(tops & PICKLES)}"


def test_nothing_is_loaded_with_torch_load_or_run_from_text():
    for path in MODULES:
        calls = {ast.unparse(n.func) for n in ast.walk(tree_of(path)) if isinstance(n, ast.Call)}
        assert not calls & FORBIDDEN_CALLS, f"{name_of(path)} calls {calls & FORBIDDEN_CALLS}; use safetensors or JSON"


def test_launch_is_data_and_shadows_no_ros_package():
    assert list((ROOT / "launch").rglob("__init__.py")) == []


def test_the_ros_package_is_the_distribution_installed_here():
    package = (ROOT / "package.xml").read_text()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert "<name>runtime</name>" in package
    assert f"<version>{version}</version>" in package
    assert (ROOT / "resource" / "runtime").is_file()


def test_lock_pins_every_direct_requirement_exactly():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    direct = [*project["dependencies"], *extras["dev"], *extras["ros"]]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    names = {requirement.split(">")[0].split("=")[0].strip().lower() for requirement in direct}
    assert names - pinned == set()
    assert all("==" in line for line in lines)


def test_test_files_have_names_of_their_own():
    stems = [p.stem for p in TESTS if p.stem != "conftest"]
    assert sorted(stems) == sorted(set(stems))


def test_readme_leads_somewhere():
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    missing = [link for link in links if not (ROOT / link).exists()]
    assert links
    assert missing == [], "write them; docs/picture.webp is drawn by `make run` and then `make picture`"
