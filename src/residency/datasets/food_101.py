"""Food-101: 101 dishes, a thousand photographs each (Bossard et al., ECCV 2014).

Source: data.vision.ee.ethz.ch/cvl/datasets_extra/food-101, for scientific use (images from
foodspotting.com); open download. On disk, as published: `images/<class>/<id>.jpg`;
`meta/{train,test}.json`, {class: [class/id, ...]}; `meta/{train,test}.txt` with the same entries a
line each; `meta/classes.txt`, `meta/labels.txt`. Splits 75,750/25,250; there is no validation
split. The labels are the 101 class folders with spaces for underscores.

tested on: real (3 of the classes, 60 images each, with the official lists of all 101)
"""

import functools
from pathlib import Path

from residency.data.images import file_picture
from residency.data.published import Defects, Published, assemble, holds
from residency.data.records import read_json
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Sample

ABOUT = Published(
    name="food_101",
    title="Food-101",
    task="classification",
    sizes={"train": 75_750, "test": 25_250},
    metric="accuracy",
    source="data.vision.ee.ethz.ch/cvl/datasets_extra/food-101",
    licence="scientific use",
    access="open download",
    tested_on="real",
    modality={"en": "food", "zh": "食物"},
)
CLASSES = 101


def recognises(path: Path) -> bool:
    """`images` beside the official lists of train and test."""
    return holds(path, "images", "meta/train.json", "meta/test.json") or holds(
        path, "images", "meta/train.txt", "meta/test.txt", "meta/classes.txt"
    )


def load(where: str) -> Dataset:
    """Open the folder that holds `images` and `meta`.

    Raises:
        DataError: a list is absent or cannot be read.
    """
    root, defects = ABOUT.locate(where), Defects()
    meta = root / "meta"
    suffix = ".json" if holds(meta, "train.json", "test.json") else ".txt"
    files = {split: meta / f"{split}{suffix}" for split in ABOUT.sizes}
    rows = {split: _entries(path) for split, path in files.items()}
    classes = sorted({entry.partition("/")[0] for some in rows.values() for entry in some})
    _compare_classes(root, classes, defects)
    labels = tuple(name.replace("_", " ") for name in classes)
    return assemble(
        ABOUT,
        rows,
        functools.partial(_sample, root / "images", labels),
        files=files.values(),
        defects=defects,
        images=(root / "images", lambda entry: (f"{entry}.jpg",)),
        labels=labels,
    )


def _entries(path: Path) -> list[str]:
    """The entries `class/id` of one list."""
    if path.suffix == ".json":
        content = read_json(path)
        if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
            raise DataError(f"{path} must map each class to a list of class/id.")
        found = [str(entry) for entries in content.values() for entry in entries]
    else:
        try:
            found = path.read_text(encoding="utf-8").split()
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}.") from None
    if odd := [entry for entry in found if entry.count("/") != 1]:
        raise DataError(f"{path} has the entry {odd[0]!r}; expected class/id.")
    return found


def _compare_classes(root: Path, classes: list[str], defects: Defects) -> None:
    """Notes on classes that the lists, the class file and the disk do not share."""
    if len(classes) != CLASSES:
        defects.notes.append(f"The lists name {len(classes)} classes; published: {CLASSES}.")
    there = sum((root / "images" / name).is_dir() for name in classes)
    if there < len(classes):
        defects.notes.append(f"{there} of {len(classes)} classes have a folder of images.")
    named = root / "meta" / "classes.txt"
    if named.is_file():
        listed = len(named.read_text(encoding="utf-8").split())
        if listed != len(classes):
            defects.notes.append(f"classes.txt names {listed} of the {len(classes)} classes.")


def _sample(root: Path, labels: tuple[str, ...], split: str, entry: str) -> Sample:
    return Sample(
        id=f"{ABOUT.name}/{split}/{entry}",
        dataset=ABOUT.name,
        task="classification",
        answer=entry.partition("/")[0].replace("_", " "),
        images=(file_picture(root, f"{entry}.jpg"),),
        options=labels,
        modality=ABOUT.modality["en"],
    )
