"""UMIT's released data: fourteen sets preprocessed as questions with responses (Yu et al., 2025).

Source: huggingface.co/datasets/dz-osamu/<set> (PMC-OA, CM-VL-A, VQA-RAD, PathVQA, M3D-VQA, CM-VL-I,
Slake, MedMNIST, IU-Xray, PEIR_GROSS, M3D-Cap, RSNA, M3D-Seg, IEEE_ISBI_Challenge_2015), listed in the
README of github.com/dzosamu/UMIT; open download, no licence is stated. On disk, as published:
`train.jsonl`, `val.jsonl`, `test.jsonl`, of {"query": "<image><image>Please review ...", "response",
"images": ["/iu_xray/image/CXR2384_IM-0942/0.png", ...]}, and `image.zip`, which unpacks below a folder
of the authors' machine whose names differ (`iu_xray/images/...`). An image is therefore found by the
longest end of its path, of two parts at least, that one file of the folder has.

The schema is that of IU-Xray and VQA-RAD, as public programs read them; the files could not be had
here. Boxes and landmarks of the detection sets stay the text that the response is, and volumes of
M3D (`.npy`) are no images: read those sets by `rsna_pneumonia`, `slake_detection`, `cephalometric`,
`m3d_cap`, `m3d_vqa` and `m3d_seg`, from the files of their owners. One set at a time: `umit:FOLDER`.

tested on: fixture
"""

import functools
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from residency.data.documents import RowError
from residency.data.formats import as_dataset, digest_of, files_of, first_row, rows_of
from residency.data.images import SUFFIXES
from residency.data.published import Published
from residency.data.said import Image, Said, read_row
from residency.dataset import Dataset
from residency.errors import DataError

KEYS = {"query", "response", "images"}
LINES = (".jsonl",)
Places = Mapping[str, list[str]]  # the last two parts of a path, and every file that ends so
ABOUT = Published(
    name="umit",
    title="UMIT's preprocessed sets",
    task="vqa",
    sizes={},
    metric="accuracy by exact match; ROUGE-L, METEOR and CIDEr of reports (UMIT)",
    source="huggingface.co/dz-osamu",
    licence="not stated; images per source",
    access="open download",
    tested_on="fixture",
)


def recognises(path: Path) -> bool:
    """Lines of query, response and images whose paths begin with a slash; never raises."""
    files = files_of(path, LINES)
    row = first_row(next(iter(files.values()))) if files else {}
    images = row.get("images")
    return set(row) >= KEYS and isinstance(images, list) and str(images[:1]).startswith("['/")


def load(where: str) -> Dataset:
    """Open the folder of one set, its images unpacked somewhere below it, or one of its files.

    Raises:
        DataError: not there, no JSON lines, or no row that can be used.
    """
    path = ABOUT.locate(where)
    files = files_of(path, LINES)
    if not files:
        raise DataError(
            f"{path} has no train.jsonl, val.jsonl or test.jsonl. Give one set's folder."
        )
    root = path if path.is_dir() else path.parent
    read = functools.partial(_said, _places(root))
    entries = {split: list(rows_of(file, read)) for split, file in files.items()}
    name = f"{ABOUT.name}_{root.resolve().name}"
    found = as_dataset(name, entries, root, digest=digest_of(files))
    return replace(found, source=ABOUT.source, licence=found.licence or ABOUT.licence)


def _places(root: Path) -> Places:
    """Where every image below the folder lies."""
    found: dict[str, list[str]] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            if os.path.splitext(name)[1].lower() in SUFFIXES:
                at = os.path.relpath(os.path.join(folder, name), root)
                found.setdefault(_end(at), []).append(at)
    return found


def _end(path: str) -> str:
    return "/".join(Path(path).parts[-2:])


def _said(places: Places, row: object, where: str) -> Said:
    said = read_row(row, where)
    return replace(said, images=tuple(_placed(places, one, where) for one in said.images))


def _placed(places: Places, image: Image, where: str) -> Image:
    """The path below the folder of an image that the row names by one of the authors' machine."""
    if not isinstance(image, str):
        return image
    named = image.strip("/")
    at = places.get(_end(named), [])
    if len(at) > 1:
        most = max(_shared(named, one) for one in at)
        at = [one for one in at if _shared(named, one) == most]
    if len(at) > 1:
        raise RowError("image", where, f"image {named!r} is the end of {len(at)} files' paths.")
    return at[0] if at else named


def _shared(first: str, second: str) -> int:
    """How many parts two paths share, from the end."""
    same = [a == b for a, b in zip(first.split("/")[::-1], second.split("/")[::-1], strict=False)]
    return [*same, False].index(False)
