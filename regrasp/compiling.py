"""`regrasp compile`: a recovery descriptor becomes a reward specification, hashed; or is refused with the reason."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from core.errors import ConfigError
from residual.compile import compile_reward
from residual.spec_io import descriptor_from_json, spec_to_json


@dataclass(frozen=True, kw_only=True)
class CompileConfig:
    """Compile a recovery descriptor (JSON) to a reward specification; the same descriptor gives the same hash."""

    descriptor: tyro.conf.Positional[Path]
    """JSON file with at least "mode" and "stage"; a missing "mask" means the mode's default terms."""
    out: Path | None = None
    """File to write the specification to; standard output when not given."""


def compile_descriptor(config: CompileConfig) -> int:
    """Compiles; returns the exit code."""
    try:
        text = config.descriptor.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read descriptor {config.descriptor}: {error}; give a JSON text file") from error
    spec = compile_reward(descriptor_from_json(text))
    if config.out is None:
        print(spec_to_json(spec))
    else:
        config.out.write_text(spec_to_json(spec) + "\n")
        print(f"{config.out}: {len(spec.stages)} stages, hash {spec.hash}")
    return 0
