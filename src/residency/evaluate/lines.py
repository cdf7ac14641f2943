"""The objects of a JSON-lines file or JSON array that anyone wrote, and what is wrong with it, counted."""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from residency.catalog import suggest
from residency.errors import DataError, UsageError

FIELDS = (
    "prediction", "reference", "id", "task", "dataset", "view", "answer_type", "options", "group",
    "language", "scores", "spacing_mm", "size",
)  # fmt: skip
SHOWN = 3  # places of a problem that are named
DIGITS = 300  # of a whole number that is still a float
Object = tuple[str, dict[str, Any]]  # where it stands ("line 3"), and what it holds

# What can be wrong, in words, with what was done about it.
LEFT_OUT = {
    "not_utf8": "not UTF-8 text: left out",
    "truncated": "cut off before its end: left out",
    "not_json": "not JSON: left out",
    "not_an_object": "not a JSON object: left out",
    "repeated_key": "an object that holds a key twice: left out",
    "no_reference": "no reference: left out",
    "bad_reference": "a reference that is neither text, labels, boxes nor points: left out",
    "repeated_row": "the same id with the same content again: left out after the first",
    "repeated_id": "the same id with other content: left out after the first (if ids name images, "
    "not questions, write map=group=id,id=none)",
}
KEPT = {
    "not_a_number": "NaN or infinity: read as missing",
    "no_prediction": "no prediction: kept as unanswered, which is wrong",
    "empty_prediction": "an empty prediction: kept as unanswered, which is wrong",
    "bad_prediction": "a prediction that is neither text, labels, boxes nor points: kept as unanswered",
    "text_for_shapes": "text where the reference is boxes or points: kept as unanswered "
    "(write coordinates as lists of numbers)",
    "bad_options": "options that are no list of at least two texts: read as if there were none",
    "reference_outside": "a reference outside its options: kept",
    "bad_scores": "scores that are not one finite number for every option: read as if there were none",
    "mixed_scripts": "a reference in Chinese among others, without `language`: scored together",
    "mixed_languages": "another `language` than most rows: each language is scored apart",
    "no_id": "no id: named by its place in the file",
    "no_group": "no group where other rows have one: resampled alone",
}


@dataclass(frozen=True, slots=True)
class Findings:
    """Places of every problem, by the problem's name in `LEFT_OUT` or `KEPT`."""

    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, where: str) -> None:
        """Note one."""
        self.places.setdefault(name, []).append(where)

    def as_json(self) -> dict[str, dict[str, Any]]:
        """Count, first places and meaning per problem."""
        said = LEFT_OUT | KEPT
        return {
            name: {"count": len(where), "first": where[:SHOWN], "meaning": said[name]}
            for name, where in self.places.items()
        }

    def __str__(self) -> str:
        said = LEFT_OUT | KEPT
        lines = []
        for name, where in self.places.items():
            dots = ", ..." if len(where) > SHOWN else ""
            lines.append(f"  {len(where)} x {said[name]} ({', '.join(where[:SHOWN])}{dots})")
        return "\n".join(lines)


def objects(path: Path, findings: Findings) -> Iterator[Object]:
    """Every object of the file, in order; what is none is counted and passed over.

    Raises:
        DataError: the file cannot be read, is a pointer of Git LFS, or is an array that is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"Cannot read {path} ({error.strerror}). Give a JSON-lines file or a JSON array."
        ) from error
    if data.startswith(b"version https://git-lfs"):
        raise DataError(f"{path} is a Git LFS pointer. Fetch the file with `git lfs pull`.")
    data = data.removeprefix(b"\xef\xbb\xbf")
    entries = _array(data, findings) if data.lstrip()[:1] == b"[" else _lines(data, findings)
    for where, value in entries:
        if isinstance(value, dict):
            yield where, value
        else:
            findings.add("not_an_object", where)


def _lines(data: bytes, findings: Findings) -> Iterator[tuple[str, Any]]:
    rows = data.split(b"\n")  # only "\n": other separators of lines may stand inside of texts
    last = len(rows) if rows[-1].strip() else 0  # a last line without its end may be cut off
    for number, row in enumerate(rows, start=1):
        where = f"line {number}"
        if not row.strip():
            continue
        try:
            value, noted = _loads(row.decode("utf-8"))
        except UnicodeDecodeError:
            findings.add("truncated" if number == last else "not_utf8", where)
        except (ValueError, RecursionError):
            findings.add("truncated" if number == last else "not_json", where)
        else:
            if _usable(noted, where, findings):
                yield where, value


def _array(data: bytes, findings: Findings) -> Iterator[tuple[str, Any]]:
    """The entries one by one, so that those before a fault are kept."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"The JSON array is not UTF-8 text at byte {error.start}. Save it as UTF-8."
        ) from error
    decoder, noted = _decoder()
    place, number = text.index("[") + 1, 0
    while True:
        place = _skip(text, place)
        if text[place : place + 1] == "]":
            return
        number += 1
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            findings.add("truncated", f"entry {number}")
            return
        if _usable(noted, f"entry {number}", findings):
            yield f"entry {number}", value
        noted.clear()
        place = _skip(text, place)
        if text[place : place + 1] == ",":
            place += 1
        elif text[place : place + 1] != "]":
            findings.add("truncated", f"entry {number + 1}")
            return


def _skip(text: str, place: int) -> int:
    while text[place : place + 1].isspace():
        place += 1
    return place


def _loads(text: str) -> tuple[Any, set[str]]:
    decoder, noted = _decoder()
    return decoder.decode(text), noted


def _usable(noted: Collection[str], where: str, findings: Findings) -> bool:
    """Count what was noted while an entry was decoded; whether it may be read."""
    twice = "repeated_key" in noted
    if noted:
        findings.add("repeated_key" if twice else "not_a_number", where)
    return not twice


def _decoder() -> tuple[json.JSONDecoder, set[str]]:
    """A decoder that reads NaN and infinities as null, and the set in which it notes them and keys twice."""
    noted: set[str] = set()

    def constant(text: str) -> None:
        noted.add("not_a_number")

    def number(text: str) -> float | None:
        value = float(text)
        if math.isfinite(value):
            return value
        noted.add("not_a_number")
        return None

    def whole(text: str) -> int | None:
        if len(text) < DIGITS:
            return int(text)
        noted.add("not_a_number")
        return None

    def entries(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            noted.add("repeated_key")
        return found

    decoder = json.JSONDecoder(
        parse_float=number, parse_int=whole, parse_constant=constant, object_pairs_hook=entries
    )
    return decoder, noted


def columns_of(renamed: Mapping[str, str]) -> dict[str, str]:
    """Which column holds each field; `renamed` says where a column has another name.

    Raises:
        UsageError: no such field.
    """
    for name in renamed:
        if name not in FIELDS:
            raise UsageError(
                f"map={name}=...: no field {name!r}.{suggest(name, list(FIELDS))} "
                f"Write field=column; fields: {', '.join(FIELDS)}."
            )
    return {name: renamed.get(name, name) for name in FIELDS}


def require(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    column: Mapping[str, str],
    keep: Sequence[str],
    findings: Findings,
) -> None:
    """Refuse a file without rows, or of which no row has a column that is needed.

    Raises:
        DataError: with the columns that there are.
    """
    have = dict.fromkeys(name for row in rows for name in row)
    if not rows:
        raise DataError(
            f"{path} has no rows that are JSON objects. Write one object a line, or one array of objects, "
            f"as UTF-8.\n{findings}"
        )
    for wanted in (column["prediction"], column["reference"], *keep):
        if wanted not in have:
            raise DataError(
                f"{path} has no column {wanted!r}.{suggest(wanted, list(have))} Its columns: "
                f"{', '.join(map(repr, have))}. Say which is which: map=prediction=COLUMN,reference=COLUMN."
            )
