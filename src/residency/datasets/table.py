"""A table of images with labels, or with questions and answers: CSV, TSV, JSON lines or Parquet.

On disk: `image` (path relative to the table's folder) and `label`, or `question` and `answer`;
optional `id`, `split` (train, val, test), `group` or `patient`, `options`, `language` (en, zh),
`modality`. Several labels or options are joined by `|` or given as a JSON list. Without `split`
the groups (else the images) are split 70/10/20, seeded. `residency.yaml` or `dataset.json` in the
folder may declare modality (en, zh), licence, source, labels, multi_label.
"""

import functools
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from residency.catalog import suggest
from residency.data.card import Card, distinct_labels, read_card
from residency.data.columns import SUFFIXES, Columns, read_columns
from residency.data.images import file_picture
from residency.data.rows import Rows
from residency.data.splits import SPLITS, SYNONYMS, assign
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

    Raises:
        DataError: no such file, not well formed, a column missing, an id twice, an image path that
            leaves the folder, an empty or unknown value, or a label that training never shows.
    """
    path = Path(where)
    if not where or not path.is_file():
        raise DataError(f"No such file: {where!r}. Write table:PATH ({', '.join(SUFFIXES)}).")
    card = read_card(path.parent)
    columns = read_columns(path)
    notes = [*card.notes] if "modality" not in columns else []
    columns = _wanted(path, columns, notes)
    _check_cells(path, columns)
    splits = _splits(path, columns, notes)
    multi, labels = _labels(path, columns, card, splits, "split" in columns)
    table = Table(path, columns, card, labels, multi)
    _check_options(table)
    return Dataset(
        name=path.stem,
        splits={
            split: Rows(len(rows), functools.partial(table.sample, rows))
            for split, rows in splits.items()
        },
        labels=labels,
        multi_label=multi,
        modality=card.modality,
        digest=file_hash(path),
        source=card.source,
        licence=card.licence,
        notes=tuple(notes),
    )


def many(text: str) -> tuple[str, ...]:
    """The entries of a cell: a JSON list of text, else what `|` separates."""
    if text.startswith("["):
        try:
            listed = json.loads(text)
        except ValueError:
            listed = None
        if isinstance(listed, list) and all(isinstance(entry, str) for entry in listed):
            return tuple(entry.strip() for entry in listed)
    return tuple(entry.strip() for entry in text.split("|") if entry.strip())


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


def _check_cells(path: Path, columns: Columns) -> None:
    """Refuse what no row may hold."""
    for name in ("image", "question", "answer", "id"):
        if name in columns:
            empty = np.flatnonzero(pc.equal(columns[name], "").to_numpy(zero_copy_only=False))
            _refuse(path, empty, f"an empty {name}", "Fill or remove them.")
    if "id" in columns:
        counts = pc.value_counts(columns["id"]).to_pylist()
        if twice := [entry["values"] for entry in counts if entry["counts"] > 1]:
            raise DataError(
                f"{path} has {len(twice)} ids on several rows: {', '.join(twice[:5])}. "
                "Every id must be unique."
            )
    if "language" in columns:
        for value in pc.unique(columns["language"]).to_pylist():
            if value not in ("en", "zh", ""):
                raise DataError(f"{path} has language {value!r}; allowed: en, zh.")
    for name in pc.unique(columns["image"]).to_pylist():
        tidy = os.path.normpath(name)
        if os.path.isabs(name) or tidy.split(os.sep)[0] == os.pardir:
            raise DataError(
                f"{path} has image {name!r}, which leads out of the table's folder. "
                "Use paths relative to that folder."
            )


def _refuse(path: Path, rows: np.ndarray, what: str, remedy: str) -> None:
    if len(rows):
        shown = ", ".join(str(row + 1) for row in rows[:5])
        more = f" ... ({len(rows)} in all)" if len(rows) > 5 else ""
        raise DataError(f"{path} has {what} in data row {shown}{more}. {remedy}")


def _splits(path: Path, columns: Columns, notes: list[str]) -> dict[str, np.ndarray]:
    """Row numbers by split."""
    if "split" in columns:
        unique = pc.unique(columns["split"]).to_pylist()
        if unknown := [value for value in unique if value.lower() not in SYNONYMS]:
            raise DataError(
                f"{path} has split {', '.join(map(repr, unknown[:5]))}; allowed: "
                f"{', '.join(SYNONYMS)}."
            )
        place = {value: SPLITS.index(SYNONYMS[value.lower()]) for value in unique}
        sides = np.array([place[value] for value in columns["split"].to_pylist()])
    else:
        images = columns["image"].to_pylist()
        groups = columns["group"].to_pylist() if "group" in columns else [""] * len(images)
        # The prefix keeps a patient and an image of the same name apart.
        units = [f"g{group}" if group else f"i{i}" for group, i in zip(groups, images, strict=True)]
        sides = assign(units)
        notes.append(
            f"No column split: {'groups' if 'group' in columns else 'images'} were split "
            "70/10/20, seed 0."
        )
    found = {split: np.flatnonzero(sides == place) for place, split in enumerate(SPLITS)}
    if empty := [split for split, rows in found.items() if not len(rows)]:
        notes.append(f"No rows for {', '.join(empty)}.")
    return {split: rows for split, rows in found.items() if len(rows)}


def _labels(
    path: Path, columns: Columns, card: Card, splits: dict[str, np.ndarray], given: bool
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
        empty = np.flatnonzero(pc.equal(cells, "").to_numpy(zero_copy_only=False))
        _refuse(path, empty, "an empty label", "Fill them, or declare `multi_label: true`.")
    shown = cells.take(splits["train"]) if given and "train" in splits else cells
    allowed = card.labels or tuple(sorted(_entries(pc.unique(shown).to_pylist(), multi)))
    for text in unique:
        if outside := sorted(_entries([text], multi) - set(allowed)):
            row = int(pc.index(cells, text).as_py()) + 1
            where = "declared" if card.labels else "in train"
            raise DataError(
                f"{path} data row {row} has label {outside[0]!r}, which is not {where}: "
                f"{', '.join(allowed[:20])}{' ...' if len(allowed) > 20 else ''}."
                f"{suggest(outside[0], list(allowed))} Correct it, or declare `labels`."
            )
    return multi, distinct_labels(allowed, str(path))


def _entries(cells: Iterable[str], multi: bool) -> set[str]:
    return {entry for text in cells for entry in (many(text) if multi else (text,))}


def _is_list(text: str) -> bool:
    return text.startswith("[") and many(text) != (text,)


def _check_options(table: Table) -> None:
    """Every answer is one of its row's options."""
    if "options" not in table.columns:
        return
    answers = table.columns["label" if "label" in table.columns else "answer"].to_pylist()
    seen: set[tuple[str, str]] = set()
    for row, pair in enumerate(zip(table.columns["options"].to_pylist(), answers, strict=True)):
        options = many(pair[0])
        if not options or pair in seen:
            continue
        seen.add(pair)
        distinct_labels(options, f"{table.path} data row {row + 1}")
        outside = _entries([pair[1]], table.multi_label) - set(options)
        if outside or len(set(options)) < len(options):
            what = (
                f"answer {sorted(outside)[0]!r} outside its" if outside else "a repeated entry in"
            )
            raise DataError(
                f"{table.path} data row {row + 1} has {what} options {', '.join(options)}. "
                "Correct the row."
            )
