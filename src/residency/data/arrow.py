"""Rows of Parquet and Arrow tables, read when they are asked for: images lie inside as bytes.

Nothing but the wanted row is decoded, so a table of any size opens at once.
"""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from residency.data.card import distinct_labels, read_card
from residency.data.documents import RowError
from residency.data.formats import Partial, gathered, sample_of
from residency.data.said import IMAGE_KEYS, read_row, shape_of
from residency.data.splits import SPLITS, SYNONYMS, assign, unknown_split
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Sample


def parquet_keys(path: Path) -> tuple[set[str], bool]:
    """The columns of a Parquet file, and whether its images are bytes; never raises."""
    try:
        schema = pyarrow.parquet.read_schema(path)
    except (pa.ArrowException, OSError):
        return set(), False
    return set(schema.names), any(_holds_bytes(schema, key) for key in IMAGE_KEYS)


def _holds_bytes(schema: pa.Schema, key: str) -> bool:
    if key not in schema.names:
        return False
    kind = schema.field(key).type
    kind = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
    inside = [field.name for field in kind] if pa.types.is_struct(kind) else []
    return "bytes" in inside or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def read_parquet(paths: Sequence[Path]) -> pa.Table:
    """Parquet files of equal columns as one table.

    Raises:
        DataError: a file that is cut off or no Parquet, or files of different columns.
    """
    return _together([_guarded(path, _parquet_table) for path in paths])


def read_arrow(paths: Sequence[Path]) -> pa.Table:
    """Arrow files or streams of equal columns as one table, mapped into memory and not read.

    Raises:
        DataError: a file that is cut off or no Arrow file, or files of different columns.
    """
    return _together([_guarded(path, _arrow_table) for path in paths])


def _parquet_table(path: Path) -> pa.Table:
    return pyarrow.parquet.read_table(path, memory_map=True)


def _arrow_table(path: Path) -> pa.Table:
    source = pa.memory_map(str(path))
    try:
        return pyarrow.ipc.open_stream(source).read_all()
    except pa.ArrowInvalid:
        source.seek(0)
        return pyarrow.ipc.open_file(source).read_all()


def _guarded(path: Path, read: Any) -> pa.Table:
    try:
        return read(path)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is not a whole table: {reason}. Copy it again.") from None


def _together(tables: list[pa.Table]) -> pa.Table:
    try:
        return pa.concat_tables(tables)
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"Files of one split have different columns: {reason}.") from None


@dataclass(frozen=True)
class Rows:
    """Rows of a table whose keys are a known shape; `names` are those of class numbers."""

    table: pa.Table
    name: str
    root: Path
    labels: tuple[str, ...]
    names: tuple[str, ...]
    modality: str

    def said(self, row: int) -> dict[str, Any]:
        """The row as keys and values, class numbers as names."""
        found: dict[str, Any] = self.table.slice(row, 1).to_pylist()[0]
        label = found.get("label")
        if self.names and isinstance(label, int) and 0 <= label < len(self.names):
            found["label"] = self.names[label]
        return {key: value for key, value in found.items() if value is not None}

    def sample(self, places: np.ndarray, index: int) -> Sample:
        """The sample of row `places[index]`.

        Raises:
            RowError: the row cannot be used.
        """
        row = int(places[index])
        said = read_row(self.said(row), f"{self.name} row {row + 1}")
        return sample_of(said, self.name, self.root, self.labels, self.modality, f"row-{row}")


def as_dataset(
    name: str,
    tables: Mapping[str, pa.Table],
    root: Path,
    *,
    names: tuple[str, ...] = (),
    licence: str = "",
) -> Dataset:
    """A data set of tables by split; the one under "" is split by its column, else by row.

    Every row's text is read once here, so that a bad one is known; images are not decoded.

    Raises:
        DataError: columns of no known shape, or no row that can be used.
    """
    card = read_card(root)
    notes = [*card.notes]
    places: dict[str, tuple[pa.Table, np.ndarray]] = {}
    for split, table in tables.items():
        if not shape_of(set(table.column_names)):
            raise DataError(
                f"{root / name}: columns {', '.join(table.column_names[:12])} have no known shape. "
                "Name them image and label, image and caption, messages, conversations, or "
                "question and answer."
            )
        dialogue = shape_of(set(table.column_names)) in ("conversations", "messages")
        if not dialogue and not set(table.column_names) & set(IMAGE_KEYS):
            raise DataError(f"{root / name} has no column image or images.")
        for part, rows in _parts(split, table, notes).items():
            places[part] = (table, rows)
    labels = names or card.labels or _labels(tables)
    read = functools.partial(
        Rows, name=name, root=root, labels=labels, names=names, modality=card.modality.get("en", "")
    )
    splits = _usable(
        {
            split: (read(table), rows, split not in tables and any(_stated(table)))
            for split, (table, rows) in places.items()
        },
        root / name,
    )
    return Dataset(
        name=name,
        splits=splits,
        labels=distinct_labels(labels, str(root / name)),
        modality=card.modality,
        digest=_digest(tables),
        source=card.source,
        licence=card.licence or licence,
        notes=tuple(notes),
    )


def _usable(places: Mapping[str, tuple[Rows, np.ndarray, bool]], where: Path) -> dict[str, Partial]:
    """The usable rows of each split, and their faults; rows that must state a split are marked True.

    Raises:
        DataError: no row can be used.
    """
    good: dict[str, np.ndarray] = {}
    bad: dict[str, list[RowError]] = {}
    for split in sorted(places, key=SPLITS.index):
        good[split], bad[split] = _judged(*places[split])
    faults = gathered(bad, [split for split, rows in good.items() if len(rows)], where)
    return {
        split: Partial(
            len(good[split]), functools.partial(places[split][0].sample, good[split]), some
        )
        for split, some in faults.items()
    }


def _judged(rows: Rows, places: np.ndarray, sided: bool) -> tuple[np.ndarray, list[RowError]]:
    """Rows that say something usable, and the faults of the others; images stay where they are.

    `sided` rows must state a split.
    """
    text = rows.table.select([k for k in rows.table.column_names if k not in IMAGE_KEYS])
    shown = next((key for key in IMAGE_KEYS if key in rows.table.column_names), "")
    light = Rows(text, rows.name, rows.root, rows.labels, rows.names, rows.modality)
    good, faults = [], []
    for row in places.tolist():
        said = light.said(row)
        if shown and rows.table[shown][row].is_valid:
            count = len(rows.table[shown][row]) if shown == "images" else 1
            said[shown] = ["(inside)"] * count
        where = f"{rows.name} row {row + 1}"
        try:
            if not read_row(said, where).split and sided:
                raise RowError("split", where, unknown_split(""))
            good.append(row)
        except RowError as error:
            faults.append(error)
    return np.array(good, dtype=np.int64), faults


def _parts(split: str, table: pa.Table, notes: list[str]) -> dict[str, np.ndarray]:
    """Row numbers by split."""
    if split:
        return {split: np.arange(table.num_rows)}
    words = _stated(table)
    if any(words):  # a row of another split, or of none, is judged with train, and bad
        stated = [SYNONYMS.get(word.lower(), SPLITS[0]) for word in words]
    else:
        units = [f"row {row}" for row in range(table.num_rows)]
        stated = [SPLITS[place] for place in assign(units)]
        notes.append("No split stated: rows were split 70/10/20, seed 0.")
    found = {part: np.flatnonzero(np.array(stated) == part) for part in SPLITS}
    return {part: rows for part, rows in found.items() if len(rows)}


def _stated(table: pa.Table) -> list[str]:
    """What the rows of a table call their split; empty where there is no such column."""
    words = table["split"].to_pylist() if "split" in table.column_names else []
    return ["" if word is None else str(word).strip() for word in words]


def _labels(tables: Mapping[str, pa.Table]) -> tuple[str, ...]:
    found: set[str] = set()
    for table in tables.values():
        if shape_of(set(table.column_names)) == "label":
            values = table["label"].to_pylist()
            found |= {str(value) for value in values if isinstance(value, str | int)}
            found |= {
                str(value) for value in values if isinstance(value, float) and isfinite(value)
            }
    return tuple(sorted(found))


def _digest(tables: Mapping[str, pa.Table]) -> str:
    """By schema, and by length and a hash of every column's buffers."""
    state = hashlib.sha256()
    for split, table in tables.items():
        state.update(f"{split}\0{json.dumps(table.column_names)}\0{table.num_rows}\n".encode())
        for batch in table.to_batches():
            for column in batch.columns:
                for buffer in column.buffers():
                    state.update(buffer or b"\0")
    return state.hexdigest()
