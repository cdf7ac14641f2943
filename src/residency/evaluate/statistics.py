"""How sure a number is: bootstrap intervals clustered by patient, tests of two models, power."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

from residency.errors import UsageError

Value = Callable[[np.ndarray, np.ndarray], np.ndarray]  # `Metric.value`
UNDEFINED = 0.05  # of the draws: more of them, and an interval would speak of a subset (ours)
_CELLS = 4_000_000  # weights held at once: 32 MB


class Interval(NamedTuple):
    """An estimate and the ends of its interval; NaN ends where the data carry no spread."""

    estimate: float
    low: float
    high: float


class McNemar(NamedTuple):
    """How often only the first or only the second model is right, and the exact p of a fair coin."""

    only_first: int
    only_second: int
    p: float


class Spread(NamedTuple):
    """Mean and standard deviation over `n` training runs; never to be mixed with test intervals."""

    mean: float
    deviation: float
    n: int


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
    scored = {"": (value, statistics)}
    return intervals(scored, units, seed=seed, draws=draws, level=level)[""]


def intervals(
    scored: Mapping[str, tuple[Value, np.ndarray]],
    units: Sequence[str],
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """`interval` of several metrics of the same predictions, which share their draws.

    `scored` maps a name to the metric's `value` and statistics; each result is what `interval` alone
    would give, and the draws, most of the work, are made once.

    Raises:
        UsageError: as `interval`.
    """

    def all_values(weights: np.ndarray) -> np.ndarray:
        return np.stack([value(statistics, weights) for value, statistics in scored.values()], 1)

    for _, statistics in scored.values():
        _check(statistics, units, draws, level)
    if not scored:
        return {}
    estimates = all_values(np.ones((1, len(units))))[0]
    bounds = _percentiles(estimates, all_values, units, seed, draws, level)
    return dict(zip(scored, bounds, strict=True))


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
        return (value(first, weights) - value(second, weights))[:, None]

    estimates = difference(np.ones((1, len(first))))[0]
    return _percentiles(estimates, difference, units, seed, draws, level)[0]


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


def mcnemar(first: Sequence[bool] | np.ndarray, second: Sequence[bool] | np.ndarray) -> McNemar:
    """Exact McNemar test of two models on the same samples in the same order, right or wrong.

    Two-sided: p = min(1, 2 P(X <= min(b, c))), X binomial with b + c trials of 1/2, b and c the
    discordant counts; 1 where there are none. Samples of one patient count as independent here, which
    `paired_interval` does not assume: report both.

    Raises:
        UsageError: unequal lengths.
    """
    right = [np.asarray(side, dtype=bool) for side in (first, second)]
    if right[0].shape != right[1].shape:
        raise UsageError(
            f"McNemar compares the same samples; got {right[0].size} and {right[1].size}."
        )
    b, c = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return McNemar(b, c, min(1.0, 2 * float(binom.cdf(min(b, c), b + c, 0.5))) if b + c else 1.0)


def holm(p: Sequence[float]) -> list[float]:
    """P values adjusted for testing several data sets (Holm, 1979), in the order given.

    The i-th smallest of m is multiplied by m - i (i from 0) and is never below the one before it.
    """
    order = np.argsort(p, kind="stable")
    stepped = np.asarray(p, dtype=np.float64)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return [float(one) for one in adjusted]


def detectable(n: int, discordant: float, *, level: float = 0.95, power: float = 0.8) -> float:
    """The smallest difference of two accuracies that `n` paired samples can be expected to show.

    `discordant` is the share of samples on which the models disagree. Solves the sample size of
    McNemar's test (Connor, 1987), sqrt(n) d = z_level sqrt(q) + z_power sqrt(q - d^2) with
    q = `discordant`, for d; NaN where not even d = q suffices. Samples count as independent: with
    several per patient the truth is larger.

    Raises:
        UsageError: n < 1, or a share, level or power outside its range.
    """
    _check_level(level)
    if n < 1 or not 0 < discordant <= 1 or not 0.5 <= power < 1:
        raise UsageError(
            f"detectable got n={n}, discordant={discordant}, power={power}; it takes n >= 1, a "
            "share above 0 and at most 1, and a power from 0.5 to below 1."
        )
    z, reach = NormalDist().inv_cdf(0.5 + level / 2), NormalDist().inv_cdf(power)

    def missing(d: float) -> float:
        return z * discordant**0.5 + reach * max(discordant - d * d, 0) ** 0.5 - n**0.5 * d

    low, high = 0.0, discordant
    if missing(high) > 0:
        return float("nan")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if missing(middle) > 0 else (low, middle)
    return high


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of one number over training runs; NaN for a single run.

    Raises:
        UsageError: no values.
    """
    if not values:
        raise UsageError("There are no runs to average: give the number of at least one seed.")
    return Spread(fmean(values), stdev(values) if len(values) > 1 else float("nan"), len(values))


def _percentiles(
    estimates: np.ndarray,
    values: Callable[[np.ndarray], np.ndarray],
    units: Sequence[str],
    seed: int,
    draws: int,
    level: float,
) -> list[Interval]:
    """The ends for every column of `values`; NaN with one cluster.

    Draws that are undefined (none of the rows that a metric uses) are left out, up to a twentieth of them;
    with more the ends are NaN.
    """
    numbers: dict[str, int] = {}  # by first appearance: stand-ins of patients differ by machine
    member = np.array([numbers.setdefault(unit, len(numbers)) for unit in units], dtype=np.int64)
    if len(numbers) < 2:
        return [Interval(float(estimate), float("nan"), float("nan")) for estimate in estimates]
    drawn = np.concatenate([values(w) for w in _weights(len(numbers), member, seed, draws)])
    tails = [(1 - level) / 2, 1 - (1 - level) / 2]
    low, high = np.quantile(drawn, tails, axis=0)
    lost = np.isnan(drawn).mean(0)
    for column in np.flatnonzero((lost > 0) & (lost <= UNDEFINED)):
        low[column], high[column] = np.nanquantile(drawn[:, column], tails)
    return [Interval(*map(float, ends)) for ends in zip(estimates, low, high, strict=True)]


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
