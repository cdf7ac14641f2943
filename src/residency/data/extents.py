"""What was measured in the masks of a case, kept between runs: masks are read again when a file changed."""

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from residency.data.cache import cache_folder, write_whole
from residency.data.nifti import mask_boxes, read_grid, read_mask, stem
from residency.provenance import file_hash
from residency.types import Box3D

VERSION = 1  # of what is measured, and of the rules by which masks are read


class Extents(NamedTuple):
    """The boxes of the structures, in voxels of the RAS+ volume, and a hash of each file's content."""

    boxes: tuple[Box3D, ...]
    contents: tuple[str, ...]


def extents(
    volume: Path, masks: Sequence[Path], labels: Path | None, names: Mapping[int, str]
) -> Extents:
    """The extents of a mask file per structure, or of the numbered structures of `labels`.

    Masks of a hundred structures take minutes to read, and their extents are six numbers each: they are
    kept in the user's cache, under the paths, names (of links too), sizes and times of all files. What
    fails is not kept.

    Raises:
        VolumeError: a header or mask that cannot be used, or a mask that does not lie on the volume.
    """
    files = (volume, *masks, *([labels] if labels else []))
    kept = cache_folder("extents") / f"{_key(files, labels, names)}.json"
    known = _load(kept)
    if known is None:
        boxes = tuple(_measured(volume, masks, labels, names))
        known = Extents(boxes, tuple(map(file_hash, files)))
        _save(kept, known)
    return known


def _measured(
    volume: Path, masks: Sequence[Path], labels: Path | None, names: Mapping[int, str]
) -> list[Box3D]:
    grid = read_grid(volume)
    if labels is not None:
        return list(mask_boxes(read_mask(labels, grid), names))
    found: list[Box3D] = []
    for path in masks:
        found += mask_boxes(read_mask(path, grid), {1: stem(path).replace("_", " ")})
    return found


def _key(files: Sequence[Path], labels: Path | None, names: Mapping[int, str]) -> str:
    said: list[object] = [VERSION, labels is not None, sorted(names.items())]
    for path in files:
        status = os.stat(path) if path.is_file() else None
        said.append(
            [
                str(path.resolve()),
                path.name,
                *((status.st_size, status.st_mtime_ns) if status else ()),
            ]
        )
    return hashlib.sha256(json.dumps(said).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _load(path: Path) -> Extents | None:
    """What was kept; None where it is absent or damaged, for it can be measured again."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        boxes = tuple(Box3D(**box) for box in saved["boxes"])
        return Extents(boxes, tuple(map(str, saved["contents"])))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _save(path: Path, found: Extents) -> None:
    fields = ("name", "x1", "y1", "z1", "x2", "y2", "z2")
    boxes = [{name: getattr(box, name) for name in fields} for box in found.boxes]
    text = json.dumps({"boxes": boxes, "contents": found.contents}) + "\n"
    try:
        write_whole(path, lambda stream: stream.write(text.encode()))
    except OSError as error:
        print(f"No extents can be kept in {path.parent} ({error.strerror}).", file=sys.stderr)
