"""Read annotated boxes as they are published: Pascal VOC XML (one file per image) and COCO JSON."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from residency.data.documents import RowError, read_json, read_text
from residency.errors import DataError
from residency.types import Box


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotated:
    """The boxes of one image; `size` is the (width, height) that the annotation states, if any.

    `asks` names what the boxes show where only that is asked for, "" for everything; `split` is what
    the row itself states, if anything.
    """

    image: str
    boxes: tuple[Box, ...]
    size: tuple[int, int] | None = None
    id: str = ""
    asks: str = ""
    split: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Coco:
    """A COCO file: images in file order (those without boxes too), category names, counts left out.

    Where an annotation or the image itself cannot be used, its image is the error that says why.
    """

    images: tuple[Annotated | RowError, ...]
    names: tuple[str, ...]
    crowds: int


def read_voc(path: Path) -> Annotated:
    """One VOC annotation, its file name without folders.

    VOC numbers pixels from 1 and includes the last (devkit, 2007), so a box spans `xmin - 1` to
    `xmax`. Where `xmin == xmax` the annotator clicked without dragging: such a box is given without
    extent, so that `data check` reports it, and so is one whose corners are swapped.

    Raises:
        DataError: not XML, entity declarations, no `filename`, an object without name or corners,
            or a corner that is no finite number.
    """
    text = read_text(path)
    if re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise DataError(f"{path} declares XML entities, which are not read. Remove the DOCTYPE.")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(f"{path} is not well-formed XML: {error}.") from None
    except ValueError as error:  # an encoding declaration that Python does not know
        raise DataError(f"{path}: {error}.") from None
    name = PurePosixPath(_xml(root, "filename").replace("\\", "/")).name
    if not name:
        raise DataError(f"{path} names no image in `filename`. It is not a VOC annotation.")
    sides = [_xml(root, f"size/{side}") for side in ("width", "height")]
    width, height = (int(side) if side.isdecimal() else 0 for side in sides)
    boxes = (_voc_box(item, path, place) for place, item in enumerate(root.iter("object"), 1))
    return Annotated(
        image=name, boxes=tuple(boxes), size=(width, height) if width and height else None
    )


def _xml(element: ElementTree.Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _voc_box(item: ElementTree.Element, path: Path, place: int) -> Box:
    where = f"{path} object {place}"
    name = " ".join(_xml(item, "name").split())
    if not name:
        raise RowError("box", where, "no name. Name the object or remove it.")
    corners = [_xml(item, f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
    x1, y1, x2, y2 = numbers(corners, 4, where)
    # The first pixel is number 1; a side without extent keeps none.
    return Box(
        name=name,
        x1=x1 - 1,
        y1=y1 - 1,
        x2=x2 if x2 > x1 else x2 - 1,
        y2=y2 if y2 > y1 else y2 - 1,
    )


def read_coco(path: Path) -> Coco:
    """A COCO annotation file: `bbox` is x, y, width, height in pixels, counted from 0.

    Regions that are marked as crowds are no objects: they are counted and left out.

    Raises:
        DataError: not strict JSON, not COCO, or an id twice.
    """
    document = read_json(path)
    if not is_coco(document):
        raise DataError(f"{path} is not COCO: it needs the lists images, annotations, categories.")
    names: dict[Any, str] = {
        key: " ".join(str(entry.get("name", "")).split()) or str(key)
        for key, entry in _by_id(document["categories"], path, "category").items()
    }
    images = _by_id(document["images"], path, "image")
    boxes: defaultdict[Any, list[Box]] = defaultdict(list)
    bad: dict[Any, RowError] = {}
    strangers: list[RowError] = []
    crowds = 0
    for place, entry in enumerate(document["annotations"]):
        stated = entry if isinstance(entry, dict) else {}
        where, key = f"{path} annotation {stated.get('id', place)}", stated.get("image_id")
        if not isinstance(key, int | str) or key not in images:
            strangers.append(RowError("box", where, "its image_id is not among the images."))
        elif stated.get("iscrowd") == 1:
            crowds += 1
        else:
            try:
                boxes[key].append(_coco_box(stated, names, where))
            except RowError as error:
                bad.setdefault(key, error)
    annotated = (
        bad.get(key) or _coco_image(entry, boxes[key], path) for key, entry in images.items()
    )
    return Coco(images=(*annotated, *strangers), names=tuple(names.values()), crowds=crowds)


def _coco_box(entry: Mapping[str, Any], names: Mapping[Any, str], where: str) -> Box:
    category = entry.get("category_id")
    if not isinstance(category, int | str) or category not in names:
        raise RowError("box", where, "its category_id is not among the categories.")
    x, y, width, height = numbers(entry.get("bbox"), 4, where)
    return Box(name=names[category], x1=x, y1=y, x2=x + width, y2=y + height)


def _coco_image(entry: Mapping[str, Any], boxes: Iterable[Box], path: Path) -> Annotated | RowError:
    name = entry.get("file_name")
    if not isinstance(name, str) or not name.strip():
        return RowError("image", f"{path} image {entry['id']}", "no `file_name`.")
    return Annotated(
        image=name.strip(), boxes=tuple(boxes), size=_coco_size(entry), id=str(entry["id"])
    )


def is_coco(document: object) -> bool:
    """Whether a JSON value has COCO's three lists."""
    return isinstance(document, dict) and all(
        isinstance(document.get(key), list) for key in ("images", "annotations", "categories")
    )


def numbers(values: object, count: int, where: str) -> list[float]:
    """`count` finite numbers, given as numbers or as text.

    Raises:
        RowError: another number of them, or one that is not finite.
    """
    try:
        if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
            raise ValueError
        found = [float(value) for value in values]
        if len(found) != count or not all(map(math.isfinite, found)):
            raise ValueError
    except (TypeError, ValueError):
        given = repr(values)
        raise RowError(
            "box", where, f"coordinates {given[:80]}; expected {count} finite numbers."
        ) from None
    return found


def _by_id(entries: list[Any], path: Path, kind: str) -> dict[Any, dict[str, Any]]:
    if not all(isinstance(e, dict) and isinstance(e.get("id"), int | str) for e in entries):
        raise DataError(f"{path} has a {kind} without an `id` of its own.")
    twice = [key for key, count in Counter(e["id"] for e in entries).items() if count > 1]
    if twice:
        raise DataError(f"{path} has the {kind} id {twice[0]!r} twice. Every id must be unique.")
    return {entry["id"]: entry for entry in entries}


def _coco_size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = entry.get("width"), entry.get("height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None
