"""Several simulated arms side by side, each with the loop of a real one: physics and policy work for all at once.

Called by `learn probe`. One tick of every lane costs two thirds of what as many single cells cost. Not for evaluations:
the last bits of a policy's answer depend on who asks beside.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import TypeVar

import numpy as np

from core.arrays import Floats
from core.calibration import CalibrationBundle
from core.clock import ManualClock
from core.flow import ActionChunk, Observation
from core.robots import EE_DELTA
from core.tasks import TaskInfo
from core.worlds import Injection
from regrasp.brain import Brain, Outside
from regrasp.rollout_policy import BatchPolicy, observation_of
from runtime.config import RuntimeConfig
from runtime.loop import Loop
from sim.cameras import CellCameras
from sim.world import BatchWorld

T = TypeVar("T")


class Lane:
    """One arm among several: its robot and policy doors, and its loop. Its episode is started by `Lanes`.

    Args:
        world: World of all lanes.
        cameras: Open cameras of the same cell.
        i: Which world is this one's.
        policy_id: name@hash of the policy.
    """

    def __init__(self, world: BatchWorld, cameras: CellCameras, i: int, policy_id: str) -> None:
        self.world, self.i = world, i
        self._cameras, self._policy_id = cameras, policy_id
        self.asked: Observation | None = None
        """What the policy is to answer."""
        self.chunk: ActionChunk | None = None
        """What it answered, until it is polled."""
        self.begin(i, None)

    @property
    def policy_id(self) -> str:
        """name@hash of the policy."""
        return self._policy_id

    def begin(self, seed: int, injection: Injection | None) -> None:
        """Begins a new episode; the clock starts at 0."""
        self.world.reset(np.array([self.i]), np.array([seed]))
        self.world.inject(self.i, injection, seed=seed)
        self.clock = ManualClock()
        self.action = EE_DELTA.still(1.0)
        """What to do in the coming control period."""
        self.reset()

    def read(self) -> Observation:
        """Returns what is measured now, with pictures."""
        pictures = self._cameras.render(self.world, self.i)
        instruction = self.world.instruction(self.i)
        return observation_of(self.world.state(), self.i, instruction, pictures, self.clock.now_ns())

    def send(self, action: Floats) -> Floats:
        """Notes what to do in the coming control period, which is run for all lanes together."""
        self.action = EE_DELTA.clip(np.asarray(action, dtype=np.float64))
        return self.action

    def hold(self) -> None:
        """Stops where it is and keeps the gripper as it is."""
        self.world.hold(np.array([self.i]))
        self.action = EE_DELTA.still(float(self.world.state().gripper_command[self.i]))

    def submit(self, obs: Observation) -> None:
        """Asks for a chunk, which is there in the next control period."""
        self.asked = obs

    def poll(self) -> ActionChunk | None:
        """Returns a finished chunk once, else None."""
        chunk, self.chunk = self.chunk, None
        return chunk

    def reset(self) -> None:
        """Forgets requests and answers."""
        self.asked, self.chunk = None, None


class Lanes:
    """N arms in one world of N cells.

    Args:
        world: The cells.
        cameras: Open cameras of the same cell.
        policy: Drives all of them.
        policy_id: Its name@hash.
        bundle: The cell's calibration.
    """

    def __init__(
        self, world: BatchWorld, cameras: CellCameras, policy: BatchPolicy, policy_id: str, bundle: CalibrationBundle
    ) -> None:
        self.info: TaskInfo = world.task.info
        self._world, self._policy = world, policy
        self._lanes = [Lane(world, cameras, i, policy_id) for i in range(world.n)]
        self._brain = Brain(self.info, RuntimeConfig(), bundle, None)

    def loop(self, lane: Lane) -> Loop:
        """Returns the loop of a lane's episode: the policy alone, guarded and watched by nobody."""
        course = self.info.course(self._world.instruction(lane.i))
        outside = Outside(robot=lane, policy=lane, clock=lane.clock, tracker=self._brain.tracker())
        return self._brain.loop(course, outside, recover=False)

    def live(self, episodes: Sequence[Generator[None, Lane, T]]) -> Iterator[T]:
        """Lives through episodes, as many at a time as there are lanes; yields what each returns, as they end.

        Args:
            episodes: Each is sent its lane, then yields once for each control period that is to be run.
        """
        waiting = iter(episodes)
        running: dict[int, Generator[None, Lane, T]] = {}
        self._fill(running, waiting)
        while running:
            self._step()
            for i, episode in list(running.items()):
                try:
                    next(episode)
                except StopIteration as end:
                    del running[i]
                    yield end.value
            self._fill(running, waiting)

    def _fill(self, running: dict[int, Generator[None, Lane, T]], waiting: Iterator[Generator[None, Lane, T]]) -> None:
        """Gives free lanes to those that wait, up to their first control period."""
        for lane in self._lanes:
            if lane.i not in running and (episode := next(waiting, None)) is not None:
                next(episode)
                episode.send(lane)
                running[lane.i] = episode

    def _step(self) -> None:
        asking = [lane for lane in self._lanes if lane.asked is not None]
        if asking:
            chunks = self._policy.infer_batch([lane.asked for lane in asking if lane.asked is not None])
            for lane, chunk in zip(asking, chunks, strict=True):
                lane.asked, lane.chunk = None, chunk
        self._world.step(np.stack([lane.action for lane in self._lanes]))
        for lane in self._lanes:
            lane.clock.advance(EE_DELTA.dt_s)
