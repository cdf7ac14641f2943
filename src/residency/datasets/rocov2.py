"""ROCOv2: radiology images of open articles with captions (Rückert et al., Scientific Data 2024).

Source: zenodo.org/records/10821435; each image is CC BY or CC BY-NC by its article; open download.
On disk, as published: `{train,valid,test}_captions.csv` with columns ID and Caption, and
`{train,valid,test}/<ID>.jpg` (also read: `<split>_images/<split>/`). Published splits
59,958/9,904/9,927. Grey and RGB images are mixed; all are read as RGB.

tested on: real (120/30/30 images of it)
"""

import functools
from pathlib import Path

from residency.data.captions import Captioned, captioned_sample, images_of, lacks
from residency.data.published import Defects, Published, assemble, holds, one_of
from residency.data.records import line, read_table
from residency.dataset import Dataset
from residency.errors import DataError

FOLDERS = {"train": "train", "val": "valid", "test": "test"}
ABOUT = Published(
    name="rocov2",
    title="ROCOv2",
    task="caption",
    sizes={"train": 59_958, "val": 9_904, "test": 9_927},
    metric="ROUGE-L, BLEU, CIDEr",
    source="zenodo.org/records/10821435",
    licence="per image CC BY or CC BY-NC",
    access="open download",
    tested_on="real",
    modality={"en": "radiology", "zh": "放射"},
)


def recognises(path: Path) -> bool:
    """A folder with the captions of train and of valid."""
    return holds(path, "train_captions.csv", "valid_captions.csv")


def load(where: str) -> Dataset:
    """Open the folder of the three caption files, whichever of them are there.

    Raises:
        DataError: not there, no caption file, or one that cannot be read.
    """
    root, defects = ABOUT.locate(where), Defects()
    rows: dict[str, list[Captioned]] = {}
    files = []
    for split, folder in FOLDERS.items():
        table = root / f"{folder}_captions.csv"
        if not table.is_file():
            continue
        files.append(table)
        images = one_of(root, folder, f"{folder}_images/{folder}") or root / folder
        place = images.relative_to(root).as_posix()
        rows[split] = [
            Captioned(name, (f"{place}/{name}.jpg",) if name else (), line(text))
            for name, text in read_table(table, ("ID", "Caption"), defects)
        ]
    if not files:
        raise DataError(f"{root} has no train_captions.csv. Give the folder of the caption files.")
    return assemble(
        ABOUT,
        rows,
        functools.partial(captioned_sample, ABOUT.name, ABOUT.task, root),
        files=files,
        defects=defects,
        images=(root, images_of),
        lacks=lacks,
    )
