"""Where shipped models lie, and how their identity is written. Called by every command."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from core.errors import ConfigError

VERSION = "0.1.0"
CHECKOUT_MODELS = Path(__file__).resolve().parent.parent / "models"
"""Models beside the sources; there when regrasp runs from a checkout."""
AUTHORITY_FOLDER = "authority"
"""Inside a folder of skills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Folder of trained models: what `models/` of this project looks like."""

    root: Path

    @property
    def base(self) -> Path:
        """The frozen image policy pi0-nano."""
        return self.root / "pi0-nano"

    @property
    def finetuned(self) -> Path:
        """The same policy after more behaviour cloning on its own failures; only an arm of evaluations."""
        return self.root / "pi0-nano-finetuned"

    def surrogate(self, task: str) -> Path:
        """The state policy that stands in for it in `task` during residual training and in CI."""
        return self.root / "surrogate" / task

    def probe(self, task: str) -> Path:
        """The embedded failure probe of `task`."""
        return self.root / "probe" / task

    def authority_bank(self, task: str) -> Path:
        """A few failure states of every mode of `task`, for the authority test at load time."""
        return self.skills(task) / AUTHORITY_FOLDER

    def skills(self, task: str, variant: str = "") -> Path:
        """The residual skills of `task`; a variant was trained otherwise and is only an arm of evaluations."""
        return self.root / (f"skills-{variant}" if variant else "skills") / task


def find_models(given: Path | None) -> Models:
    """Returns the models folder: the one given, the checkout's, or the installed one.

    Raises:
        ConfigError: None of them exists.
    """
    roots = [Path(sys.prefix), *Path(__file__).resolve().parents]  # a virtual environment's, or a colcon workspace's
    places = [given] if given else [CHECKOUT_MODELS, *(root / "share" / "regrasp" / "models" for root in roots)]
    for place in places:
        if place.is_dir():
            return Models(root=place)
    raise ConfigError(
        f"no models folder at {', '.join(map(str, places[:2]))}; pass --models DIR or train with `make train`"
    )


def code_version() -> str:
    """Returns version and commit of this checkout, the version alone when it is not one."""
    here = Path(__file__).resolve().parent
    if shutil.which("git") is None:
        return VERSION
    asked = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return f"{VERSION}+{asked.stdout.strip()}" if asked.returncode == 0 else VERSION


def files_hash(folder: Path) -> str:
    """Returns the SHA-256 of the JSON files in a folder, with their names, hex; they name the hashes of the rest."""
    parts = [f"{p.relative_to(folder)}\n{p.read_text()}" for p in sorted(folder.glob("*.json"))]
    return text_hash("\n".join(parts))


def text_hash(text: str) -> str:
    """Returns the SHA-256 of a text, hex."""
    return sha256(text.encode()).hexdigest()
