"""VQA-RAD: clinicians' questions about 315 radiology images (Lau et al., Scientific Data 2018).

Source: osf.io/89kps, CC0 1.0, open download. On disk, as published: `VQA_RAD Dataset Public.json`,
a list of 2248 objects {qid, phrase_type, image_name, image_organ, question, question_type, answer,
answer_type, ...}, and `VQA_RAD Image Folder/<image_name>` with 315 jpg. The official split is that
of `phrase_type`: `freeform` (1206) and `para` (591) train, `test_freeform` (308) and `test_para`
(143) test. There is no validation split. The files write `CLOSED ` with a space twice, five answers
as integers, and missing text as "NULL"; 202 of the 203 test images are training images too, so a
score says little about unseen images. A sample's group is its image. 272 test questions are closed,
251 of them yes or no.

Papers: UMIT and LLaVA-Med use 1797/451 as here; a copy on the Hugging Face Hub has 1793/451.

tested on: real
"""

import functools
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from residency.data.published import Defects, Published, assemble, holds
from residency.data.questions import (
    Question,
    count_without_options,
    image_of,
    lacks,
    question_sample,
    taught,
)
from residency.data.records import Record, line, plain, read_records
from residency.dataset import Dataset

TABLE, IMAGES = "VQA_RAD Dataset Public.json", "VQA_RAD Image Folder"
ORGANS = {"CHEST": "chest", "ABD": "abdomen", "HEAD": "head"}
ABOUT = Published(
    name="vqa_rad",
    title="VQA-RAD",
    task="vqa",
    sizes={"train": 1797, "test": 451},
    metric="open: token recall; closed: accuracy (LLaVA-Med), or exact match (UMIT)",
    source="osf.io/89kps",
    licence="CC0 1.0",
    access="open download",
    tested_on="real",
    modality={"en": "radiology", "zh": "放射"},
)


def recognises(path: Path) -> bool:
    """A folder with the official JSON file."""
    return holds(path, TABLE)


def load(where: str) -> Dataset:
    """Open the folder of the official release.

    Raises:
        DataError: not there, or the JSON file cannot be read.
    """
    root, defects = ABOUT.locate(where), Defects()
    rows: dict[str, list[Question]] = {"train": [], "test": []}
    for split, row in _questions(read_records(root / TABLE, defects), defects):
        rows[split].append(row)
    known = taught(rows["train"])
    count_without_options(chain.from_iterable(rows.values()), known, defects)
    _leak(rows, defects)
    asked = {row.image for some in rows.values() for row in some}
    there = {path.name for path in (root / IMAGES).glob("*.jpg")}
    defects.add("Images that no question names", len(there - asked))
    return assemble(
        ABOUT,
        rows,
        functools.partial(question_sample, ABOUT.name, root / IMAGES, known),
        files=[root / TABLE],
        defects=defects,
        images=(root / IMAGES, image_of),
        lacks=lacks,
    )


def _questions(records: list[Record], defects: Defects) -> Iterator[tuple[str, Question]]:
    for place, record in enumerate(records):
        kind = plain(record.get("answer_type"))
        if record.get("answer_type") != kind:
            defects.add("Answer types with spaces around them (trimmed)")
        if not isinstance(record.get("answer"), str):
            defects.add("Answers that are numbers (read as text)")
        null = [key for key in ("question", "answer", "image_name") if record.get(key) == "NULL"]
        defects.add('Fields in use that say "NULL"', len(null))
        known = {key: "" if key in null else value for key, value in record.items()}
        yield (
            "test" if plain(record.get("phrase_type")).startswith("test") else "train",
            Question(
                key=str(place),
                image=plain(known.get("image_name")),
                question=line(known.get("question")),
                answer=line(known.get("answer")),
                answer_type=kind.upper(),
                facts=(
                    ("question_type", plain(record.get("question_type"))),
                    ("organ", ORGANS.get(plain(record.get("image_organ")), "")),
                ),
                kind=plain(record.get("question_type")),
            ),
        )
    unasked = sum(record.get("question_rephrase") in ("NULL", None) for record in records)
    defects.add('Questions whose rephrasing is "NULL" (not used here)', unasked)


def _leak(rows: dict[str, list[Question]], defects: Defects) -> None:
    """The official split is by question, not by image."""
    train, test = ({row.image for row in rows[split]} for split in ("train", "test"))
    if train & test:
        defects.notes.append(
            f"{len(train & test)} of {len(test)} test images are also training images: the official "
            "split separates questions, not images."
        )
