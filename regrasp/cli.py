"""The command line. Every command is a frozen dataclass that becomes its flags, and a function that does it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, subcommand

from core.errors import RegraspError
from regrasp.artifacts import find_models
from regrasp.bench import BenchConfig, bench
from regrasp.campaign import EvalConfig, ReportConfig, RunConfig, evaluate_policy, report, run
from regrasp.compiling import CompileConfig, compile_descriptor
from regrasp.doctor import checks, exit_code, format_checks
from regrasp.learn_bc import LearnBcConfig, learn_bc
from regrasp.learn_probe import LearnProbeConfig, learn_probe
from regrasp.learn_surrogate import LearnSurrogateConfig, learn_surrogate
from regrasp.replaying import ReplayConfig, replay_episodes
from regrasp.train import TrainConfig, train


@dataclass(frozen=True, kw_only=True)
class LearnConfig:
    """Learn the parts that are frozen before any recovery is trained."""

    what: (
        Annotated[LearnBcConfig, subcommand("bc")]
        | Annotated[LearnProbeConfig, subcommand("probe")]
        | Annotated[LearnSurrogateConfig, subcommand("surrogate")]
    )


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Check that this machine is ready, with a remedy for what is not."""

    models: Path | None = None
    """Folder of trained models; the shipped ones when not given."""
    vlm_url: str = ""
    """Root of an OpenAI-compatible endpoint to look for."""


Command = (
    Annotated[RunConfig, subcommand("run")]
    | Annotated[EvalConfig, subcommand("eval")]
    | Annotated[TrainConfig, subcommand("train")]
    | Annotated[LearnConfig, subcommand("learn")]
    | Annotated[CompileConfig, subcommand("compile")]
    | Annotated[ReplayConfig, subcommand("replay")]
    | Annotated[ReportConfig, subcommand("report")]
    | Annotated[DoctorConfig, subcommand("doctor")]
    | Annotated[BenchConfig, subcommand("bench")]
)


def learn(config: LearnConfig) -> int:
    """Learns one part; returns the exit code."""
    if isinstance(config.what, LearnBcConfig):
        learned = learn_bc(config.what)
        print(f"{learned.directory}: {learned.policy_id}")
        return 0
    return learn_probe(config.what) if isinstance(config.what, LearnProbeConfig) else learn_surrogate(config.what)


def doctor(config: DoctorConfig) -> int:
    """Prints every check; returns 1 when a required one fails."""
    found = checks(find_models(config.models).root, config.vlm_url)
    print(format_checks(found))
    return exit_code(found)


_DO: dict[type, Callable[[Any], int]] = {
    RunConfig: run, EvalConfig: evaluate_policy, TrainConfig: train, LearnConfig: learn,
    CompileConfig: compile_descriptor, ReplayConfig: replay_episodes, ReportConfig: report, DoctorConfig: doctor, BenchConfig: bench,
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Runs one command. Exit codes: 0 done, 1 a check or task failed, 2 wrong use, 130 interrupted.

    Args:
        argv: Arguments without the program's name; the process's own when None.
    """
    config = tyro.cli(Command, prog="regrasp", args=argv, config=(OmitSubcommandPrefixes, OmitArgPrefixes))
    try:
        return _DO[type(config)](config)
    except RegraspError as error:
        print(f"regrasp: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("regrasp: interrupted; what was finished is kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
