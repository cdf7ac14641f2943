"""Micro-F1: 2 hits / (labels predicted + labels present), counted over all samples together.

As scikit-learn's `f1_score(average="micro")` for sets of labels. With one label per sample and every
answer parsed it equals accuracy. An unparsed answer predicts nothing.
"""

from residency.metric import Parts, Ratio, labels_of
from residency.text import normalise
from residency.types import Prediction


def _parts(prediction: Prediction) -> Parts:
    said = {normalise(label) for label in labels_of(prediction.answer)}
    true = {normalise(label) for label in labels_of(prediction.reference)}
    return 2 * len(said & true), len(said) + len(true)


metrics = (Ratio(id="micro_f1", parts=_parts),)
