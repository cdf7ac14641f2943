"""Ignores the question: the share of responses that another question about the same picture got as well.

The collapse of style after tuning: whatever is asked, the model says what it was tuned to say. A
response counts when, after `residency.text.normalise`, it equals the response to a question about the
same picture (the fact `picture`) that has another reference. Predictions without such a partner are
left out. 0 for a model that reads its questions, 1 for one that does not (ours).
"""

from collections.abc import Sequence

import numpy as np

from residency.metric import quotient, response
from residency.text import normalise
from residency.types import Prediction

id = "ignores_question"
higher_is_better = False


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """Ignored and counted, `[n, 2]`; `labels` are not needed."""
    groups: dict[tuple[str, str], list[int]] = {}
    for place, p in enumerate(predictions):
        if "picture" in p.facts:
            groups.setdefault((p.view, p.facts["picture"]), []).append(place)
    said = [normalise(response(p)) for p in predictions]
    statistics = np.zeros((len(predictions), 2))
    for places in groups.values():
        for i in places:
            others = [j for j in places if predictions[j].reference != predictions[i].reference]
            if others:
                statistics[i] = any(said[i] == said[j] for j in others), 1
    return statistics


def value(statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The share per row of `weights`; NaN where no question has a partner."""
    return quotient(*(weights @ statistics).T)
