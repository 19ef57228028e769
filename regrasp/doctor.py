"""Is this machine ready? What is checked before anything moves, each finding with its remedy.

Called by the command `regrasp doctor`. Every check is safe to run at any time and changes nothing.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from regrasp.doctor_check import Check

FREE_DISK_GB = 2.0
"""What an evaluation of 100 episodes with recordings may need [GB]."""
ENDPOINT_TIMEOUT_S = 3.0
"""How long an endpoint may take to accept a connection [s]."""
RENDER_TIMEOUT_S = 60.0
"""How long the first frame may take on a cold machine [s]."""
OLDEST_PYTHON = (3, 11)

_RENDER = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><light pos="0 0 2"/><geom size=".5" rgba="1 0 0 1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    print(int(renderer.render()[:, :, 0].max()))
"""


def checks(models: Path, endpoint: str = "", *, gl: str = "osmesa") -> list[Check]:
    """Returns every finding about this machine.

    Args:
        models: The folder of trained models.
        endpoint: Base URL of the VLM, "" when none is configured.
        gl: MuJoCo's GL library: "osmesa", "egl" or "glfw".
    """
    lock = Path(__file__).resolve().parent.parent / "requirements.txt"
    return [
        check_python(sys.version_info[:2]),
        check_packages(requires("regrasp") or []),
        *([check_lock(lock)] if lock.is_file() else []),
        check_rendering(gl),
        check_models(models),
        check_disk(Path.cwd()),
        check_endpoint(endpoint),
    ]


def check_python(found: tuple[int, int]) -> Check:
    """Checks the version of Python, (major, minor)."""
    ok = found >= OLDEST_PYTHON
    return Check(
        name="python", ok=ok, found=f"{found[0]}.{found[1]} at {sys.executable}",
        remedy="" if ok else "install Python 3.11 or newer, remove .venv and run `make test`",
    )  # fmt: skip


def check_packages(wanted: Iterable[str]) -> Check:
    """Checks that every requirement, as PEP 508 text, is installed in an allowed version; extras are left out."""
    requirements = [Requirement(text) for text in wanted]
    needed = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = [w for w in map(_unsatisfied, needed) if w]
    return Check(
        name="packages", ok=not wrong, found="; ".join(wrong) or f"{len(needed)} requirements met",
        remedy="pip install -r requirements.txt, or remove .venv and run `make test`" if wrong else "",
    )  # fmt: skip


def check_lock(lock: Path) -> Check:
    """Checks that what is installed is what `lock` pins; a local build tag such as +cpu does not matter."""
    pins = [Requirement(line) for line in lock.read_text().splitlines() if line.strip()]
    here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    wrong = [w for w in map(_unsatisfied, here) if w]
    return Check(
        name="lock", ok=not wrong, found="; ".join(wrong) or f"{len(here)} pins met",
        remedy=f".venv/bin/pip install -r {lock}; other versions may work but were not tested" if wrong else "",
        required=False,
    )  # fmt: skip


def check_rendering(gl: str) -> Check:
    """Checks that a picture can be rendered with GL library `gl`, in a process of its own: a bad driver may crash."""
    env = {**os.environ, "MUJOCO_GL": gl}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RENDER],
            env=env,
            capture_output=True,
            text=True,
            timeout=RENDER_TIMEOUT_S,
            check=False,
        )
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        ok = done.returncode == 0 and done.stdout.strip().isdigit() and int(done.stdout) > 50
    except subprocess.TimeoutExpired:
        ok, said = False, f"no picture within {RENDER_TIMEOUT_S:.0f} s"
    return Check(
        name="rendering", ok=ok, found=f"MUJOCO_GL={gl} renders" if ok else f"MUJOCO_GL={gl}: {said}",
        remedy="" if ok else "sudo apt-get install libosmesa6 and set MUJOCO_GL=osmesa",
    )  # fmt: skip


def check_models(models: Path) -> Check:
    """Checks that every file a manifest or card below `models` names is there with the SHA-256 it names."""
    documents = [(file, _document(file)) for file in sorted(models.rglob("*.json"))]
    claims = [claim for file, document in documents for claim in _claims(file.parent, file.stem, document or {})]
    wrong = [f"{file.relative_to(models)} is not a JSON object" for file, document in documents if document is None]
    wrong += [f"{path.relative_to(models)} {fault}" for path, digest in claims if (fault := _fault(path, digest))]
    if not claims:
        wrong.append(f"no model below {models}")
    return Check(
        name="models", ok=not wrong, found="; ".join(wrong) or f"{len(claims)} files match their hashes in {models}",
        remedy="restore it with `git checkout -- models`, or train it again" if wrong else "",
    )  # fmt: skip


def check_disk(folder: Path) -> Check:
    """Checks the free space where recordings go."""
    free = shutil.disk_usage(folder).free / 1e9
    ok = free >= FREE_DISK_GB
    return Check(
        name="disk", ok=ok, found=f"{free:.1f} GB free at {folder}",
        remedy="" if ok else f"free at least {FREE_DISK_GB:.0f} GB, or choose another folder with --out",
    )  # fmt: skip


def check_endpoint(url: str) -> Check:
    """Checks that the VLM's endpoint accepts a connection; without one the embedded probe names failures."""
    if not url:
        return Check(name="endpoint", ok=True, found="none configured; the embedded probe is used", remedy="")
    try:
        with socket.create_connection(_address(url), timeout=ENDPOINT_TIMEOUT_S):
            return Check(name="endpoint", ok=True, found=f"{url} accepts connections", remedy="")
    except (OSError, ValueError) as error:
        remedy = "start the server, or leave the endpoint out to use the embedded probe"
        return Check(name="endpoint", ok=False, found=f"{url}: {error}", remedy=remedy)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http or https URL")
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _unsatisfied(requirement: Requirement) -> str:
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{requirement.name} is {found}, wanted {requirement.specifier}"


def _document(file: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _claims(folder: Path, stem: str, document: dict[str, Any]) -> list[tuple[Path, str]]:
    """Returns each file named in a manifest (`"sha256": {file: digest}`) or card (`x_file` beside `x_sha256`).

    A manifest with a single `"sha256"` means the weights file of its own name; a card may lie inside its document.
    """
    document = document | card if isinstance(card := document.get("card"), dict) else document
    listed, own = document.get("sha256"), f"{stem}.safetensors"
    named = dict(listed) if isinstance(listed, dict) else {own: listed} if isinstance(listed, str) else {}
    for key, name in document.items():
        digest = document.get(f"{key.removesuffix('_file')}_sha256")
        if key.endswith("_file") and isinstance(digest, str):
            named[str(name)] = digest
    return [(folder / name, str(digest)) for name, digest in named.items()]


def _fault(path: Path, digest: str) -> str:
    if not path.is_file():
        return "is missing"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return "" if found == digest else f"has sha256 {found[:12]}, wanted {digest[:12]}"
