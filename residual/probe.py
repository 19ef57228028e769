"""Fits the embedded failure probe: a small, calibrated classifier over labelled instants. Called by `learn probe`.

Episodes, not rows, are divided into three parts: the network is fitted on the first; when to stop, the temperature and
the threshold are chosen on the second; all figures come from the third.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.neural_network import MLPClassifier

from core.arrays import Bools, Floats, Ints
from core.errors import ConfigError
from core.probe import NOMINAL, ProbeLayer, ProbeWeights
from core.recovery import Rate

TOO_SMALL = 1e-6
"""A feature whose standard deviation is below this is taken as constant and left unscaled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeConfig:
    """How the probe is fitted."""

    hidden: int = 64
    """Width of the hidden layer."""
    noise: float = 0.6
    """Standard deviation of noise on the standardised features in every pass, lest episodes be learned by heart."""
    epochs: int = 120
    """Passes over the training rows at most."""
    patience: int = 12
    """Passes without a better validation loss after which fitting stops."""
    penalty: float = 3e-3
    """Weight of the squared weights."""
    learning_rate: float = 1e-3
    """Of Adam."""
    validation: float = 0.2
    """Share of the episodes for stopping, temperature and threshold."""
    test: float = 0.2
    """Share of the episodes for the figures."""
    false_alarms: float = 0.03
    """Share of nominal episodes in which the threshold may be crossed often enough to report."""
    need: int = 3
    """A report needs this many bad rows..."""
    window: int = 4
    """...among this many in a row."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeData:
    """M labelled rows, each episode's in the order of time."""

    features: Floats
    """Shape (M, F), in their own units."""
    labels: tuple[str, ...]
    """M labels: `NOMINAL` or a failure mode."""
    episode: Ints
    """Which episode a row is from, shape (M,)."""

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.labels) == len(self.episode):
            raise ConfigError(
                f"probe data has {len(self.features)} rows, {len(self.labels)} labels and {len(self.episode)} episode "
                f"numbers; all must be as many"
            )
        if NOMINAL not in self.labels or len(set(self.labels)) < 2:
            raise ConfigError(f"probe data has labels {sorted(set(self.labels))}; {NOMINAL!r} and a failure are needed")

    def where(self, rows: Bools) -> "ProbeData":
        """Returns some of the rows."""
        chosen = np.flatnonzero(rows)
        labels = tuple(self.labels[i] for i in chosen)
        return ProbeData(features=self.features[chosen], labels=labels, episode=self.episode[chosen])


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedProbe:
    """A probe and how good it is on episodes it never saw."""

    weights: ProbeWeights
    confusion: Ints
    """Rows truly i and judged j, shape (L, L), in the order of `weights.labels`."""
    mode_accuracy: Rate
    """Failed episodes whose failure rows are mostly given their true mode, nominal not being an answer."""
    detected: Rate
    """Failed episodes in which the threshold is crossed often enough to report."""
    false_alarms: Rate
    """Episodes whose nominal rows cross it often enough to report."""


def fit_probe(
    data: ProbeData, config: ProbeConfig, *, name: str, layout: str, policy: str, trust: Floats | None = None
) -> FittedProbe:
    """Fits and calibrates a probe.

    Args:
        data: Labelled rows of many episodes, each mode and nominal in ten episodes or more.
        config: Sizes, rates, tolerated false alarms.
        name: name@version of the probe.
        layout: Version of the feature layout.
        policy: name@hash of the policy whose features the rows hold.
        trust: How much of each standardised feature the network is let see, (0, 1], shape (F,); all of it when None.

    Raises:
        ConfigError: Too few episodes for three parts with every label in each.
    """
    train, valid, test = _divided(data, config)
    labels = (NOMINAL, *sorted(set(data.labels) - {NOMINAL}))
    mean, spread = train.features.mean(axis=0), train.features.std(axis=0)
    scale = np.where(spread > TOO_SMALL, spread, 1.0) / (1.0 if trust is None else trust)
    layers = _layers(train, valid, labels, lambda x: (x - mean) / scale, config)

    def probe(temperature: float, threshold: float) -> ProbeWeights:
        return ProbeWeights(
            name=name, layout=layout, policy=policy, labels=labels, mean=mean, scale=scale, layers=layers,
            temperature=temperature, threshold=threshold,
        )  # fmt: skip

    temperature = _temperature(probe(1.0, 0.5), valid)
    threshold = _threshold(probe(temperature, 0.5), valid, config)
    return _measured(probe(temperature, threshold), test, config)


def _divided(data: ProbeData, config: ProbeConfig) -> tuple[ProbeData, ProbeData, ProbeData]:
    rng = np.random.default_rng(config.seed)
    part_of: dict[int, int] = {}
    kinds = _kinds(data)
    for kind in sorted(set(kinds.values())):
        episodes = rng.permutation([e for e, k in kinds.items() if k == kind])
        a = round(len(episodes) * config.test)
        b = a + round(len(episodes) * config.validation)
        if min(a, b - a, len(episodes) - b) < 1:
            raise ConfigError(f"{len(episodes)} episodes of {kind!r} cannot be divided in three; collect at least 10")
        part_of |= {int(e): 2 if i < a else 1 if i < b else 0 for i, e in enumerate(episodes)}
    parts = np.array([part_of[int(e)] for e in data.episode])
    return data.where(parts == 0), data.where(parts == 1), data.where(parts == 2)


def _kinds(data: ProbeData) -> dict[int, str]:
    """Returns what became of each episode: its failure, or nominal."""
    kinds: dict[int, str] = {}
    for episode, label in zip(data.episode, data.labels, strict=True):
        if label != NOMINAL or int(episode) not in kinds:
            kinds[int(episode)] = label
    return kinds


def _layers(
    train: ProbeData,
    valid: ProbeData,
    labels: tuple[str, ...],
    scaled: Callable[[Floats], Floats],
    config: ProbeConfig,
) -> tuple[ProbeLayer, ...]:
    model = MLPClassifier(
        (config.hidden,),
        alpha=config.penalty,
        learning_rate_init=config.learning_rate,
        random_state=config.seed,
        shuffle=True,
    )
    x, y = scaled(train.features), _indices(train.labels, labels)
    share = np.bincount(y, minlength=len(labels))
    weight = len(y) / (len(labels) * np.maximum(share, 1))[y]
    other, truth = scaled(valid.features), _indices(valid.labels, labels)
    layers: tuple[ProbeLayer, ...] = ()
    rng = np.random.default_rng([config.seed, 1])
    blur = config.noise * x.std(axis=0)
    best, waited = np.inf, 0
    for _ in range(config.epochs):
        model.partial_fit(
            x + blur * rng.standard_normal(x.shape), y, classes=np.arange(len(labels)), sample_weight=weight
        )
        loss = _loss(np.log(np.maximum(model.predict_proba(other), 1e-12)), truth, len(labels))
        waited = 0 if loss < best else waited + 1
        if loss < best:
            best, layers = loss, _taken(model, len(labels))
        if waited > config.patience:
            break
    return layers


def _taken(model: MLPClassifier, outputs: int) -> tuple[ProbeLayer, ...]:
    pairs = [(np.array(w), np.array(b)) for w, b in zip(model.coefs_, model.intercepts_, strict=True)]
    weight, bias = pairs[-1]
    if outputs == 2:  # one logit of a logistic output is the difference of two of a softmax
        pairs[-1] = np.hstack([np.zeros_like(weight), weight]), np.concatenate([np.zeros_like(bias), bias])
    return tuple(ProbeLayer(weight=w, bias=b) for w, b in pairs)


def _indices(names: Sequence[str], labels: tuple[str, ...]) -> Ints:
    return np.array([labels.index(n) for n in names], dtype=np.int64)


def _loss(log_p: Floats, truth: Ints, count: int) -> float:
    """Returns the mean negative log likelihood, every label counting the same."""
    nll = -log_p[np.arange(len(truth)), truth]
    return float(np.mean([nll[truth == k].mean() for k in range(count) if (truth == k).any()]))


def _temperature(weights: ProbeWeights, valid: ProbeData) -> float:
    """Returns the temperature of least loss on the validation rows. Source: Guo et al. (2017)."""
    truth = _indices(valid.labels, weights.labels)
    logits = np.log(np.maximum(weights.probabilities(valid.features), 1e-300))

    def loss(log_temperature: float) -> float:
        z = logits / np.exp(log_temperature)
        log_p = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
        return -float(log_p[np.arange(len(truth)), truth].mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


def _threshold(weights: ProbeWeights, valid: ProbeData, config: ProbeConfig) -> float:
    """Returns the lowest threshold, at least 0.5, that keeps the tolerated share of false alarms."""
    worst = sorted(_peaks(weights, valid, config, nominal=True).values(), reverse=True)
    allowed = int(config.false_alarms * len(worst))
    return float(np.clip(worst[allowed] + 1e-3, 0.5, 0.999))


def _peaks(weights: ProbeWeights, data: ProbeData, config: ProbeConfig, *, nominal: bool) -> dict[int, float]:
    """Returns per episode the highest P(failure) that enough rows of some window exceed or reach."""
    wrong = 1.0 - weights.probabilities(data.features)[:, weights.nominal_index]
    kept = np.array([(label == NOMINAL) == nominal for label in data.labels])
    peaks = {}
    for episode in np.unique(data.episode[kept]):
        rows = wrong[kept & (data.episode == episode)]
        windows = [rows[max(0, i - config.window + 1) : i + 1] for i in range(len(rows))]
        peaks[int(episode)] = max(
            (float(np.sort(w)[-config.need]) for w in windows if len(w) >= config.need), default=0.0
        )
    return peaks


def _measured(weights: ProbeWeights, test: ProbeData, config: ProbeConfig) -> FittedProbe:
    p, truth = weights.probabilities(test.features), _indices(test.labels, weights.labels)
    confusion = np.zeros((len(weights.labels),) * 2, dtype=np.int64)
    np.add.at(confusion, (truth, p.argmax(axis=1)), 1)
    failing = np.where(np.arange(p.shape[1]) == weights.nominal_index, -1.0, p).argmax(axis=1)
    failed = truth != weights.nominal_index
    right = [np.mean((failing == truth)[failed & (test.episode == e)]) > 0.5 for e in np.unique(test.episode[failed])]
    alarms = _peaks(weights, test, config, nominal=True)
    found = _peaks(weights, test, config, nominal=False)
    return FittedProbe(
        weights=weights,
        confusion=confusion,
        mode_accuracy=Rate(k=int(sum(right)), n=len(right)),
        detected=Rate(k=sum(v > weights.threshold for v in found.values()), n=len(found)),
        false_alarms=Rate(k=sum(v > weights.threshold for v in alarms.values()), n=len(alarms)),
    )
