"""M3D-VQA: multiple-choice questions about the CT volumes of M3D-Cap (Bai et al., M3D, 2024).

Source: huggingface.co/datasets/GoodBaiBai88/M3D-VQA, non-commercial; the volumes are M3D-Cap's,
whose access is restricted. On disk, as published: `M3D_VQA_{train,val,test}.csv` (also `_test5k`
and `_yn_train`, which are not read where the others are) with columns Image Path, Text, Question
Type (1 plane, 2 phase, 3 organ, 4 abnormality, 5 location), Question, Choice A to Choice D, Answer,
Answer Choice; image paths are relative to the folder of the tables or the one above it. Splits
479,664/14,068/13,791. UMIT's column "open" is this multiple choice. The 32 slices are the sample's
images.

tested on: fixture
"""

import functools
from pathlib import Path

from residency.data.choices import Choice, choice_image, choice_sample, chosen, lacks
from residency.data.m3d import base_of, m3d_volume
from residency.data.published import Defects, Published, assemble, one_of
from residency.data.records import line, read_table
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Sample

FILES = {
    "train": ("M3D_VQA_train.csv",),
    "val": ("M3D_VQA_val.csv",),
    "test": ("M3D_VQA_test.csv", "M3D_VQA_test5k.csv"),
}
COLUMNS = (
    "Image Path", "Question Type", "Question", "Choice A", "Choice B", "Choice C", "Choice D",
    "Answer", "Answer Choice",
)  # fmt: skip
TYPES = {"1": "plane", "2": "phase", "3": "organ", "4": "abnormality", "5": "location"}
ABOUT = Published(
    name="m3d_vqa",
    title="M3D-VQA",
    task="mcq",
    sizes={"train": 479_664, "val": 14_068, "test": 13_791},
    metric="accuracy of the choice",
    source="huggingface.co/datasets/GoodBaiBai88/M3D-VQA",
    licence="non-commercial",
    access="restricted",
    tested_on="fixture",
    modality={"en": "CT", "zh": "CT"},
)


def recognises(path: Path) -> bool:
    """One of the tables by its name."""
    return one_of(path, *(name for names in FILES.values() for name in names)) is not None


def load(where: str) -> Dataset:
    """Open the folder of the tables.

    Raises:
        DataError: not there, no table, or one that cannot be read.
    """
    root, defects = ABOUT.locate(where), Defects()
    files = {split: path for split, some in FILES.items() if (path := one_of(root, *some))}
    if not files:
        raise DataError(f"{root} has no M3D_VQA_train.csv. Give the folder of the tables.")
    if files.get("test", root).name == "M3D_VQA_test5k.csv":
        defects.notes.append("The test is M3D_VQA_test5k.csv, a part of the whole test.")
    rows = {
        split: [
            _row(place, cells) for place, cells in enumerate(read_table(path, COLUMNS, defects))
        ]
        for split, path in files.items()
    }
    base = base_of(root, next((row.image for some in rows.values() for row in some), ""))
    return assemble(
        ABOUT,
        rows,
        functools.partial(_sample, base),
        files=files.values(),
        defects=defects,
        images=(base, choice_image),
        lacks=lacks,
    )


def _row(place: int, cells: tuple[str, ...]) -> Choice:
    image, kind, question, *choices, answer, letter = cells
    options = tuple(map(line, choices))
    return Choice(
        str(place),
        image,
        line(question),
        options,
        chosen(options, letter, line(answer)),
        (("question_type", TYPES.get(kind.removesuffix(".0"), kind)),),
    )


def _sample(base: Path, split: str, row: Choice) -> Sample:
    volume, pictures = m3d_volume(base, row.image)
    return choice_sample(ABOUT.name, split, row, pictures, ABOUT.modality["en"], volume)
