"""SKINCON: 48 clinical concepts of Fitzpatrick17k skin images (Daneshjou et al., NeurIPS 2022).

Source: skincon-dataset.github.io, for research; images by the URLs of Fitzpatrick17k (Groh et al.,
2021), some of which are dead. On disk, as published: `annotations_fitzpatrick17k.csv` (also
`fitzpatrick17k_skincon_annotations .csv`): a nameless index column, ImageID (`<md5>.jpg`), 48
concepts 0/1, `Do not consider this image`; 3690 rows, 460 of them not to be considered, 3230 left.
Images lie in `images/`, `fitzpatrick17k/`, `data/finalfitz17k/` or beside the table.

As InstFree uses it: the files are sorted and shuffled with seed 0; the first tenth is val, the next
test (323/323), the rest train (2584; the paper repeats it three times). Train is the list of
concepts, lower case, joined by ", "; val and test choose among five such lists, that of the image
and four of others. The index column is never read as a concept, as the authors' script does where
it holds a 1.

tested on: real (table; the images were not available)
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
from residency.data.published import Defects, Published, assemble, one_of
from residency.data.records import split_rows
from residency.dataset import Dataset
from residency.errors import DataError

TABLES = ("annotations_fitzpatrick17k.csv", "fitzpatrick17k_skincon_annotations.csv")
FOLDERS = ("images", "fitzpatrick17k", "data/finalfitz17k")
EXCLUDED = "Do not consider this image"
CHOICES = 5
ABOUT = Published(
    name="skincon",
    title="SKINCON (Fitzpatrick17k)",
    task="caption (train), mcq (val, test)",
    sizes={"train": 2584, "val": 323, "test": 323},
    metric="accuracy of the choice (InstFree)",
    source="skincon-dataset.github.io",
    licence="for research",
    access="open download; images by URL",
    tested_on="real",
    modality={"en": "skin photograph", "zh": "皮肤照片"},
)


def recognises(path: Path) -> bool:
    """The table, or a folder that holds it."""
    return path.name in TABLES or one_of(path, *TABLES) is not None


def load(where: str) -> Dataset:
    """Open the table, or the folder that holds it.

    Raises:
        DataError: not there, or no table of the published columns.
    """
    path, defects = ABOUT.locate(where), Defects()
    table = path if path.is_file() else one_of(path, *TABLES)
    if table is None:
        raise DataError(f"{path} has neither {' nor '.join(TABLES)}.")
    texts = _concepts(table, defects)
    order = sorted(texts)
    random.Random(0).shuffle(order)
    tenth = len(order) // 10
    parts = {"train": order[2 * tenth :], "val": order[:tenth], "test": order[tenth : 2 * tenth]}
    lists = sorted({text for text in texts.values() if text})
    rows = {
        split: [_row(name, texts[name], None if split == "train" else lists) for name in names]
        for split, names in parts.items()
    }
    root = one_of(table.parent, *FOLDERS) or table.parent
    return assemble(
        ABOUT,
        rows,
        functools.partial(attribute_sample, ABOUT.name, root, ABOUT.modality["en"]),
        files=[table],
        defects=defects,
        images=(root, attributed_image),
        lacks=lacks,
    )


def _concepts(table: Path, defects: Defects) -> dict[str, str]:
    """The concepts of each image that may be considered, joined."""
    rows = split_rows(table)
    header = [name.strip() for name in next(rows, [])]
    if "ImageID" not in header or EXCLUDED not in header:
        raise DataError(f"{table} lacks the columns ImageID and {EXCLUDED!r} of SKINCON.")
    image, excluded = header.index("ImageID"), header.index(EXCLUDED)
    names = {
        place: name.lower()
        for place, name in enumerate(header)
        if place not in (image, excluded) and name and not name.startswith("Unnamed")
    }
    texts: dict[str, str] = {}
    for cells in rows:
        if len(cells) != len(header):
            defects.add("Rows of another width than the header (left out)")
        elif cells[excluded].strip() not in ("0", "0.0"):
            defects.add(f"Rows marked {EXCLUDED!r} (left out)")
        else:
            stated = [name for place, name in names.items() if cells[place].strip() in ("1", "1.0")]
            texts[cells[image].strip()] = SEPARATOR.join(stated)
    return texts


def _row(name: str, text: str, lists: list[str] | None) -> Attributed:
    facts = {"concepts": text}
    row = Attributed(Path(name).stem, name, text, facts)
    if lists is None or len(lists) < CHOICES:
        return row
    chance = random.Random(f"0/{name}")
    others = chance.sample([other for other in lists if other != text], CHOICES - 1)
    options = [text, *others]
    chance.shuffle(options)
    asked = "What is the dermatologic feature?"
    return row._replace(asked=asked, answer=text, options=tuple(options))
