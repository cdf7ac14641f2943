"""Recipe1M: recipes with photographs of the dish (Salvador et al., CVPR 2017; Marín et al., TPAMI 2019).

Source: im2recipe.csail.mit.edu, for research, after a request form. On disk, as published:
`layer1.json`, a list of {id, title, ingredients: [{text}], instructions: [{text}], partition
(train, val, test), url}; `layer2.json` (Recipe1M+: `layer2+.json`), a list of {id, images: [{id,
url}]}; an image `abcdef.jpg` lies at `a/b/c/d/abcdef.jpg` below `images/<partition>/`, `images/`,
`<partition>/` or the folder itself. `test1k_keys.txt` of LLaVA-Chef, where it is there, restricts
test to its ids, the 1,000 that AdaMLLM uses. One sample per recipe that has an image, with the
first one; the answer is title, ingredients and numbered instructions, a line each. Entries hold commas
and numbers, so the attribute `recipe` has them apart: the JSON of [title, ingredients, instructions].
The list is read object by object.

tested on: fixture
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from residency.data.documents import read_text
from residency.data.images import file_picture
from residency.data.published import Defects, Published, assemble, first_of, holds, one_of
from residency.data.records import Record, line, plain, stream_records
from residency.data.splits import SYNONYMS
from residency.dataset import Dataset
from residency.types import Sample

KEYS = "test1k_keys.txt"
QUESTION = "Write the recipe of the dish in the image: its title, ingredients and instructions."
ABOUT = Published(
    name="recipe1m",
    title="Recipe1M",
    task="recipe_generation",
    sizes={},
    metric="ROUGE-L (AdaMLLM)",
    source="im2recipe.csail.mit.edu",
    licence="for research",
    access="request form",
    tested_on="fixture",
    modality={"en": "food", "zh": "食物"},
)


class Recipe(NamedTuple):
    """One recipe with the path of its first image."""

    key: str
    image: str
    title: str
    ingredients: tuple[str, ...]
    instructions: tuple[str, ...]


def recognises(path: Path) -> bool:
    """The recipes beside the list of images."""
    return holds(path, "layer1.json") and one_of(path, "layer2.json", "layer2+.json") is not None


def load(where: str) -> Dataset:
    """Open the folder of the two layers.

    Raises:
        DataError: not there, or a layer that is no list of objects.
    """
    root, defects = ABOUT.locate(where), Defects()
    layer1, layer2 = root / "layer1.json", first_of(root, "layer2.json", "layer2+.json")
    images = {
        plain(record.get("id")): name
        for record in stream_records(layer2)
        if (name := _first_image(record))
    }
    keys = set(read_text(root / KEYS).split()) if holds(root, KEYS) else None
    if keys:
        defects.notes.append(f"Test is restricted to the {len(keys):,} ids of {KEYS}.")
    folders = {split: _folder(root, split) for split in ("train", "val", "test")}
    rows: dict[str, list[Recipe]] = {"train": [], "val": [], "test": []}
    for record in stream_records(layer1):
        split = SYNONYMS.get(plain(record.get("partition")).lower(), "")
        key = plain(record.get("id"))
        if not split:
            defects.add("Recipes of no known partition (left out)")
        elif key not in images:
            defects.add("Recipes without an image (left out)")
        elif split != "test" or keys is None or key in keys:
            rows[split].append(_recipe(record, folders[split], images[key]))
    return assemble(
        ABOUT,
        rows,
        functools.partial(_sample, root),
        files=[layer1, layer2],
        defects=defects,
        images=(root, lambda row: (row.image,)),
        lacks=_lacks,
    )


def _first_image(record: Record) -> str:
    images = record.get("images")
    first = images[0] if isinstance(images, list) and images else None
    return plain(first.get("id")) if isinstance(first, dict) else ""


def _folder(root: Path, split: str) -> str:
    """The folder of a partition's images, relative to the root and with '/' after it."""
    found = one_of(root, f"images/{split}", "images", split)
    return f"{found.relative_to(root).as_posix()}/" if found else ""


def _recipe(record: Record, folder: str, image: str) -> Recipe:
    return Recipe(
        plain(record.get("id")),
        f"{folder}{'/'.join(image[:4])}/{image}",
        line(record.get("title")),
        _texts(record, "ingredients"),
        _texts(record, "instructions"),
    )


def _texts(record: Record, key: str) -> tuple[str, ...]:
    entries = record.get(key)
    found = entries if isinstance(entries, list) else ()
    texts = (line(one.get("text") if isinstance(one, Mapping) else one) for one in found)
    return tuple(text for text in texts if text)


def _lacks(row: Recipe) -> str:
    return " or ".join(
        name for name in ("title", "ingredients", "instructions") if not getattr(row, name)
    )


def _sample(root: Path, split: str, row: Recipe) -> Sample:
    steps = " ".join(f"{number}. {text}" for number, text in enumerate(row.instructions, start=1))
    lines = (
        f"title: {row.title}",
        f"ingredients: {', '.join(row.ingredients)}",
        f"instructions: {steps}",
    )
    return Sample(
        id=f"{ABOUT.name}/{split}/{row.key}",
        dataset=ABOUT.name,
        task="recipe_generation",
        answer="\n".join(lines),
        images=(file_picture(root, row.image),),
        question=QUESTION,
        modality=ABOUT.modality["en"],
        attributes={"recipe": json.dumps([row.title, row.ingredients, row.instructions])},
    )
