"""Blocking calls made submit/poll."""

import threading

import pytest

from bridge.worker import Delayed, Threaded
from core.clock import ManualClock
from core.errors import BadAnswer, ConfigError, ContractError, ServiceError


class Gate:
    """A blocking function that waits until it is let go."""

    def __init__(self) -> None:
        self.started, self.go, self.calls = threading.Event(), threading.Event(), []

    def __call__(self, asked: int) -> int:
        self.calls.append(asked)
        self.started.set()
        assert self.go.wait(10.0)
        return asked * 10


def answer_of(worker: Threaded):
    assert worker.wait(10.0)
    return worker.poll()


def raise_(error: Exception):
    raise error


def test_a_thread_answers_once():
    with Threaded(lambda x: x + 1, "adder") as worker:
        worker.submit(1)
        assert answer_of(worker) == 2
        assert worker.poll() is None


def test_the_thread_has_its_name_and_ends():
    with Threaded(lambda x: threading.current_thread().name, "the name") as worker:
        worker.submit(0)
        assert answer_of(worker) == "the name"
    assert "the name" not in {t.name for t in threading.enumerate()}


def test_submit_and_poll_return_while_it_computes():
    gate = Gate()
    with Threaded(gate, "gate") as worker:
        worker.submit(1)
        assert gate.started.wait(10.0)
        assert worker.poll() is None
        gate.go.set()
        assert answer_of(worker) == 10


def test_the_newest_request_wins():
    gate = Gate()
    with Threaded(gate, "gate") as worker:
        worker.submit(1)
        assert gate.started.wait(10.0)
        worker.submit(2)
        worker.submit(3)
        gate.go.set()
        assert answer_of(worker) == 30
    assert gate.calls == [1, 3]


def test_waiting_in_vain_ends():
    with Threaded(lambda x: x, "idle") as worker:
        assert not worker.wait(0.01)


def test_what_is_forgotten_is_never_answered():
    gate = Gate()
    with Threaded(gate, "gate") as worker:
        worker.submit(1)
        assert gate.started.wait(10.0)
        worker.forget()
        gate.go.set()
        worker.submit(2)
        assert answer_of(worker) == 20


def test_our_errors_come_out_of_poll_as_they_were():
    with Threaded(lambda x: raise_(BadAnswer("no")), "bad") as worker:
        worker.submit(1)
        with pytest.raises(BadAnswer, match="no"):
            answer_of(worker)
        assert worker.poll() is None


def test_foreign_errors_come_as_service_errors_and_the_thread_lives_on():
    with Threaded(lambda x: 1 // x, "divider") as worker:
        worker.submit(0)
        with pytest.raises(ServiceError, match="divider failed: ZeroDivisionError") as caught:
            answer_of(worker)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        worker.submit(1)
        assert answer_of(worker) == 1


def test_a_worker_that_is_not_open_refuses():
    worker = Threaded(lambda x: x, "idle")
    with pytest.raises(ContractError, match="enter it"):
        worker.submit(1)
    assert worker.stop()


def test_a_call_that_outlasts_stopping_is_left_behind_and_said():
    gate = Gate()
    with Threaded(gate, "stuck", stop_s=0.01) as worker:
        worker.submit(1)
        assert gate.started.wait(10.0)
        assert not worker.stop()
        gate.go.set()


def test_a_delayed_answer_comes_when_its_time_has_come():
    clock = ManualClock()
    worker = Delayed(lambda x: x * 2, clock, 0.1)
    worker.submit(4)
    clock.advance(0.05)
    assert worker.poll() is None
    clock.advance(0.05)
    assert worker.poll() == 8
    assert worker.poll() is None


def test_a_newer_delayed_request_starts_the_wait_again():
    clock = ManualClock()
    calls = []
    worker = Delayed(lambda x: calls.append(x) or x, clock, 0.1)
    worker.submit(1)
    clock.advance(0.09)
    worker.submit(2)
    clock.advance(0.05)
    assert worker.poll() is None
    clock.advance(0.05)
    assert worker.poll() == 2
    assert calls == [2]


def test_a_delayed_error_comes_out_of_poll():
    worker = Delayed(lambda x: raise_(ConfigError("what")), ManualClock(), 0.0)
    worker.submit(1)
    with pytest.raises(ConfigError, match="what"):
        worker.poll()
    assert worker.poll() is None


@pytest.mark.parametrize("latency_s", [-0.1, float("nan"), 100.0])
def test_an_impossible_latency_is_refused(latency_s):
    with pytest.raises(ContractError, match="latency_s"):
        Delayed(lambda x: x, ManualClock(), latency_s)
