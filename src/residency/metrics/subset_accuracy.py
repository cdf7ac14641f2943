"""Subset accuracy: the share of samples whose whole set of labels is right, none missing or extra.

The same number as `accuracy` on multi-label answers, under the name that the literature gives it and
refused on single labels. VITask's ChestMNIST accuracy (Table 1) can only be this one: it is close to
the share of images without any finding.
"""

from residency.errors import UsageError
from residency.metric import Parts, Ratio, labels_of
from residency.text import normalise
from residency.types import Prediction


def _parts(prediction: Prediction) -> Parts:
    if isinstance(prediction.reference, str):
        raise UsageError(
            f"subset_accuracy scores sets of labels; sample {prediction.sample!r} has a single "
            "one. Use accuracy."
        )
    if prediction.answer is None:
        return 0, 1
    said = {normalise(label) for label in labels_of(prediction.answer)}
    return said == {normalise(label) for label in labels_of(prediction.reference)}, 1


metrics = (Ratio(id="subset_accuracy", parts=_parts),)
