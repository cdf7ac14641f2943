"""Brier score: the squared distance between the probabilities of the options and the truth, the mean.

Per sample sum over options (p - y)^2, in [0, 2] (Brier, 1950); halved for two options, which gives the
usual binary score in [0, 1]. As scikit-learn's `brier_score_loss(scale_by_half="auto")`.
Probabilities as in `nll`.
"""

from collections.abc import Sequence

import numpy as np

from residency.metrics.nll import Belief, beliefs, value
from residency.types import Prediction

__all__ = ["higher_is_better", "id", "prepare", "value"]

id = "brier"
higher_is_better = False


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """The score of each sample, `[n, 1]`."""
    scores = [_score(belief) for belief in beliefs(predictions, labels, id)]
    return np.array(scores, dtype=np.float64).reshape(-1, 1)


def _score(belief: Belief) -> float:
    truth = np.zeros(len(belief.probability))
    truth[belief.reference] = 1
    total = float(((belief.probability - truth) ** 2).sum())
    return total / 2 if len(truth) == 2 else total
