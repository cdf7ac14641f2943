"""OpenI in Chinese: radiographs with captions that a language model translated and smoothed (Wang, 2023).

Source: github.com/WangRongsheng/XrayGLM, after openi.nlm.nih.gov; CC BY-NC-SA 4.0; open download. On disk,
as published: `openi-zh.json`, {"annotations": [{"image_id": "162_1", "caption"}]}, 6,423 entries, and
`<image_id>.png` beside it or in `images/`. The number before the underscore is the study, which
`indiana_reports.csv` calls uid, and is the group. It has no split: studies are split 70/10/20, seeded.

tested on: real (the whole table; 5 of the images)
"""

import functools
from pathlib import Path

from residency.data.captions import Captioned, captioned_sample, images_of, lacks
from residency.data.published import Defects, Published, assemble, holds
from residency.data.records import listed, plain, read_json
from residency.data.splits import SPLITS, assign
from residency.dataset import Dataset
from residency.errors import DataError

TABLE = "openi-zh.json"
ABOUT = Published(
    name="openi_zh",
    title="OpenI in Chinese (XrayGLM)",
    task="report",
    sizes={"all": 6423},
    metric="ROUGE-L, CIDEr over Chinese characters",
    source="github.com/WangRongsheng/XrayGLM",
    licence="CC BY-NC-SA 4.0",
    access="open download",
    tested_on="real",
    modality={"en": "chest X-ray", "zh": "胸部X光"},
)


def recognises(path: Path) -> bool:
    """`openi-zh.json`, or the folder that holds it; never raises."""
    return holds(path, TABLE) or (path.name == TABLE and path.is_file())


def load(where: str) -> Dataset:
    """Open the folder or the table.

    Raises:
        DataError: not there, not JSON, or without annotations.
    """
    path, defects = ABOUT.locate(where), Defects()
    table = path / TABLE if path.is_dir() else path
    content = read_json(table)
    if not isinstance(content, dict) or "annotations" not in content:
        raise DataError(f"{table} has no `annotations`. Give {TABLE} as published.")
    rows = [_row(entry) for entry in listed(content["annotations"], str(table), defects)]
    sides = assign([row.group for row in rows])
    defects.notes.append("The table names no split: studies were split 70/10/20, seed 0.")
    root = table.parent / "images" if (table.parent / "images").is_dir() else table.parent
    return assemble(
        ABOUT,
        {
            split: [row for row, side in zip(rows, sides, strict=True) if side == place]
            for place, split in enumerate(SPLITS)
        },
        functools.partial(captioned_sample, ABOUT.name, ABOUT.task, root),
        files=[table],
        defects=defects,
        images=(root, images_of),
        lacks=lacks,
    )


def _row(entry: dict[str, object]) -> Captioned:
    name = plain(entry.get("image_id"))
    return Captioned(
        key=name,
        images=(f"{name}.png",) if name else (),
        text=plain(entry.get("caption")),
        group=name.partition("_")[0],
        modality=ABOUT.modality["zh"],
        language="zh",
    )
