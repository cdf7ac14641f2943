"""IU X-Ray: chest radiographs with reports, as annotated for R2Gen (Demner-Fushman et al., 2016).

Source: openi.nlm.nih.gov; the annotation (Chen et al., EMNLP 2020) from
github.com/cuhksz-nlp/R2Gen; CC BY-NC-ND 4.0; open download. On disk, as published:
`annotation.json`, {train, val, test: [{id, report, image_path: [...], split}]}, and
`images/<id>/{0,1}.png` (other copies: png beside the annotation). R2Gen has 2069/296/590 studies of
two images each; UMIT prints 2069/590/296, which swaps val and test. Another circulating annotation
has 3062/382/382 studies of one to five images. A split key that is blank or unknown is replaced by
each entry's own `split`. One sample per study, with all its images; the study is its group.

The Kaggle copy (raddar/chest-xrays-indiana-university) has a pair of tables instead:
`indiana_reports.csv` (uid, MeSH, Problems, image, indication, comparison, findings, impression; 3,851
studies, of which 514 lack findings and are left out) and `indiana_projections.csv` (uid, filename,
projection; 7,466 images), png below `images/images_normalized`. The report is the findings, as in R2Gen;
frontal images come first. It has no split: studies are split 70/10/20, seeded.

tested on: real (both annotations and the pair of tables; 4 of the images)
"""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

from residency.data.captions import Captioned, captioned_sample, images_of, lacks
from residency.data.published import Defects, Published, assemble, holds, one_of
from residency.data.records import listed, plain, read_json, read_table
from residency.data.splits import SPLITS, SYNONYMS, assign
from residency.dataset import Dataset
from residency.errors import DataError

TABLE = "annotation.json"
REPORTS, PROJECTIONS = "indiana_reports.csv", "indiana_projections.csv"
ABOUT = Published(
    name="iu_xray",
    title="IU X-Ray (R2Gen)",
    task="report",
    sizes={"train": 2069, "val": 296, "test": 590},
    metric="BLEU-1 to 4, METEOR, ROUGE-L, CIDEr",
    source="openi.nlm.nih.gov; github.com/cuhksz-nlp/R2Gen",
    licence="CC BY-NC-ND 4.0",
    access="open download",
    tested_on="real",
    modality={"en": "chest X-ray", "zh": "胸部X光"},
)


def recognises(path: Path) -> bool:
    """`annotation.json`, or a file of that kind, whose train entries have an IU X-Ray image path.

    Else the pair of tables, or one of them.
    """
    named = path.name in (REPORTS, PROJECTIONS)
    if holds(path, REPORTS, PROJECTIONS) or (named and holds(path.parent, REPORTS, PROJECTIONS)):
        return True
    table = path / TABLE if holds(path, TABLE) else path
    try:
        if not table.name.startswith("annotation") or table.suffix != ".json":
            return False
        with table.open(encoding="utf-8", errors="replace") as stream:
            head = stream.read(4096)
        return '"image_path"' in head and "CXR" in head
    except (OSError, ValueError):
        return False


def load(where: str) -> Dataset:
    """Open the folder of `annotation.json` (or of the tables), an annotation file, or a table, by path.

    Raises:
        DataError: not there, not JSON, or another structure.
    """
    path, defects = ABOUT.locate(where), Defects()
    if path.name in (REPORTS, PROJECTIONS):
        return _pair(path.parent, defects)
    if path.is_dir() and not holds(path, TABLE):
        return _pair(path, defects)
    table = path / TABLE if path.is_dir() else path
    content = read_json(table)
    if not isinstance(content, dict):
        raise DataError(f"{table} is a {type(content).__name__}; expected train, val and test.")
    root = table.parent / "images" if (table.parent / "images").is_dir() else table.parent
    rows: dict[str, list[Captioned]] = {"train": [], "val": [], "test": []}
    for key, entries in content.items():
        place = f"{table} {key!r}"
        split = SYNONYMS.get(key.strip().lower(), "")
        if not split:
            defects.notes.append(
                f"The split key {key!r} is blank or unknown: taken from each entry."
            )
        found = listed(entries, place, defects)
        if not split:
            defects.add("Entries under a split key that is blank or unknown (read)", len(found))
        for entry in found:
            rows[_split(split, entry, place)].append(_row(entry))
    return assemble(
        ABOUT,
        rows,
        functools.partial(captioned_sample, ABOUT.name, ABOUT.task, root),
        files=[table],
        defects=defects,
        images=(root, images_of),
        lacks=lacks,
    )


def _pair(folder: Path, defects: Defects) -> Dataset:
    """The data set of the pair of tables."""
    tables = [folder / REPORTS, folder / PROJECTIONS]
    shown: dict[str, list[tuple[bool, str]]] = {}
    for study, name, projection in read_table(
        tables[1], ("uid", "filename", "projection"), defects
    ):
        shown.setdefault(study, []).append((projection != "Frontal", name))
    rows = [
        Captioned(
            key=study,
            images=tuple(name for _, name in sorted(shown.get(study, ()), key=lambda one: one[0])),
            text=findings,
            group=study,
            modality=ABOUT.modality["en"],
        )
        for study, findings in read_table(tables[0], ("uid", "findings"), defects)
    ]
    sides = assign([row.group for row in rows])
    defects.notes.append("The tables name no split: studies were split 70/10/20, seed 0.")
    root = one_of(folder, "images/images_normalized", "images") or folder
    return assemble(
        replace(ABOUT, sizes={"all": 3851}),
        {
            split: [row for row, side in zip(rows, sides, strict=True) if side == place]
            for place, split in enumerate(SPLITS)
        },
        functools.partial(captioned_sample, ABOUT.name, ABOUT.task, root),
        files=tables,
        defects=defects,
        images=(root, images_of),
        lacks=lacks,
    )


def _split(split: str, entry: dict[str, Any], place: str) -> str:
    own = SYNONYMS.get(plain(entry.get("split")).lower(), "")
    if not (split or own):
        raise DataError(f"{place} has an entry whose split is unknown. Name it train, val or test.")
    return split or own


def _row(entry: dict[str, Any]) -> Captioned:
    name = plain(entry.get("id"))
    images = entry.get("image_path")
    images = [images] if isinstance(images, str) else images
    return Captioned(
        key=name,
        images=tuple(map(plain, images)) if isinstance(images, list) else (),
        text=plain(entry.get("report")),
        group=name,
        modality=ABOUT.modality["en"],
    )
