"""Radial error of landmarks: how far a predicted point lies from the annotated one, in millimetres.

Points are (x, y) in pixels of the *original* image; the fact `spacing_mm` of the sample makes them
millimetres: one number (0.1 for the cephalograms of ISBI 2015), or two, between rows and between
columns as in DICOM, the first of which scales y. A predicted point serves one reference point of its
name, in the order in which they stand; a reference without a name takes any.

`mre_mm`: the mean error over the landmarks that have a predicted point (lower is better). Those
without one, and all of an unparsed answer, cannot have a distance and are left out: quote it beside
`landmarks_found`, the share that has one. `sdr_2mm`, `sdr_2_5mm`, `sdr_3mm`, `sdr_4mm`: successful
detection rate, the share of *all* annotated landmarks with an error of at most that radius, a missing
point being a miss.
"""

import numpy as np

from residency.errors import DataError
from residency.metric import Parts, Ratio, numbers
from residency.text import normalise
from residency.types import Answer, Point, Prediction


def points_of(answer: Answer | None) -> list[Point]:
    """The points of an answer."""
    parts = () if answer is None or isinstance(answer, str) else answer
    return [part for part in parts if isinstance(part, Point)]


def errors_mm(prediction: Prediction, metric_id: str) -> tuple[np.ndarray, int]:
    """The error of every landmark that was found, and how many were asked for.

    Raises:
        UsageError: the sample carries no `spacing_mm`.
        DataError: it is not one or two positive numbers.
    """
    wanted = points_of(prediction.reference)
    if not wanted:
        return np.zeros(0), 0
    spacing = numbers(prediction, "spacing_mm", metric_id=metric_id)
    if len(spacing) > 2 or min(spacing) <= 0:
        raise DataError(
            f"Sample {prediction.sample!r} has spacing_mm={spacing}; a pixel has one or two "
            "positive sides (rows, columns)."
        )
    left, apart = points_of(prediction.answer), []
    for point in wanted:
        name = normalise(point.name)
        same = next((p for p in left if not name or normalise(p.name) == name), None)
        if same is not None:
            left.remove(same)
            apart.append((same.x - point.x, same.y - point.y))
    offsets = np.array(apart, dtype=np.float64).reshape(-1, 2) * spacing[::-1]
    return np.hypot(*offsets.T), len(wanted)


def _mean(prediction: Prediction) -> Parts:
    errors, _ = errors_mm(prediction, "mre_mm")
    return float(errors.sum()), len(errors)


def _found(prediction: Prediction) -> Parts:
    errors, wanted = errors_mm(prediction, "landmarks_found")
    return len(errors), wanted


def _within(id: str, radius_mm: float) -> Ratio:
    def parts(prediction: Prediction) -> Parts:
        errors, wanted = errors_mm(prediction, id)
        return int((errors <= radius_mm).sum()), wanted

    return Ratio(id=id, parts=parts)


metrics = (
    Ratio(id="mre_mm", parts=_mean, higher_is_better=False),
    Ratio(id="landmarks_found", parts=_found),
    _within("sdr_2mm", 2.0),
    _within("sdr_2_5mm", 2.5),
    _within("sdr_3mm", 3.0),
    _within("sdr_4mm", 4.0),
)
