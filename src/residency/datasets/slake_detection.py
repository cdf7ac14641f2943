"""SLAKE's boxes: organs and findings of its 642 radiology images (Liu et al., ISBI 2021).

Source: www.med-vqa.com/slake, CC BY 4.0, open download. On disk, as published, beside the questions
that `slake` reads: `imgs/xmlabN/source.jpg` and `imgs/xmlabN/detection.json`, a list of {name: [x,
y, width, height]} in pixels. The images are split as the English questions of
`{train,validate,test}.json` split them; images that no English question names are left out and
counted. UMIT uses 580 of the images; which ones is not published. Write `slake_detection:FOLDER`:
the folder alone means the questions.

tested on: fixture
"""

import functools
from pathlib import Path
from typing import Any

from residency.data.boxes import Boxed, boxed_image, boxed_sample, sound
from residency.data.documents import read_text
from residency.data.published import Defects, Published, assemble, holds, one_of
from residency.data.records import plain, read_json, read_records
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Box

FILES = {
    "train": ("train.json",),
    "val": ("validate.json", "validation.json"),
    "test": ("test.json",),
}
ABOUT = Published(
    name="slake_detection",
    title="SLAKE (boxes)",
    task="detection",
    sizes={"all": 642},
    metric="IoU",
    source="www.med-vqa.com/slake",
    licence="CC BY 4.0",
    access="open download",
    tested_on="fixture",
    modality={"en": "radiology", "zh": "放射"},
)


def recognises(path: Path) -> bool:
    """SLAKE's images with the boxes of the first one."""
    return holds(path, "imgs/xmlab1/detection.json")


def load(where: str) -> Dataset:
    """Open SLAKE's folder.

    Raises:
        DataError: not there, none of the question files, or a box that is not four numbers.
    """
    root, defects = ABOUT.locate(where), Defects()
    sides: dict[str, str] = {}
    for split, names in FILES.items():
        if path := one_of(root, *names):
            for record in read_records(path, defects):
                if plain(record.get("q_lang")) == "en":
                    sides.setdefault(plain(record.get("img_name")).rpartition("/")[0], split)
    rows: dict[str, list[Boxed]] = {split: [] for split in FILES}
    files = sorted(root.glob("imgs/*/detection.json"))
    for path in files:
        case = path.parent.name
        if case not in sides:
            defects.add("Images that no English question names (left out)")
            continue
        boxes = sound(_boxes(path), None, defects)
        rows[sides[case]].append(Boxed(case, f"{case}/source.jpg", boxes, group=case))
    labels = tuple(
        sorted({box.name for some in rows.values() for row in some for box in row.boxes})
    )
    return assemble(
        ABOUT,
        rows,
        functools.partial(boxed_sample, ABOUT.name, root / "imgs", labels, ABOUT.modality["en"]),
        files=files,
        defects=defects,
        images=(root / "imgs", boxed_image),
        labels=labels,
    )


def _boxes(path: Path) -> list[Box]:
    """The boxes of one image; an empty file has none."""
    if path.stat().st_size == 0 or not read_text(path).strip():
        return []
    content = read_json(path)
    found = []
    for entry in content if isinstance(content, list) else [content]:
        named: dict[str, Any] = entry if isinstance(entry, dict) else {"": None}
        for name, corner in named.items():
            try:
                x, y, width, height = map(float, corner)
            except (TypeError, ValueError):
                raise DataError(f"{path} has {entry!r}; expected {{name: [x, y, w, h]}}.") from None
            found.append(Box(name=plain(name), x1=x, y1=y, x2=x + width, y2=y + height))
    return found
