"""Boxes as the published sets write them, and the samples that ask for them."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

from residency.data.published import Defects, sized_picture
from residency.errors import DataError
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


def sound(boxes: list[Box], size: tuple[int, int] | None, defects: Defects) -> tuple[Box, ...]:
    """The boxes that fit; the others are counted."""
    kept = tuple(box for box in boxes if fits(box, size))
    defects.add("Boxes that are empty or leave the image (left out)", len(boxes) - len(kept))
    return kept


def read_voc(path: Path, defects: Defects) -> tuple[tuple[int, int] | None, tuple[Box, ...]]:
    """Size and boxes of a PASCAL VOC annotation file.

    VOC counts pixels from 1 and includes the last one, so a box from `xmin` to `xmax` covers
    `[xmin - 1, xmax)` here. A box of which `xmin >= xmax` or `ymin >= ymax` is counted and left out.

    Raises:
        DataError: not XML, a document type declaration (it can define entities), or an object
            without a name or four numbers.
    """
    try:
        data = path.read_bytes()
        if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            raise DataError(f"{path} declares a document type, which VOC files do not. Refused.")
        tree = ElementTree.fromstring(data)
        width, height = (
            int(float(tree.findtext(f"size/{side}") or 0)) for side in ("width", "height")
        )
        found = [(_word(entry), _corners(entry)) for entry in tree.iter("object")]
    except (ElementTree.ParseError, OSError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a VOC annotation: {error}.") from None
    size = (width, height) if width > 0 and height > 0 else None
    flat = [at for _, at in found if at[0] >= at[2] or at[1] >= at[3]]
    defects.add("Boxes that are empty or leave the image (left out)", len(flat))
    boxes = [
        Box(name=name, x1=at[0] - 1, y1=at[1] - 1, x2=at[2], y2=at[3])
        for name, at in found
        if at not in flat
    ]
    return size, sound(boxes, size, defects)


def _word(entry: ElementTree.Element) -> str:
    name = (entry.findtext("name") or "").strip()
    if not name:
        raise ValueError("an object has no name")
    return name


def _corners(entry: ElementTree.Element) -> tuple[float, float, float, float]:
    texts = [entry.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    x1, y1, x2, y2 = (float(text) if text is not None else float("nan") for text in texts)
    return x1, y1, x2, y2
