"""Judging by people: a sheet of samples as CSV and as an HTML form, read back with their agreement.

`python -m residency.synthesis.sheet RATED.csv [ANOTHER.csv ...]` prints the means of each rater and the
agreement of every two: Cohen's kappa of the types, and quadratically weighted of the marks.
"""

import base64
import csv
import html
import io
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from residency.errors import DataError, ResidencyError, UsageError
from residency.evaluate.store import write_whole
from residency.types import Picture

CSV, FORM = "sheet.csv", "sheet.html"
GIVEN = ("id", "instruction", "response")
Rated = Mapping[str, Mapping[str, str]]  # sample -> column -> what the rater wrote
WIDEST = 448  # pixels of an image in the form


class Judged(NamedTuple):
    """One sample to be judged."""

    id: str
    picture: Picture | None
    instruction: str
    response: str


def write_sheet(
    folder: Path, chosen: Sequence[Judged], types: Sequence[str], criteria: Mapping[str, str]
) -> None:
    """`sheet.csv` with empty columns to fill, and `sheet.html`, a form that downloads the same table."""
    columns = (*GIVEN, "type", *criteria)
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow(columns)
    writer.writerows(
        [one.id, one.instruction, one.response] + [""] * (1 + len(criteria)) for one in chosen
    )
    write_whole(folder / CSV, lines.getvalue())
    cards = "\n".join(_card(n, one, types, criteria) for n, one in enumerate(chosen))
    page = _PAGE.replace("{cards}", cards).replace("{columns}", ",".join(columns))
    write_whole(folder / FORM, page)


def _card(number: int, one: Judged, types: Sequence[str], criteria: Mapping[str, str]) -> str:
    options = "".join(f"<option>{html.escape(name)}</option>" for name in types)
    marks = "".join(
        f"<p title='{html.escape(text, quote=True)}'>{name}: "
        + " ".join(
            f"<label><input type=radio name='{number}-{name}' value={mark}>{mark}</label>"
            for mark in range(1, 6)
        )
        + f"<br><small>{html.escape(text)}</small></p>"
        for name, text in criteria.items()
    )
    return (
        f"<section data-id='{html.escape(one.id, quote=True)}'>{_image(one.picture)}"
        f"<p><b class=instruction>{html.escape(one.instruction)}</b></p>"
        f"<p class=response>{html.escape(one.response)}</p>"
        f"<p>type: <select name=type><option></option>{options}</select></p>{marks}</section>"
    )


def _image(picture: Picture | None) -> str:
    if picture is None:
        return ""
    image = picture.load()
    image.thumbnail((WIDEST, WIDEST))
    data = io.BytesIO()
    image.save(data, format="PNG")
    return f"<img src='data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}'>"


_PAGE = """<!doctype html><meta charset=utf-8><title>Judge synthetic tasks</title>
<style>body{font:16px sans-serif;max-width:46em;margin:2em auto}section{border-top:1px solid #999;
padding:1em 0}.response{white-space:pre-wrap}small{color:#666}</style>
<h1>Judge synthetic tasks</h1><p>Choose a type and three marks for every task, then save the table.</p>
{cards}
<button onclick=save()>save the table</button>
<script>
const columns="{columns}".split(",");
const quote=text=>'"'+text.replaceAll('"','""')+'"';
function save(){
  const rows=[columns.join(",")];
  document.querySelectorAll("section").forEach((one,n)=>{
    const given={id:one.dataset.id,instruction:one.querySelector(".instruction").textContent,
      response:one.querySelector(".response").textContent,type:one.querySelector("select").value};
    rows.push(columns.map(name=>quote(name in given?given[name]:
      (one.querySelector(`input[name='${n}-${name}']:checked`)||{value:""}).value)).join(","));
  });
  const link=document.createElement("a");
  link.href=URL.createObjectURL(new Blob([rows.join("\\n")+"\\n"],{type:"text/csv"}));
  link.download="rated.csv";link.click();
}
</script>
"""


def read_sheet(path: Path) -> dict[str, dict[str, str]]:
    """What a rater filled in, by the id of the sample; empty cells are left out.

    Raises:
        DataError: no such file, no `id` column, or a mark that is none of 1 to 5.
    """
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(keepends=True)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Cannot read {path} ({error}). Give a filled-in {CSV}.") from error
    if not rows or "id" not in rows[0]:
        raise DataError(f"{path} has no rows with an id. Give a filled-in {CSV}.")
    rated = {}
    for row in rows:
        filled = {k: v.strip() for k, v in row.items() if k and k not in GIVEN and v and v.strip()}
        for name, value in filled.items():
            if name != "type" and value not in ("1", "2", "3", "4", "5"):
                raise DataError(f"{path}, {row['id']}: {name} is {value!r}; expected 1 to 5.")
        rated[row["id"]] = filled
    return rated


def agreement(first: Rated, second: Rated) -> dict[str, tuple[int, float]]:
    """Per column, how many samples both rated and Cohen's kappa: NaN where it is undefined."""
    from sklearn.metrics import cohen_kappa_score

    found = {}
    names = dict.fromkeys(name for rated in first.values() for name in rated)
    for name in names:
        pairs = [
            (first[key][name], second[key][name])
            for key in first
            if name in first[key] and name in second.get(key, {})
        ]
        if pairs:
            one, other = zip(*pairs, strict=True)
            alike = len({*one, *other}) < 2
            weights = None if name == "type" else "quadratic"
            kappa = float("nan") if alike else float(cohen_kappa_score(one, other, weights=weights))
            found[name] = (len(pairs), kappa)
    return found


def describe(sheets: Mapping[str, Rated]) -> str:
    """Means of each rater, marks as percent of 5, and the agreement of every two."""
    lines = []
    for name, rated in sheets.items():
        marks: dict[str, list[int]] = {}
        types = set()
        for row in rated.values():
            types |= {row["type"]} if "type" in row else set()
            for column, value in row.items():
                if column != "type":
                    marks.setdefault(column, []).append(int(value))
        means = ", ".join(f"{k} {20 * sum(v) / len(v):.1f} (n {len(v)})" for k, v in marks.items())
        lines.append(f"{name}: {len(types)} types; {means}")
    for (one, first), (other, second) in combinations(sheets.items(), 2):
        told = ", ".join(f"{k} {v:.2f} (n {n})" for k, (n, v) in agreement(first, second).items())
        lines.append(f"{one} and {other}: kappa {told or 'of nothing: no sample in common'}")
    return "\n".join(lines)


def main(paths: Sequence[str]) -> int:
    """Print what raters found."""
    try:
        if not paths:
            raise UsageError(
                "Name filled-in sheets: python -m residency.synthesis.sheet RATED.csv ..."
            )
        sheets: dict[str, Any] = {path: read_sheet(Path(path)) for path in paths}
        print(describe(sheets))
    except ResidencyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
