"""Read the tables of published sets row by row: JSON lists of objects, and CSV as it is found in the wild."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from residency.catalog import suggest
from residency.data.documents import read_text
from residency.data.published import Defects
from residency.errors import DataError

Record = dict[str, Any]
BLOCK = 1 << 20  # characters read at a time


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: no such file, a Git LFS pointer, not UTF-8 or not JSON.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}. Download the file again.") from None


def read_records(path: Path, defects: Defects) -> list[Record]:
    """The objects of a JSON list or of JSON lines; keys without spaces around them.

    Entries that are no objects are counted and left out.

    Raises:
        DataError: as `read_json`; the file holds no list; with the line, a line that is not JSON.
    """
    entries = list(_lines(path)) if path.suffix == ".jsonl" else read_json(path)
    return listed(entries, str(path), defects)


def listed(entries: Any, where: str, defects: Defects) -> list[Record]:
    """The objects among `entries`, with trimmed keys.

    Raises:
        DataError: `entries` is no list.
    """
    if not isinstance(entries, list):
        raise DataError(f"{where} holds {type(entries).__name__}; expected a list of objects.")
    found = [
        {key.strip(): value for key, value in entry.items()}
        for entry in entries
        if isinstance(entry, dict)
    ]
    defects.add("Entries that are no objects (left out)", len(entries) - len(found))
    return found


def read_table(path: Path, wanted: Sequence[str], defects: Defects) -> list[tuple[str, ...]]:
    """The `wanted` columns of a CSV or TSV file, cells trimmed, a tuple per row.

    `A|B` is column A, or B where there is no A; `A|` reads '' where there is no A. The header
    decides the delimiter among `,`, `;` and tab. Header names match without spaces around them and
    without regard to case. Blank rows are passed over; rows of another width are counted: a short
    one is filled with '', the surplus of a long one is dropped unless it is empty.

    Raises:
        DataError: no such file, a Git LFS pointer, not UTF-8, no header, a column missing, or
            quotes that do not match.
    """
    rows = split_rows(path)
    header = next(rows, [])
    names = {name.strip().casefold(): place for place, name in reversed([*enumerate(header)])}
    places = [_place(path, names, [*map(str.strip, header)], name) for name in wanted]
    table = []
    for cells in rows:
        if not any(cells):
            continue
        if len(cells) != len(header):
            surplus = any(cell.strip() for cell in cells[len(header) :])
            defects.add(
                "Rows of another width than the header", len(cells) < len(header) or surplus
            )
        table.append(
            tuple(cells[p].strip() if p is not None and p < len(cells) else "" for p in places)
        )
    return table


def split_rows(path: Path) -> Iterator[list[str]]:
    """The rows of a delimited file as they stand, of whatever width.

    Raises:
        DataError: as `read_table`, header aside.
    """
    text = read_text(path)
    header = text.partition("\n")[0]
    delimiter = "\t" if path.suffix == ".tsv" else max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: {error}. Check the quotes.") from None


def plain(value: Any) -> str:
    """A value as trimmed text: '' for null and for lists, numbers as they are written."""
    if value is None or isinstance(value, list | dict):
        return ""
    return str(value).strip()


def line(value: Any) -> str:
    """A value as one line with single spaces, the form in which an answer is read back."""
    return " ".join(plain(value).split())


def _place(path: Path, names: dict[str, int], header: list[str], wanted: str) -> int | None:
    choices = wanted.split("|")
    for choice in choices:
        if choice.casefold() in names and choice:
            return names[choice.casefold()]
    if "" in choices:
        return None
    raise DataError(
        f"{path} lacks the column {' or '.join(choices)}; found: {', '.join(header)}."
        f"{suggest(choices[0], header)} Download the file again."
    )


def _lines(path: Path) -> Iterator[Any]:
    # Not splitlines(): U+2028 is legal inside a JSON string.
    for number, text in enumerate(read_text(path).split("\n"), start=1):
        if text.strip():
            try:
                yield json.loads(text)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path} line {number} is not JSON: {error}.") from None


def stream_records(path: Path) -> Iterator[Record]:
    """The objects of a JSON list one after the other, for files that exceed memory as a whole.

    Raises:
        DataError: no such file, not UTF-8, or no list of JSON objects.
    """
    decoder, place, ended = json.JSONDecoder(), 0, False
    try:
        with path.open(encoding="utf-8-sig") as stream:
            text = stream.read(BLOCK).lstrip()
            if not text.startswith("["):
                raise DataError(f"{path} is no list of JSON objects; it begins {text[:40]!r}.")
            place = 1
            while True:
                while place < len(text) and text[place] in " \t\r\n,":
                    place += 1
                try:
                    entry, place = decoder.raw_decode(text, place)
                except ValueError:
                    if ended:
                        break
                    more = stream.read(BLOCK)
                    text, place, ended = text[place:] + more, 0, not more
                    continue
                if not isinstance(entry, dict):
                    break
                yield {key.strip(): value for key, value in entry.items()}
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    rest = text[place:].strip()
    if rest != "]":
        raise DataError(f"{path} is no whole list of JSON objects; it goes on {rest[:40]!r}.")
