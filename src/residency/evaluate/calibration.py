"""Does a probability of 0.8 mean right in 80 % of cases? A curve, beside what chance alone does to it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from residency.errors import UsageError
from residency.evaluate.statistics import wilson
from residency.types import Prediction

BINS = 10
DRAWS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """The samples of one bin: their mean confidence, how many were right, and two intervals.

    `low` to `high` is Wilson's 95 % interval of `accuracy`; `band_low` to `band_high` the consistency band:
    where the accuracy of these samples would lie in 95 % of sets if every confidence were true.
    """

    n: int
    confidence: float
    accuracy: float
    low: float
    high: float
    band_low: float
    band_high: float


def calibration(predictions: Sequence[Prediction], *, seed: int, bins: int = BINS) -> list[Bin]:
    """The curve in `bins` groups of equal size by confidence; fewer where there are fewer samples.

    Confidence is the largest probability, the softmax of the options' scores (as in the metric `ece`); right
    says whether that option is the reference. The band draws each sample right with its own confidence,
    1,000 times (Bröcker and Smith, Weather and Forecasting 2007). Predictions without scores are left out.

    Raises:
        UsageError: no prediction has scores and a single right option.
    """
    held = [_belief(p) for p in predictions if p.scores and isinstance(p.reference, str)]
    if not held:
        raise UsageError(
            "A calibration curve needs predictions with scores: evaluate with mode=likelihood."
        )
    confidence, right = np.array(held).T
    order = np.argsort(confidence, kind="stable")
    rng = np.random.default_rng(seed)
    curve = []
    for members in np.array_split(order, min(bins, len(held))):
        sure, hits = confidence[members], right[members]
        drawn = (rng.random((DRAWS, len(sure))) < sure).mean(1)
        band = np.quantile(drawn, [0.025, 0.975])
        bounds = wilson(int(hits.sum()), len(hits))
        curve.append(
            Bin(
                n=len(members),
                confidence=float(sure.mean()),
                accuracy=bounds.estimate,
                low=bounds.low,
                high=bounds.high,
                band_low=float(band[0]),
                band_high=float(band[1]),
            )
        )
    return curve


def as_json(curve: Sequence[Bin]) -> list[dict[str, Any]]:
    """The bins as plain values."""
    return [asdict(one) for one in curve]


def _belief(prediction: Prediction) -> tuple[float, float]:
    options, scores = zip(*prediction.scores.items(), strict=True)
    logits = np.array(scores)
    best = int(logits.argmax())
    confidence = float(np.exp(logits[best] - np.logaddexp.reduce(logits)))
    return confidence, float(options[best] == prediction.reference)
