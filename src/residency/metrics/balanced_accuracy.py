"""Balanced accuracy: the mean over classes of the share of its samples that are right (recall).

As scikit-learn's `balanced_accuracy_score`: the mean runs over the classes that occur among the
references (of the draw); an unparsed answer misses its class. For single labels.
"""

from collections.abc import Sequence

import numpy as np

from residency.errors import UsageError
from residency.metric import quotient
from residency.text import normalise
from residency.types import Prediction

id = "balanced_accuracy"
higher_is_better = True


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """Per reference class whether it was hit and present: `[n, 2 * c]` in blocks of `c`.

    Raises:
        UsageError: an answer that is a set of labels.
    """
    references = []
    for p in predictions:
        if not isinstance(p.reference, str):
            raise UsageError(
                f"balanced_accuracy scores single labels; sample {p.sample!r} has a set of them. "
                "Use macro_f1 or label_accuracy."
            )
        references.append(normalise(p.reference))
    classes, place = np.unique(references, return_inverse=True)
    present = np.zeros((len(predictions), len(classes)))
    present[np.arange(len(predictions)), place] = 1
    right = [
        isinstance(p.answer, str) and normalise(p.answer) == reference
        for p, reference in zip(predictions, references, strict=True)
    ]
    return np.concatenate([present * np.array(right)[:, None], present], axis=1)


def value(statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean recall per row of `weights`."""
    hit, present = np.split(weights @ statistics, 2, axis=1)
    return np.nanmean(quotient(hit, present), axis=1)
