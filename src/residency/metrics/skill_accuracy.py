"""Skill accuracy: the share of samples of the general world that are right by the rule of their skill.

A box counts when all boxes match above an IoU of 0.25 (`iou25`), points when every one lies within
a tenth of the diagonal (`point_hit`), a description only when it is exact, everything else by
`accuracy`. Needs the fact `skill`, which samples of the general world and of `retention` carry (ours).
"""

from collections.abc import Sequence

import numpy as np

from residency.errors import UsageError
from residency.metric import mean, metric
from residency.types import Prediction

id = "skill_accuracy"
higher_is_better = True
value = mean
RULES = {"box": "iou25", "point": "point_hit", "describe": "exact_match"}


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """1 where a prediction is right, `[n, 1]`; `labels` are not needed.

    Raises:
        UsageError: a prediction does not say which skill it is about.
    """
    right = np.zeros((len(predictions), 1))
    places: dict[str, list[int]] = {}
    for place, p in enumerate(predictions):
        if "skill" not in p.facts:
            raise UsageError(
                f"{id} scores the data sets general and retention; sample {p.sample!r} carries no "
                "fact 'skill'. Use accuracy."
            )
        places.setdefault(RULES.get(p.facts["skill"], "accuracy"), []).append(place)
    for rule, rows in places.items():
        statistics = metric(rule).prepare([predictions[i] for i in rows], ())
        asked = statistics[:, 1] if statistics.shape[1] > 1 else 1  # the points of a sample
        right[rows, 0] = statistics[:, 0] == asked
    return right
