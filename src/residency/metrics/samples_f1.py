"""Samples-F1: the F1 of each sample's set of labels, averaged over samples.

2 |said and true| / (|said| + |true|). Two empty sets agree: 1, as scikit-learn's
`f1_score(average="samples", zero_division=1)`; an unparsed answer is 0, not an empty set.
`@scikit-learn`: that library's default, where two empty sets score 0.

`@foodseg103`: as AdaMLLM scores FoodSeg103. The predicted set is read from the response text: the
names of the label set are looked for as substrings, longest first, and every hit is cut out of the
text, so that "ice cream" is not also "cream". Ids 1 to 102 count: "background" (0) and "other
ingredients" (103) are no labels. Substrings inside words count ("eggplant" says "egg" where eggplant
is no name); two empty sets score 1.
"""

from collections.abc import Sequence

import numpy as np

from residency.errors import UsageError
from residency.metric import Parts, Ratio, labels_of, mean, response
from residency.text import normalise
from residency.types import Prediction

NO_LABELS = {"background", "other ingredients"}


def f1(said: set[str], true: set[str]) -> float:
    """The F1 of two sets; 1 where both are empty."""
    return 2 * len(said & true) / (len(said) + len(true)) if said or true else 1.0


def _sets(prediction: Prediction) -> tuple[set[str], set[str]]:
    return (
        {normalise(label) for label in labels_of(prediction.answer)},
        {normalise(label) for label in labels_of(prediction.reference)},
    )


def _parts(prediction: Prediction) -> Parts:
    return (0.0 if prediction.answer is None else f1(*_sets(prediction))), 1


def _zero(prediction: Prediction) -> Parts:
    said, true = _sets(prediction)
    return (f1(said, true) if said or true else 0.0), 1


def substrings(text: str, names: Sequence[str]) -> set[str]:
    """The lower-case names that occur in the text, longest first, each cut out before the next."""
    left, found = text.lower(), set()
    for name in sorted({name.lower() for name in names} - {""}, key=lambda n: (-len(n), n)):
        if name in left:
            found.add(name)
            left = left.replace(name, "")
    return found


class FoodSeg103:
    """Samples-F1 over the names that the response holds."""

    id = "samples_f1@foodseg103"
    higher_is_better = True
    value = staticmethod(mean)

    def prepare(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """The F1 of each sample, `[n, 1]`.

        Raises:
            UsageError: no label set was declared.
        """
        names = [label.lower() for label in labels if label.lower() not in NO_LABELS]
        if not names:
            raise UsageError(
                f"{self.id} looks for the names of the label set, and none is declared. "
                "Declare `labels` on the data set."
            )
        scores = [
            f1(
                substrings(response(p), names),
                {label.lower() for label in labels_of(p.reference)} - NO_LABELS,
            )
            for p in predictions
        ]
        return np.array(scores, dtype=np.float64).reshape(-1, 1)


metrics = (
    Ratio(id="samples_f1", parts=_parts),
    Ratio(id="samples_f1@scikit-learn", parts=_zero),
    FoodSeg103(),
)
