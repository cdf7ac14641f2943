"""Expected calibration error: how far confidence and accuracy lie apart, averaged over 15 bins.

sum over bins of |sum of (right - confidence)| / n, where confidence is the largest probability (as in
`nll`) and right says whether that option is the reference (Guo et al., ICML 2017). `ece` bins
confidence into 15 equal widths, (0, 1/15], ...; `ece_adaptive` into 15 groups of equal size, fixed by
the ranks in the whole set. Both are biased upward for few samples (0.13 for a perfectly calibrated
model of 50): prefer `brier`, and show the interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from residency.metrics.nll import beliefs
from residency.types import Prediction

BINS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationError:
    """ECE over bins of equal width, or of equal size where `adaptive`."""

    id: str
    adaptive: bool
    higher_is_better: bool = False

    def prepare(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """Right minus confidence in the column of its bin, `[n, 15]`."""
        held = beliefs(predictions, labels, self.id)
        confidence = np.array([b.probability.max() for b in held])
        right = np.array([int(b.probability.argmax()) == b.reference for b in held])
        if self.adaptive:
            ranks = np.empty(len(held), dtype=int)
            ranks[np.argsort(confidence, kind="stable")] = np.arange(len(held))
            bins = ranks * BINS // len(held)
        else:
            bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
        gaps = np.zeros((len(held), BINS))
        gaps[np.arange(len(held)), bins] = right - confidence
        return gaps

    def value(self, statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The error per row of `weights`."""
        return np.abs(weights @ statistics).sum(1) / weights.sum(1)


metrics = (
    CalibrationError(id="ece", adaptive=False),
    CalibrationError(id="ece_adaptive", adaptive=True),
)
