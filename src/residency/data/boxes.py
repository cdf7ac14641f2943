"""Boxes as the published sets write them, and the samples that ask for them."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from residency.data.published import Defects, sized_picture
from residency.types import Box, Sample


class Boxed(NamedTuple):
    """One image with its boxes; `size` is (width, height) in pixels where it is known."""

    key: str
    image: str
    boxes: tuple[Box, ...]
    question: str = ""
    size: tuple[int, int] | None = None
    group: str = ""


def boxed_sample(
    name: str, root: Path, labels: tuple[str, ...], modality: str, split: str, row: Boxed
) -> Sample:
    """The detection sample of a row."""
    return Sample(
        id=f"{name}/{split}/{row.key}",
        dataset=name,
        task="detection",
        answer=row.boxes,
        images=(sized_picture(root, row.image, row.size),),
        question=row.question,
        options=labels,
        modality=modality,
        group=row.group,
    )


def boxed_image(row: Boxed) -> tuple[str, ...]:
    """The one image that a row refers to."""
    return (row.image,)


def fits(box: Box, size: tuple[int, int] | None) -> bool:
    """Whether a box has an area and lies inside the image; NaN does not fit."""
    inside = size is None or (box.x2 <= size[0] and box.y2 <= size[1])
    return inside and 0 <= box.x1 < box.x2 and 0 <= box.y1 < box.y2


def sound(boxes: Iterable[Box], size: tuple[int, int] | None, defects: Defects) -> tuple[Box, ...]:
    """The boxes that fit; the others are counted."""
    found = tuple(boxes)
    kept = tuple(box for box in found if fits(box, size))
    defects.add("Boxes that are empty or leave the image (left out)", len(found) - len(kept))
    return kept
