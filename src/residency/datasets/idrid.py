"""IDRiD: grades of diabetic retinopathy and risk of macular edema, Indian patients (Porwal et al., 2018).

Source: ieee-dataport.org/open-access/indian-diabetic-retinopathy-image-dataset-idrid, CC BY 4.0,
with an account. On disk, as published, in `B. Disease Grading` (or its parent): `1. Original
Images/{a. Training Set,b. Testing Set}/IDRiD_NNN.jpg`, whose numbers start at 001 in both folders,
and `2. Groundtruths/{a. IDRiD_Disease Grading_Training Labels.csv,b. IDRiD_Disease Grading_Testing
Labels.csv}` with columns Image name, Retinopathy grade and `Risk of macular edema ` (with a space);
the training table has nine empty columns after them. Splits 413/103, no validation. Grades 0 to 4:
train 134/20/136/74/49, test 34/5/32/19/13. VITask's accuracies are 41, 43, 39 and 56 of these 103.

tested on: fixture
"""

import functools
from pathlib import Path

from residency.data.labelled import (
    FUNDUS,
    GRADES,
    Labelled,
    labelled_image,
    labelled_sample,
    lacks,
)
from residency.data.published import Defects, Published, assemble, holds
from residency.data.records import read_table
from residency.dataset import Dataset

PARENT = "B. Disease Grading"
IMAGES, LABELS = "1. Original Images", "2. Groundtruths"
PARTS = {
    "train": ("a. Training Set", "a. IDRiD_Disease Grading_Training Labels.csv"),
    "test": ("b. Testing Set", "b. IDRiD_Disease Grading_Testing Labels.csv"),
}
COLUMNS = ("Image name", "Retinopathy grade", "Risk of macular edema|")
ABOUT = Published(
    name="idrid",
    title="IDRiD (disease grading)",
    task="classification",
    sizes={"train": 413, "test": 103},
    metric="accuracy, macro-F1",
    source="ieee-dataport.org/open-access/indian-diabetic-retinopathy-image-dataset-idrid",
    licence="CC BY 4.0",
    access="free account",
    tested_on="fixture",
    modality=FUNDUS,
)


def recognises(path: Path) -> bool:
    """The folder of the grading task, or its parent."""
    table = f"{LABELS}/{PARTS['train'][1]}"
    return holds(path, table) or holds(path, f"{PARENT}/{table}")


def load(where: str) -> Dataset:
    """Open `B. Disease Grading` or its parent.

    Raises:
        DataError: not there, or a table that cannot be read.
    """
    root, defects = ABOUT.locate(where), Defects()
    root = root / PARENT if holds(root, PARENT) else root
    rows: dict[str, list[Labelled]] = {}
    files = []
    for split, (folder, name) in PARTS.items():
        table = root / LABELS / name
        files.append(table)
        rows[split] = [
            Labelled(
                image, f"{folder}/{image}.jpg" if image else "", grade, facts=(("edema", edema),)
            )
            for image, grade, edema in read_table(table, COLUMNS, defects)
        ]
    images = root / IMAGES
    return assemble(
        ABOUT,
        rows,
        functools.partial(labelled_sample, ABOUT.name, images, GRADES, FUNDUS["en"]),
        files=files,
        defects=defects,
        images=(images, labelled_image),
        lacks=functools.partial(lacks, GRADES),
        labels=GRADES,
    )
