"""Ingredient recall and precision: which of a dish's ingredients a response names, per dish.

`ingredient_recall`: |said and true| / |true| over the sets of labels of the answer, averaged over
samples; `ingredient_precision`: the same over |said| (1 where nothing is said and nothing is true, 0
where nothing is said else). An unparsed answer scores 0. Recall alone rewards listing everything.

`ingredient_recall@nutrition5k`: as AdaMLLM scores Nutrition5K: the names of the label set are looked
for in the response text as substrings, longest first, each cut out before the next; recall of the
reference, 1 where it is empty; saying too much costs nothing.
"""

from collections.abc import Sequence

import numpy as np

from residency.errors import UsageError
from residency.metric import Metric, Parts, Ratio, labels_of, mean, response
from residency.metrics.samples_f1 import substrings
from residency.text import normalise
from residency.types import Prediction


def _sets(prediction: Prediction) -> tuple[set[str], set[str]]:
    return (
        {normalise(label) for label in labels_of(prediction.answer)},
        {normalise(label) for label in labels_of(prediction.reference)},
    )


def _recall(prediction: Prediction) -> Parts:
    said, true = _sets(prediction)
    if prediction.answer is None:
        return 0, 1
    return (len(said & true) / len(true) if true else float(not said)), 1


def _precision(prediction: Prediction) -> Parts:
    said, true = _sets(prediction)
    if prediction.answer is None:
        return 0, 1
    return (len(said & true) / len(said) if said else float(not true)), 1


class Nutrition5K:
    """Recall of the names that the response holds."""

    id = "ingredient_recall@nutrition5k"
    higher_is_better = True
    value = staticmethod(mean)

    def prepare(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """The recall of each sample, `[n, 1]`.

        Raises:
            UsageError: no label set was declared.
        """
        if not labels:
            raise UsageError(
                f"{self.id} looks for the names of the label set, and none is declared. "
                "Declare `labels` on the data set."
            )
        shares = []
        for p in predictions:
            true = {label.lower() for label in labels_of(p.reference)}
            found = substrings(response(p), labels)
            shares.append(len(found & true) / len(true) if true else 1.0)
        return np.array(shares, dtype=np.float64).reshape(-1, 1)


metrics: tuple[Metric, ...] = (
    Ratio(id="ingredient_recall", parts=_recall),
    Ratio(id="ingredient_precision", parts=_precision),
    Nutrition5K(),
)
