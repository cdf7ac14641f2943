"""M3D-Cap: CT volumes of Radiopaedia with reports (Bai et al., M3D, 2024).

Source: huggingface.co/datasets/GoodBaiBai88/M3D-Cap, non-commercial; access is restricted since
Radiopaedia objected. On disk, after the authors' preparation: `M3D_Cap.json`, {train, validation,
test: [{image, text}]}, both paths below the folder of the list or the one above it; `image` a
`.npy` of 1 x 32 x 256 x 256, `text` a file of which the report is what follows "study_findings:",
else "discussion:", else all. UMIT counts 115,459/2,000/2,000, its train part of the 120,000. The
text is read when a sample is indexed; a sample whose text is absent has an empty answer, which
`data check` counts. The 32 slices are the sample's images.

tested on: fixture
"""

import functools
import re
from pathlib import Path
from typing import NamedTuple

from residency.data.images import inside
from residency.data.m3d import base_of, m3d_volume
from residency.data.published import Defects, Published, assemble, holds
from residency.data.records import listed, plain, read_json
from residency.data.splits import SYNONYMS
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Sample

TABLE = "M3D_Cap.json"
HEADINGS = ("study_findings:", "discussion:")
ABOUT = Published(
    name="m3d_cap",
    title="M3D-Cap",
    task="report",
    sizes={"val": 2_000, "test": 2_000},
    metric="BLEU-1, ROUGE-1, METEOR (M3D); BLEU, ROUGE-L, METEOR (UMIT)",
    source="huggingface.co/datasets/GoodBaiBai88/M3D-Cap",
    licence="non-commercial",
    access="restricted",
    tested_on="fixture",
    modality={"en": "CT", "zh": "CT"},
)


class Case(NamedTuple):
    """The paths of one volume and its text."""

    key: str
    image: str
    text: str


def recognises(path: Path) -> bool:
    """The list by its name."""
    return holds(path, TABLE)


def load(where: str) -> Dataset:
    """Open the folder of `M3D_Cap.json`.

    Raises:
        DataError: not there, or no lists of {image, text}.
    """
    root, defects = ABOUT.locate(where), Defects()
    content = read_json(root / TABLE)
    if not isinstance(content, dict):
        raise DataError(f"{root / TABLE} must map train, validation and test to lists.")
    rows: dict[str, list[Case]] = {}
    for name, entries in content.items():
        split = SYNONYMS.get(name.strip().lower())
        if split is None:
            defects.notes.append(f"The split {name!r} is unknown and was not read.")
            continue
        rows[split] = [
            Case(str(place), plain(record.get("image")), plain(record.get("text")))
            for place, record in enumerate(listed(entries, f"{root / TABLE} {name!r}", defects))
        ]
    first = next((case.image for cases in rows.values() for case in cases), "")
    base = base_of(root, first)
    return assemble(
        ABOUT,
        rows,
        functools.partial(_sample, base),
        files=[root / TABLE],
        defects=defects,
        images=(base, lambda case: (case.image,)),
        lacks=lambda case: " or ".join(n for n in ("image", "text") if not getattr(case, n)),
    )


def report_of(text: str) -> str:
    """The report in a case's text, by its first heading that is there, on one line per paragraph."""
    for heading in HEADINGS:
        found = re.search(re.escape(heading), text, re.IGNORECASE)
        if found:
            return text[found.end() :].strip()
    return text.strip()


def _sample(root: Path, split: str, case: Case) -> Sample:
    try:
        text = inside(root, case.text).read_text(encoding="utf-8", errors="replace")
    except (OSError, DataError):
        text = ""
    volume, pictures = m3d_volume(root, case.image)
    return Sample(
        id=f"{ABOUT.name}/{split}/{case.key}",
        dataset=ABOUT.name,
        task="report",
        answer=report_of(text),
        images=pictures,
        volume=volume,
        modality=ABOUT.modality["en"],
        group=str(Path(case.image).parent),
    )
