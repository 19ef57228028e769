"""A node's process that does nothing but live, for tests of the supervisor: `python still_node.py NAME [ros args]`."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus
from std_srvs.srv import Trigger

from bridge.realtime import enter_realtime
from bridge.ros.node import opened
from bridge.ros.parameters import parameter
from core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class StillConfig:
    refuses: bool = parameter(False, says="Whether it refuses to be configured.")


class StillWork:
    def __init__(self, refuses: bool) -> None:
        self._refuses = refuses

    def configure(self) -> None:
        if self._refuses:
            raise ConfigError("told to refuse")

    def activate(self) -> None: ...
    def deactivate(self) -> None: ...
    def cleanup(self) -> None: ...
    def diagnose(self) -> Sequence[DiagnosticStatus]:
        return ()


def main(name: str, args: Sequence[str]) -> int:
    with opened(name, StillConfig, args) as (shell, config):
        shell.attach(StillWork(config.refuses))

        def hold(_: Trigger.Request, answer: Trigger.Response) -> Trigger.Response:
            print(f"{name}: held", flush=True)  # noqa: T201, read by the test
            answer.success = True
            return answer

        shell.create_service(Trigger, "~/hold", hold)
        while shell.running:
            now = time.monotonic_ns()
            shell.pulse(now)
            shell.serve_until(now + 20_000_000)
    return 0


if __name__ == "__main__":
    enter_realtime(30, probe_s=0.01)  # as the nodes it stands for: a busy machine must not make it look dead
    sys.exit(main(sys.argv[1], [sys.argv[0], *sys.argv[2:]]))
