"""PathVQA: questions about pathology images of textbooks and a digital library (He et al., 2020).

Source: huggingface.co/datasets/flaviagiammarino/path-vqa (of github.com/UCSD-AI4H/PathVQA), MIT,
open download. On disk, as published there: `data/{train,validation,test}-XXXXX-of-XXXXX-*.parquet`
with the columns image {bytes, path}, question and answer. Splits 19,654/6,259/6,719; UMIT prints
6,279 for validation, a misprint of 6,259. Test: 3,357 open, 3,362 closed (yes or no). The authors'
own files `qas/{train,val,test}_vqa.pkl` are pickles, which are never opened here. A sample's group
is its image, where the file names it.

tested on: fixture
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from residency.data.parquet import embedded_picture, read_texts, shards
from residency.data.published import Defects, Published, assemble, holds
from residency.data.questions import YES_NO
from residency.data.records import line
from residency.dataset import Dataset
from residency.errors import DataError
from residency.text import normalise
from residency.types import Sample

NAMES = {"train": "train", "val": "validation", "test": "test"}
ABOUT = Published(
    name="pathvqa",
    title="PathVQA",
    task="vqa",
    sizes={"train": 19_654, "val": 6_259, "test": 6_719},
    metric="open: token recall; closed: accuracy",
    source="huggingface.co/datasets/flaviagiammarino/path-vqa",
    licence="MIT; images of their publishers",
    access="open download",
    tested_on="fixture",
    modality={"en": "pathology", "zh": "病理"},
)


class Row(NamedTuple):
    """A row of a file; `image` is the name that the file gives it, or ''."""

    file: Path
    place: int
    image: str
    question: str
    answer: str


def recognises(path: Path) -> bool:
    """A folder called after the set that holds its Parquet files, or the authors' `qas`."""
    try:
        named = "path" in path.resolve().name.lower() and "vqa" in path.resolve().name.lower()
        return holds(path, "qas") or (path.is_dir() and named and bool(shards(path, "train")))
    except (OSError, ValueError, RuntimeError):
        return False


def load(where: str) -> Dataset:
    """Open the folder of the Parquet files.

    Raises:
        DataError: not there, no such file, another structure, or the authors' pickles alone.
    """
    root, defects = ABOUT.locate(where), Defects()
    files = {split: shards(root, name) for split, name in NAMES.items()}
    if not any(files.values()):
        pickles = " `qas/*.pkl` are pickles, which can run code and are not opened." * holds(
            root, "qas"
        )
        raise DataError(f"{root} has no train-*.parquet.{pickles} Get them from {ABOUT.source}.")
    rows = {
        split: [
            Row(path, place, image, line(question), line(answer))
            for path in paths
            for place, (image, question, answer) in enumerate(
                read_texts(path, ("image.path", "question", "answer"))
            )
        ]
        for split, paths in files.items()
        if paths
    }
    _count_closed(rows, defects)
    return assemble(
        ABOUT,
        rows,
        _sample,
        files=[path for paths in files.values() for path in paths],
        defects=defects,
        lacks=lambda row: " or ".join(n for n in ("question", "answer") if not getattr(row, n)),
    )


def _count_closed(rows: dict[str, list[Row]], defects: Defects) -> None:
    counts = Counter(normalise(row.answer) in YES_NO for row in rows.get("test", ()))
    defects.notes.append(f"Test: {counts[False]:,} open and {counts[True]:,} closed questions.")


def _sample(split: str, row: Row) -> Sample:
    stated = normalise(row.answer)
    closed = stated in YES_NO
    number = row.file.name.split("-of-")[0].rpartition("-")[2]
    key = f"{ABOUT.name}/{split}/{row.image or f'{number}/{row.place}'}"
    return Sample(
        id=f"{ABOUT.name}/{split}/{number}/{row.place}",
        dataset=ABOUT.name,
        task="vqa",
        answer=stated if closed else row.answer,
        images=(embedded_picture(row.file, row.place, key),),
        question=row.question,
        options=YES_NO if closed else (),
        modality=ABOUT.modality["en"],
        group=row.image,
        attributes={"answer_type": "CLOSED" if closed else "OPEN"},
    )
