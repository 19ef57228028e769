"""The commands as a user calls them: what is wrong is said in one line, with what to do, and never with a traceback."""

import json
from pathlib import Path

import pytest

from regrasp.cli import COMMANDS, main
from residual.library import LIBRARY


def _said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    try:
        code = main(words)
    except SystemExit as error:
        code = int(error.code or 0)
    out, err = capsys.readouterr()
    return code, out + err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = _said(capsys, "--help")
    assert code == 0
    assert all(f"regrasp {name}" in text for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_is_explained(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = _said(capsys, *name.split(), "--help")
    assert code == 0
    assert "usage: regrasp " + name in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("rnu",), "did you mean 'run'"),
        (("learn", "bq"), "did you mean 'learn bc'"),
        (("eval", "--tasks", "fruit_on_plat", "--episodes", "1"), "did you mean 'fruit_on_plate'"),
        (("train", "--modes", "mised_grasp"), "did you mean 'missed_grasp'"),
        (("run", "--models", "/nowhere"), "no models folder at /nowhere"),
        (("replay", "/nowhere/x.mcap"), "/nowhere/x.mcap"),
        (("report", "--out", "/nowhere"), "no evaluation log"),
        (("compile", "/nowhere/d.json"), "cannot read descriptor"),
    ],
)
def test_a_users_mistake_is_named(words: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = _said(capsys, *words)
    assert code == 2
    assert expected in text
    assert "Traceback" not in text


def test_an_unknown_flag_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = _said(capsys, "run", "--episods", "3")
    assert code == 2
    assert "--episodes" in text


def test_a_descriptor_compiles_to_the_same_hash_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    descriptor = tmp_path / "descriptor.json"
    descriptor.write_text(json.dumps({"mode": "drop", "stage": "approach"}))
    hashes = []
    for name in ("a.json", "b.json"):
        assert main(["compile", str(descriptor), "--out", str(tmp_path / name)]) == 0
        hashes.append(json.loads((tmp_path / name).read_text())["hash"])
    capsys.readouterr()
    assert hashes[0] == hashes[1]


def test_an_unknown_term_in_a_descriptor_names_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    descriptor = tmp_path / "descriptor.json"
    mask = {"library": LIBRARY.id, "active": ["aproach"]}
    descriptor.write_text(json.dumps({"mode": "drop", "stage": "approach", "mask": mask}))
    code, text = _said(capsys, "compile", str(descriptor))
    assert code == 2
    assert "did you mean 'approach'" in text
