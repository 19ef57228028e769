"""The process `driver`: plays the person beside a simulated arm. `python -m regrasp.nodes.driver --help`.

For every seed it lays the scene out, arms the failure, starts the runtime by its service as a person would, waits until
the episode is over and scores it by the twin's truth, which nothing that drives the arm ever sees. It writes what
`regrasp run` writes: episodes.jsonl, eval.json, report.html.
"""

import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from bridge.pi0.checkpoint import load_checkpoint
from bridge.ros.client import RobotClient
from bridge.twin_control import TwinControl
from core.errors import ConfigError, DeviceError, RegraspError
from regrasp.artifacts import find_models, text_hash
from regrasp.evaluation import ArmName, Campaign, EpisodeResult
from regrasp.evaluation_log import LOG_NAME, append_result, open_log
from regrasp.figures import evaluate
from regrasp.figures_file import EVALUATION_NAME, write_evaluation
from regrasp.live_results import live_result
from regrasp.report import write_report
from regrasp.report_table import format_table
from regrasp.shards import EpisodeJob, plan
from regrasp.task_registry import find_task
from regrasp.witness import EPISODES
from runtime.record.reader import read_episode

log = logging.getLogger(__name__)

READY_S = 120.0
"""Longest wait for the graph to be complete: models load, nodes activate [s]."""
LONGEST_S = 300.0
"""Longest wait for the end of one episode, whatever its pace [s]."""
SETTLE_S = 30.0
"""Longest wait until arm and runtime are ready for the next episode [s]."""
DONE, FAILED, WRONG_USE = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class DriverConfig:
    """Run seeded episodes on a twin, in real time, and score them."""

    task: str = "fruit_on_plate"
    """Name of the task the twin plays."""
    episodes: int = 10
    """Seeds; each is lived through nominal and with one failure injected."""
    seed: int = 21_000
    """First seed."""
    arms: Literal["recovery", "both"] = "recovery"
    """With recovery only, or the base policy alone as well."""
    namespace: str = "/xarm"
    """ROS namespace of the robot."""
    control_port: int = 8700
    """Loopback port of the twin's HTTP control."""
    models: Path | None = None
    """Folder of trained models; the shipped ones when not given."""
    out: Path = Path("out/up")
    """Folder for episodes.jsonl, eval.json and report.html; the runtime records into its `episodes`."""


def drive(config: DriverConfig) -> int:
    """Runs the episodes that are not in the log yet; returns the exit code.

    Raises:
        RegraspError: The graph did not become ready, or was lost on the way.
    """
    if config.episodes < 1:
        raise ConfigError(f"--episodes {config.episodes} must be at least 1")
    info, models = find_task(config.task).info, find_models(config.models)
    policy = load_checkpoint(models.base).policy_id
    campaign = Campaign(
        task=info.name, policy=policy, tracker="image", gap="nominal", episodes=config.episodes, seed=config.seed,
        modes=info.modes, config_hash=text_hash(f"real time over ROS 2 and the xArm protocol, policy {policy}"),
    )  # fmt: skip
    config.out.mkdir(parents=True, exist_ok=True)
    lived = list(open_log(config.out / LOG_NAME, campaign))
    known = {r.key for r in lived}
    jobs = [j for j in plan(info.modes, config.episodes, config.seed) if _wanted(j, config) and j.key not in known]
    with RobotClient(config.namespace, "driver") as robot, TwinControl(config.control_port) as twin:
        session = Session(robot, twin)
        session.wait_for_graph()
        for number, job in enumerate(jobs, 1):
            result = session.live(job)
            append_result(config.out / LOG_NAME, result)
            lived.append(result)
            print(_line(number, len(jobs), result), flush=True)
    evaluation = evaluate(campaign, lived)
    write_evaluation(evaluation, config.out / EVALUATION_NAME)
    report = write_report(lived, evaluation, (), config.out)
    print(format_table(evaluation), flush=True)
    print(f"report {report}", flush=True)
    return DONE


class Session:
    """A person's dealings with one running robot.

    Args:
        robot: Its graph.
        twin: Its twin.
    """

    def __init__(self, robot: RobotClient, twin: TwinControl) -> None:
        self._robot, self._twin = robot, twin

    def wait_for_graph(self) -> None:
        """Waits until every node is up and the runtime takes orders."""
        self._robot.wait("the arm node", lambda: self._robot.arm() is not None, READY_S)
        self._robot.wait("the runtime node", lambda: self._runtime() == "idle", READY_S)

    def live(self, job: EpisodeJob) -> EpisodeResult:
        """Lays out, starts, waits, scores.

        Raises:
            RegraspError: The graph does not answer any more.
        """
        name = f"{job.arm}-{job.seed}-{job.injected or 'nominal'}"
        self._settle()
        scene = self._twin.reset(job.seed, job.injected)
        self._robot.ask("arm/rearm")
        self._robot.set("runtime", {
            "instruction": scene.instruction, "episode": name, "seed": job.seed,
            "injected": str(job.injected or ""), "recover": job.recover,
        })  # fmt: skip
        self._robot.ask("runtime/start", SETTLE_S)
        over = lambda: self._robot.facts("episode_status").get("episode") == name and self._runtime() == "idle"  # noqa: E731
        self._robot.wait(f"the end of episode {name}", over, LONGEST_S)
        truth = self._twin.truth()
        file = Path(self._robot.facts("episode_status").get("file", ""))
        return live_result(job, read_episode(file), truth, f"{EPISODES}/{file.name}")

    def _settle(self) -> None:
        """Does what a person does between episodes: looks, clears what may be cleared, releases a stop."""
        self._robot.wait("the runtime to be idle", lambda: self._runtime() == "idle", SETTLE_S)
        self._robot.ready_arm(SETTLE_S)
        self._robot.call("arm/clear_fault")  # a person looked: rules may clear as often as at first

    def _runtime(self) -> str:
        return self._robot.facts("episode_status").get("state", "")


def _wanted(job: EpisodeJob, config: DriverConfig) -> bool:
    return config.arms == "both" or job.arm == ArmName.RECOVERY


def _line(number: int, total: int, result: EpisodeResult) -> str:
    outcome = "success" if result.success else "FAILURE"
    what = result.injected or "nominal"
    return (
        f"{number}/{total} seed {result.seed} {result.arm} {what}: {outcome}, q {result.q_score:.2f}, "
        f"{result.duration_s:.1f} s, {len(result.alarms)} alarms, {result.attempts} attempts"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the process; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return drive(tyro.cli(DriverConfig, prog="driver", args=argv))
    except DeviceError as error:
        print(f"driver: {error}", file=sys.stderr)
        return FAILED
    except RegraspError as error:
        print(f"driver: {error}", file=sys.stderr)
        return WRONG_USE
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
