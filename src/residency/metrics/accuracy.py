"""Accuracy: the share of samples whose answer is right, an unparsed answer being wrong.

Text is compared after `residency.text.normalise`, sets of labels as whole sets (exact match, which
is what VITask reports for ChestMNIST; not the mean over labels).
"""

from collections.abc import Sequence

import numpy as np

from residency.metric import mean
from residency.text import normalise
from residency.types import Answer, Prediction

id = "accuracy"
higher_is_better = True
value = mean


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """1 for a right answer, `[n, 1]`; `labels` are not needed."""
    right = [p.answer is not None and _key(p.answer) == _key(p.reference) for p in predictions]
    return np.array(right, dtype=np.float64).reshape(-1, 1)


def _key(answer: Answer) -> object:
    if isinstance(answer, str):
        return normalise(answer)
    return frozenset(normalise(part) if isinstance(part, str) else part for part in answer)
