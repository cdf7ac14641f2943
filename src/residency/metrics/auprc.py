"""AUPRC: average precision, the mean over labels of sum over thresholds (R_k - R_(k-1)) P_k.

Precision and recall of "score at or above the threshold", no interpolation, as scikit-learn's
`average_precision_score(average="macro")`. Its chance level is each label's prevalence, not 0.5.
Scores, and labels without positives or negatives in a draw, as in `auroc`; with two labels it is the
mean over both, because either may be the finding.
"""

from collections.abc import Sequence

import numpy as np

from residency.metric import quotient
from residency.metrics.auroc import mean_area, ranked
from residency.types import Prediction

id = "auprc"
higher_is_better = True


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """Rank of the score and truth per label, `[n, 2 * c]` in blocks of `c`."""
    return ranked(predictions, labels, id)


def value(statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean average precision per row of `weights`."""
    return mean_area(statistics, weights, _average_precision)


def _average_precision(
    positive: np.ndarray, below: np.ndarray, upto: np.ndarray, every: np.ndarray, ties: np.ndarray
) -> np.ndarray:
    """Each positive counts the precision among the samples at or above its score."""
    hits = positive[:, ::-1].cumsum(1)[:, ::-1][:, ties]
    precision = np.divide(hits, every - below, out=np.zeros_like(hits), where=every > below)
    return quotient((positive * precision).sum(1), positive.sum(1))
