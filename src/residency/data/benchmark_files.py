"""A benchmark on disk: `benchmark.json` says what it is, `SPLIT.jsonl` holds a row per sample.

Image files stay where they are and are named relative to the folder; what was painted is written beside.
"""

import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from residency.data.benchmark import Plan
from residency.data.documents import json_lines, read_json
from residency.data.framing import Frame
from residency.data.images import file_picture
from residency.data.published import digest
from residency.data.rows import Rows
from residency.dataset import Dataset
from residency.errors import DataError, UsageError
from residency.types import Picture, Sample

CARD = "benchmark.json"
FORMAT = 1
SPLITS = ("train", "val", "test")


def write(out: Path, dataset: Dataset, plan: Plan) -> str:
    """Write a benchmark to a new folder; returns a summary, a line each, absent images counted.

    Raises:
        UsageError: the folder exists.
    """
    if out.exists():
        raise UsageError(f"{out} exists. Name a new folder; nothing is written over.")
    out.mkdir(parents=True)
    there = absent = 0
    for split, samples in dataset.splits.items():
        rows = []
        for sample in samples:
            names = [_placed(picture, out) for picture in sample.images]
            found = [(out / name).exists() for name in names]
            there, absent = there + sum(found), absent + len(found) - sum(found)
            rows.append(json.dumps(_row(sample, names), ensure_ascii=False))
        (out / f"{split}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    notes = list(dataset.notes)
    if absent:
        notes.append(
            f"A table {'without' if not there else 'with some of'} its images: {absent:,} of "
            f"{there + absent:,} image files are absent."
        )
    card = {
        "format": FORMAT,
        "name": dataset.name,
        "protocol": plan.protocol,
        "seed": plan.seed,
        "choices": plan.choices,
        "frame": None if plan.frame is None else [plan.frame.fit, plan.frame.side],
        "attributes": {a.name: list(a.options[:50]) for a in plan.attributes},
        "sizes": {split: len(some) for split, some in dataset.splits.items()},
        "modality": dict(dataset.modality),
        "source": dataset.source,
        "licence": dataset.licence,
        "notes": notes,
        "left_out": dict(dataset.defects),
    }
    (out / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", "utf-8")
    sizes = ", ".join(f"{split} {len(some):,}" for split, some in dataset.splits.items())
    lines = [f"{out}: protocol {plan.protocol}, {sizes}", *notes]
    return "\n".join([*lines, *(f"{what}: {n:,}" for what, n in dataset.defects.items())])


def _placed(picture: Picture, out: Path) -> str:
    """Where a picture lies, relative to the folder; one that is no file is written into it."""
    source = Path(picture.key.split("#")[0])
    if source.suffix and "\0" not in picture.key:
        return os.path.relpath(source, out)
    name = f"images/{'_'.join(picture.key.split('/'))}.png".replace("=", "-")
    if not (out / name).exists():
        (out / "images").mkdir(exist_ok=True)
        picture.load().save(out / name)
    return name


def _row(sample: Sample, images: Sequence[str]) -> dict[str, Any]:
    row = {
        "id": sample.id,
        "task": sample.task,
        "images": list(images),
        "answer": sample.answer,
        "group": sample.group,
        "attributes": dict(sample.attributes),
        "language": sample.language,
        "modality": sample.modality,
    }
    if sample.options:
        row |= {"question": sample.question, "options": list(sample.options)}
    return row


def read(folder: Path) -> Dataset:
    """The benchmark in a folder; image files may lie outside of it.

    Raises:
        DataError: no card, or rows that are not ours.
    """
    card: Mapping[str, Any] = read_json(folder / CARD)
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise DataError(f"{folder / CARD} is no benchmark of format {FORMAT}. Build it again.")
    frame = Frame(*card["frame"]) if card["frame"] else None
    files = [folder / f"{split}.jsonl" for split in SPLITS if split in card["sizes"]]
    rows = {path.stem: [row for _, row in json_lines(path)] for path in files}

    def build(split: str, place: int) -> Sample:
        return _sample(folder, card["name"], frame, rows[split][place])

    return Dataset(
        name=card["name"],
        splits={
            split: Rows(len(some), functools.partial(build, split)) for split, some in rows.items()
        },
        modality=card["modality"],
        digest=digest([folder / CARD, *files]),
        source=card["source"],
        licence=card["licence"],
        notes=(f"protocol {card['protocol']}, seed {card['seed']}", *card["notes"]),
        defects=card["left_out"],
    )


def _sample(folder: Path, name: str, frame: Frame | None, row: Mapping[str, Any]) -> Sample:
    try:
        pictures = tuple(_picture(folder, image) for image in row["images"])
        return Sample(
            id=row["id"],
            dataset=name,
            task=row["task"],
            answer=row["answer"],
            images=pictures if frame is None else tuple(map(frame, pictures)),
            question=row.get("question", ""),
            options=tuple(row.get("options", ())),
            modality=row["modality"],
            group=row["group"],
            attributes=row["attributes"],
            language=row["language"],
        )
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{folder} has a row that is no sample ({error}). Build it again."
        ) from None


def _picture(folder: Path, name: str) -> Picture:
    path = Path(os.path.normpath(folder / name))
    return file_picture(path.parent, path.name)
