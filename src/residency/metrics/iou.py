"""IoU of boxes, 2D and 3D: how well every reference box is found, boxes paired one to one.

Intersection over union of continuous boxes (upper corner exclusive, no pixel added to a side, as
torchvision's `box_iou`). Per sample, predicted and reference boxes of the same name (or with no name on
either side) are paired so that the sum of IoU is largest (Hungarian method); a reference box without a
partner, and all those of an unparsed answer, have IoU 0.

`iou`, `iou3d`: the mean over reference boxes. `iou_acc25`, `iou_acc50` (and `iou3d_...`): the share of
reference boxes whose partner reaches 0.25 or 0.5 (Acc@t, a recall); `iou_precision50`: the share of
predicted boxes that reach it. Samples without reference boxes count for precision only.

`iou@minigpt-med`: MiniGPT-Med's, which UMIT's RSNA column follows: corners on a grid of 100 by 100,
truncated to integers; a pixel added to every side; *every* pair of a reference and a predicted box of a
sample counts, without pairing, and missing boxes cost nothing. Needs the fact `size`.

`iou3d@m3d`: M3D's `calculate_iou` of the first predicted and the first reference box, which divides by
the box that encloses both instead of their union (never more than IoU). Where either side has no box
M3D's table holds -1 and leaves the mean to the reader; here it counts 0.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from residency.metric import Metric, Parts, Ratio, numbers
from residency.text import normalise
from residency.types import Answer, Box, Box3D, Prediction

AnyBox = Box | Box3D


def corners(boxes: Sequence[AnyBox]) -> np.ndarray:
    """Lower corners, then upper ones: `[n, 4]` (x, y) or `[n, 6]` (x, y, z)."""
    rows = [
        (b.x1, b.y1, b.x2, b.y2) if isinstance(b, Box) else (b.x1, b.y1, b.z1, b.x2, b.y2, b.z2)
        for b in boxes
    ]
    return np.array(rows, dtype=np.float64)


def pairwise(first: np.ndarray, second: np.ndarray, *, pixel: float = 0.0) -> np.ndarray:
    """Intersection over union of `[n, 2d]` and `[m, 2d]`, as `[n, m]`; `pixel` widens every side."""
    d = first.shape[1] // 2
    low = np.maximum(first[:, None, :d], second[None, :, :d])
    high = np.minimum(first[:, None, d:], second[None, :, d:])
    shared = np.clip(high - low + pixel, 0, None).prod(-1)
    sizes = [np.clip(b[:, d:] - b[:, :d] + pixel, 0, None).prod(-1) for b in (first, second)]
    union = sizes[0][:, None] + sizes[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def over_enclosing(first: np.ndarray, second: np.ndarray) -> float:
    """M3D's ratio of two boxes `[2d]`: intersection over the box that encloses both."""
    d = len(first) // 2
    shared = np.clip(np.minimum(first[d:], second[d:]) - np.maximum(first[:d], second[:d]), 0, None)
    around = np.maximum(first[d:], second[d:]) - np.minimum(first[:d], second[:d])
    return float(shared.prod() / around.prod()) if around.prod() > 0 else 0.0


def boxes_of(answer: Answer | None, kind: type[AnyBox]) -> list[AnyBox]:
    """The boxes of an answer that are of that kind."""
    parts = () if answer is None or isinstance(answer, str) else answer
    return [part for part in parts if isinstance(part, kind)]


def paired(prediction: Prediction, kind: type[AnyBox]) -> tuple[np.ndarray, int, int]:
    """The IoU of every pair, and how many boxes were predicted and annotated."""
    found, wanted = boxes_of(prediction.answer, kind), boxes_of(prediction.reference, kind)
    if not found or not wanted:
        return np.zeros(0), len(found), len(wanted)
    names = [[normalise(box.name) for box in boxes] for boxes in (found, wanted)]
    fits = np.array([[a == b or not a or not b for b in names[1]] for a in names[0]])
    overlap = pairwise(corners(found), corners(wanted)) * fits
    return overlap[linear_sum_assignment(overlap, maximize=True)], len(found), len(wanted)


def _mean(kind: type[AnyBox]) -> Callable[[Prediction], Parts]:
    def parts(prediction: Prediction) -> Parts:
        overlap, _, wanted = paired(prediction, kind)
        return float(overlap.sum()), wanted

    return parts


def _reaching(
    kind: type[AnyBox], threshold: float, *, of_found: bool = False
) -> Callable[[Prediction], Parts]:
    def parts(prediction: Prediction) -> Parts:
        overlap, found, wanted = paired(prediction, kind)
        return int((overlap >= threshold).sum()), found if of_found else wanted

    return parts


def _minigpt_med(prediction: Prediction) -> Parts:
    found, wanted = boxes_of(prediction.answer, Box), boxes_of(prediction.reference, Box)
    if not found or not wanted:
        return 0, 0
    size = numbers(prediction, "size", metric_id="iou@minigpt-med")
    scale = 100 / np.array([*size, *size])
    grids = [np.trunc(corners(boxes) * scale) for boxes in (found, wanted)]
    overlap = pairwise(*grids, pixel=1.0)
    return float(overlap.sum()), overlap.size


def _m3d(prediction: Prediction) -> Parts:
    found, wanted = boxes_of(prediction.answer, Box3D), boxes_of(prediction.reference, Box3D)
    if not found or not wanted:
        return 0, 1
    return over_enclosing(corners(found)[0], corners(wanted)[0]), 1


def _family(name: str, kind: type[AnyBox]) -> tuple[Metric, ...]:
    return (
        Ratio(id=name, parts=_mean(kind)),
        Ratio(id=f"{name}_acc25", parts=_reaching(kind, 0.25)),
        Ratio(id=f"{name}_acc50", parts=_reaching(kind, 0.5)),
        Ratio(id=f"{name}_precision50", parts=_reaching(kind, 0.5, of_found=True)),
    )


metrics: tuple[Metric, ...] = (
    *_family("iou", Box),
    *_family("iou3d", Box3D),
    Ratio(id="iou@minigpt-med", parts=_minigpt_med),
    Ratio(id="iou3d@m3d", parts=_m3d),
)
