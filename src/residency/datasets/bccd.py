"""BCCD: 364 blood smears with boxes around red cells, white cells and platelets (2017).

Source: github.com/Shenggan/BCCD_Dataset, MIT, open download. On disk, as published:
`Annotations/<id>.xml` (PASCAL VOC, names RBC, WBC, Platelets), `JPEGImages/<id>.jpg` of 640 x 480,
`ImageSets/Main/{train,val,test}.txt` with 205/87/72 ids. Two boxes have no area (BloodImage_00338
and BloodImage_00343): left out and counted.

tested on: real
"""

import functools
from pathlib import Path

from residency.data.annotations import read_voc
from residency.data.boxes import Boxed, boxed_image, boxed_sample, sound
from residency.data.published import Defects, Published, assemble, holds
from residency.dataset import Dataset

LABELS = ("RBC", "WBC", "Platelets")
ABOUT = Published(
    name="bccd",
    title="BCCD",
    task="detection",
    sizes={"train": 205, "val": 87, "test": 72},
    metric="IoU, recall at IoU .25",
    source="github.com/Shenggan/BCCD_Dataset",
    licence="MIT",
    access="open download",
    tested_on="real",
    modality={"en": "blood smear microscope", "zh": "血涂片显微"},
)


def recognises(path: Path) -> bool:
    """A VOC folder whose training list names `BloodImage_` files."""
    try:
        lists = path / "ImageSets" / "Main" / "train.txt"
        return holds(path, "Annotations") and lists.read_text()[:11] == "BloodImage_"
    except (OSError, ValueError):
        return False


def load(where: str) -> Dataset:
    """Open the folder that holds `Annotations`, `ImageSets` and `JPEGImages`.

    Raises:
        DataError: not there, or an annotation that is not VOC.
    """
    root, defects = ABOUT.locate(where), Defects()
    rows: dict[str, list[Boxed]] = {}
    files = []
    for split in ABOUT.sizes:
        listing = root / "ImageSets" / "Main" / f"{split}.txt"
        if not listing.is_file():
            defects.notes.append(f"No ImageSets/Main/{split}.txt.")
            continue
        files.append(listing)
        rows[split] = []
        for name in listing.read_text(encoding="utf-8").split():
            path = root / "Annotations" / f"{name}.xml"
            if not path.is_file():
                defects.add("Listed images without an annotation (left out)")
                continue
            files.append(path)
            found = read_voc(path)
            boxes = sound(found.boxes, found.size, defects)
            rows[split].append(Boxed(name, f"{name}.jpg", boxes, size=found.size))
    return assemble(
        ABOUT,
        rows,
        functools.partial(
            boxed_sample, ABOUT.name, root / "JPEGImages", LABELS, ABOUT.modality["en"]
        ),
        files=files,
        defects=defects,
        images=(root / "JPEGImages", boxed_image),
        labels=LABELS,
    )
