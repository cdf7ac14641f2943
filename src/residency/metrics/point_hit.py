"""Point hit: the share of reference landmarks with the predicted one of that name close by.

Close is within a tenth of the diagonal of the image. Predictions carry no image size, so the
diagonal is taken per data set from the references alone: from the origin to the largest x and the
largest y that any reference point has. It never exceeds the diagonal of an image that holds them,
hence the rule is never lenient for images of one size; it does not depend on what was predicted.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from residency.metric import quotient
from residency.text import normalise
from residency.types import Answer, Point, Prediction

id = "point_hit"
higher_is_better = True
TOLERANCE = 0.1


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """Landmarks hit and landmarks asked for, `[n, 2]`; `labels` are not needed.

    A predicted point serves one reference point of its name, in the order in which they stand. A
    sample without landmarks weighs nothing.
    """
    extent: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for p in predictions:
        for point in _points(p.reference):
            x, y = extent[p.dataset]
            extent[p.dataset] = (max(x, point.x), max(y, point.y))
    statistics = np.zeros((len(predictions), 2))
    for row, p in enumerate(predictions):
        reach = TOLERANCE * float(np.hypot(*extent[p.dataset]))
        statistics[row] = _hits(_points(p.answer), _points(p.reference), reach)
    return statistics


def value(statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The share per row of `weights`; NaN where a row asks for no landmark at all."""
    return quotient(*(weights @ statistics).T)


def _hits(found: list[Point], wanted: list[Point], reach: float) -> tuple[int, int]:
    left = list(found)
    hits = 0
    for point in wanted:
        name = normalise(point.name)
        same = next((f for f in left if normalise(f.name) == name), None)
        if same is None:
            continue
        left.remove(same)
        hits += bool(np.hypot(same.x - point.x, same.y - point.y) <= reach)
    return hits, len(wanted)


def _points(answer: Answer | None) -> list[Point]:
    if answer is None or isinstance(answer, str):
        return []
    return [point for point in answer if isinstance(point, Point)]
