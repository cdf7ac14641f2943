"""WBCAtt: eleven attributes of 10,298 white blood cells (Tsutsui et al., NeurIPS 2023).

Source: github.com/apple2373/wbcatt, MIT; the images are those of PBC (Mendeley snkd93bnjr), CC BY
4.0; open download. On disk, as published: `pbc_attr_v1_{train,val,test}.csv` with columns img_name,
label, eleven attributes and path; the images at `path`,
`PBC_dataset_normal_DIB/<class>/<img_name>`. Splits 6169/1030/3099; a paper prints 6179 for train, a
misprint: the three add up to 10,298.

As InstFree uses it: train is the text of the attributes (twelve keys in order; "nil" and "no" are
left out, "yes" becomes the key, the label its value, every other "{value} {key}"); val and test ask
for one attribute per image, chosen with seed 0 among those that are not nil, with its values in
train, sorted, as options.

tested on: real (tables; the images were not available)
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
from residency.data.published import Defects, Published, assemble, holds
from residency.data.records import read_table
from residency.dataset import Dataset

KEYS = (
    "cell_size", "cell_shape", "nucleus_shape", "nuclear_cytoplasmic_ratio", "chromatin_density",
    "cytoplasm_vacuole", "cytoplasm_texture", "cytoplasm_colour", "granularity", "granule_type",
    "granule_colour", "label",
)  # fmt: skip
ABOUT = Published(
    name="wbcatt",
    title="WBCAtt",
    task="caption (train), mcq (val, test)",
    sizes={"train": 6169, "val": 1030, "test": 3099},
    metric="accuracy of the choice (InstFree)",
    source="github.com/apple2373/wbcatt",
    licence="MIT; images CC BY 4.0",
    access="open download",
    tested_on="real",
    modality={"en": "blood cell microscope", "zh": "血细胞显微"},
)


def recognises(path: Path) -> bool:
    """A folder with the training table."""
    return holds(path, "pbc_attr_v1_train.csv")


def load(where: str) -> Dataset:
    """Open the folder of the three tables.

    Raises:
        DataError: a table is absent or cannot be read.
    """
    root, defects = ABOUT.locate(where), Defects()
    files = {split: root / f"pbc_attr_v1_{split}.csv" for split in ABOUT.sizes}
    tables = {s: read_table(path, (*KEYS, "path"), defects) for s, path in files.items()}
    values = {
        key: tuple(sorted({row[place] for row in tables["train"]} - {"nil", ""}))
        for place, key in enumerate(KEYS)
    }
    rows = {
        split: [
            _row(cells, values, None if split == "train" else random.Random(f"0/{split}/{place}"))
            for place, cells in enumerate(table)
        ]
        for split, table in tables.items()
    }
    return assemble(
        ABOUT,
        rows,
        functools.partial(attribute_sample, ABOUT.name, root, ABOUT.modality["en"]),
        files=files.values(),
        defects=defects,
        images=(root, attributed_image),
        lacks=lacks,
    )


def _row(
    cells: tuple[str, ...], values: dict[str, tuple[str, ...]], chance: random.Random | None
) -> Attributed:
    facts = dict(zip(KEYS, cells, strict=False))
    image = cells[-1]
    row = Attributed(Path(image).stem, image, _text(facts), facts)
    if chance is None:
        return row
    known = [key for key in KEYS if len(values[key]) > 1 and facts[key] in values[key]]
    if not known:
        return row._replace(text="")
    key = chance.choice(known)
    asked = f"What is the {_name(key)}?"
    return row._replace(asked=asked, answer=facts[key], options=values[key])


def _text(facts: dict[str, str]) -> str:
    """The attributes as text, in the order of `KEYS`."""
    phrases = []
    for key, value in facts.items():
        if value in ("nil", "no", ""):
            continue
        phrases.append(
            _name(key) if value == "yes" else value if key == "label" else f"{value} {_name(key)}"
        )
    return SEPARATOR.join(phrases)


def _name(key: str) -> str:
    return "cell type" if key == "label" else key.replace("_", " ")
