"""MESSIDOR-2: fundus photographs (Decencière et al., 2014), adjudicated grades (Krause et al., 2018).

1748 images. Source: images from adcis.net/en/third-party/messidor2 after a request form, for
research; grades from kaggle.com/datasets/google-brain/messidor2-dr-grades. On disk, as published:
`IMAGES/<image_id>` and `messidor_data.csv` with columns image_id, adjudicated_dr_grade,
adjudicated_dme, adjudicated_gradable; a circulating variant names the first two id_code and
diagnosis. 1744 images are gradable (1017/270/347/75/35 by grade), so always answering 0 is right
for 58.3 %. RETFound's folders (972/246/526) are read by `folder`; here the images are split in the
same shares, seeded, because the owners publish no split: the two eyes of one patient may lie on
both sides. File names are matched without regard to case.

tested on: fixture
"""

from pathlib import Path

from residency.data.labelled import (
    FUNDUS,
    GRADES,
    RETFOUND_SHARES,
    Folders,
    Labelled,
    labelled_dataset,
)
from residency.data.published import Defects, Published, holds
from residency.data.records import read_table
from residency.dataset import Dataset

TABLE, IMAGES = "messidor_data.csv", "IMAGES"
COLUMNS = (
    "image_id|id_code",
    "adjudicated_dr_grade|diagnosis",
    "adjudicated_dme|",
    "adjudicated_gradable|",
)
ABOUT = Published(
    name="messidor2",
    title="MESSIDOR-2",
    task="classification",
    sizes={"all": 1744},
    metric="accuracy, macro-F1",
    source="adcis.net/en/third-party/messidor2; kaggle.com/datasets/google-brain/messidor2-dr-grades",
    licence="for research",
    access="request form; Kaggle account for the grades",
    tested_on="fixture",
    modality=FUNDUS,
)


def recognises(path: Path) -> bool:
    """The table of grades."""
    return holds(path, TABLE)


def load(where: str) -> Dataset:
    """Open the folder that holds `messidor_data.csv` and `IMAGES`.

    Raises:
        DataError: not there, or no table of the published columns.
    """
    root, defects = ABOUT.locate(where), Defects()
    folders = Folders(root, (IMAGES,))
    rows = []
    for name, grade, edema, gradable in read_table(root / TABLE, COLUMNS, defects):
        if gradable in ("0", "0.0") or not grade:
            defects.add("Images that are not gradable (left out)")
            continue
        image = folders.path(name, f"{IMAGES}/{name}") if name else ""
        rows.append(
            Labelled(Path(name).stem, image, grade.removesuffix(".0"), facts=(("edema", edema),))
        )
    return labelled_dataset(
        ABOUT,
        rows,
        root,
        GRADES,
        table=root / TABLE,
        shares=RETFOUND_SHARES,
        defects=defects,
    )
