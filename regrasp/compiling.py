"""`regrasp compile` and `regrasp spec-diff`: descriptors become hashed rewards, printed as a tree; two are compared."""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from core.errors import ArtifactError, ConfigError
from core.rewards import RewardSpec
from core.subtasks import Manner
from regrasp.task_registry import find_task
from residual.compile import compile_reward
from residual.fitting import fit_of
from residual.outline import tell_spec
from residual.spec_diff import spec_diff
from residual.spec_io import descriptor_from_json, spec_from_json, spec_to_json
from residual.stages import Fit

SAME, DIFFERENT = 0, 1


@dataclass(frozen=True, kw_only=True)
class CompileConfig:
    """Compile a recovery descriptor (JSON) to a reward specification; the same descriptor gives the same hash."""

    descriptor: tyro.conf.Positional[Path]
    """JSON file with at least "mode" and "stage"; a missing "mask" means the mode's default terms."""
    manner: Manner = Manner.PLACE
    """How the sub-task in which it failed is done, where no task says so."""
    task: str = ""
    """Task whose sizes the reward is fitted to; small things on a plate when not given."""
    subtask: int = 0
    """Number of the task's sub-task that failed, from 0."""
    out: Path | None = None
    """File to write the specification to (JSON); only the tree is printed when not given."""
    json: bool = False
    """Print the specification itself in place of the tree."""


@dataclass(frozen=True, kw_only=True)
class SpecDiffConfig:
    """Compare two reward specifications; exit code 0 when they are the same reward, 1 when they differ."""

    before: tyro.conf.Positional[Path]
    """JSON file that `regrasp compile` or `regrasp train` wrote."""
    after: tyro.conf.Positional[Path]
    """The other one."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What is compiled for."""

    manner: Manner
    fit: Fit = field(default_factory=Fit)


def compile_descriptor(config: CompileConfig) -> int:
    """Compiles; returns the exit code."""
    work = _work(config)
    descriptor = descriptor_from_json(_read("descriptor", config.descriptor), work.manner)
    spec = compile_reward(descriptor, manner=work.manner, fit=work.fit)
    print(spec_to_json(spec) if config.json else tell_spec(spec))
    if config.out is not None:
        config.out.write_text(spec_to_json(spec) + "\n")
        print(f"{config.out}: {len(spec.stages)} stages, hash {spec.hash}")
    return 0


def diff_specs(config: SpecDiffConfig) -> int:
    """Prints what differs; returns the exit code."""
    before, after = (_spec(path) for path in (config.before, config.after))
    print(f"before {before.hash}\nafter  {after.hash}")
    changes = spec_diff(before, after)
    print("\n".join(map(str, changes)) if changes else "the same reward")
    return DIFFERENT if changes else SAME


def _work(config: CompileConfig) -> _Work:
    if not config.task:
        return _Work(config.manner)
    info = find_task(config.task).info
    if not 0 <= config.subtask < len(info.subtasks):
        raise ConfigError(f"--subtask {config.subtask}: task {info.name!r} has sub-tasks 0 to {len(info.subtasks) - 1}")
    sub = info.subtasks[config.subtask]
    graspable = [o.name for o in info.objects if o.graspable]
    return _Work(sub.manner, fit_of(info, sub.filled(graspable[0], graspable[-1])))


def _spec(path: Path) -> RewardSpec:
    try:
        return spec_from_json(_read("reward spec", path))
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error


def _read(what: str, path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {what} {path}: {error}; give a JSON text file") from error
