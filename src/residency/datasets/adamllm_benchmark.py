"""AdaMLLM's evaluation files: eight tasks as the authors ask them (Cheng et al., 2024).

Source: huggingface.co/datasets/AdaptLLM/biomed-VQA-benchmark (SLAKE, vqa_rad, pathvqa, pmc_vqa) and
food-VQA-benchmark (Recipe1M, Food101, FoodSeg103, Nutrition5K), Apache-2.0, open download; the images
keep the terms of their sets. On disk, as published: a folder per task as `save_to_disk` writes it
(`state.json`, `dataset_info.json`, `data-00000-of-00001.arrow`), with the columns image {bytes, path},
input (the whole question as asked), label (text; a list in FoodSeg103 and Nutrition5K), and, where a
task has them, answer_type (OPEN or CLOSED) and A to D. One task at a time:
`adamllm_benchmark:FOLDER/SLAKE`. Everything is test.

The question is `input`, word for word, and a list of labels is joined by commas: scores are those of
open answers. The readers of the sets themselves ask in our wordings and score by task.

tested on: fixture
"""

import functools
from pathlib import Path
from typing import Any

import pyarrow as pa

from residency.data.arrow import read_arrow
from residency.data.images import read_image
from residency.data.published import Defects, Published, assemble, holds
from residency.data.records import line
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Picture, Sample

# The folder of a task by its name in lower case, and its published number of test questions.
TASKS = {
    "slake": 1_061, "vqa_rad": 451, "pathvqa": 6_719, "pmc_vqa": 2_000,
    "recipe1m": 0, "food101": 25_250, "foodseg103": 2_135, "nutrition5k": 507,
}  # fmt: skip
CHOICES = ("A", "B", "C", "D")
ABOUT = Published(
    name="adamllm_benchmark",
    title="AdaMLLM benchmarks (biomedicine, food)",
    task="vqa",
    sizes={},
    metric="recall, accuracy, F1 or ROUGE-L, by task (AdaMLLM)",
    source="huggingface.co/datasets/AdaptLLM/biomed-VQA-benchmark",
    licence="Apache-2.0; images per source",
    access="open download",
    tested_on="fixture",
)


def recognises(path: Path) -> bool:
    """A folder of `save_to_disk` under the name of a task, whose features have `input`."""
    try:
        named = path.name.lower().replace("-", "_") in TASKS
        if not (named and holds(path, "state.json", "dataset_info.json")):
            return False
        return '"input"' in (path / "dataset_info.json").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def load(where: str) -> Dataset:
    """Open the folder of one task.

    Raises:
        DataError: not there, no Arrow file, or without image, input and label.
    """
    root, defects = ABOUT.locate(where), Defects()
    files = sorted(root.glob("data-*.arrow"))
    if not files:
        raise DataError(f"{root} has no data-*.arrow. Give the folder of one task, such as SLAKE.")
    table = read_arrow(files)
    lacking = [name for name in ("image", "input", "label") if name not in table.column_names]
    if lacking:
        raise DataError(
            f"{root} lacks the columns {', '.join(lacking)}; found: {', '.join(table.column_names)}."
        )
    said = table.drop_columns(["image"])
    return assemble(
        ABOUT,
        {"test": range(table.num_rows)},
        functools.partial(_sample, root.name, table),
        files=files,
        defects=defects,
        lacks=lambda row: _lacks(said.slice(row, 1).to_pylist()[0]),
    )


def _label(row: dict[str, Any]) -> str:
    label = row["label"]
    return ", ".join(map(str, label)) if isinstance(label, list) else line(str(label or ""))


def _lacks(row: dict[str, Any]) -> str:
    return " or ".join(
        name for name, text in (("input", row["input"]), ("label", _label(row))) if not text
    )


def _sample(task: str, table: pa.Table, split: str, row: int) -> Sample:
    # The column of images is left out: only the picture's own `load` reads it.
    said = table.drop_columns(["image"]).slice(row, 1).to_pylist()[0]
    key = f"{ABOUT.name}/{task}/{row}"
    facts = {name: str(said[name]) for name in ("answer_type", *CHOICES) if said.get(name)}
    return Sample(
        id=key,
        dataset=ABOUT.name,
        task="vqa",
        answer=_label(said),
        images=(Picture(key=key, load=functools.partial(_image, table, row)),),
        question=said["input"].strip(),
        attributes=facts,
    )


def _image(table: pa.Table, row: int) -> Any:
    cell = table.column("image")[row].as_py() or {}
    return read_image(cell.get("bytes") or b"", f"row {row + 1}")
