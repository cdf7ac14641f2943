"""What makes a sample useless by itself: an image that cannot be decoded, an answer that cannot be meant."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from residency.data.documents import RowError
from residency.errors import DataError
from residency.types import Box, Box3D, Point, Sample

MEANINGS = {
    "empty_answer": "samples whose answer is empty text",
    "options_twice": "samples that list an option twice",
    "label_outside": "samples whose answer is not among their options",
    "box_outside": "samples with a box that is empty or leaves the image or volume",
    "point_outside": "samples with a point that leaves the image",
    "fractions": "samples whose boxes or points all lie in the first pixel: shares of the image, not pixels?",
    "size_differs": "samples with an image of another size than its annotation states",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What decoding a picture gave: size (width, height) and a hash of its pixels, or an error.

    `error` is a pair of code and reason, `marks` are those of `images.MEANINGS`.
    """

    size: tuple[int, int] = (0, 0)
    content: str = ""
    marks: tuple[str, ...] = ()
    error: tuple[str, str] | None = None


def faults_of(samples: Sequence[Sample]) -> tuple[RowError, ...]:
    """The rows beside the samples that a reader could not use."""
    found: tuple[RowError, ...] = getattr(samples, "faults", ())
    return found


def defects_of(sample: Sample, seen: Sequence[Seen]) -> Iterator[tuple[str, str]]:
    """Code and reason of everything that is wrong; `seen` are the sample's images, in order."""
    for one in seen:
        if one.error is not None:
            code, reason = one.error
            yield f"image_{code}", reason
    found: list[str] = []
    answer = sample.answer
    if isinstance(answer, str) and not answer.strip():
        found.append("empty_answer")
    elif sample.options:
        stated = (answer,) if isinstance(answer, str) else answer
        if any(isinstance(entry, str) and entry not in sample.options for entry in stated):
            found.append("label_outside")
    if len(set(sample.options)) < len(sample.options):
        found.append("options_twice")
    size = seen[0].size if seen and seen[0].error is None else None
    if not _boxes_fit(sample, size):
        found.append("box_outside")
    if not _points_fit(sample, size):
        found.append("point_outside")
    if _fractions(sample):
        found.append("fractions")
    shown = zip((picture.size for picture in sample.images), seen, strict=False)
    if any(stated and one.error is None and tuple(stated) != one.size for stated, one in shown):
        found.append("size_differs")
    yield from ((code, MEANINGS[code]) for code in found)
    if sample.volume is not None:
        try:
            sample.volume.load()
        except DataError as error:
            yield f"volume_{getattr(error, 'code', 'unreadable')}", str(error)


def _boxes_fit(sample: Sample, size: tuple[int, int] | None) -> bool:
    """Whether boxes have an extent inside the first image; written so that NaN does not fit."""
    cubes = [entry for entry in sample.answer if isinstance(entry, Box3D)]
    if not all(0 <= c.x1 < c.x2 and 0 <= c.y1 < c.y2 and 0 <= c.z1 < c.z2 for c in cubes):
        return False
    boxes = [entry for entry in sample.answer if isinstance(entry, Box)]
    width, height = size or (float("inf"), float("inf"))
    return all(0 <= b.x1 < b.x2 <= width and 0 <= b.y1 < b.y2 <= height for b in boxes)


def _fractions(sample: Sample) -> bool:
    """Whether no corner and no point reaches beyond the first pixel (or voxel)."""
    reach: list[float] = []
    for entry in sample.answer:
        if isinstance(entry, Box | Box3D):
            reach += (entry.x2, entry.y2, *((entry.z2,) if isinstance(entry, Box3D) else ()))
        elif isinstance(entry, Point):
            reach += (entry.x, entry.y)
    return bool(reach) and max(reach) <= 1


def _points_fit(sample: Sample, size: tuple[int, int] | None) -> bool:
    points = [entry for entry in sample.answer if isinstance(entry, Point)]
    width, height = size or (float("inf"), float("inf"))
    return all(0 <= p.x <= width and 0 <= p.y <= height for p in points)
