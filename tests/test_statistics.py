"""Intervals: clusters are resampled whole, pairs together, degenerate data do not look certain."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from residency import cli
from residency.errors import UsageError
from residency.evaluate import statistics as module
from residency.evaluate.calibration import calibration
from residency.evaluate.results import Estimate, Row, write_summary
from residency.evaluate.statistics import (
    detectable,
    holm,
    interval,
    intervals,
    mcnemar,
    over_seeds,
    paired_interval,
    wilson,
)
from residency.metrics import accuracy
from residency.types import Prediction

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

    def second(statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:  # of rows that count
        above, below = (weights @ statistics).T
        return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)

    few = np.array([[1.0, 1], [0, 1], [1, 1], [0, 0], [1, 1]])  # 1 draw in 3,125 is undefined
    found = interval(second, few, list("abcde"), seed=0, draws=20_000)
    assert 0 < found.low < 0.75 < found.high == 1
    rare = interval(second, few[2:4], list("ab"), seed=0)  # a quarter of the draws is
    assert rare.estimate == 1 and math.isnan(rare.low)
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


def test_metrics_share_their_draws_and_nothing_else() -> None:
    first, second, units = coin(300, 0.5), coin(300, 0.9, 1), [f"p{i // 2}" for i in range(300)]
    both = intervals({"a": (mean, first), "b": (mean, second)}, units, seed=3)
    assert both["a"] == interval(mean, first, units, seed=3)
    assert both["b"] == interval(mean, second, units, seed=3)
    assert intervals({}, units, seed=3) == {}
    with pytest.raises(UsageError, match="one unit per row"):
        intervals({"a": (mean, first), "b": (mean, second[:9])}, units, seed=3)


def test_breastmnist_by_wilson() -> None:
    got = wilson(140, 156)
    assert (got.low, got.high) == (pytest.approx(0.840, abs=5e-4), pytest.approx(0.936, abs=5e-4))


def rights(both: int, only_first: int, only_second: int, neither: int) -> list[np.ndarray]:
    cells = [both, only_first, only_second, neither]
    return [
        np.repeat(side, cells) for side in ([True, True, False, False], [True, False, True, False])
    ]


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 5), (12, 3), (3, 12), (0, 9), (700, 600)])
def test_mcnemar_is_the_exact_binomial_test(b: int, c: int) -> None:
    got = mcnemar(*rights(40, b, c, 10))
    assert (got.only_first, got.only_second) == (b, c)
    assert got.p == pytest.approx(binomtest(b, b + c).pvalue if b + c else 1, rel=1e-9)


def test_mcnemar_needs_the_same_samples() -> None:
    with pytest.raises(UsageError, match="got 2 and 3"):
        mcnemar([True, False], [True, False, True])


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1; the last may not fall below 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


@pytest.mark.parametrize(("n", "discordant"), [(156, 0.15), (400, 0.1), (2000, 0.3)])
def test_the_detectable_difference_has_the_stated_power(n: int, discordant: float) -> None:
    gap = detectable(n, discordant)
    assert 0 < gap < discordant
    rng = np.random.default_rng(n)
    shares = [(discordant + gap) / 2, (discordant - gap) / 2, 1 - discordant]
    b, c, _ = rng.multinomial(n, shares, size=4000).T
    # Normal approximation: reject where |b - c| exceeds its 95 % under equality.
    found = (np.abs(b - c) > 1.96 * np.sqrt(b + c)).mean()
    assert found == pytest.approx(0.8, abs=0.04)


def test_detectable_differences_shrink_with_samples() -> None:
    gaps = [detectable(n, 0.2) for n in (100, 400, 1600)]
    assert gaps[0] > 1.9 * gaps[1] > 3.6 * gaps[2]
    assert math.isnan(detectable(10, 0.1))  # one discordant sample shows nothing
    assert detectable(156, 0.2, power=0.9) > detectable(156, 0.2)
    for bad in ({"n": 0}, {"discordant": 0.0}, {"power": 1.0}, {"level": 95.0}):
        with pytest.raises(UsageError):
            detectable(**{"n": 10, "discordant": 0.1, **bad})


def test_runs_are_summarised_apart_from_samples() -> None:
    got = over_seeds([0.5, 0.6, 0.7])
    assert (got.mean, got.deviation, got.n) == (pytest.approx(0.6), pytest.approx(0.1), 3)
    assert math.isnan(over_seeds([0.5]).deviation)
    with pytest.raises(UsageError, match="no runs"):
        over_seeds([])


def test_seeds_are_summarised_by_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, share in enumerate((0.8, 0.9, 1.0)):
        value = Estimate(estimate=share, low=0.0, high=1.0)
        row = Row(
            method="vitask", variant="", view="plain", dataset="d", task="t", seed=seed, n=10,
            n_unparsed=seed, metrics={"accuracy": value, "nll": value},
        )  # fmt: skip
        folder = tmp_path / str(seed)
        folder.mkdir()
        write_summary(folder / "results.json", [row], command="c", versions={})
    runs = [str(tmp_path / str(seed)) for seed in range(3)]
    assert cli.main(["seeds", *runs, "metrics=accuracy", f"out={tmp_path / 'seeds.json'}"]) == 0
    assert (
        "| vitask | plain | 10 | 3 | 3 | 90.0 ± 10.0 (80.0, 90.0, 100.0) |"
        in capsys.readouterr().out
    )
    (line,) = json.loads((tmp_path / "seeds.json").read_text())["rows"]
    assert line["spread"]["accuracy"]["deviation"] == pytest.approx(0.1)
    assert cli.main(["seeds", runs[0], runs[0]]) == 2
    assert cli.main(["seeds", *runs, "metrics=recall"]) == 2
    assert "No row has 'recall'" in capsys.readouterr().err
    assert cli.main(["seeds", runs[0]]) == 0
    assert "| 80.0 |" in capsys.readouterr().out


def test_the_calibration_band_holds_where_confidence_is_true() -> None:
    rng = np.random.default_rng(3)
    made = []
    for i in range(2000):
        p = rng.uniform(0.5, 1)
        scores = {"yes": float(np.log(p)), "no": float(np.log(1 - p))}
        made.append(predicted(i, scores, "yes" if rng.random() < p else "no"))
    curve = calibration(made, seed=0)
    assert len(curve) == 10 and sum(one.n for one in curve) == 2000
    inside = [one.band_low <= one.accuracy <= one.band_high for one in curve]
    assert sum(inside) >= 9 and all(one.low <= one.accuracy <= one.high for one in curve)
    assert [one.confidence for one in curve] == sorted(one.confidence for one in curve)
    sure = [predicted(i, {"yes": 0.0, "no": -9.0}, "no" if i % 2 else "yes") for i in range(40)]
    assert all(one.accuracy < one.band_low for one in calibration(sure, seed=0, bins=4))
    assert len(calibration(made[:3], seed=0)) == 3
    with pytest.raises(UsageError, match="needs predictions with scores"):
        calibration([predicted(0, {}, "yes")], seed=0)


def predicted(number: int, scores: dict[str, float], reference: str) -> Prediction:
    return Prediction(
        sample=f"s{number}", dataset="d", task="t", view="plain", text="", answer="yes",
        reference=reference, unit=f"u{number}", scores=scores,
    )  # fmt: skip
