"""M3D-Seg: boxes of organs and lesions in CT volumes of 25 public sets (Bai et al., M3D, 2024).

Source: huggingface.co/datasets/GoodBaiBai88/M3D-Seg, each set under its own licence, open download.
On disk, after the authors' preparation: one folder per set, `0000` to `0025`, with `NNNN.json`,
{train, test: [{image, label}]}; `image` a `.npy` of 1 x 32 x 256 x 256, `label` its
`masks/mask_<i>.npy` of the same shape, whose number i is the class (names in
`residency.data.m3d_names`). The preparation writes absolute paths: what follows the set's folder is
used. UMIT counts 122,644/799, its test (and M3D's) being set 0003. Give one set's folder, or their
parent for all of them.

One sample per mask; the answer is the mask's extent in voxels of the volume as stored, x along its
width, read from the mask when the sample is indexed (M3D stores the depth first and scales to
0..1). An empty or unreadable mask gives an answer without boxes and volume and pictures that say
so. The 32 slices are the sample's images.

tested on: fixture
"""

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from residency.data.images import ImageError, inside
from residency.data.m3d import DEPTH, m3d_volume
from residency.data.m3d_names import M3D_NAMES
from residency.data.published import Defects, Published, assemble, holds
from residency.data.records import listed, plain, read_json
from residency.data.splits import SYNONYMS
from residency.data.volumes import Slices
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Box3D, Sample

ABOUT = Published(
    name="m3d_seg",
    title="M3D-Seg",
    task="detection3d",
    sizes={},
    metric="3D IoU, accuracy at IoU .25",
    source="huggingface.co/datasets/GoodBaiBai88/M3D-Seg",
    licence="Apache-2.0 (the hub); each set its own",
    access="open download",
    tested_on="fixture",
    modality={"en": "CT", "zh": "CT"},
)
SLICES = Slices(tuple(range(DEPTH)), float("nan"), float("nan"), as_stored=True)


class Masked(NamedTuple):
    """One mask of one volume; the paths are relative to the parent of the sets."""

    key: str
    image: str
    mask: str
    name: str


def recognises(path: Path) -> bool:
    """A set's folder with its list, or the parent of one."""
    own = path.name in M3D_NAMES and holds(path, f"{path.name}.json")
    return own or bool(_tags(path))


def load(where: str) -> Dataset:
    """Open one set, or all sets below a folder.

    Raises:
        DataError: not there, no set's list, or a list of another structure.
    """
    path, defects = ABOUT.locate(where), Defects()
    root, tags = (path.parent, [path.name]) if path.name in M3D_NAMES else (path, _tags(path))
    files = [root / tag / f"{tag}.json" for tag in tags]
    if not files:
        raise DataError(f"{path} holds no set of M3D-Seg, such as 0003/0003.json.")
    rows: dict[str, list[Masked]] = {}
    for tag, table in zip(tags, files, strict=True):
        content = read_json(table)
        if not isinstance(content, dict):
            raise DataError(f"{table} must map train and test to lists of {{image, label}}.")
        for key, entries in content.items():
            if split := SYNONYMS.get(key.strip().lower()):
                found = _rows(tag, listed(entries, f"{table} {key!r}", defects), defects)
                rows.setdefault(split, []).extend(found)
    labels = tuple(dict.fromkeys(name for tag in tags for name in M3D_NAMES[tag]))
    return assemble(
        ABOUT,
        rows,
        functools.partial(_sample, root),
        files=files,
        defects=defects,
        images=(root, lambda row: (row.image, row.mask)),
        labels=labels,
    )


def _tags(path: Path) -> list[str]:
    return [tag for tag in M3D_NAMES if holds(path, f"{tag}/{tag}.json")]


def _rows(tag: str, records: list[dict[str, object]], defects: Defects) -> Iterator[Masked]:
    for record in records:
        image, mask = (_below(tag, plain(record.get(key))) for key in ("image", "label"))
        number = Path(mask).stem.removeprefix("mask_")
        known = number.isdecimal() and int(number) < len(M3D_NAMES[tag])
        if not image or not known:
            defects.add("Entries whose image or class is unknown (left out)")
            continue
        case = Path(image).parent.name
        yield Masked(f"{tag}/{case}/{number}", image, mask, M3D_NAMES[tag][int(number)])


def _below(tag: str, name: str) -> str:
    """A path from the set's folder on, whatever absolute folder stands before it."""
    parts = Path(name).parts
    return "/".join(parts[parts.index(tag) :]) if tag in parts else ""


@functools.lru_cache(maxsize=100_000)  # six numbers for every mask that was looked at
def _extent(root: Path, name: str) -> tuple[int, ...]:
    """x1, y1, z1, x2, y2, z2 of a mask in voxels, the upper corner exclusive.

    Raises:
        ImageError: no array of 1 x 32 x 256 x 256, or nothing in it.
    """
    path = inside(root, name)
    try:
        mask = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ImageError("mask", f"{path} is not a readable mask: {error}.") from None
    if mask.ndim != 4 or len(mask) != 1:
        raise ImageError("mask", f"{path} is {list(mask.shape)}; expected [1, 32, 256, 256].")
    occupied = np.argwhere(mask[0] > 0)
    if not len(occupied):
        raise ImageError("mask", f"{path} is empty: nothing to locate.")
    low, high = occupied.min(axis=0), occupied.max(axis=0) + 1
    return *map(int, low[::-1]), *map(int, high[::-1])


def _refuse(code: str, message: str) -> NoReturn:
    raise ImageError(code, message)


def _sample(root: Path, split: str, row: Masked) -> Sample:
    volume, pictures = m3d_volume(root, row.image)
    answer: tuple[Box3D, ...] = ()
    try:
        x1, y1, z1, x2, y2, z2 = map(float, _extent(root, row.mask))
        answer = (Box3D(name=row.name, x1=x1, y1=y1, z1=z1, x2=x2, y2=y2, z2=z2),)
    except ImageError as error:
        load = functools.partial(_refuse, error.code, str(error))
        volume = replace(volume, load=load)
        pictures = tuple(replace(picture, load=load) for picture in pictures)
    return Sample(
        id=f"{ABOUT.name}/{split}/{row.key}",
        dataset=ABOUT.name,
        task="detection3d",
        answer=answer,
        images=pictures,
        volume=volume,
        question=row.name,
        modality=ABOUT.modality["en"],
        group=row.image,
        attributes=SLICES.attributes,
    )
