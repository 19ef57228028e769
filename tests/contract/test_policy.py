"""What every `Policy` must keep."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bridge.pi0.policy import Pi0Policy
from bridge.policy_server import PolicyServer
from bridge.policy_terms import PolicyIdentity
from bridge.remote_policy import RemotePolicy, RemotePolicyConfig
from bridge.worker import BlockingPolicy, DelayedPolicy, ThreadedPolicy
from core.clock import ManualClock
from core.fakes import FakeRobot
from core.flow import ActionChunk, Observation
from core.ports import Policy
from core.robots import EE_DELTA


class Still:
    """A blocking policy that keeps the arm where it is."""

    policy_id = "still@0"

    def __init__(self) -> None:
        self.resets = 0

    def infer(self, obs: Observation) -> ActionChunk:
        return ActionChunk(obs_t_ns=obs.t_ns, values=np.zeros((3, 7)), dt_s=0.05, policy_id=self.policy_id)

    def reset(self) -> None:
        self.resets += 1


@dataclass
class Case:
    policy: Policy
    wait: Callable[[], None]
    """Lets the time pass that an answer needs."""


def assert_answered(policy: ThreadedPolicy | RemotePolicy) -> None:
    assert policy.wait(10.0)


@contextmanager
def served(base: BlockingPolicy, folder: Path) -> Iterator[RemotePolicy]:
    """A policy behind a real socket; its server turns in a thread of this process."""
    endpoint, done = f"ipc://{folder}/policy", threading.Event()
    identity = PolicyIdentity(policy_id=base.policy_id, space=EE_DELTA, dt_s=EE_DELTA.dt_s, cameras={"front": (64, 64)})
    with PolicyServer(base, identity, endpoint) as server:

        def turn() -> None:
            while not done.is_set():
                server.turn(0.05)

        thread = threading.Thread(target=turn, name="policy server")
        thread.start()
        try:
            with RemotePolicy(RemotePolicyConfig(endpoint=endpoint, deadline_s=10.0, silence_s=10.0)) as policy:
                yield policy
        finally:
            done.set()
            thread.join(5.0)


@pytest.fixture(params=["delayed pi0", "threaded pi0", "remote pi0", "delayed still", "threaded still", "remote still"])
def case(request, untrained_nano, tmp_path) -> Iterator[Case]:
    way, name = request.param.split()
    base = Pi0Policy.load(untrained_nano) if name == "pi0" else Still()
    if way == "remote":
        with served(base, tmp_path) as policy:
            yield Case(policy, lambda: assert_answered(policy))
        return
    if way == "delayed":
        clock = ManualClock()
        yield Case(DelayedPolicy(base, clock, 0.1), lambda: clock.advance(0.1))
        return
    with ThreadedPolicy(base) as policy:
        yield Case(policy, lambda: assert_answered(policy))


def seen(t_ns: int) -> Observation:
    rng = np.random.default_rng(t_ns)
    images = {c: rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for c in ("front", "wrist")}
    with FakeRobot(ManualClock(t_ns), instruction="put the apple on the plate", images=images) as robot:
        return robot.read()


def test_it_is_a_policy_with_an_identity(case):
    assert isinstance(case.policy, Policy)
    name, _, version = case.policy.policy_id.partition("@")
    assert name
    assert version


def test_nothing_is_answered_that_was_not_asked(case):
    assert case.policy.poll() is None


def test_an_answer_comes_once_and_belongs_to_its_observation(case):
    case.policy.submit(seen(40))
    case.wait()
    chunk = case.policy.poll()
    assert chunk is not None
    assert chunk.obs_t_ns == 40
    assert chunk.policy_id == case.policy.policy_id
    assert chunk.values.shape[1] == 7
    assert np.isfinite(chunk.values).all()
    assert case.policy.poll() is None


def test_a_newer_request_replaces_an_older_one(case):
    case.policy.submit(seen(1))
    case.policy.submit(seen(2))
    case.wait()
    chunk = case.policy.poll()
    assert chunk is not None
    assert chunk.obs_t_ns == 2
    assert case.policy.poll() is None


def test_reset_forgets_what_was_asked(case):
    case.policy.submit(seen(1))
    case.policy.reset()
    assert case.policy.poll() is None
    case.policy.submit(seen(3))
    case.wait()
    chunk = case.policy.poll()
    assert chunk is not None
    assert chunk.obs_t_ns == 3


def test_it_answers_the_same_question_alike(case):
    answers = []
    for _ in range(2):
        case.policy.submit(seen(7))
        case.wait()
        answers.append(case.policy.poll())
    assert np.allclose(answers[0].values, answers[1].values, atol=1e-6)


def test_reset_reaches_the_base():
    base = Still()
    DelayedPolicy(base, ManualClock(), 0.0).reset()
    assert base.resets == 1
    with ThreadedPolicy(base) as policy:
        policy.reset()
        policy.submit(seen(1))
        assert policy.wait(10.0)
    assert base.resets == 2


def test_reset_reaches_a_served_base_before_it_computes_again(tmp_path):
    base = Still()
    with served(base, tmp_path) as policy:
        for count, t_ns in enumerate((1, 2, 3)):
            policy.reset()
            policy.submit(seen(t_ns))
            assert policy.wait(10.0)
            assert base.resets == count + 1
        policy.submit(seen(4))
        assert policy.wait(10.0)
    assert base.resets == 3


def test_a_threaded_policy_leaves_no_thread():
    before = threading.active_count()
    with ThreadedPolicy(Still()) as policy:
        policy.submit(seen(1))
    assert threading.active_count() == before
