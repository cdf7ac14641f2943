"""Macro-F1: the mean over the fixed label set of each class's F1, counted on class ids.

F1 of a class is 2 tp / (predicted + present). As scikit-learn's `f1_score(labels=all,
average="macro", zero_division=0)`, a class that is neither present nor predicted counts as 0, so
that two models (and every bootstrap draw) are averaged over the same classes. An unparsed answer
misses its class and predicts none; it is never a class of its own.
"""

from collections.abc import Sequence

import numpy as np

from residency.errors import DataError, UsageError
from residency.types import Answer, Prediction

id = "macro_f1"
higher_is_better = True


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """Per class whether it was hit, predicted and present: `[n, 3 * c]` in blocks of `c`.

    Raises:
        UsageError: no label set was declared.
        DataError: a reference outside the label set.
    """
    if not labels:
        raise UsageError(
            "macro_f1 needs the fixed label set, and none is declared. Declare `labels` on the "
            "data set, or score open answers with token_f1."
        )
    place = {label: column for column, label in enumerate(labels)}
    predicted = np.zeros((len(predictions), len(place)), dtype=bool)
    present = np.zeros_like(predicted)
    for row, prediction in enumerate(predictions):
        for label in _labels(prediction.reference):
            if label not in place:
                raise DataError(
                    f"Sample {prediction.sample!r} has reference {label!r}, outside the label set: "
                    f"{', '.join(labels)}."
                )
            present[row, place[label]] = True
        for label in _labels(prediction.answer):
            if label in place:
                predicted[row, place[label]] = True
    return np.concatenate([predicted & present, predicted, present], axis=1).astype(np.float64)


def value(statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Macro-F1 per row of `weights`."""
    return per_class(statistics, weights).mean(1)


def per_class(statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The F1 of each class per row of `weights`, `[draws, c]`."""
    hit, predicted, present = np.split(weights @ statistics, 3, axis=1)
    total = predicted + present
    return np.divide(2 * hit, total, out=np.zeros_like(total), where=total > 0)


def _labels(answer: Answer | None) -> tuple[str, ...]:
    if answer is None:
        return ()
    return (answer,) if isinstance(answer, str) else tuple(str(label) for label in answer)
