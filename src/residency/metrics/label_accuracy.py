"""Label accuracy: the share of (sample, label) decisions that are right, present or absent.

MedMNIST's official accuracy of multi-label sets (`getACC`, near 0.95 on ChestMNIST whatever the model
does, because most labels are absent): quote it beside macro-F1, never alone. An unparsed answer
decides nothing and is wrong for every label.
"""

from collections.abc import Sequence

import numpy as np

from residency.errors import UsageError
from residency.metric import labels_of, mean
from residency.text import normalise
from residency.types import Prediction

id = "label_accuracy"
higher_is_better = True
value = mean


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """The share of the labels that each sample gets right, `[n, 1]`.

    Raises:
        UsageError: no label set was declared, or an answer is a single label.
    """
    if not labels:
        raise UsageError(
            "label_accuracy needs the fixed label set, and none is declared. Declare `labels` on "
            "the data set, or use samples_f1."
        )
    single = next((p for p in predictions if isinstance(p.reference, str)), None)
    if single is not None:
        raise UsageError(
            f"label_accuracy scores sets of labels; sample {single.sample!r} has a single one. "
            "Use accuracy."
        )
    known = {normalise(label) for label in labels}
    shares = np.zeros((len(predictions), 1))
    for row, p in enumerate(predictions):
        if p.answer is None:
            continue
        said = {normalise(label) for label in labels_of(p.answer)}
        true = {normalise(label) for label in labels_of(p.reference)}
        shares[row] = 1 - len((said ^ true) & known) / len(known)
    return shares
