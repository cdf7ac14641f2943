"""RSNA Pneumonia Detection Challenge: boxes of lung opacity on chest radiographs (Shih et al., 2019).

Source: kaggle.com/c/rsna-pneumonia-detection-challenge, under the competition's rules, with a
Kaggle account. On disk, as published: `stage_2_train_labels.csv` with columns patientId, x, y,
width, height, Target, one row per box in pixels of the 1024 x 1024 image, empty where Target is 0;
`stage_2_train_images/<patientId>.dcm`; `stage_2_detailed_class_info.csv`. Some copies separate by
`;`. 30,227 rows over 26,684 images; 9,555 boxes on 6,012 of them. The 3,000 test images have no
labels. UMIT prints 32,024 samples, which no RSNA file has: it is 30,227 plus VQA-RAD's 1,797,
probably a slip. The owners publish no split; here patients are split 70/10/20, seeded.

One sample per image; an image without opacity answers "None". The group is a salted hash of the
patient id, and the id itself appears in the image's path alone. Images need pydicom (extra
`medical`).

tested on: fixture
"""

import functools
from pathlib import Path

from residency.data.boxes import Boxed, boxed_image, boxed_sample, sound
from residency.data.identity import stand_in
from residency.data.published import Defects, Published, assemble, holds
from residency.data.records import read_table
from residency.data.splits import SPLITS, assign
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Box

TABLE, IMAGES = "stage_2_train_labels.csv", "stage_2_train_images"
COLUMNS = ("patientId", "x", "y", "width", "height", "Target")
SIZE = (1024, 1024)
FINDING = "pneumonia"
ABOUT = Published(
    name="rsna_pneumonia",
    title="RSNA Pneumonia",
    task="detection",
    sizes={"all": 26_684},
    metric="IoU",
    source="kaggle.com/c/rsna-pneumonia-detection-challenge",
    licence="competition rules",
    access="Kaggle account",
    tested_on="fixture",
    modality={"en": "chest X-ray", "zh": "胸部X光"},
)


def recognises(path: Path) -> bool:
    """The training labels of stage 2."""
    return holds(path, TABLE)


def load(where: str) -> Dataset:
    """Open the folder that holds the labels and the images.

    Raises:
        DataError: not there, or a row whose box is not made of numbers.
    """
    root, defects = ABOUT.locate(where), Defects()
    boxes: dict[str, list[Box]] = {}
    for number, cells in enumerate(read_table(root / TABLE, COLUMNS, defects), start=1):
        some = boxes.setdefault(cells[0], [])
        if box := _box(cells, f"{TABLE} row {number}"):
            some.append(box)
    if boxes.pop("", None) is not None:
        defects.add("Groups of rows without a patientId (left out)")
    patients = list(boxes)
    sides = assign(patients)
    rows: dict[str, list[Boxed]] = {split: [] for split in SPLITS}
    for patient, side in zip(patients, sides, strict=True):
        group = stand_in(patient)
        found = sound(boxes[patient], SIZE, defects)
        rows[SPLITS[side]].append(Boxed(group, f"{patient}.dcm", found, FINDING, SIZE, group))
    defects.notes.append("The owners publish no split: patients were split 70/10/20, seed 0.")
    return assemble(
        ABOUT,
        rows,
        functools.partial(
            boxed_sample, ABOUT.name, root / IMAGES, (FINDING,), ABOUT.modality["en"]
        ),
        files=[root / TABLE],
        defects=defects,
        images=(root / IMAGES, boxed_image),
        labels=(FINDING,),
    )


def _box(cells: tuple[str, ...], where: str) -> Box | None:
    """The box of a row, None where it marks an image without opacity."""
    if not any(cells[1:5]):
        return None
    try:
        x, y, width, height = (float(cell) for cell in cells[1:5])
    except ValueError:
        raise DataError(f"{where}: the box is {cells[1:5]}; expected four numbers.") from None
    return Box(name=FINDING, x1=x, y1=y, x2=x + width, y2=y + height)
