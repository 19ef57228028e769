"""`regrasp doctor`: is this machine ready, and what to do when not."""

from dataclasses import dataclass
from pathlib import Path

from regrasp.artifacts import CHECKOUT_MODELS
from regrasp.doctor import checks, exit_code, format_checks


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Check that this machine is ready, with a remedy for what is not."""

    models: Path | None = None
    """Folder of trained models; the shipped ones when not given."""
    vlm_url: str = ""
    """Root of an OpenAI-compatible endpoint to look for."""


def doctor(config: DoctorConfig) -> int:
    """Prints every check; returns 1 when a required one fails."""
    found = checks(config.models or CHECKOUT_MODELS, config.vlm_url)
    print(format_checks(found))
    return exit_code(found)
