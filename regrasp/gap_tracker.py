"""A tracker made worse than it is: noise and dropouts of a gap profile. Put in by `stack`."""

from dataclasses import replace

import numpy as np

from core.arrays import Floats, in_range
from core.flow import Observation
from core.ports import Tracker
from core.scene import SceneState, TrackedObject


class GapTracker:
    """Adds noise to every new sighting and loses some; implements `core.ports.Tracker`.

    Args:
        tracker: What really looks.
        noise_m: Standard deviation of the error of a sighting, per axis [m].
        dropout: Probability that an object is not found in a tick; it is then reported as last seen, at that age.
        seed: Of both.
    """

    def __init__(self, tracker: Tracker, *, noise_m: float, dropout: float, seed: int) -> None:
        in_range("noise_m [m]", noise_m, 0.0, 1.0)
        in_range("dropout", dropout, 0.0, 1.0)
        self._tracker, self._noise_m, self._dropout, self._seed = tracker, noise_m, dropout, seed
        self._begin()

    def track(self, obs: Observation) -> SceneState:
        """Returns where everything seems to be."""
        scene = self._tracker.track(obs)
        found = {name: self._seen(name, thing) for name, thing in scene.objects.items()}
        return replace(scene, objects={name: thing for name, thing in found.items() if thing is not None})

    def reset(self) -> None:
        """Forgets what was seen: a new episode starts, with the same randomness."""
        self._tracker.reset()
        self._begin()

    def _begin(self) -> None:
        self._rng = np.random.default_rng(self._seed)
        self._last: dict[str, TrackedObject] = {}
        self._error: dict[str, tuple[int, Floats]] = {}

    def _seen(self, name: str, thing: TrackedObject) -> TrackedObject | None:
        """Returns an object as reported, None while it was never found. Each sighting has one error of its own."""
        lost, fresh = self._rng.random() < self._dropout, self._rng.standard_normal(3) * self._noise_m
        if lost:
            return self._last.get(name)
        sighted_ns, error = self._error.get(name, (-1, fresh))
        if sighted_ns != thing.t_ns:
            error = fresh
        self._error[name] = (thing.t_ns, error)
        self._last[name] = replace(thing, pos_in_base=thing.pos_in_base + error)
        return self._last[name]
