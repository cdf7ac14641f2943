"""A user's table of attributes: one image per row, its columns are what may be told and asked."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from residency.catalog import suggest
from residency.data.benchmark import Case
from residency.data.documents import json_lines
from residency.data.identity import stand_in
from residency.data.images import file_picture
from residency.data.published import Defects
from residency.data.records import line, split_rows
from residency.data.splits import SPLITS, SYNONYMS, assign
from residency.errors import DataError
from residency.types import Language

SUFFIXES = (".csv", ".tsv", ".jsonl")
IMAGES = ("image", "image_path", "path", "file", "filename", "img_name", "image_id")
GROUPS = ("patient", "patient_id", "subject", "subject_id", "group")
Columns = Mapping[str, str | None]  # what is asked for: image, text, group, split


def is_table(spec: str) -> bool:
    """Whether a specification is a table that this module reads."""
    return Path(spec).suffix.lower() in SUFFIXES and Path(spec).is_file()


def attribute_cases(
    path: Path, columns: Columns, language: Language, defects: Defects
) -> dict[str, list[Case]]:
    """The rows of a CSV, TSV or JSON-lines table by split; every column without a role is an attribute.

    A column named `text` holds reports, which are learned as they are; attributes are then asked alone.
    Other columns not named are looked for: the image under `image`, `path`, ..., the patient under
    `patient_id`, ..., the split under `split`. Without a split, patients (else images) are split
    70/10/20, seed 0. Image paths are relative to the table. The group is a salted hash.

    Raises:
        DataError: no column for the image, one that is named and absent, or a split nobody knows.
    """
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path} has no rows.")
    names = list(rows[0])
    image = _column(path, names, columns.get("image"), IMAGES)
    group = _column(path, names, columns.get("group"), GROUPS)
    split = _column(path, names, columns.get("split"), ("split",))
    text = _column(path, names, columns.get("text"), ())
    if image is None:
        raise DataError(
            f"{path} has no column for the image; columns: {', '.join(names)}. Name it: image=COLUMN."
        )
    defects.add("Rows without an image (left out)", sum(not row.get(image) for row in rows))
    rows = [row for row in rows if row.get(image)]
    if split is None:
        units = [row.get(group or image, "") or row[image] for row in rows]
        sides = [SPLITS[k] for k in assign(units)]
        defects.notes.append(
            f"No column split: {'patients' if group else 'images'} were split 70/10/20, seed 0."
        )
    else:
        sides = [_side(path, row[split]) for row in rows]
    found: dict[str, list[Case]] = {name: [] for name in SPLITS}
    for place, (row, side) in enumerate(zip(rows, sides, strict=True)):
        facts = {k: v for k, v in row.items() if k and k not in (image, group, split, text)}
        found[side].append(
            Case(
                key=f"{place}", pictures=(file_picture(path.parent, row[image]),), facts=facts,
                group=stand_in(row.get(group, "")) if group else "", language=language,
                text=row.get(text, "") if text else "",
            )
        )  # fmt: skip
    return found


def _rows(path: Path) -> Iterator[dict[str, str]]:
    if path.suffix.lower() == ".jsonl":
        for number, row in json_lines(path):
            if not isinstance(row, dict):
                raise DataError(f"{path} line {number} is no object.")
            yield {str(key).strip(): line(value) for key, value in row.items()}
        return
    rows = split_rows(path)
    header = [name.strip() for name in next(rows, [])]
    for cells in rows:
        if any(cells):
            yield dict(zip(header, [*map(line, cells), *[""] * len(header)], strict=False))


def _column(path: Path, have: list[str], named: str | None, usual: tuple[str, ...]) -> str | None:
    if named is not None:
        if named not in have:
            raise DataError(
                f"{path} has no column {named!r}.{suggest(named, have)} It has: {', '.join(have)}."
            )
        return named
    by_case = {name.casefold(): name for name in reversed(have)}
    return next((by_case[name] for name in usual if name in by_case), None)


def _side(path: Path, text: str) -> str:
    if text.casefold() not in SYNONYMS:
        raise DataError(f"{path} has split {text!r}; expected one of {', '.join(SYNONYMS)}.")
    return SYNONYMS[text.casefold()]
