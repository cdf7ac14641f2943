"""Medical-CXR-VQA: questions about MIMIC-CXR radiographs, made from their reports (Hu et al., 2024).

Source: physionet.org/content/medical-cxr-vqa-dataset; PhysioNet credentialed licence; credentialed
access and training. On disk, as published: `medical_cxr_vqa_questions.csv` with columns subject_id,
study_id, question_type (abnormality, presence, view, location, level, type), question, answer, and
split where it is given; images of MIMIC-CXR-JPG below `files/` (or the folder) as
`pNN/p<subject_id>/s<study_id>/<dicom_id>.jpg`, of which the first by name is taken unless a column
dicom_id names one. Where CheXmask's table (`MIMIC-CXR-JPG.csv` or `chexmask.csv`) lies beside, the
first that it calls a frontal chest of quality .7 is taken instead, if the study has one. InstFree
leaves out the type `view`, as here, counted. Presence is yes or no. The group is a salted hash of
the patient. Without a split column, patients are split 70/10/20, seeded.

tested on: fixture
"""

import functools
from pathlib import Path

from residency.data.chexmask import LEAST, qualities
from residency.data.identity import stand_in
from residency.data.published import Defects, Published, assemble, one_of
from residency.data.questions import Question, lacks, question_sample, taught
from residency.data.records import line, read_table
from residency.data.splits import SPLITS, SYNONYMS, assign
from residency.dataset import Dataset
from residency.types import Sample

TABLE = "medical_cxr_vqa_questions.csv"
COLUMNS = (
    "subject_id", "study_id", "question_type", "question", "answer", "split|", "dicom_id|",
)  # fmt: skip
ABOUT = Published(
    name="medical_cxr_vqa",
    title="Medical-CXR-VQA",
    task="vqa",
    sizes={},
    metric="accuracy of the choice (InstFree)",
    source="physionet.org/content/medical-cxr-vqa-dataset",
    licence="PhysioNet credentialed",
    access="credentialed",
    tested_on="fixture",
    modality={"en": "chest X-ray", "zh": "胸部X光"},
)


def recognises(path: Path) -> bool:
    """The table of questions."""
    return one_of(path, TABLE) is not None


def load(where: str) -> Dataset:
    """Open the folder of the table.

    Raises:
        DataError: not there, or a table that lacks a column.
    """
    root, defects = ABOUT.locate(where), Defects()
    images = one_of(root, "files") or root
    known = qualities(root, defects)
    good = frozenset(name for name, quality in known.items() if quality >= LEAST)
    cells = read_table(root / TABLE, COLUMNS, defects)
    views = sum(kind == "view" for _, _, kind, *_ in cells)
    defects.add("Questions about the view (left out)", views)
    cells = [row for row in cells if row[2] != "view"]
    given = bool(cells) and all(row[5].lower() in SYNONYMS for row in cells)
    if given:
        sides = [SYNONYMS[row[5].lower()] for row in cells]
    else:
        defects.notes.append("No column split: patients were split 70/10/20, seed 0.")
        sides = [SPLITS[side] for side in assign([row[0] for row in cells])]
    rows: dict[str, list[Question]] = {split: [] for split in SPLITS}
    for place, (row, side) in enumerate(zip(cells, sides, strict=True)):
        rows[side].append(_question(place, row))
    return assemble(
        ABOUT,
        rows,
        functools.partial(_sample, images, good),
        files=[root / TABLE],
        defects=defects,
        lacks=lacks,
    )


def _question(place: int, row: tuple[str, ...]) -> Question:
    subject, study, kind, question, answer, _, dicom = row
    return Question(
        key=str(place),
        image=f"p{subject[:2]}/p{subject}/s{study}" + (f"/{dicom}.jpg" if dicom else ""),
        question=line(question),
        answer=line(answer),
        answer_type="CLOSED" if kind == "presence" else "OPEN",
        group=stand_in(subject),
        facts=(("question_type", kind),),
    )


def _sample(images: Path, good: frozenset[str], split: str, row: Question) -> Sample:
    """The sample of a row; a study is looked into when its sample is indexed, not before."""
    if not row.image.endswith(".jpg"):
        row = row._replace(image=_first(images, good, row.image))
    return question_sample(ABOUT.name, images, taught(()), split, row)


@functools.lru_cache(maxsize=10_000)  # a study has several questions
def _first(images: Path, good: frozenset[str], study: str) -> str:
    """The first good image of a study, else its first; a name that is not there where it is absent."""
    paths = sorted((images / study).glob("*.jpg"))
    names = [path.name for path in sorted(paths, key=lambda path: path.stem not in good)]
    return f"{study}/{names[0] if names else 'absent.jpg'}"
