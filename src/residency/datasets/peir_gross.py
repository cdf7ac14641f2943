"""PEIR Gross: photographs of gross pathology with captions (Kougia et al., SiVL 2019; Jing et al., 2018).

Source: peir.path.uab.edu/library, crawled by github.com/nlpaueb/bioCaption; no licence is stated;
one crawls it oneself. On disk, as the crawler writes it: `peir_gross.tsv` (image, tab, caption, no
header, no quoting), `train_images.tsv` and `test_images.tsv` of the same form,
`peir_gross_images/<image>`. Splits 6697/745, no validation. Where only `peir_gross.tsv` is there,
the crawler's own split is repeated: its lines shuffled with seed 42, the first nine tenths train.

tested on: fixture
"""

import functools
import math
import random
from pathlib import Path

from residency.data.captions import Captioned, captioned_sample, images_of, lacks
from residency.data.documents import read_text
from residency.data.published import Defects, Published, assemble, holds
from residency.dataset import Dataset

WHOLE, IMAGES = "peir_gross.tsv", "peir_gross_images"
PARTS = {"train": "train_images.tsv", "test": "test_images.tsv"}
ABOUT = Published(
    name="peir_gross",
    title="PEIR Gross",
    task="caption",
    sizes={"train": 6697, "test": 745},
    metric="ROUGE-L, CIDEr, METEOR",
    source="peir.path.uab.edu/library; github.com/nlpaueb/bioCaption",
    licence="not stated",
    access="crawled from the library",
    tested_on="fixture",
    modality={"en": "gross pathology", "zh": "大体病理"},
)


def recognises(path: Path) -> bool:
    """The crawler's table."""
    return holds(path, WHOLE) or (holds(path, IMAGES) and holds(path, *PARTS.values()))


def load(where: str) -> Dataset:
    """Open the folder that the crawler wrote.

    Raises:
        DataError: not there, or a table that cannot be read.
    """
    root, defects = ABOUT.locate(where), Defects()
    if holds(root, *PARTS.values()):
        files = [root / name for name in PARTS.values()]
        rows = {split: _rows(root / name, defects) for split, name in PARTS.items()}
    else:
        files, found = [root / WHOLE], _rows(root / WHOLE, defects)
        random.Random(42).shuffle(found)
        cut = math.floor(len(found) * 0.9)
        rows = {"train": found[:cut], "test": found[cut:]}
    return assemble(
        ABOUT,
        rows,
        functools.partial(captioned_sample, ABOUT.name, ABOUT.task, root / IMAGES),
        files=files,
        defects=defects,
        images=(root / IMAGES, images_of),
        lacks=lacks,
    )


def _rows(path: Path, defects: Defects) -> list[Captioned]:
    """The lines of one table; an image that comes again is counted and read once."""
    found: dict[str, Captioned] = {}
    for text in read_text(path).split("\n"):
        name, _, caption = text.strip("\r").partition("\t")
        if not name.strip():
            continue
        if name in found:
            defects.add("Images that a table lists again (left out)")
            continue
        found[name] = Captioned(
            Path(name).stem, (name,), " ".join(caption.split()), modality=ABOUT.modality["en"]
        )
    return list(found.values())
