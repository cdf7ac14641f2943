"""PMC-VQA: multiple-choice questions about figures of PubMed Central (Zhang et al., 2023).

Source: huggingface.co/datasets/xmcmic/PMC-VQA, CC BY-SA, open download. On disk, as published:
version 1 `train.csv`, `test.csv`, `test_clean.csv` (2,000 checked by hand; the test of the papers)
and `images.zip`; version 2 `train_2.csv`, `test_2.csv` (152,603/33,430, with captions) and
`images_2.zip`. Columns Figure_path, Question, Answer (in one file `Anwser`), `Choice A` to `Choice
D` whose text begins with "A:", Answer_label. Images are unpacked to `images/` or `figures/`. In a
folder with both, version 1 is taken; version 2 by `pmc_vqa:FOLDER/train_2.csv`. There is no
validation split. A sample's group is its figure.

tested on: fixture
"""

import functools
from dataclasses import replace
from pathlib import Path

from residency.data.choices import Choice, bare, choice_image, choice_sample, chosen, lacks
from residency.data.images import file_picture
from residency.data.published import Defects, Published, assemble, holds, one_of
from residency.data.records import line, read_table
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Sample

COLUMNS = (
    "Figure_path", "Question", "Choice A", "Choice B", "Choice C", "Choice D",
    "Answer|Anwser", "Answer_label|",
)  # fmt: skip
# Version 2 is told by its names alone; in version 1 the checked test comes first.
VERSIONS = (
    ({"train": ("train.csv",), "test": ("test_clean.csv", "test.csv")}, {"test": 2_000}),
    (
        {"train": ("train_2.csv",), "test": ("test_2.csv",)},
        {"train": 152_603, "test": 33_430},
    ),
)
FOLDERS = (("images", "figures"), ("images_2", "figures", "images"))
ABOUT = Published(
    name="pmc_vqa",
    title="PMC-VQA",
    task="mcq",
    sizes={"test": 2_000, "version 2 train": 152_603, "version 2 test": 33_430},
    metric="accuracy",
    source="huggingface.co/datasets/xmcmic/PMC-VQA",
    licence="CC BY-SA (the paper); the hub states none",
    access="open download",
    tested_on="fixture",
    modality={"en": "biomedical", "zh": "生物医学"},
)


def recognises(path: Path) -> bool:
    """A table with the set's columns, or a folder that holds one."""
    found = path if path.suffix == ".csv" else one_of(path, "test_clean.csv", "train_2.csv")
    try:
        if found is None or not found.is_file():
            return False
        with found.open(encoding="utf-8-sig", errors="replace") as stream:
            head = stream.readline(4096)
        return "Figure_path" in head and "Choice A" in head
    except OSError:
        return False


def load(where: str) -> Dataset:
    """Open a folder, or the version that a table belongs to.

    Raises:
        DataError: not there, none of the tables, or one that cannot be read.
    """
    path, defects = ABOUT.locate(where), Defects()
    root = path.parent if path.is_file() else path
    second = (
        path.stem.endswith("_2")
        if path.is_file()
        else one_of(root, "train.csv", "test_clean.csv") is None
    )
    names, sizes = VERSIONS[second]
    files = {split: found for split, some in names.items() if (found := one_of(root, *some))}
    if not files:
        raise DataError(f"{root} has none of {', '.join(n for v in names.values() for n in v)}.")
    about = replace(ABOUT, name=f"{ABOUT.name}_2" if second else ABOUT.name, sizes=sizes)
    if not second and not holds(root, "test_clean.csv") and "test" in files:
        defects.notes.append(
            "The test is test.csv, which nobody checked; papers use test_clean.csv."
        )
    rows = {
        split: [
            _row(place, cells) for place, cells in enumerate(read_table(file, COLUMNS, defects))
        ]
        for split, file in files.items()
    }
    images = one_of(root, *FOLDERS[second]) or root / FOLDERS[second][0]
    return assemble(
        about,
        rows,
        functools.partial(_sample, about.name, images),
        files=files.values(),
        defects=defects,
        images=(images, choice_image),
        lacks=lacks,
    )


def _row(place: int, cells: tuple[str, ...]) -> Choice:
    image, question, *choices, answer, label = cells
    options = tuple(map(bare, choices))
    letter = label or (answer if len(answer.strip()) == 1 else "")
    answer = "" if len(answer.strip()) == 1 else answer
    return Choice(str(place), image, line(question), options, chosen(options, letter, bare(answer)))


def _sample(name: str, images: Path, split: str, row: Choice) -> Sample:
    return choice_sample(name, split, row, (file_picture(images, row.image),), ABOUT.modality["en"])
