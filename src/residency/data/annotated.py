"""Detection samples from annotated images of a user's own folder, COCO and VOC alike."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from residency.data.annotations import Annotated
from residency.data.card import Card, distinct_labels, read_card
from residency.data.documents import RowError
from residency.data.formats import Partial, gathered, sided
from residency.data.images import SUFFIXES, file_picture
from residency.data.splits import SPLITS, SYNONYMS, assign
from residency.dataset import Dataset
from residency.types import Sample


def as_dataset(
    name: str,
    found: Mapping[str, Sequence[Annotated | RowError]],
    root: Path,
    *,
    notes: Sequence[str] = (),
    names: Sequence[str] = (),
) -> Dataset:
    """The detection samples of annotated images by split; those under "" as they state, else by image.

    `names` are the classes that may occur, else those that do. Image paths start at `root`.

    Raises:
        DataError: no image at all, or class names that a response cannot tell apart.
    """
    card = read_card(root)
    said = [*card.notes, *notes]
    splits: dict[str, list[Annotated]] = {split: [] for split in SPLITS}
    faults: dict[str, list[RowError]] = {split: [] for split in SPLITS}
    state = hashlib.sha256()
    for split, rows in found.items():
        entries = rows if split else sided(name, rows)
        usable = [entry for entry in entries if isinstance(entry, Annotated)]
        faults[split or "train"] += [entry for entry in entries if isinstance(entry, RowError)]
        sides = [split or SYNONYMS.get(entry.split.lower(), "") for entry in usable]
        if not all(sides):
            places = assign([entry.image for entry in usable])
            sides = [SPLITS[place] for place in places]
            said.append("No split stated: images were split 70/10/20, seed 0.")
        for side, entry in zip(sides, usable, strict=True):
            splits[side].append(entry)
            state.update(f"{side}\0{entry}\n".encode())
    splits = {split: some for split, some in splits.items() if some}
    faults = gathered(faults, splits, root)
    every = [entry for some in splits.values() for entry in some]
    labels = card.labels or tuple(names)
    labels = labels or tuple(sorted({box.name for entry in every for box in entry.boxes}))
    return Dataset(
        name=name,
        splits={
            split: Partial(
                len(some), functools.partial(_sample, name, split, root, card, some), faults[split]
            )
            for split, some in splits.items()
        },
        labels=distinct_labels(labels, str(root)),
        modality=card.modality,
        digest=state.hexdigest(),
        source=card.source,
        licence=card.licence,
        notes=tuple(said),
    )


def _sample(
    name: str, split: str, root: Path, card: Card, rows: Sequence[Annotated], place: int
) -> Sample:
    row = rows[place]
    return Sample(
        id=f"{name}/{split}/{row.id or row.image}",
        dataset=name,
        task="detection",
        answer=row.boxes,
        question=row.asks,
        images=(replace(file_picture(root, row.image), size=row.size),),
        modality=card.modality.get("en", ""),
    )


def image_folder(root: Path, names: Sequence[str], folders: Sequence[str]) -> str:
    """Which of the folders below `root` holds the first image that is found, "" for none."""
    for folder in folders:
        if any("\0" not in name and (root / folder / name).is_file() for name in names[:50]):
            return folder
    return ""


def with_suffix(folder: Path, name: str) -> str:
    """The name of an image file, its ending added where the annotation left it out."""
    if Path(name).suffix.lower() in SUFFIXES:
        return name
    for suffix in sorted(SUFFIXES):
        if (folder / f"{name}{suffix}").is_file():
            return f"{name}{suffix}"
    return name
