"""The failure probe: fits, is calibrated, keeps its promise about false alarms on episodes it never saw."""

import numpy as np
import pytest

from core.errors import ConfigError
from core.probe import NOMINAL
from residual.probe import FittedProbe, ProbeConfig, ProbeData, fit_probe

F, ROWS = 8, 20


def episodes(count: int, kinds: tuple[str, ...], apart: float = 2.5, seed: int = 0) -> ProbeData:
    """Episodes of 20 rows: nominal first, then, in all but nominal ones, a failure that shifts one feature."""
    rng = np.random.default_rng(seed)
    x, labels, episode = [], [], []
    for e in range(count):
        kind = kinds[e % len(kinds)]
        for t in range(ROWS):
            label = NOMINAL if t < ROWS // 2 else kind
            row = rng.normal(size=F)
            if label != NOMINAL:
                row[kinds.index(kind)] += apart
            x.append(row * 10.0 + 3.0)
            labels.append(label)
            episode.append(e)
    features = np.hstack([np.array(x), np.full((len(x), 1), 7.0)])
    return ProbeData(features=features, labels=tuple(labels), episode=np.array(episode))


def fit(data: ProbeData, config: ProbeConfig | None = None) -> FittedProbe:
    return fit_probe(data, config or ProbeConfig(hidden=24), name="probe@1", layout="l@1", policy="p@1")


@pytest.fixture(scope="module")
def fitted() -> FittedProbe:
    return fit(episodes(120, (NOMINAL, "drop", "collision"), apart=4.0))


def test_it_names_the_failures_of_episodes_it_never_saw(fitted: FittedProbe) -> None:
    assert fitted.weights.labels == (NOMINAL, "collision", "drop")
    assert fitted.mode_accuracy.rate > 0.9
    assert fitted.detected.rate > 0.9
    assert fitted.confusion.sum() == ROWS * fitted.false_alarms.n
    assert np.trace(fitted.confusion) > 0.9 * fitted.confusion.sum()


def test_false_alarms_stay_near_what_is_tolerated(fitted: FittedProbe) -> None:
    assert fitted.false_alarms.ci95[0] <= ProbeConfig().false_alarms
    assert 0.5 <= fitted.weights.threshold < 1.0


def test_probabilities_are_calibrated_on_new_episodes() -> None:
    data = episodes(160, (NOMINAL, "drop"), apart=1.5)
    weights = fit(data).weights
    new = episodes(160, (NOMINAL, "drop"), apart=1.5, seed=9)
    p = weights.probabilities(new.features)
    said, right = p.max(axis=1).mean(), (p.argmax(axis=1) == [weights.labels.index(n) for n in new.labels]).mean()
    assert said == pytest.approx(right, abs=0.06)


def test_a_stricter_promise_raises_the_threshold() -> None:
    data = episodes(150, (NOMINAL, "drop"), apart=1.0)
    loose = fit(data, ProbeConfig(hidden=8, false_alarms=0.5)).weights.threshold
    strict = fit(data, ProbeConfig(hidden=8, false_alarms=0.0)).weights.threshold
    assert strict > loose


def test_two_labels_and_constant_features_work_and_the_same_seed_gives_the_same_probe() -> None:
    data = episodes(40, (NOMINAL, "drop"))
    first, second = fit(data), fit(data)
    assert first.weights.hash == second.weights.hash
    assert first.weights.probabilities(data.features) == pytest.approx(second.weights.probabilities(data.features))
    assert first.weights.probabilities(data.features).sum(axis=1) == pytest.approx(np.ones(len(data.labels)))


def test_too_few_episodes_and_crooked_data_are_refused() -> None:
    with pytest.raises(ConfigError, match="collect at least 10"):
        fit(episodes(4, (NOMINAL, "drop")))
    with pytest.raises(ConfigError, match="and a failure are needed"):
        ProbeData(features=np.zeros((2, F)), labels=(NOMINAL, NOMINAL), episode=np.zeros(2, dtype=int))
    with pytest.raises(ConfigError, match="all must be as many"):
        ProbeData(features=np.zeros((3, F)), labels=(NOMINAL, "drop"), episode=np.zeros(2, dtype=int))
