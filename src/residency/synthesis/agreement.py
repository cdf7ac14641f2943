"""What raters found on filled-in sheets, and how far they agree.

`python -m residency.synthesis.agreement RATED.csv [ANOTHER.csv ...]`: for each rater distinct types and the
mean of each mark; for every two the share of equal cells and Cohen's kappa, quadratically weighted for marks.
`judged.csv`, what the judge model said, is one more sheet.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from residency.data.records import split_rows
from residency.errors import DataError, ResidencyError, UsageError
from residency.synthesis.criteria import COUNTS, CRITERIA, MARKS, TYPES
from residency.synthesis.sheet import CSV, RATED

Rated = Mapping[str, Mapping[str, str]]  # sample -> column -> what the rater wrote
SHOWN = 5  # bad cells that an error names
_WHOLE = re.compile(r"([1-5])(?:[.,]0*)?")  # a spreadsheet may write 4 as 4.0


class Agreement(NamedTuple):
    """Over `n` samples that both rated; `kappa` is NaN where all cells are alike."""

    n: int
    equal: float
    kappa: float


def read_sheet(path: Path) -> dict[str, dict[str, str]]:
    """What a rater filled in, by the id of the sample, in whatever order; empty cells are left out.

    Comma, semicolon or tab separate; a byte order mark, either end of line and further columns are fine.

    Raises:
        DataError: no such file, not UTF-8, no `id` column or none to judge, an id twice or missing,
            or cells that are no type or mark; names the first of them.
    """
    rows = [cells for cells in split_rows(path) if any(cell.strip() for cell in cells)]
    header = [name.strip().casefold() for name in rows[0]]
    columns = [name for name in RATED if name in header]
    if "id" not in header or not columns:
        raise DataError(
            f"{path} has the columns {', '.join(rows[0])}; expected id and one of "
            f"{', '.join(RATED)}. Give a filled-in {CSV}."
        )
    rated: dict[str, dict[str, str]] = {}
    wrong: list[str] = []
    for number, cells in enumerate(rows[1:], 2):
        row = dict(zip(header, map(str.strip, cells), strict=False))
        key = row.get("id", "")
        if not key or key in rated:
            wrong.append(f"row {number}: id {key!r} {'twice' if key else 'is missing'}")
            continue
        rated[key] = {}
        for name in columns:
            if value := row.get(name, ""):
                read = _read(name, value)
                rated[key] |= {name: read} if read else {}
                wrong += [] if read else [f"row {number} ({key}): {name} is {value!r}"]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise DataError(
            f"{path}: {'; '.join(wrong[:SHOWN])}{more}. Marks are 1 to 5, types those of the form, every "
            "id stands once. Correct these cells or empty them."
        )
    return rated


def _read(name: str, value: str) -> str | None:
    if name in CRITERIA:
        whole = _WHOLE.fullmatch(value)
        return whole.group(1) if whole else None
    kind = " ".join(value.casefold().split())
    return kind if kind in TYPES else None


def agreement(first: Rated, second: Rated) -> dict[str, Agreement]:
    """Of every column that both filled in somewhere.

    Marks are 1 to 5 in the weights whether or not all of them occur: 2 and 5 are three steps apart.
    """
    from sklearn.metrics import cohen_kappa_score

    found = {}
    for name in RATED:
        pairs = [
            (first[key][name], second[key][name])
            for key in first
            if name in first[key] and name in second.get(key, {})
        ]
        if not pairs:
            continue
        one, other = zip(*pairs, strict=True)
        equal = sum(a == b for a, b in pairs) / len(pairs)
        labels, weights = (MARKS, "quadratic") if name in CRITERIA else (TYPES, None)
        alike = len({*one, *other}) < 2
        kappa = float("nan")
        if not alike:
            kappa = float(cohen_kappa_score(one, other, labels=list(labels), weights=weights))
        found[name] = Agreement(len(pairs), equal, kappa)
    return found


def describe(sheets: Mapping[str, Rated]) -> str:
    """Each rater, marks as percent of 5; then every two of them."""
    lines = [f"{name}: {_rater(rated)}" for name, rated in sheets.items()]
    for (one, first), (other, second) in combinations(sheets.items(), 2):
        lines.append(f"{one} and {other}: {_two(first, second)}")
    return "\n".join(lines)


def _rater(rated: Rated) -> str:
    whole = sum(len(row) == len(RATED) for row in rated.values())
    begun = sum(0 < len(row) < len(RATED) for row in rated.values())
    types = {row["type"] for row in rated.values() if "type" in row}
    shares = ", ".join(
        f"{100 * len(types & set(TYPES[:count])) / count:.1f} of {count}"
        for count in COUNTS.values()
    )
    parts = [f"{whole} of {len(rated)} samples judged, {begun} in part"]
    parts.append(f"{len(types)} types (diversity {shares})")
    for name in CRITERIA:
        marks = [int(row[name]) for row in rated.values() if name in row]
        if marks:
            mean = 100 * sum(marks) / len(marks) / len(MARKS)
            parts.append(f"{name} {mean:.1f} (n {len(marks)})")
    return "; ".join(parts)


def _two(first: Rated, second: Rated) -> str:
    told = [
        f"{name} {100 * one.equal:.0f} % equal, kappa "
        f"{'undefined, all alike' if one.kappa != one.kappa else f'{one.kappa:.2f}'} (n {one.n})"
        for name, one in agreement(first, second).items()
    ]
    apart = len(first.keys() ^ second.keys())
    told += [f"{apart} samples stand on one of the two sheets alone"] if apart else []
    return "; ".join(told) or "no sample that both judged"


def main(paths: Sequence[str]) -> int:
    """Print what raters found."""
    try:
        if not paths:
            raise UsageError(
                "Name filled-in sheets: python -m residency.synthesis.agreement RATED.csv ..."
            )
        if len(set(paths)) < len(paths):
            raise UsageError(f"{' '.join(paths)}: a sheet twice. Name each rater's sheet once.")
        print(describe({path: read_sheet(Path(path)) for path in paths}))
    except ResidencyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
