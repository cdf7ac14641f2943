"""FoodSeg103: which of 103 ingredients a dish shows, from pixel masks (Wu et al., ACM Multimedia 2021).

Source: xiongweiwu.github.io/foodseg103.html, for research; a zip whose password is on that page. On
disk, as published: `Images/img_dir/{train,test}/<id>.jpg`, `Images/ann_dir/{train,test}/<id>.png`
whose pixels are class ids, `ImageSets/{train,test}.txt`, `category_id.txt` (lines `id<TAB>name`: 0
background, 1 to 102 ingredients, 103 other ingredients). Splits 4983/2135, no validation. A
sample's answer is the set of ids in its mask without the background, read when the sample is
indexed; AdaMLLM scores ids 1 to 102 and so leaves out 103 as well, which here is a label like the
others.

tested on: fixture
"""

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image

from residency.data.documents import read_text
from residency.data.images import ImageError, file_picture, inside
from residency.data.published import Defects, Published, assemble, holds
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Sample

CATEGORIES = "category_id.txt"
ABOUT = Published(
    name="foodseg103",
    title="FoodSeg103",
    task="classification, several labels",
    sizes={"train": 4983, "test": 2135},
    metric="F1 per sample over ids 1 to 102 (AdaMLLM)",
    source="xiongweiwu.github.io/foodseg103.html",
    licence="for research",
    access="open download, password on the page",
    tested_on="fixture",
    modality={"en": "food", "zh": "食物"},
)


def recognises(path: Path) -> bool:
    """The categories beside the masks."""
    return holds(path, CATEGORIES, "Images/ann_dir")


def load(where: str) -> Dataset:
    """Open the folder that holds `Images` and `category_id.txt`.

    Raises:
        DataError: not there, or a category file that cannot be read.
    """
    root, defects = ABOUT.locate(where), Defects()
    names = _categories(root / CATEGORIES)
    labels = tuple(names[number] for number in sorted(names) if number)
    rows, files = {}, [root / CATEGORIES]
    for split in ABOUT.sizes:
        masks = root / "Images" / "ann_dir" / split
        listing = root / "ImageSets" / f"{split}.txt"
        if listing.is_file():
            files.append(listing)
            rows[split] = [Path(name).stem for name in read_text(listing).split()]
        else:
            rows[split] = sorted(path.stem for path in masks.glob("*.png"))
        there = {path.stem for path in masks.glob("*.png")}
        defects.add("Listed images without a mask (left out)", len(set(rows[split]) - there))
        rows[split] = [stem for stem in rows[split] if stem in there]
    return assemble(
        ABOUT,
        {split: [f"{split}/{stem}" for stem in stems] for split, stems in rows.items()},
        functools.partial(_sample, root / "Images", names, labels),
        files=files,
        defects=defects,
        images=(root / "Images" / "img_dir", lambda row: (f"{row}.jpg",)),
        labels=labels,
        multi_label=True,
    )


def _categories(path: Path) -> dict[int, str]:
    names = {}
    for number, text in enumerate(read_text(path).splitlines(), start=1):
        if not text.strip():
            continue
        code, _, name = text.strip().partition("\t")
        if not code.isdecimal() or not name.strip():
            raise DataError(f"{path} line {number} is {text!r}; expected an id, a tab and a name.")
        names[int(code)] = " ".join(name.split())
    return names


@functools.lru_cache(maxsize=20_000)  # every look at a sample asks for its answer
def _ids(root: Path, name: str) -> tuple[int, ...]:
    """The class ids in a mask.

    Raises:
        ImageError: unreadable, or colours in place of ids.
    """
    path = inside(root, name)
    try:
        with PIL.Image.open(path, formats=("PNG",)) as image:
            if image.mode not in ("L", "P"):
                raise ImageError("mask", f"{path} has mode {image.mode}; a mask holds class ids.")
            return tuple(int(number) for number in np.unique(np.asarray(image)))
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError("mask", f"{path} is not a readable mask: {error}.") from None


def _unreadable(code: str, message: str) -> PIL.Image.Image:
    raise ImageError(code, message)


def _sample(
    root: Path, names: dict[int, str], labels: tuple[str, ...], split: str, row: str
) -> Sample:
    """The sample of a row; where its mask cannot be read, its image says so when it is opened."""
    picture = file_picture(root, f"img_dir/{row}.jpg")
    try:
        ids = [number for number in _ids(root, f"ann_dir/{row}.png") if number]
        if unknown := [number for number in ids if number not in names]:
            raise ImageError("mask", f"ann_dir/{row}.png has the id {unknown[0]} of no category.")
    except ImageError as error:
        ids = []
        load = functools.partial(_unreadable, error.code, str(error))
        picture = replace(picture, load=load)
    return Sample(
        id=f"{ABOUT.name}/{row}",
        dataset=ABOUT.name,
        task="classification",
        answer=tuple(names[number] for number in ids),
        images=(picture,),
        options=labels,
        modality=ABOUT.modality["en"],
    )
