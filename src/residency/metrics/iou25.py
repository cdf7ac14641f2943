"""IoU > 0.25: the share of samples whose boxes are all found, and nothing else.

A sample counts when its predicted boxes match the reference boxes one to one, same name, each pair
with an intersection over union above 0.25. One box too many or too few makes it wrong; no boxes are
right where there are none. Stretching the image changes no IoU, so the image size is not needed.
"""

from collections.abc import Sequence

import numpy as np

from residency.metric import mean
from residency.text import normalise
from residency.types import Answer, Box, Prediction

id = "iou25"
higher_is_better = True
value = mean
THRESHOLD = 0.25


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """1 where all boxes match, `[n, 1]`; `labels` are not needed."""
    right = [p.answer is not None and _match(p.answer, p.reference) for p in predictions]
    return np.array(right, dtype=np.float64).reshape(-1, 1)


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes `[n, 4]` and `[m, 4]` (x1, y1, x2, y2), as `[n, m]`.

    Areas are continuous: no pixel is added to a side.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _match(answer: Answer, reference: Answer) -> bool:
    found, wanted = _boxes(answer), _boxes(reference)
    if found is None or wanted is None or len(found) != len(wanted):
        return False
    if not wanted:
        return True
    corners = [np.array([(b.x1, b.y1, b.x2, b.y2) for b in boxes]) for boxes in (found, wanted)]
    names = [np.array([normalise(b.name) for b in boxes]) for boxes in (found, wanted)]
    fits = (iou(*corners) > THRESHOLD) & (names[0][:, None] == names[1][None])
    return _pairs_all(fits)


def _pairs_all(fits: np.ndarray) -> bool:
    """Whether every row of `[n, n]` can have a column of its own that fits (augmenting paths)."""
    owner: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column in np.flatnonzero(fits[row]).tolist():
            if column not in tried:
                tried.add(column)
                if column not in owner or place(owner[column], tried):
                    owner[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(fits)))


def _boxes(answer: Answer) -> list[Box] | None:
    if isinstance(answer, str):
        return None
    boxes = [box for box in answer if isinstance(box, Box)]
    return boxes if len(boxes) == len(answer) else None
