"""The policy server as its own process, and what its client does when it is killed, stopped, replaced or lies."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bridge.policy_server import checked_endpoint
from bridge.policy_terms import PolicyLink
from bridge.remote_policy import RemotePolicy, RemotePolicyConfig
from core.clock import ManualClock
from core.errors import BadAnswer, ConfigError, ServiceTimeout
from core.fakes import FakeRobot
from core.flow import ActionChunk, Observation
from core.robots import EE_DELTA
from regrasp.nodes.scripted import LIES
from runtime.chunking import flaw

PATIENCE_S = 20.0
QUICK_S = 0.05
"""No call in a tick may take longer, whatever the server does; a loaded machine is allowed for [s]."""


class ServerProcess:
    """Starts, stops and kills policy servers at one endpoint."""

    def __init__(self, folder: Path) -> None:
        self.endpoint = f"ipc://{folder}/policy"
        self._log = (folder / "server.log").open("w+")
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *flags: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "regrasp.nodes.policy_server", "--endpoint", self.endpoint, *flags]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, text=True)
        self._running.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("policy_server ready"), self.words()
        return process

    def words(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=10.0)
        self._log.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path)
    yield made
    made.close()


def client(server: ServerProcess, **times: float) -> RemotePolicy:
    settings = {"deadline_s": 5.0, "silence_s": 0.6, "heartbeat_s": 0.05} | times
    return RemotePolicy(RemotePolicyConfig(endpoint=server.endpoint, **settings))


def seen(t_ns: int) -> Observation:
    images = {c: np.full((64, 64, 3), t_ns % 251, dtype=np.uint8) for c in ("front", "wrist")}
    with FakeRobot(ManualClock(t_ns), instruction="put the apple on the plate", images=images) as robot:
        return robot.read()


def until(what: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    """Waits, tending nothing itself, until a condition holds."""
    end = time.monotonic() + patience_s
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def linked(policy: RemotePolicy, link: PolicyLink) -> bool:
    """Polls like a loop does, quickly each time, until the link is what it should be; no chunk may come meanwhile."""

    def there() -> bool:
        start = time.monotonic()
        chunk = policy.poll()
        assert time.monotonic() - start < QUICK_S
        assert chunk is None
        return policy.health.link is link

    return until(there)


def asked(policy: RemotePolicy, t_ns: int) -> ActionChunk:
    policy.submit(seen(t_ns))
    assert policy.wait(PATIENCE_S), policy.health
    chunk = policy.poll()
    assert chunk is not None
    assert chunk.obs_t_ns == t_ns
    return chunk


def test_a_killed_server_is_lost_and_its_successor_is_taken_up_again(server):
    process = server.start("--policy", "sway")
    with client(server) as policy:
        asked(policy, 1)
        process.send_signal(signal.SIGKILL)
        process.wait(10.0)
        policy.submit(seen(2))
        assert linked(policy, PolicyLink.LOST)
        assert policy.health.losses == 1
        assert "nothing heard" in policy.health.detail
        server.start("--policy", "sway")
        assert linked(policy, PolicyLink.READY)
        asked(policy, 3)


def test_a_hung_server_is_lost_and_comes_back_by_itself(server):
    process = server.start("--policy", "sway")
    with client(server) as policy:
        asked(policy, 1)
        process.send_signal(signal.SIGSTOP)
        policy.submit(seen(2))
        assert linked(policy, PolicyLink.LOST)
        assert policy.health.timeouts == 1
        process.send_signal(signal.SIGCONT)
        assert linked(policy, PolicyLink.READY)
        asked(policy, 3)


def test_submitting_never_waits_while_the_server_is_stopped(server):
    process = server.start("--policy", "sway")
    with client(server, silence_s=60.0) as policy:
        asked(policy, 1)
        process.send_signal(signal.SIGSTOP)
        images = {"front": np.zeros((480, 640, 3), dtype=np.uint8)}
        with FakeRobot(ManualClock(2), images=images) as robot:
            large = robot.read()
        for _ in range(40):
            start = time.monotonic()
            policy.submit(large)
            assert policy.poll() is None
            assert time.monotonic() - start < QUICK_S
        process.send_signal(signal.SIGCONT)
        asked(policy, 3)


def test_another_policy_at_the_same_place_is_refused_by_name(server, untrained_nano, tmp_path):
    process = server.start("--policy", "sway")
    with client(server) as policy:
        asked(policy, 1)
        process.kill()
        process.wait(10.0)
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "pi0-nano").symlink_to(untrained_nano)
        second = server.start("--models", str(tmp_path / "models"))
        assert linked(policy, PolicyLink.REFUSED)
        assert "pi0-nano@" in policy.health.detail
        assert "sway@" in policy.health.detail
        policy.submit(seen(2))
        assert policy.poll() is None
        second.kill()
        second.wait(10.0)
        server.start("--policy", "sway")
        assert linked(policy, PolicyLink.READY)
        asked(policy, 3)


def test_pi0_serves_what_it_computes_and_says_what_it_cannot(server, untrained_nano, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "pi0-nano").symlink_to(untrained_nano)
    process = server.start("--models", str(tmp_path / "models"), "--camera-px", "64")
    with client(server) as policy:
        chunk = asked(policy, 5)
        assert chunk.policy_id == policy.policy_id
        assert policy.identity.cameras == {"front": (64, 64), "wrist": (64, 64)}
        with FakeRobot(ManualClock(6), images={"front": np.zeros((64, 64, 3), np.uint8)}) as robot:
            policy.submit(robot.read())
        assert policy.poll() is None
        assert "needs 'wrist'" in policy.health.detail
        images = dict(seen(7).images)
        with FakeRobot(ManualClock(7), instruction="fetch a unicorn", images=images) as robot:
            policy.submit(robot.read())
        assert until(lambda: policy.poll() is None and "unicorn" in policy.health.detail)
        asked(policy, 8)
    process.terminate()
    assert process.wait(10.0) == 0


@pytest.mark.parametrize("lie", LIES)
def test_every_lie_is_refused_here_or_by_the_loop(server, lie):
    server.start("--policy", "sway", "--lie", lie, "--after", "0.0")
    with client(server, deadline_s=0.5) as policy:
        for t_ns in (1, 2_000_000_000):
            policy.submit(seen(t_ns))
            came = policy.wait(2.0)
            chunk = policy.poll()
        if lie in ("stale", "slow"):
            assert not came
            assert policy.health.link is PolicyLink.LATE
            expected = "from the one that was asked about" if lie == "stale" else "no answer within 0.5 s"
            assert expected in policy.health.detail
            return
        assert chunk is not None
        problem = flaw(chunk, EE_DELTA, 0.1, 2_000_000_000)
        assert re.search({"nan": "NaN", "range": "dx is 0.5 m", "shape": "shape"}[lie], problem)


def test_one_arm_at_a_time_is_served_and_a_leaver_makes_room(server):
    server.start("--policy", "sway")
    with client(server) as first:
        asked(first, 1)
        with client(server) as second:
            second.submit(seen(2))
            assert until(lambda: second.poll() is None and "another client" in second.health.detail)
            asked(first, 3)
    with client(server) as third:
        asked(third, 4)


def test_a_second_server_at_the_same_place_is_refused(server):
    server.start("--policy", "sway")
    with pytest.raises(AssertionError, match="already serves"):
        server.start("--policy", "sway")


def test_nobody_there_is_said_in_time(tmp_path):
    config = RemotePolicyConfig(endpoint=f"ipc://{tmp_path}/nobody", connect_s=0.3)
    with pytest.raises(ServiceTimeout, match="no policy server answered"), RemotePolicy(config):
        pass


def test_leaving_leaves_no_handle(server):
    server.start("--policy", "sway")
    handles = []
    for t_ns in (1, 2):
        with client(server) as policy:
            asked(policy, t_ns)
        handles.append(len(os.listdir("/proc/self/fd")))
    assert handles[0] == handles[1]


def test_only_the_expected_policy_is_met(server):
    server.start("--policy", "sway")
    with client(server) as policy:
        agreed = policy.identity
    other = type(agreed)(policy_id="pi0@1", space=agreed.space, dt_s=agreed.dt_s, cameras=agreed.cameras)
    config = RemotePolicyConfig(endpoint=server.endpoint)
    with pytest.raises(BadAnswer, match="expected pi0@1"), RemotePolicy(config, other):
        pass


@pytest.mark.parametrize("endpoint", ["tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://192.168.1.5:5555", "udp://x"])
def test_no_port_is_opened_to_others(endpoint):
    with pytest.raises(ConfigError, match="allowed: ipc"):
        checked_endpoint(endpoint)
