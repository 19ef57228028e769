"""The command line: which command is asked for, its flags, its exit code.

Every command is a frozen dataclass that becomes its flags, and a function that does it. A command's module is imported
when it is called: most need torch or MuJoCo, which take seconds that `--help`, `replay` or a typing error should not.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import tyro

from core.errors import RegraspError, unknown_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Where a command lives."""

    module: str
    config: str
    """Name of its dataclass of flags."""
    function: str
    """Name of what does it: from the config to an exit code."""
    summary: str


COMMANDS = {
    "run": Command(
        module="regrasp.campaign", config="RunConfig", function="run",
        summary="the main job: seeded episodes with and without recovery; table, eval.json, report.html"),
    "eval": Command(
        module="regrasp.campaign", config="EvalConfig", function="evaluate_policy",
        summary="evaluate tasks on many seeds, in up to seven arms, under a gap profile"),
    "train": Command(
        module="regrasp.train", config="TrainConfig", function="train",
        summary="train recovery skills from the frozen policy's failures"),
    "learn demos": Command(
        module="regrasp.learn_demos", config="LearnDemosConfig", function="learn_demos",
        summary="record scripted demonstrations with pictures"),
    "learn corrections": Command(
        module="regrasp.learn_corrections", config="CorrectionsConfig", function="learn_corrections",
        summary="record what the expert would have done where the base policy went"),
    "learn bc": Command(
        module="regrasp.learn_bc", config="LearnBcConfig", function="learn",
        summary="train the base policy pi0-nano on scripted demonstrations"),
    "learn probe": Command(
        module="regrasp.learn_probe", config="LearnProbeConfig", function="learn_probe",
        summary="train the embedded failure probe on the frozen policy"),
    "learn finetune": Command(
        module="regrasp.learn_finetune", config="FinetuneConfig", function="learn_finetune",
        summary="fine-tune the base policy on its own failures: an arm of evaluations to compare with"),
    "learn surrogate": Command(
        module="regrasp.learn_surrogate", config="LearnSurrogateConfig", function="learn_surrogate",
        summary="train the state policy that stands in for the base policy in training"),
    "compile": Command(
        module="regrasp.compiling", config="CompileConfig", function="compile_descriptor",
        summary="compile a recovery descriptor to a hashed reward specification"),
    "synthesise": Command(
        module="regrasp.synthesise", config="SynthesiseConfig", function="make_reward",
        summary="make the reward of one failure: four questions to a model, or the diagnosis table"),
    "spec-diff": Command(
        module="regrasp.compiling", config="SpecDiffConfig", function="diff_specs",
        summary="what differs between two reward specifications"),
    "replay": Command(
        module="regrasp.replaying", config="ReplayConfig", function="replay_episodes",
        summary="compute recorded episodes again; every decision must be equal to the bit"),
    "report": Command(
        module="regrasp.campaign", config="ReportConfig", function="report",
        summary="write figures and report of an existing run again"),
    "results": Command(
        module="regrasp.results", config="ResultsConfig", function="results",
        summary="write docs/results.md, its tables and plots, from evaluations"),
    "up": Command(
        module="regrasp.up", config="UpConfig", function="up",
        summary="bring up a robot's whole stack, on a twin or an arm; Ctrl-C stops it in order"),
    "doctor": Command(
        module="regrasp.doctor_command", config="DoctorConfig", function="doctor",
        summary="check that this machine is ready, with remedies"),
    "twin": Command(
        module="regrasp.twin", config="TwinConfig", function="twin",
        summary="run a simulated control box with a cell behind it, for the SDK and the whole stack"),
    "bench sim": Command(
        module="regrasp.bench", config="BenchSimConfig", function="bench_sim",
        summary="simulation steps per CPU-second and the grasp gate"),
    "bench train": Command(
        module="regrasp.bench_train", config="BenchTrainConfig", function="bench_train",
        summary="recovery training end to end: environment steps per CPU-second"),
    "bench ipc": Command(
        module="regrasp.bench_ipc", config="BenchIpcConfig", function="bench_ipc",
        summary="time of an image and a state to another process: ring, ZeroMQ, ROS 2"),
    "bench loop": Command(
        module="regrasp.bench_loop", config="BenchLoopConfig", function="bench_loop",
        summary="the 100 Hz beat under load: lateness with and without real-time scheduling"),
    "bench record": Command(
        module="regrasp.bench_record", config="BenchRecordConfig", function="bench_record",
        summary="record two cameras as video: frames kept and dropped, share of a core"),
    "bench soak": Command(
        module="regrasp.bench_soak", config="BenchSoakConfig", function="bench_soak",
        summary="the main job on the running robot for a long time: nothing may grow"),
    "bench faults": Command(
        module="regrasp.bench_faults", config="BenchFaultsConfig", function="bench_faults",
        summary="break a running robot in every way in the table, and compare"),
    "bench estop": Command(
        module="regrasp.bench_estop", config="BenchEstopConfig", function="bench_estop",
        summary="the emergency stop: from its topic to the stopped controller, on a twin in motion"),
}  # fmt: skip
"""Every command by the words that call it."""

DONE, WRONG_USE, INTERRUPTED = 0, 2, 130
_HELP = ("-h", "--help")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Exit codes: 0 done, 1 a check or task failed, 2 wrong use, 130 interrupted.

    Args:
        argv: Arguments without the program's name; the process's own when None.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or (words[-1] in _HELP and not _is_command(words)):
        print(usage())
        return DONE if words else WRONG_USE
    try:
        name, rest = _split(words)
        return _call(name, rest)
    except RegraspError as error:
        print(f"regrasp: {error}", file=sys.stderr)
        return WRONG_USE
    except KeyboardInterrupt:
        print("regrasp: interrupted; what was finished is kept", file=sys.stderr)
        return INTERRUPTED


def usage() -> str:
    """Returns the list of commands."""
    lines = [f"  regrasp {name:<16} {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: regrasp COMMAND [--help] [flags]", "", *lines])


def _is_command(words: list[str]) -> bool:
    return words[0] in COMMANDS or " ".join(words[:2]) in COMMANDS


def _split(words: list[str]) -> tuple[str, list[str]]:
    """Returns the command's name, one word or two, and its arguments."""
    for count in (2, 1):
        name = " ".join(words[:count])
        if name in COMMANDS:
            return name, words[count:]
    family = [name for name in COMMANDS if name.startswith(f"{words[0]} ")]
    raise unknown_name("command", " ".join(words[: 2 if family else 1]), family or COMMANDS)


def _call(name: str, rest: list[str]) -> int:
    command = COMMANDS[name]
    module = import_module(command.module)
    function: Callable[[Any], int] = getattr(module, command.function)
    config = tyro.cli(getattr(module, command.config), prog=f"regrasp {name}", args=rest)
    return function(config)


if __name__ == "__main__":
    sys.exit(main())
