"""MIMIC-CXR as annotated for LLaVA-Rad: findings of chest radiographs (Zambrano Chaves et al., 2025).

Source: physionet.org/content/llava-rad-mimic-cxr-annotation, and
physionet.org/content/mimic-cxr-jpg for the images; PhysioNet credentialed licence; credentialed
access and training. On disk, as published:
`chat_{train,dev,test}_MIMIC_CXR_all_gpt4extract_rulebased_v1.json`, lists of {id, image, view (AP,
PA), reason, generate_method, conversations, impression}; the gpt turn is the findings and may be
null; images at `image` below the folder, `files/` or `mimic-cxr-jpg/`. The splits are MIMIC-CXR's
own. Where CheXmask's table (`MIMIC-CXR-JPG.csv` or `chexmask.csv`: dicom_id, Dice RCA (Mean), ...)
lies beside, images below .7 are left out and counted, as InstFree does. The answer is findings,
then impression, a line each; the group is a salted hash of the patient's folder.

tested on: fixture
"""

import functools
import re
from collections.abc import Mapping
from pathlib import Path

from residency.data.captions import Captioned, captioned_sample, images_of, lacks
from residency.data.chexmask import LEAST, qualities
from residency.data.identity import stand_in
from residency.data.published import Defects, Published, assemble, one_of
from residency.data.records import Record, line, plain, read_records
from residency.dataset import Dataset
from residency.errors import DataError

FILES = {
    split: f"chat_{part}_MIMIC_CXR_all_gpt4extract_rulebased_v1.json"
    for split, part in (("train", "train"), ("val", "dev"), ("test", "test"))
}
_PATIENT = re.compile(r"(?:^|/)p(\d{8})(?:/|$)")
ABOUT = Published(
    name="llava_rad",
    title="MIMIC-CXR, LLaVA-Rad annotation",
    task="report",
    sizes={},
    metric="accuracy of choices from Medical-CXR-VQA (InstFree)",
    source="physionet.org/content/llava-rad-mimic-cxr-annotation",
    licence="PhysioNet credentialed",
    access="credentialed",
    tested_on="fixture",
    modality={"en": "chest X-ray", "zh": "胸部X光"},
)


def recognises(path: Path) -> bool:
    """One of the three annotation files."""
    return one_of(path, *FILES.values()) is not None


def load(where: str) -> Dataset:
    """Open the folder of the annotation files, whichever of them are there.

    Raises:
        DataError: not there, no file, or one that is no list.
    """
    root, defects = ABOUT.locate(where), Defects()
    files = {split: root / name for split, name in FILES.items() if one_of(root, name)}
    if not files:
        raise DataError(f"{root} has none of {', '.join(FILES.values())}.")
    images = one_of(root, "files", "mimic-cxr-jpg") or root
    known = qualities(root, defects)
    rows = {
        split: [
            _row(record, images.name)
            for record in read_records(path, defects)
            if not _is_poor(record, known, defects)
        ]
        for split, path in files.items()
    }
    return assemble(
        ABOUT,
        rows,
        functools.partial(captioned_sample, ABOUT.name, ABOUT.task, images),
        files=files.values(),
        defects=defects,
        images=(images, images_of),
        lacks=lacks,
    )


def _is_poor(record: Record, known: Mapping[str, float], defects: Defects) -> bool:
    bad = known.get(Path(plain(record.get("image"))).stem, 1.0) < LEAST
    defects.add(f"Images whose CheXmask quality is below {LEAST} (left out)", bad)
    return bad


def _row(record: Record, folder: str) -> Captioned:
    image = plain(record.get("image")).removeprefix(f"{folder}/")
    patient = _PATIENT.search(image)
    return Captioned(
        key=stand_in(plain(record.get("id")) + image),
        images=(image,) if image else (),
        text="\n".join(
            part for part in (_findings(record), line(record.get("impression"))) if part
        ),
        group=stand_in(patient[1]) if patient else "",
        modality=ABOUT.modality["en"],
    )


def _findings(record: Record) -> str:
    turns = record.get("conversations")
    said = [
        turn.get("value")
        for turn in (turns if isinstance(turns, list) else ())
        if isinstance(turn, dict) and turn.get("from") == "gpt"
    ]
    return line(said[0]) if said else ""
