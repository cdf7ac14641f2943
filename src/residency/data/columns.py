"""Read CSV, TSV, JSON-lines and Parquet tables as columns of text, with the line of every fault."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from residency.errors import DataError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
Columns = dict[str, pa.Array]


def read_columns(path: Path) -> Columns:
    """All columns as trimmed text of equal length; null becomes "", a list JSON text.

    Raises:
        DataError: not UTF-8 or not well formed (with the line), a column twice, no rows, or a
            value that is neither text, a number, true/false nor a list of them.
    """
    read = {".jsonl": _jsonl, ".parquet": _parquet}.get(path.suffix, _csv)
    columns = read(path)
    rows = len(next(iter(columns.values()))) if columns else 0
    if not rows:
        raise DataError(f"{path} has no rows. A table needs a header and at least one sample.")
    return {name: _trimmed(values) for name, values in columns.items()}


def _trimmed(values: pa.Array) -> pa.Array:
    filled = pc.fill_null(values.cast(pa.large_string()), "")
    return pc.utf8_trim_whitespace(filled)


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith(b"version https://git-lfs"):
        raise DataError(f"{path} is a Git LFS pointer, not a table. Fetch it with `git lfs pull`.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} line {line}: byte 0x{data[error.start]:02x} is not UTF-8. Save it as UTF-8."
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path} line {line}: a NUL character. Save it as plain UTF-8 text.")
    return text


def delimiter_of(text: str, suffix: str) -> str:
    """What separates the columns of a CSV or TSV, by its header: some save with semicolons."""
    header = text.partition("\n")[0]
    if suffix == ".tsv":
        return "\t"
    return ";" if ";" in header and "," not in header else ","


def _csv(path: Path) -> Columns:
    text = _text(path)
    delimiter = delimiter_of(text, path.suffix)
    try:
        header = next(csv.reader(io.StringIO(text), delimiter=delimiter), [])
    except csv.Error as error:
        raise DataError(f"{path} line 1: {error}. Write a header of column names.") from None
    names = [name.strip() for name in header]
    if not names:
        return {}
    _once(path, names)
    data = text.encode()
    try:
        table = pyarrow.csv.read_csv(
            pa.py_buffer(data),
            # One block: a row must not straddle two of them.
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read as a table: {reason}. Check the quotes.") from None
    return {
        name: table.column(place).combine_chunks().cast(pa.large_string())
        for place, name in enumerate(names)
    }


def _jsonl(path: Path) -> Columns:
    """One flat object per line, with the same or other keys: a missing one reads as ""."""
    columns: dict[str, list[str]] = {}
    rows = 0
    # Not splitlines(): U+2028 is legal inside a JSON string.
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        for name, value in _object(path, number, line).items():
            column = columns.setdefault(name, [])
            column.extend([""] * (rows - len(column)))
            column.append(_scalar(value, f"{path} line {number}: {name!r}"))
        rows += 1
    for column in columns.values():
        column.extend([""] * (rows - len(column)))
    try:
        return {name: pa.array(column, pa.large_string()) for name, column in columns.items()}
    except UnicodeEncodeError as error:  # an escape such as \\ud800 alone is legal JSON, not text
        raise DataError(
            f"{path} holds half of a character pair ({error.reason}). Fix it."
        ) from None


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    def pairs(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        _once(path, [name for name, _ in entries], f" line {number}")
        return dict(entries)

    def constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON")

    try:
        value = json.loads(line, object_pairs_hook=pairs, parse_constant=constant)
    except RecursionError:
        raise DataError(
            f"{path} line {number}: nested too deeply; expected a flat object."
        ) from None
    except ValueError as error:
        raise DataError(
            f"{path} line {number} is not JSON: {error}. Write one object per line."
        ) from None
    if not isinstance(value, dict):
        raise DataError(f"{path} line {number} is not an object. Write one object per line.")
    return value


def _parquet(path: Path) -> Columns:
    try:
        table = pyarrow.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is not a whole Parquet file: {reason}. Copy it again.") from None
    _once(path, table.column_names)
    columns = {}
    for name in table.column_names:
        values = table.column(name).combine_chunks()
        kind = values.type
        if pa.types.is_dictionary(kind):
            values = values.dictionary_decode()
        if pa.types.is_nested(kind):
            values = pa.array(
                [_scalar(value, f"{path}: {name!r}") for value in values.to_pylist()],
                pa.large_string(),
            )
        try:
            columns[name] = values.cast(pa.large_string())
        except (pa.ArrowException, NotImplementedError):
            raise DataError(
                f"{path}: column {name!r} is {kind}; expected text, numbers or lists of text. "
                "Images belong in files beside the table."
            ) from None
    return columns


def _once(path: Path, names: Sequence[str], where: str = "") -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}{where} has {', '.join(map(repr, twice))} twice. Keep one of them.")


def _scalar(value: Any, where: str) -> str:
    """A cell as text; a list stays JSON, so that names may contain any character."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(entry, str | int | float) for entry in value):
        return json.dumps([str(entry) for entry in value], ensure_ascii=False)
    raise DataError(
        f"{where} is {type(value).__name__}; expected text, a number or a list of text."
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
