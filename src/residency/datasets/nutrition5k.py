"""Nutrition5k: cafeteria dishes seen from above, with every ingredient's weight (Thames et al., CVPR 2021).

Source: github.com/google-research-datasets/Nutrition5k, CC BY 4.0, open download (181 GB). On disk,
as published: `metadata/dish_metadata_cafe{1,2}.csv`, ragged and without a header: dish_id, total
calories, mass, fat, carb and protein (the README names num_ingrs as a seventh, which the files do
not have), then seven fields per ingredient: id `ingr_##########`, name, grams, calories, fat, carb,
protein; `dish_ids/splits/depth_{train,test}_ids.txt`; `imagery/realsense_overhead/<dish>/rgb.png`
(also read: `imagery/<dish>.png`). The images from above follow the depth split, 2758/507, which
AdaMLLM's test of 507 is; the rgb split (4059/709) is of the videos from the side.

One question per dish asks for its ingredients; the answer is the set of their names, in the file's order. The
label set is every name that either cafeteria's table has.

tested on: real (all tables, 20 of the images)
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from residency.data.images import file_picture
from residency.data.published import Defects, Published, assemble, holds
from residency.data.records import split_rows
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Sample

TOTALS = ("calories", "mass_g", "fat_g", "carb_g", "protein_g")
QUESTION = "Which ingredients does the dish in the image contain?"
FIELDS = 7  # per ingredient
ABOUT = Published(
    name="nutrition5k",
    title="Nutrition5k",
    task="ingredients",
    sizes={"train": 2758, "test": 507},
    metric="recall of ingredient names (AdaMLLM)",
    source="github.com/google-research-datasets/Nutrition5k",
    licence="CC BY 4.0",
    access="open download",
    tested_on="real",
    modality={"en": "food", "zh": "食物"},
)


class Dish(NamedTuple):
    """One dish: totals in kcal and grams, and its ingredients."""

    key: str
    image: str
    totals: tuple[str, ...]
    ingredients: tuple[str, ...]


def recognises(path: Path) -> bool:
    """The metadata of the first cafeteria beside the split lists."""
    return holds(path, "metadata/dish_metadata_cafe1.csv", "dish_ids/splits")


def load(where: str) -> Dataset:
    """Open the folder that holds `metadata`, `dish_ids` and `imagery`.

    Raises:
        DataError: a file is absent, or a row has another structure.
    """
    root, defects = ABOUT.locate(where), Defects()
    tables = sorted(root.glob("metadata/dish_metadata_cafe*.csv"))
    dishes = {
        key: (totals, names) for path in tables for key, totals, names in _dishes(path, defects)
    }
    official = (root / "imagery" / "realsense_overhead").is_dir()
    rows: dict[str, list[Dish]] = {}
    lists = {s: root / "dish_ids" / "splits" / f"depth_{s}_ids.txt" for s in ABOUT.sizes}
    for split, path in lists.items():
        rows[split] = []
        for key in _ids(path):
            if key not in dishes:
                defects.add("Listed dishes without metadata (left out)")
                continue
            image = f"realsense_overhead/{key}/rgb.png" if official else f"{key}.png"
            rows[split].append(Dish(key, image, *dishes[key]))
    return assemble(
        ABOUT,
        rows,
        functools.partial(_sample, root / "imagery"),
        files=[*tables, *lists.values()],
        defects=defects,
        images=(root / "imagery", lambda dish: (dish.image,)),
        lacks=lambda dish: "" if dish.ingredients else "ingredients",
        labels=tuple(sorted({name for _, names in dishes.values() for name in names})),
        multi_label=True,
    )


def _ids(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}. It lists a split's dishes.") from None


def _dishes(path: Path, defects: Defects) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Id, totals and ingredient names of every row of one cafeteria."""
    for cells in split_rows(path):
        cells = [cell.strip() for cell in cells]
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            continue
        # The README's layout has the number of ingredients before them; the files do not.
        start = next((p for p, cell in enumerate(cells) if cell.startswith("ingr_")), len(cells))
        named = cells[start + 1 :: FIELDS]
        names = [name for name in named if name]
        whole = (len(cells) - start) % FIELDS == 0
        if not whole or start < 1 + len(TOTALS) or not cells[0].startswith("dish_"):
            defects.add(f"Rows of {path.name} that are cut off or of another structure (left out)")
            continue
        defects.add("Ingredients without a name (left out)", len(named) - len(names))
        if not names:
            defects.add("Dishes without ingredients in the metadata")
        if float(cells[1]) == 0 and names:
            defects.add("Dishes whose total calories are 0 although they have ingredients")
        yield cells[0], tuple(cells[1 : 1 + len(TOTALS)]), tuple(dict.fromkeys(names))


def _sample(root: Path, split: str, dish: Dish) -> Sample:
    return Sample(
        id=f"{ABOUT.name}/{split}/{dish.key}",
        dataset=ABOUT.name,
        task="ingredients",
        answer=dish.ingredients,
        images=(file_picture(root, dish.image),),
        question=QUESTION,
        modality=ABOUT.modality["en"],
        attributes=dict(zip(TOTALS, dish.totals, strict=True)),
    )
