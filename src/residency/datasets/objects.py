"""Chats with boxes as ms-swift writes them: `messages`, `images` and `objects` with `ref` and `bbox`.

On disk: a JSON list or JSON lines of {"messages": [...<ref-object>...<bbox>...], "images": ["a.jpg"],
"objects": {"ref": ["dog"], "bbox": [[x1, y1, x2, y2], ...], "bbox_type": "real" | "norm1"}}; `objects`
may be text that holds JSON. Boxes are pixels of the image, with `norm1` shares of it. Each row asks
for the boxes of its references. Source and licence are the owner's.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from residency.data.annotated import as_dataset, image_folder
from residency.data.annotations import Annotated, numbers
from residency.data.documents import RowError, parse_json
from residency.data.formats import MEDIA, SUFFIXES, files_of, first_row, rows_of
from residency.data.images import ImageError, inside, open_image
from residency.data.said import read_row
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Box


def recognises(path: Path) -> bool:
    """Whether its first row has `messages` and `objects`; never raises."""
    files = files_of(path)
    return bool(files) and {"messages", "objects"} <= set(first_row(next(iter(files.values()))))


def load(where: str) -> Dataset:
    """Open a file, or a folder with one file per split.

    Raises:
        DataError: no such file, no list of rows, or no row that can be used.
    """
    path = Path(where)
    files = files_of(path) if where else {}
    if not files:
        raise DataError(f"No such file: {where!r}. Write objects:PATH ({', '.join(SUFFIXES)}).")
    root = path if path.is_dir() else path.parent
    rows = rows_of(next(iter(files.values())), _stated)
    names = [row[0] for row in rows if not isinstance(row, RowError)]
    media = root / image_folder(root, names, MEDIA)
    read = functools.partial(_annotated, media)
    found = {split: list(rows_of(file, read)) for split, file in files.items()}
    return as_dataset(path.stem if path.is_file() else path.resolve().name, found, media)


def _stated(row: object, where: str) -> tuple[str, str]:
    """The path of the one image of a row, and its split, "" where it states none."""
    said = read_row(row, where)
    if len(said.images) != 1 or not isinstance(said.images[0], str):
        raise RowError("image", where, "boxes need exactly one image, given by its path.")
    return said.images[0], said.split


def _annotated(media: Path, row: object, where: str) -> Annotated:
    image, split = _stated(row, where)
    assert isinstance(row, Mapping)  # `read_row` takes nothing else
    objects: Any = row.get("objects")
    if isinstance(objects, str):
        objects = parse_json(objects, where)
    if not isinstance(objects, Mapping) or not isinstance(objects.get("bbox"), list):
        raise RowError("box", where, "`objects` has no list `bbox`.")
    corners = [numbers(entry, 4, where) for entry in objects["bbox"]]
    refs = [" ".join(str(ref).split()) for ref in objects.get("ref") or []]
    if len(refs) not in (0, 1, len(corners)):
        raise RowError("box", where, f"{len(refs)} references for {len(corners)} boxes.")
    refs = refs * len(corners) if len(refs) == 1 else refs or [""] * len(corners)
    kind = objects.get("bbox_type") or "real"
    if kind not in ("real", "norm1"):
        raise RowError("box", where, f"bbox_type {kind!r}; expected real or norm1.")
    width, height = _size(media, image, where) if kind == "norm1" else (1, 1)
    boxes = tuple(
        Box(name=ref, x1=x1 * width, y1=y1 * height, x2=x2 * width, y2=y2 * height)
        for ref, (x1, y1, x2, y2) in zip(refs, corners, strict=True)
    )
    asks = refs[0] if len(set(refs)) == 1 else ""
    return Annotated(
        image=image, boxes=boxes, id=f"{row.get('id') or where}", asks=asks, split=split
    )


def _size(media: Path, image: str, where: str) -> tuple[int, int]:
    try:
        return open_image(inside(media, image)).size
    except ImageError as error:
        raise RowError(f"image_{error.code}", where, str(error)) from None
