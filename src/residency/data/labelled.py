"""One class per image: the rows of published classification sets, and the split where none is given."""

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from residency.data.images import file_picture
from residency.data.published import Defects, Published, assemble
from residency.data.splits import SPLITS, assign
from residency.dataset import Dataset
from residency.types import Sample

GRADES = (
    "0",
    "1",
    "2",
    "3",
    "4",
)  # diabetic retinopathy: none, mild, moderate, severe, proliferative
RETFOUND_SHARES = (0.56, 0.14, 0.30)  # RETFound's folders of APTOS2019 and MESSIDOR-2, rounded
FUNDUS = {"en": "fundus", "zh": "眼底"}


class Labelled(NamedTuple):
    """One image with its class; `image` is relative to the root of the images, '' if absent."""

    key: str
    image: str
    label: str
    group: str = ""
    facts: tuple[tuple[str, str], ...] = ()


def labelled_sample(
    name: str, root: Path, labels: tuple[str, ...], modality: str, split: str, row: Labelled
) -> Sample:
    """The classification sample of a row."""
    return Sample(
        id=f"{name}/{split}/{row.key}",
        dataset=name,
        task="classification",
        answer=row.label,
        images=(file_picture(root, row.image),),
        options=labels,
        modality=modality,
        group=row.group,
        attributes=dict(row.facts),
    )


def labelled_image(row: Labelled) -> tuple[str, ...]:
    """The one image that a row refers to."""
    return (row.image,)


def lacks(labels: Sequence[str], row: Labelled) -> str:
    """What an unusable row is without."""
    missing = [] if row.image else ["image"]
    if row.label not in labels:
        missing.append("label" if not row.label else "known label")
    return " or ".join(missing)


def labelled_dataset(
    about: Published,
    rows: Sequence[Labelled],
    root: Path,
    labels: tuple[str, ...],
    *,
    table: Path,
    shares: tuple[float, ...],
    defects: Defects,
) -> Dataset:
    """The classification set of a table whose owners publish no split, split in these shares.

    Raises:
        DataError: no rows at all.
    """
    return assemble(
        about,
        split_by_group(rows, shares, defects),
        functools.partial(labelled_sample, about.name, root, labels, about.modality["en"]),
        files=[table],
        defects=defects,
        images=(root, labelled_image),
        lacks=functools.partial(lacks, labels),
        labels=labels,
    )


def split_by_group(
    rows: Sequence[Labelled], shares: tuple[float, ...], defects: Defects
) -> Mapping[str, list[Labelled]]:
    """Train, val and test in these shares, whole groups (else images) together, and a note."""
    sides = assign([row.group or row.image for row in rows], shares=shares)
    percent = "/".join(f"{share:.0%}".rstrip("%") for share in shares)
    defects.notes.append(f"The owners publish no split: groups were split {percent}, seed 0.")
    return {
        split: [row for row, side in zip(rows, sides, strict=True) if side == place]
        for place, split in enumerate(SPLITS)
    }


class Folders:
    """Image files of one or more folders, found by their stem or name without regard to case."""

    def __init__(self, root: Path, folders: Iterable[str]) -> None:
        self._found: dict[str, str] = {}
        for folder in folders:
            try:
                names = sorted(os.listdir(root / folder))
            except OSError:
                continue
            for name in names:
                path = f"{folder}/{name}" if folder else name
                self._found.setdefault(name.casefold(), path)
                self._found.setdefault(os.path.splitext(name)[0].casefold(), path)

    def path(self, name: str, otherwise: str) -> str:
        """The path of that image below the root, or `otherwise` where there is no such file.

        A name with a suffix also finds the same stem with another one.
        """
        key = name.casefold()
        return self._found.get(key) or self._found.get(os.path.splitext(key)[0]) or otherwise
