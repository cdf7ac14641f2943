"""Rows of a user's table that cannot be used, found column by column; each keeps its code and its place."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from residency.data.card import distinct_labels
from residency.data.columns import Columns, many
from residency.data.documents import RowError
from residency.data.splits import SPLITS, unknown_split
from residency.errors import DataError

LANGUAGES = ("en", "zh", "")


class Faults:
    """The first fault of every bad row, by row number from 0."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[int, RowError] = {}

    def add(self, rows: Iterable[int], code: str, what: str) -> None:
        """Note that these rows cannot be used."""
        for row in rows:
            if row not in self.rows:
                self.rows[row] = RowError(code, f"{self.path} data row {row + 1}", what)

    def without(self, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
        """The rows that can be used."""
        return rows[~np.isin(rows, list(self.rows))] if self.rows else rows

    def by_split(self, sides: Int[np.ndarray, " n"]) -> Mapping[str, list[RowError]]:
        """The faults by the split of their rows, in the order of the table."""
        found: dict[str, list[RowError]] = {split: [] for split in SPLITS}
        for row in sorted(self.rows):
            found[SPLITS[sides[row]]].append(self.rows[row])
        return found


def cell_faults(columns: Columns, faults: Faults) -> None:
    """Cells that no row may hold: empty ones, an id again, another language, a path out of the folder."""
    codes = {"image": "image", "question": "text", "answer": "empty_answer", "id": "text"}
    for name, code in codes.items():
        if name in columns:
            faults.add(holding(columns[name], ""), code, f"an empty {name}. Fill it.")
    if "id" in columns and pc.count_distinct(columns["id"]).as_py() < len(columns["id"]):
        first: dict[str, int] = {}
        for row, value in enumerate(columns["id"].to_pylist()):
            if first.setdefault(value, row) != row:
                where = first[value] + 1
                faults.add([row], "duplicate_id", f"the id {value!r} of data row {where} again.")
    if "language" in columns:
        for value in pc.unique(columns["language"]).to_pylist():
            if value not in LANGUAGES:
                bad = holding(columns["language"], value)
                faults.add(bad, "language", f"language {value!r}; allowed: en, zh.")
    for name in pc.unique(columns["image"]).to_pylist():
        if os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == os.pardir:
            faults.add(
                holding(columns["image"], name),
                "image_escape",
                f"image {name!r}, which leads out of the table's folder. Use paths relative to it.",
            )


def split_faults(words: pa.Array, faults: Faults) -> None:
    """Rows whose split is unknown or blank."""
    for value in pc.unique(words).to_pylist():
        if wrong := unknown_split(value):
            faults.add(holding(words, value), "split", wrong)


def option_faults(options: pa.Array, answers: pa.Array, several: bool, faults: Faults) -> None:
    """Rows whose answer is not among their options, or whose options cannot be told apart."""
    judged: dict[tuple[str, str], tuple[str, str]] = {}
    for row, pair in enumerate(zip(options.to_pylist(), answers.to_pylist(), strict=True)):
        if not pair[0]:
            continue
        if pair not in judged:
            judged[pair] = _judged(many(pair[0]), entries([pair[1]], several))
        code, what = judged[pair]
        if code:
            faults.add([row], code, what)


def _judged(options: Sequence[str], stated: set[str]) -> tuple[str, str]:
    listed = ", ".join(options)
    if outside := sorted(stated - set(options)):
        return "label_outside", f"answer {outside[0]!r} outside its options {listed}."
    if len(set(options)) < len(options):
        return "options_twice", f"a repeated entry in options {listed}."
    try:
        distinct_labels(tuple(options), "options")
    except DataError as error:
        return "options_twice", str(error)
    return "", ""


def holding(column: pa.Array, value: str) -> list[int]:
    """The rows of a column that hold a value."""
    found: list[int] = np.flatnonzero(
        pc.equal(column, value).to_numpy(zero_copy_only=False)
    ).tolist()
    return found


def entries(cells: Iterable[str], several: bool) -> set[str]:
    """The labels that cells state."""
    return {entry for text in cells for entry in (many(text) if several else (text,))}
