"""AUROC: how often a sample that has a label scores higher on it than one that has not, ties half.

One label against the rest, then the mean over the labels that have both kinds of samples in the draw
(a label with only one kind has no area; NaN where no label has both). Single labels are ranked by
softmax probability over the label set, sets of labels by the raw score of each label. Equals
scikit-learn's `roc_auc_score(average="macro")` on one-hot labels; with two labels both areas agree.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from residency.errors import DataError, UsageError
from residency.metric import labels_of, quotient
from residency.metrics.nll import require_scores
from residency.text import normalise
from residency.types import Prediction

id = "auroc"
higher_is_better = True
# Of the positives p of a label by ascending score: their weights, the weight of all samples below and
# up to their score [draws, p], the weight of all [draws, 1], and the first positive of equal score [p].
Area = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """Rank of the score and truth per label, `[n, 2 * c]` in blocks of `c`."""
    return ranked(predictions, labels, id)


def value(statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean area per row of `weights`."""
    return mean_area(statistics, weights, _area)


def ranked(predictions: Sequence[Prediction], labels: Sequence[str], metric_id: str) -> np.ndarray:
    """Dense ranks of the scores and truth per label, `[n, 2 * c]` in blocks of `c`.

    A prediction without scores (a diverged model) ties all its labels.

    Raises:
        UsageError: no scores, or no common label set.
        DataError: a score or reference outside the label set.
    """
    require_scores(predictions, metric_id)
    names = list(labels) or list(next(p.scores for p in predictions if p.scores))
    place = {normalise(name): column for column, name in enumerate(names)}
    scores = np.zeros((len(predictions), len(names)))
    truth = np.zeros_like(scores)
    for row, p in enumerate(predictions):
        if p.scores and {normalise(option) for option in p.scores} != set(place):
            raise UsageError(
                f"{metric_id} needs the same options for every sample; {p.sample!r} scores "
                f"{', '.join(p.scores)}, not {', '.join(names)}. Use nll or brier."
            )
        for option, score in p.scores.items():
            scores[row, place[normalise(option)]] = score
        for label in labels_of(p.reference):
            if normalise(label) not in place:
                raise DataError(
                    f"Sample {p.sample!r} has reference {label!r}, outside the label set: "
                    f"{', '.join(names)}."
                )
            truth[row, place[normalise(label)]] = 1
        if isinstance(p.reference, str):
            scores[row] -= np.logaddexp.reduce(scores[row])
    # Rounding keeps equal probabilities equal, which the logarithms would tear apart.
    ranks = [np.unique(column, return_inverse=True)[1] for column in scores.round(9).T]
    return np.concatenate([np.stack(ranks, axis=1), truth], axis=1)


def mean_area(statistics: np.ndarray, weights: np.ndarray, area: Area) -> np.ndarray:
    """The mean over labels of `area`, over those that have positives and negatives in a draw."""
    total = np.zeros(len(weights))
    defined = np.zeros(len(weights))
    for rank, truth in zip(*np.split(statistics.T, 2), strict=True):
        order = np.argsort(rank, kind="stable")
        ordered, positive = rank[order], np.flatnonzero(truth[order])
        drawn = weights[:, order]
        below = np.zeros((len(weights), len(order) + 1))
        np.cumsum(drawn, axis=1, out=below[:, 1:])
        first, after = (np.searchsorted(ordered, ordered[positive], side) for side in _SIDES)
        ties = np.searchsorted(positive, first)  # the first positive of the same rank
        one = area(drawn[:, positive], below[:, first], below[:, after], below[:, -1:], ties)
        present = drawn[:, positive].sum(1)
        both = (present > 0) & (present < below[:, -1])
        total += np.where(both, one, 0)
        defined += both
    return quotient(total, defined)


def _area(
    positive: np.ndarray, below: np.ndarray, upto: np.ndarray, every: np.ndarray, ties: np.ndarray
) -> np.ndarray:
    """Mann-Whitney: pairs won over all samples, less those of positives among themselves."""
    present = positive.sum(1)
    won = (positive * (below + upto)).sum(1) / 2 - present**2 / 2
    return quotient(won, present * (every[:, 0] - present))
