"""Makes a blocking call submit/poll: beside the loop in a thread, or after a fixed latency of simulated time.

`regrasp` wraps a blocking policy (`policy_id`, `infer`, `reset`) with `ThreadedPolicy` on a real robot and
with `DelayedPolicy` in simulation, where it must answer at the same tick on every machine.
"""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from core.arrays import in_range
from core.clock import Clock
from core.errors import ContractError, RegraspError, ServiceError
from core.flow import ActionChunk, Observation

log = logging.getLogger(__name__)

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class BlockingPolicy(Protocol):
    """A policy that computes while its caller waits."""

    @property
    def policy_id(self) -> str:
        """name@hash of the checkpoint."""
        ...

    def infer(self, obs: Observation) -> ActionChunk:
        """Returns a chunk."""
        ...

    def reset(self) -> None:
        """Forgets its memory: a new episode starts."""
        ...


class Threaded(Generic[Asked, Answer]):
    """One blocking function in one named thread, while it is open as a context manager.

    The newest request wins: an older one that waits is dropped, one that is being computed loses its answer.

    Args:
        infer: The blocking function; called in the thread only, one call at a time.
        name: Of the thread.
        stop_s: How long leaving waits for a call under way [s].
        told: Called in the thread after each call has ended, to wake whoever sleeps on something else than `wait`.
    """

    def __init__(
        self,
        infer: Callable[[Asked], Answer],
        name: str,
        *,
        stop_s: float = 5.0,
        told: Callable[[], None] | None = None,
    ) -> None:
        self._infer, self._name, self._stop_s, self._told = infer, name, stop_s, told
        self._changed = threading.Condition()
        self._waiting: tuple[int, Asked] | None = None
        self._ready: Answer | RegraspError | None = None
        self._newest = 0
        self._open = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._open = True
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> bool:
        """Ends the thread; returns False when the call under way outlasted `stop_s` and was left behind."""
        with self._changed:
            self._open, self._waiting = False, None
            self._changed.notify_all()
        if self._thread is None:
            return True
        self._thread.join(self._stop_s)
        ended = not self._thread.is_alive()
        if not ended:
            log.warning("thread %s still computes after %.1f s and was left behind", self._name, self._stop_s)
        return ended

    def submit(self, asked: Asked) -> None:
        """Asks; returns at once and forgets whatever was asked before.

        Raises:
            ContractError: Not open.
        """
        with self._changed:
            if not self._open:
                raise ContractError(f"{self._name} is not running; enter it with `with`")
            self._newest += 1
            self._waiting, self._ready = (self._newest, asked), None
            self._changed.notify_all()

    def poll(self) -> Answer | None:
        """Returns the answer to the newest request once, else None; raises what the function raised, once.

        Raises:
            RegraspError: As raised by the function; anything else it raised comes as a `ServiceError`.
        """
        with self._changed:
            ready, self._ready = self._ready, None
        if isinstance(ready, RegraspError):
            raise ready
        return ready

    def wait(self, timeout_s: float) -> bool:
        """Waits for an answer, for callers that have the time; returns whether `poll` will give one.

        Args:
            timeout_s: How long at most [s].
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._ready is not None, timeout_s)

    def forget(self) -> None:
        """Drops request and answer."""
        with self._changed:
            self._newest += 1
            self._waiting = self._ready = None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or not self._open)
                if self._waiting is None:
                    return
                (number, asked), self._waiting = self._waiting, None
            answer = _answer(self._infer, asked, self._name)
            with self._changed:
                if number == self._newest:
                    self._ready = answer
                    self._changed.notify_all()
            if self._told is not None:
                self._told()


def _answer(infer: Callable[[Asked], Answer], asked: Asked, name: str) -> Answer | RegraspError:
    """Calls `infer`; nothing may escape into the thread, so an error becomes the answer."""
    try:
        return infer(asked)
    except RegraspError as error:
        return error
    except Exception as error:
        wrapped = ServiceError(f"{name} failed: {type(error).__name__}: {error}; see the log")
        wrapped.__cause__ = error
        log.exception("%s failed", name)
        return wrapped


class Delayed(Generic[Asked, Answer]):
    """One blocking function whose answer arrives when the clock has passed submit time plus latency.

    It computes in `poll`, on the caller's thread: for simulated time, where waiting costs nothing.

    Args:
        infer: The blocking function.
        clock: The loop's clock.
        latency_s: From `submit` to the answer [s].
    """

    def __init__(self, infer: Callable[[Asked], Answer], clock: Clock, latency_s: float) -> None:
        self._infer, self._clock = infer, clock
        self._latency_ns = round(in_range("latency_s [s]", latency_s, 0.0, 60.0) * 1e9)
        self._waiting: tuple[int, Asked] | None = None

    def submit(self, asked: Asked) -> None:
        """Asks, at the clock's present instant; forgets whatever was asked before."""
        self._waiting = (self._clock.now_ns() + self._latency_ns, asked)

    def poll(self) -> Answer | None:
        """Returns the answer once its time has come, else None; raises what the function raises."""
        if self._waiting is None or self._clock.now_ns() < self._waiting[0]:
            return None
        (_, asked), self._waiting = self._waiting, None
        return self._infer(asked)

    def forget(self) -> None:
        """Drops the request."""
        self._waiting = None


class ThreadedPolicy:
    """A `core.ports.Policy` that computes in its own thread; open it with `with`.

    Args:
        base: A blocking policy; used by the thread alone from now on.
        stop_s: How long leaving waits for a computation under way [s].
    """

    def __init__(self, base: BlockingPolicy, *, stop_s: float = 5.0) -> None:
        self._base = base
        self._restart = threading.Event()
        self._worker = Threaded[Observation, ActionChunk](self._compute, f"policy {base.policy_id}", stop_s=stop_s)

    def __enter__(self) -> Self:
        self._worker.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._worker.stop()

    @property
    def policy_id(self) -> str:
        """name@hash of the checkpoint."""
        return self._base.policy_id

    def submit(self, obs: Observation) -> None:
        """Asks for a chunk; returns at once."""
        self._worker.submit(obs)

    def poll(self) -> ActionChunk | None:
        """Returns a finished chunk once, else None; raises `RegraspError` when computing it failed."""
        return self._worker.poll()

    def wait(self, timeout_s: float) -> bool:
        """Waits for a chunk, at most `timeout_s` [s], e.g. before the first tick; returns whether `poll` gives one."""
        return self._worker.wait(timeout_s)

    def reset(self) -> None:
        """Forgets requests; the base is reset before it computes again."""
        self._worker.forget()
        self._restart.set()

    def _compute(self, obs: Observation) -> ActionChunk:
        if self._restart.is_set():
            self._restart.clear()
            self._base.reset()
        return self._base.infer(obs)


class DelayedPolicy:
    """A `core.ports.Policy` that answers after a fixed latency of the loop's clock, the same on every machine.

    Args:
        base: A blocking policy.
        clock: The loop's clock.
        latency_s: From `submit` to the chunk [s].
    """

    def __init__(self, base: BlockingPolicy, clock: Clock, latency_s: float) -> None:
        self._base = base
        self._worker = Delayed[Observation, ActionChunk](base.infer, clock, latency_s)

    @property
    def policy_id(self) -> str:
        """name@hash of the checkpoint."""
        return self._base.policy_id

    def submit(self, obs: Observation) -> None:
        """Asks for a chunk; returns at once."""
        self._worker.submit(obs)

    def poll(self) -> ActionChunk | None:
        """Returns the chunk once the latency has passed, else None; raises what the base raises."""
        return self._worker.poll()

    def reset(self) -> None:
        """Forgets requests and resets the base."""
        self._worker.forget()
        self._base.reset()
