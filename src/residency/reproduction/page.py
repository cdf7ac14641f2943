"""A table as people read it: printed rows, ours beside them, marks and reasons below; Markdown and HTML."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from residency.evaluate.charts import text
from residency.evaluate.page import Section, page
from residency.paper import Column, Line, Table
from residency.reproduction.cells import Cell, Figure

UNLIKE = "≠"  # in front of a figure that may not be compared with the printed one
MEANING = f"{UNLIKE} not comparable with the printed figure, for the reasons named by its letters"


@dataclass
class Notes:
    """Reasons by letter, in order of first use."""

    known: dict[str, str] = field(default_factory=dict)

    def letters(self, reasons: Sequence[str]) -> str:
        """`(a,c)` for these reasons, '' for none."""
        for reason in reasons:
            if reason not in self.known:
                self.known[reason] = _letter(len(self.known))
        return f" ({','.join(self.known[reason] for reason in reasons)})" if reasons else ""

    def lines(self) -> list[str]:
        """A line for every letter."""
        return [f"({letter}) {reason}" for reason, letter in self.known.items()]


def _letter(number: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[number] if number < 26 else f"z{number - 25}"


@dataclass(frozen=True, kw_only=True)
class Laid:
    """A table laid out: a head, rows of texts whose first entry names them, and the reasons."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    ours: frozenset[int]  # numbers of the rows, or of the columns, that are ours
    across: bool  # whether the columns of the table run across
    notes: tuple[str, ...]


def laid_out(table: Table, cells: Sequence[Cell], *, who: str, missing: Sequence[str]) -> Laid:
    """Lines down and columns across, or the other way round where there are more columns than lines.

    `who` names our rows. `missing` are lines for the foot.
    """
    notes = Notes()
    beside: dict[str, dict[str, dict[str, Cell]]] = {}
    for cell in cells:
        beside.setdefault(cell.line, {}).setdefault(cell.label, {})[cell.column] = cell
    entries: list[tuple[str, bool, list[str]]] = []
    for line in table.lines:
        quoted = "" if line.ours else ", quoted"
        entries.append((f"{line.name}{quoted}", False, _printed(table, line, notes)))
        for label, own in beside.get(line.name, {}).items():
            name = f"ours, {who}, as {line.name}{f', {label}' if label else ''}"
            mine = [_ours(own[c.name], c, notes) for c in table.columns]
            entries.append((name, True, mine))
    heads = [f"{column.name} [{column.id}]" for column in table.columns]
    foot = [*_legend(entries), *notes.lines(), *(f"note: {one}" for one in table.notes), *missing]
    across = len(heads) <= max(6, len(entries) // 2)
    ours = frozenset(place for place, (_, is_ours, _) in enumerate(entries) if is_ours)
    if across:
        rows = [(name, *texts) for name, _, texts in entries]
        head = ("", *heads)
    else:
        head = ("", *(name for name, _, _ in entries))
        rows = [
            (name, *(texts[place] for _, _, texts in entries)) for place, name in enumerate(heads)
        ]
    return Laid(
        title=table.title, head=head, rows=tuple(rows), ours=ours, across=across, notes=tuple(foot)
    )


def _legend(entries: Sequence[tuple[str, bool, list[str]]]) -> list[str]:
    return [MEANING] if any(UNLIKE in one for _, _, texts in entries for one in texts) else []


def _printed(table: Table, line: Line, notes: Notes) -> list[str]:
    """The printed cells of a line with the marks on them."""
    texts = []
    spreads = line.spreads or (None,) * len(line.values)
    for column, value, spread in zip(table.columns, line.values, spreads, strict=True):
        if value is None:
            texts.append("–")
            continue
        reasons = [mark.why for mark in table.marks if mark.covers(line.name, column.name)]
        around = f" ± {spread:g}" if spread is not None else ""
        mark = f"{UNLIKE} " if reasons else ""
        texts.append(f"{mark}{value:.{_digits(value, column)}f}{around}{notes.letters(reasons)}")
    return texts


def _digits(value: float, column: Column) -> int:
    """As many as it was printed with, at least the column's fewest."""
    text = f"{value:g}"
    return max(len(text.partition(".")[2]), min(column.decimals, 1))


def _ours(cell: Cell, column: Column, notes: Notes) -> str:
    """One of our cells."""
    if cell.figure is None:
        return cell.absent
    letters = notes.letters((*cell.why, *cell.remarks))
    return f"{f'{UNLIKE} ' if cell.why else ''}{number(cell.figure, column)}{letters}"


def number(figure: Figure, column: Column) -> str:
    """In the unit of the paper: `81.2 [79.0, 83.1]`, or `81.2 ± 0.6` over seeds."""

    def shown(value: float) -> str:
        return f"{column.scale * value:.{column.decimals}f}" if math.isfinite(value) else "–"

    if figure.seeds > 1:
        return f"{shown(figure.estimate)} ± {shown(figure.deviation)}"
    if not math.isfinite(figure.low + figure.high):
        return shown(figure.estimate)
    return f"{shown(figure.estimate)} [{shown(figure.low)}, {shown(figure.high)}]"


def markdown(laid: Laid) -> str:
    """The table as Markdown, aligned so that it reads in a terminal."""
    every = [laid.head, *laid.rows]
    widths = [max(3, *(len(row[place]) for row in every)) for place in range(len(laid.head))]

    def row(cells: Sequence[str]) -> str:
        padded = (c.replace("|", "\\|").ljust(w) for c, w in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = f"| {' | '.join('-' * width for width in widths)} |"
    body = [row(laid.head), rule, *map(row, laid.rows)]
    return "\n".join([f"# {laid.title}", "", *body, "", *(f"- {one}" for one in laid.notes)]) + "\n"


def html(laid: Laid, *, lead: str) -> str:
    """The table as a page of its own."""

    def cell(value: str, tag: str, mine: bool) -> str:
        kind = ' class="mine"' if mine else ""
        scope = {"th": ' scope="col"', "td": ""}[tag]
        return f"<{tag}{scope}{kind}>{text(value)}</{tag}>"

    head = "".join(
        cell(name, "th", not laid.across and place - 1 in laid.ours)
        for place, name in enumerate(laid.head)
    )
    body = []
    for number, (name, *values) in enumerate(laid.rows):
        mine = laid.across and number in laid.ours
        cells = "".join(
            cell(value, "td", mine or (not laid.across and place in laid.ours))
            for place, value in enumerate(values)
        )
        kind = ' class="mine"' if mine else ""
        body.append(f'<tr><th scope="row"{kind}>{text(name)}</th>{cells}</tr>')
    shown = (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
    notes = "".join(f"<p>{text(one)}</p>" for one in laid.notes)
    css = "body{max-width:96rem}.mine{background:var(--blankfill)}thead th{white-space:normal}"
    sections = [Section(heading="Table", html=shown), Section(heading="Notes", html=notes)]
    return page(laid.title, sections, lead=f"<p>{text(lead)}</p>", css=css)


def as_json(table: Table, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Every cell: what is printed and marked, then ours where there is any."""
    own: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        own.setdefault((cell.line, cell.column), []).append(cell)
    found = []
    for line in table.lines:
        spreads = line.spreads or (None,) * len(line.values)
        for column, value, spread in zip(table.columns, line.values, spreads, strict=True):
            marks = [mark.why for mark in table.marks if mark.covers(line.name, column.name)]
            found.append(
                {
                    "line": line.name,
                    "column": column.name,
                    "metric": column.id,
                    "scale": column.scale,
                    "printed": value,
                    "spread": spread,
                    "quoted": not line.ours,
                    "marks": marks,
                    "ours": [_json(one) for one in own.get((line.name, column.name), ())],
                }
            )
    return found


def _json(cell: Cell) -> Mapping[str, Any]:
    figure = cell.figure
    about = {"label": cell.label, "why": list(cell.why), "remarks": list(cell.remarks)}
    if figure is None:
        return about | {"absent": cell.absent, "comparable": False}
    numbers = {
        name: value if not isinstance(value, float) or math.isfinite(value) else None
        for name in ("estimate", "low", "high", "n", "n_unparsed", "seeds", "deviation")
        for value in (getattr(figure, name),)
    }
    return about | {"comparable": not cell.why} | numbers
