"""CBIS-DDSM: described masses and calcifications of mammograms (Lee et al., Scientific Data 2017).

Source: doi.org/10.7937/K9/TCIA.2016.7O02S9CY (The Cancer Imaging Archive), CC BY 3.0, open
download; the JPEG version at kaggle.com/datasets/awsaf49/cbis-ddsm-breast-cancer-image-dataset. On
disk, as published: `{mass,calc}_case_description_{train,test}_set.csv` (in the folder or in `csv/`)
with columns patient_id, breast_density (in calc: `breast density`), left or right breast, image
view, abnormality id, abnormality type, mass shape and mass margins (or calc type and calc
distribution), assessment, pathology, subtlety, and file paths; one row per abnormality. The JPEG
version has `csv/dicom_info.csv` (image_path, PatientID, SeriesDescription, SeriesInstanceUID) and
`jpeg/<series uid>/<file>.jpg`: the cropped image of a row is the file of that description whose
PatientID is the first folder of its `cropped image file path`, as InstFree's script has it (the series
that the path names may be that of the mask: the table has some of them swapped), else whose series the
path names. With the DICOM files the cropped path itself is taken.
The test is the official one; val is a tenth of the training patients, chosen as InstFree's script does
(sorted, shuffled with seed 0).

As InstFree uses it: train is the text of the attributes ("{value} {key}" for shape, margins, type
and distribution, the values alone for abnormality type and pathology, `BENIGN_WITHOUT_CALLBACK`
read as benign); the paper repeats it three times. Val and test ask for one attribute, chosen with
seed 0, against the values in train: the right one and four others, or all where there are fewer.
The group is a salted hash of the patient.

tested on: fixture
"""

import functools
import random
from pathlib import Path

from residency.data.attributes import (
    SEPARATOR,
    Attributed,
    attribute_sample,
    attributed_image,
    lacks,
)
from residency.data.identity import stand_in
from residency.data.published import Defects, Published, assemble, one_of
from residency.data.records import read_table
from residency.dataset import Dataset
from residency.errors import DataError

KINDS = {"mass": ("mass shape", "mass margins"), "calc": ("calc type", "calc distribution")}
COMMON = ("patient_id", "abnormality type", "pathology", "cropped image file path")
CROPPED = "cropped images"
CHOICES = 5
ABOUT = Published(
    name="cbis_ddsm",
    title="CBIS-DDSM",
    task="caption (train), mcq (val, test)",
    sizes={},
    metric="accuracy of the choice (InstFree)",
    source="doi.org/10.7937/K9/TCIA.2016.7O02S9CY",
    licence="CC BY 3.0",
    access="open download",
    tested_on="fixture",
    modality={"en": "mammogram", "zh": "乳腺X光"},
)
Case = tuple[str, dict[str, str], str]  # patient, attributes, image


def recognises(path: Path) -> bool:
    """The table of the training masses, in the folder or in `csv`."""
    name = "mass_case_description_train_set.csv"
    return one_of(path, name, f"csv/{name}") is not None


def load(where: str) -> Dataset:
    """Open the folder of the four tables, or its parent.

    Raises:
        DataError: not there, no table, or one that lacks a column.
    """
    root, defects = ABOUT.locate(where), Defects()
    jpegs, files = _jpegs(root, defects)
    cases: dict[str, list[Case]] = {"train": [], "test": []}
    for kind in KINDS:
        for part, found in cases.items():
            name = f"{kind}_case_description_{part}_set.csv"
            table = one_of(root, name, f"csv/{name}")
            if table is None:
                defects.notes.append(f"No {name}.")
                continue
            files.append(table)
            found += _cases(table, kind, jpegs, defects)
    if not cases["train"]:
        raise DataError(f"{root} has no mass_case_description_train_set.csv with rows.")
    values = _values(cases["train"])
    patients = sorted({patient for patient, _, _ in cases["train"]})
    random.Random(0).shuffle(patients)
    held = set(patients[: len(patients) // 10])
    parts = {
        "train": [case for case in cases["train"] if case[0] not in held],
        "val": [case for case in cases["train"] if case[0] in held],
        "test": cases["test"],
    }
    return assemble(
        ABOUT,
        {
            split: [_row(split, place, case, values) for place, case in enumerate(some)]
            for split, some in parts.items()
        },
        functools.partial(attribute_sample, ABOUT.name, root, ABOUT.modality["en"]),
        files=files,
        defects=defects,
        images=(root, attributed_image),
        lacks=lacks,
    )


def _jpegs(root: Path, defects: Defects) -> tuple[dict[str, str], list[Path]]:
    """The cropped JPEG by patient id (`Mass-Training_P_00001_LEFT_CC_1`) and by series uid.

    Empty where the set is not the JPEG version.
    """
    table = one_of(root, "dicom_info.csv", "csv/dicom_info.csv")
    if table is None:
        return {}, []
    columns = ("image_path", "SeriesDescription", "SeriesInstanceUID", "PatientID|")
    found: dict[str, str] = {}
    for image, description, *names in read_table(table, columns, defects):
        if description.lower() == CROPPED:
            # The table writes CBIS-DDSM/jpeg/<uid>/<file>, whatever the folder is called here.
            short = image[image.find("jpeg/") :] if "jpeg/" in image else image
            found |= dict.fromkeys(filter(None, names), short)
    return found, [table]


def _cases(table: Path, kind: str, jpegs: dict[str, str], defects: Defects) -> list[Case]:
    found = []
    for patient, abnormality, pathology, path, *described in read_table(
        table, (*COMMON, *KINDS[kind]), defects
    ):
        facts = dict(zip(KINDS[kind], map(_spelt, described), strict=True))
        facts["abnormality type"] = _spelt(abnormality)
        facts["pathology"] = _spelt(pathology).removesuffix(" without callback")
        name = next((part for part in Path(path).parts if part in jpegs), "")
        if jpegs and not name:
            defects.add("Abnormalities without a cropped JPEG (left out)")
            continue
        found.append(
            (patient, {k: v for k, v in facts.items() if v}, jpegs.get(name, path.strip()))
        )
    return found


def _spelt(text: str) -> str:
    return text.lower().replace("_", " ").strip()


def _values(cases: list[Case]) -> dict[str, tuple[str, ...]]:
    """The values of every attribute in train, sorted."""
    seen: dict[str, set[str]] = {}
    for _, facts, _ in cases:
        for key, value in facts.items():
            seen.setdefault(key, set()).add(value)
    return {key: tuple(sorted(some)) for key, some in seen.items()}


def _row(split: str, place: int, case: Case, values: dict[str, tuple[str, ...]]) -> Attributed:
    patient, facts, image = case
    texts = [v if k in COMMON else f"{v} {k}" for k, v in facts.items()]
    row = Attributed(str(place), image, SEPARATOR.join(texts), facts, group=stand_in(patient))
    if split == "train":
        return row
    chance = random.Random(f"0/{split}/{place}")
    known = [key for key, value in facts.items() if value in values[key] and len(values[key]) > 1]
    if not known:
        return row._replace(text="")
    key = chance.choice(known)
    others = [value for value in values[key] if value != facts[key]]
    if len(others) >= CHOICES:
        options = [facts[key], *chance.sample(others, CHOICES - 1)]
        chance.shuffle(options)
    else:
        options = list(values[key])
    asked = f"What is the {key.replace('margins', 'margin')}?"
    return row._replace(asked=asked, answer=facts[key], options=tuple(options))
