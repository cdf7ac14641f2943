"""Accuracy given parsed: accuracy over the responses that could be read; NaN where none could.

Never quote it without `parse_rate`: a model may leave the hard questions unreadable.
"""

from collections.abc import Sequence

import numpy as np

from residency.metric import quotient
from residency.metrics import accuracy
from residency.types import Prediction

id = "accuracy_given_parsed"
higher_is_better = True


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """Whether right and whether read, `[n, 2]`."""
    read = np.array([[float(p.answer is not None)] for p in predictions]).reshape(-1, 1)
    return np.concatenate([accuracy.prepare(predictions, labels), read], axis=1)


def value(statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The share per row of `weights`."""
    return quotient(*(weights @ statistics).T)
