"""How sure a number is: bootstrap intervals clustered by patient, paired differences, Wilson."""

from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from residency.errors import UsageError

Value = Callable[[np.ndarray, np.ndarray], np.ndarray]  # `Metric.value`
_CELLS = 4_000_000  # weights held at once: 32 MB


class Interval(NamedTuple):
    """An estimate and the ends of its interval; NaN ends where the data carry no spread."""

    estimate: float
    low: float
    high: float


def interval(
    value: Value,
    statistics: np.ndarray,
    units: Sequence[str],
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Percentile cluster bootstrap of a metric.

    `statistics` are `Metric.prepare`'s `[n, k]`, `units` names the cluster (the patient) of each
    row. Every draw takes as many clusters as there are, with replacement, each with all its rows.
    With a single cluster nothing can be resampled, and both ends are NaN rather than a false
    certainty. All-right answers give an interval of width 0: see `wilson`.

    Raises:
        UsageError: no rows, unequal lengths, or draws or level out of range.
    """
    _check(statistics, units, draws, level)
    estimate = float(value(statistics, np.ones((1, len(statistics))))[0])
    return _percentiles(
        estimate, lambda weights: value(statistics, weights), units, seed, draws, level
    )


def paired_interval(
    value: Value,
    first: np.ndarray,
    second: np.ndarray,
    units: Sequence[str],
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.95,
) -> Interval:
    """The interval of `first - second`, statistics of the same samples in the same order.

    Both sides see the same draw of clusters, so what makes a sample hard for both cancels.

    Raises:
        UsageError: as `interval`, or statistics of different length.
    """
    _check(first, units, draws, level)
    _check(second, units, draws, level)

    def difference(weights: np.ndarray) -> np.ndarray:
        return value(first, weights) - value(second, weights)

    estimate = float(difference(np.ones((1, len(first))))[0])
    return _percentiles(estimate, difference, units, seed, draws, level)


def wilson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion of `n` independent samples; never leaves [0, 1].

    Raises:
        UsageError: n < 1, successes outside 0..n, or a level outside (0, 1).
    """
    if n < 1 or not 0 <= successes <= n:
        raise UsageError(f"wilson got {successes} of {n}; it takes 0 to n successes of n >= 1.")
    _check_level(level)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    low = 0.0 if successes == 0 else max(0.0, centre - reach)
    high = 1.0 if successes == n else min(1.0, centre + reach)
    return Interval(share, low, high)


def _percentiles(
    estimate: float,
    value: Callable[[np.ndarray], np.ndarray],
    units: Sequence[str],
    seed: int,
    draws: int,
    level: float,
) -> Interval:
    """The ends; NaN with one cluster, or where the metric is undefined in some draw."""
    clusters, member = np.unique(np.asarray(units, dtype=str), return_inverse=True)
    if len(clusters) < 2:
        return Interval(estimate, float("nan"), float("nan"))
    drawn = [value(weights) for weights in _weights(len(clusters), member, seed, draws)]
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return Interval(estimate, float(low), float(high))


def _weights(clusters: int, member: np.ndarray, seed: int, draws: int) -> Iterator[np.ndarray]:
    """Multiplicities per row `[chunk, n]`; the chunking changes no draw."""
    rng = np.random.default_rng(seed)
    chunk = max(1, _CELLS // max(len(member), 1))
    for start in range(0, draws, chunk):
        count = min(chunk, draws - start)
        picked = rng.integers(clusters, size=(count, clusters))
        picked += np.arange(count)[:, None] * clusters
        counts = np.bincount(picked.ravel(), minlength=count * clusters).reshape(count, clusters)
        yield counts.astype(np.float64)[:, member]


def _check(statistics: np.ndarray, units: Sequence[str], draws: int, level: float) -> None:
    if len(statistics) == 0:
        raise UsageError("There are no predictions to score: an interval needs at least one.")
    if len(statistics) != len(units):
        raise UsageError(
            f"{len(statistics)} rows of statistics but {len(units)} units; give one unit per row."
        )
    if draws < 1:
        raise UsageError(f"draws={draws}; the bootstrap needs at least 1.")
    _check_level(level)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UsageError(f"level={level}; it is a share between 0 and 1, such as 0.95.")
