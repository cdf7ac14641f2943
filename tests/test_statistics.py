"""Intervals: clusters are resampled whole, pairs together, degenerate data do not look certain."""

import math
import time

import numpy as np
import pytest

from residency.errors import UsageError
from residency.evaluate import statistics as module
from residency.evaluate.statistics import interval, paired_interval, wilson
from residency.metrics import accuracy

mean = accuracy.value


def coin(n: int, p: float, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((n, 1)) < p).astype(float)


def test_independent_samples_agree_with_theory() -> None:
    right = coin(2000, 0.7)
    got = interval(mean, right, [str(i) for i in range(2000)], seed=1, draws=4000)
    share = right.mean()
    reach = 1.96 * math.sqrt(share * (1 - share) / 2000)
    assert got.estimate == pytest.approx(share)
    assert got.low == pytest.approx(share - reach, abs=0.002)
    assert got.high == pytest.approx(share + reach, abs=0.002)
    theory = wilson(int(right.sum()), 2000)
    assert got.low == pytest.approx(theory.low, abs=0.003)


def test_clusters_widen_the_interval() -> None:
    right = np.repeat(coin(200, 0.7), 10, axis=0)  # ten equal images per patient
    patients = [f"p{i // 10}" for i in range(2000)]
    clustered = interval(mean, right, patients, seed=1)
    naive = interval(mean, right, [str(i) for i in range(2000)], seed=1)
    ratio = (clustered.high - clustered.low) / (naive.high - naive.low)
    assert ratio == pytest.approx(math.sqrt(10), rel=0.15)


def test_unequal_clusters_are_drawn_whole() -> None:
    weights = np.concatenate(list(module._weights(3, np.array([0, 1, 1, 2, 2, 2]), 0, 50)))
    assert (weights[:, 1] == weights[:, 2]).all() and (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()


def test_seeds_decide_and_chunks_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    right, units = coin(300, 0.5), [str(i) for i in range(300)]
    whole = interval(mean, right, units, seed=3)
    assert interval(mean, right, units, seed=3) == whole
    assert interval(mean, right, units, seed=4) != whole
    monkeypatch.setattr(module, "_CELLS", 7 * 300)
    assert interval(mean, right, units, seed=3) == whole


def test_interval_covers_the_truth() -> None:
    units = [str(i) for i in range(150)]
    hits = 0
    for seed in range(150):
        got = interval(mean, coin(150, 0.6, seed), units, seed=seed, draws=300)
        hits += got.low <= 0.6 <= got.high
    assert 0.89 <= hits / 150 <= 0.99


def test_paired_difference_is_sharper_and_signed() -> None:
    units = [str(i) for i in range(1000)]
    first = coin(1000, 0.6)
    second = first.copy()
    second[np.flatnonzero(first)[:30]] = 0  # right less often on 30 samples, else the same
    got = paired_interval(mean, first, second, units, seed=0)
    assert got.estimate == pytest.approx(0.03)
    assert 0.01 < got.low < 0.03 < got.high < 0.05
    alone = interval(mean, first, units, seed=0)
    assert got.high - got.low < (alone.high - alone.low) / 2
    back = paired_interval(mean, second, first, units, seed=0)
    assert back.estimate == -got.estimate and back.low == pytest.approx(-got.high)
    assert paired_interval(mean, first, first, units, seed=0) == (0, 0, 0)


def test_degenerate_data() -> None:
    one = interval(mean, np.ones((1, 1)), ["p"], seed=0)
    assert one.estimate == 1 and math.isnan(one.low) and math.isnan(one.high)
    cluster = interval(mean, coin(20, 0.5), ["p"] * 20, seed=0)
    assert math.isnan(cluster.low) and not math.isnan(cluster.estimate)
    assert interval(mean, np.ones((5, 1)), list("abcde"), seed=0) == (1, 1, 1)
    with pytest.raises(UsageError, match="no predictions"):
        interval(mean, np.ones((0, 1)), [], seed=0)
    with pytest.raises(UsageError, match="one unit per row"):
        interval(mean, np.ones((2, 1)), ["a"], seed=0)
    with pytest.raises(UsageError, match="one unit per row"):
        paired_interval(mean, np.ones((2, 1)), np.ones((3, 1)), ["a", "b"], seed=0)
    with pytest.raises(UsageError, match="draws=0"):
        interval(mean, np.ones((2, 1)), ["a", "b"], seed=0, draws=0)
    with pytest.raises(UsageError, match="level=95"):
        interval(mean, np.ones((2, 1)), ["a", "b"], seed=0, level=95.0)


def test_wilson_against_published_values() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3.
    for successes, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        got = wilson(successes, n)
        assert (got.low, got.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert wilson(7, 7).high == 1.0
    with pytest.raises(UsageError, match="n >= 1"):
        wilson(0, 0)


def test_ten_thousand_samples_take_about_a_second() -> None:
    right, units = coin(10_000, 0.8), [str(i) for i in range(10_000)]
    start = time.process_time()
    interval(mean, right, units, seed=0)
    assert time.process_time() - start < 5  # generous: shared machines; see the report for figures
