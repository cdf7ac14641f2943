"""APTOS 2019: grades of diabetic retinopathy in fundus photographs of Aravind Eye Hospital (2019).

Source: kaggle.com/c/aptos2019-blindness-detection, under the competition's rules, with a Kaggle
account. On disk, as published: `train.csv` with columns id_code and diagnosis (0 to 4) and
`train_images/<id_code>.png`; 3662 labelled images. `test.csv` and `test_images` (1928) have no
labels and are not read. RETFound's folders of the same images (2048/514/1100) are read by `folder`;
here the images are split in the same shares, seeded, because the owners publish no split. Patients
are not identified. The labels are those of RetinaMNIST, "0" to "4".

tested on: fixture
"""

from pathlib import Path

from residency.data.labelled import (
    FUNDUS,
    GRADES,
    RETFOUND_SHARES,
    Labelled,
    labelled_dataset,
)
from residency.data.published import Defects, Published, holds
from residency.data.records import read_table
from residency.dataset import Dataset

ABOUT = Published(
    name="aptos2019",
    title="APTOS 2019",
    task="classification",
    sizes={"all": 3662},
    metric="accuracy, macro-F1",
    source="kaggle.com/c/aptos2019-blindness-detection",
    licence="competition rules",
    access="Kaggle account",
    tested_on="fixture",
    modality=FUNDUS,
)


def recognises(path: Path) -> bool:
    """`train.csv` with the competition's columns beside `train_images`."""
    try:
        if not holds(path, "train.csv", "train_images"):
            return False
        with (path / "train.csv").open(encoding="utf-8-sig", errors="replace") as stream:
            return stream.readline().strip() == "id_code,diagnosis"
    except OSError:
        return False


def load(where: str) -> Dataset:
    """Open the folder that holds `train.csv` and `train_images`.

    Raises:
        DataError: not there, or no table of the published columns.
    """
    root, defects = ABOUT.locate(where), Defects()
    rows = [
        Labelled(name, f"{name}.png" if name else "", grade)
        for name, grade in read_table(root / "train.csv", ("id_code", "diagnosis"), defects)
    ]
    images = root / "train_images"
    return labelled_dataset(
        ABOUT,
        rows,
        images,
        GRADES,
        table=root / "train.csv",
        shares=RETFOUND_SHARES,
        defects=defects,
    )
