"""A table of images with labels, or with questions and answers: CSV, TSV, JSON lines or Parquet.

On disk: `image` (path relative to the table's folder) and `label`, or `question` and `answer`;
optional `id`, `split` (train, val, test), `group` or `patient`, `options`, `language` (en, zh),
`modality`. Several labels or options are joined by `|` or given as a JSON list. Without `split`
the groups (else the images) are split 70/10/20, seeded. `residency.yaml` or `dataset.json` in the
folder may declare modality (en, zh), licence, source, labels, multi_label.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from residency.catalog import suggest
from residency.data.card import Card, distinct_labels, read_card
from residency.data.columns import SUFFIXES, Columns, many, read_columns
from residency.data.formats import Partial, gathered, unusable
from residency.data.images import file_picture
from residency.data.splits import SPLITS, SYNONYMS, assign
from residency.data.table_faults import (
    Faults,
    cell_faults,
    entries,
    holding,
    option_faults,
    split_faults,
)
from residency.dataset import Dataset
from residency.errors import DataError
from residency.provenance import file_hash
from residency.types import Answer, Language, Sample

KNOWN = (
    "image",
    "label",
    "question",
    "answer",
    "id",
    "split",
    "group",
    "patient",
    "options",
    "language",
    "modality",
)


@dataclass(frozen=True)
class Table:
    """Checked columns and what holds for all rows."""

    path: Path
    columns: Columns
    card: Card
    labels: tuple[str, ...]
    multi_label: bool

    def cell(self, name: str, row: int) -> str:
        """The text of a cell, "" where the column is absent."""
        text: str = self.columns[name][row].as_py() if name in self.columns else ""
        return text

    def sample(self, rows: np.ndarray, index: int) -> Sample:
        """The sample in row `rows[index]`."""
        row = int(rows[index])
        labelled = "label" in self.columns
        text = self.cell("label" if labelled else "answer", row)
        options = many(self.cell("options", row)) or self.labels
        answer: Answer = text
        if labelled and self.multi_label:
            stated = set(many(text))
            answer = tuple(label for label in options if label in stated)
        language: Language = "zh" if self.cell("language", row) == "zh" else "en"
        name = self.path.stem
        return Sample(
            id=f"{name}/{self.cell('id', row) or row}",
            dataset=name,
            task="classification" if labelled else "vqa",
            answer=answer,
            images=(file_picture(self.path.parent, self.cell("image", row)),),
            question=self.cell("question", row),
            options=options,
            modality=self.cell("modality", row) or self.card.modality.get(language, ""),
            group=self.cell("group", row),
            language=language,
        )


def recognises(path: Path) -> bool:
    """Whether it is a file whose name ends like a table's."""
    return path.suffix in SUFFIXES and path.is_file()


def load(where: str) -> Dataset:
    """Open a table; images are looked for when they are read.

    A row that cannot be used (an empty or unknown value, an id again, an image path that leaves the folder, a
    label that training never shows) is kept beside the samples of its split: see `data.bad`.

    Raises:
        DataError: no such file, not well formed, a column missing, no row that can be used, or labels
            that cannot be told apart.
    """
    path = Path(where)
    if not where or not path.is_file():
        raise DataError(f"No such file: {where!r}. Write table:PATH ({', '.join(SUFFIXES)}).")
    card = read_card(path.parent)
    columns = read_columns(path)
    notes = [*card.notes] if "modality" not in columns else []
    columns = _wanted(path, columns, notes)
    faults = Faults(path)
    cell_faults(columns, faults)
    sides = _sides(columns, faults, notes)
    multi, labels = _labels(columns, card, sides, faults)
    if "options" in columns:
        answers = columns["label" if "label" in columns else "answer"]
        option_faults(columns["options"], answers, multi, faults)
    table = Table(path, columns, card, labels, multi)
    rows = {
        split: faults.without(np.flatnonzero(sides == place)) for place, split in enumerate(SPLITS)
    }
    kept = gathered(faults.by_split(sides), [split for split in SPLITS if len(rows[split])], path)
    notes += unusable(kept)
    if empty := [split for split in SPLITS if split not in kept]:
        notes.append(f"No rows for {', '.join(empty)}.")
    return Dataset(
        name=path.stem,
        splits={
            split: Partial(len(rows[split]), functools.partial(table.sample, rows[split]), bad)
            for split, bad in kept.items()
        },
        labels=labels,
        multi_label=multi,
        modality=card.modality,
        digest=file_hash(path),
        source=card.source,
        licence=card.licence,
        notes=tuple(notes),
    )


def _wanted(path: Path, columns: Columns, notes: list[str]) -> Columns:
    """The columns that are read, `patient` as `group`; the rest is named in the notes."""
    missing = [] if "image" in columns else ["image"]
    asked = "question" in columns or "answer" in columns
    if asked:
        missing += [name for name in ("question", "answer") if name not in columns]
    elif "label" not in columns:
        missing.append("label (or question and answer)")
    if missing:
        close = [suggest(name.split()[0], list(columns)) for name in missing]
        raise DataError(
            f"{path} lacks the column {' and '.join(missing)}; found: {', '.join(columns)}."
            f"{''.join(close)} Rename the columns in the header."
        )
    for first, second in (("label", "question"), ("group", "patient")):
        if first in columns and second in columns:
            raise DataError(
                f"{path} has both {first!r} and {second!r}. Remove one of the two columns."
            )
    if ignored := [name for name in columns if name not in KNOWN]:
        notes.append(f"Ignored columns: {', '.join(ignored)}.")
    kept = {name: columns[name] for name in KNOWN if name in columns}
    for name in kept.keys() & {"label", "answer", "options"}:
        # A response is read with single spaces, so an answer is stored that way.
        kept[name] = pc.replace_substring_regex(kept[name], r"\s+", " ")
    if "patient" in kept:
        kept["group"] = kept.pop("patient")
    return kept


def _sides(columns: Columns, faults: Faults, notes: list[str]) -> np.ndarray:
    """The place in `SPLITS` of every row, `[n]`; by group or image where the table states none."""
    if "split" in columns and pc.max(pc.utf8_length(columns["split"])).as_py():
        split_faults(columns["split"], faults)
        words = columns["split"].to_pylist()
        return np.array([SPLITS.index(SYNONYMS.get(word.lower(), SPLITS[0])) for word in words])
    images = columns["image"].to_pylist()
    groups = columns["group"].to_pylist() if "group" in columns else [""] * len(images)
    # The prefix keeps a patient and an image of the same name apart.
    units = [f"g{group}" if group else f"i{i}" for group, i in zip(groups, images, strict=True)]
    notes.append(
        f"No column split: {'groups' if 'group' in columns else 'images'} were split "
        "70/10/20, seed 0."
    )
    columns.pop("split", None)
    return assign(units)


def _labels(
    columns: Columns, card: Card, sides: np.ndarray, faults: Faults
) -> tuple[bool, tuple[str, ...]]:
    """Whether samples have several labels, and the closed set: declared, else that of train.

    Where the split is our own, or there is no train, the set is that of all rows.
    """
    if "label" not in columns:
        return False, ()
    cells = columns["label"]
    unique = pc.unique(cells).to_pylist()
    multi = card.multi_label or any("|" in text or _is_list(text) for text in unique)
    if not multi:
        empty = "an empty label. Fill it, or declare `multi_label: true`."
        faults.add(holding(cells, ""), "empty_answer", empty)
    train = np.flatnonzero(sides == 0) if "split" in columns else np.arange(len(sides))
    shown = faults.without(train if len(train) else np.arange(len(sides)))
    allowed = card.labels or tuple(sorted(entries(pc.unique(cells.take(shown)).to_pylist(), multi)))
    for text in unique:
        if outside := sorted(entries([text], multi) - set(allowed)):
            where = "declared" if card.labels else "in train"
            faults.add(
                holding(cells, text),
                "label_outside",
                f"label {outside[0]!r}, which is not {where}: {', '.join(allowed[:20])}"
                f"{' ...' if len(allowed) > 20 else ''}.{suggest(outside[0], list(allowed))} "
                "Correct it, or declare `labels`.",
            )
    return multi, distinct_labels(allowed, str(faults.path))


def _is_list(text: str) -> bool:
    return text.startswith("[") and many(text) != (text,)
