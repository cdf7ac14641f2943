"""How a run learned: the loss of every data set of a stage, and its looks at the validation split."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from residency.evaluate.charts import text
from residency.journals import JOURNAL, read_journal

SERIES = 12  # data sets that are drawn of a stage; the others are counted
POINTS = 60  # of a line, each a mean over as many updates as it takes
_WIDTH, _HEIGHT, _EDGE = 420, 150, 30
_DASHES = ("", "6 3", "2 3")  # colours repeat after five lines


def learned(folder: Path) -> str:
    """A chart for each stage that learned from several data sets or looked; '' where none did."""
    charts = []
    for path in sorted(folder.glob(f"*/{JOURNAL}")):
        rows, unreadable = read_journal(path)
        lost = f"<p>{unreadable} lines of the journal cannot be read.</p>" if unreadable else ""
        panels = [
            _panel(f"{path.parent.name}: loss per response token", _losses(rows), len(rows)),
            _panel(f"{path.parent.name}: on the validation slice", _looks(rows), len(rows)),
        ]
        if any(panels):
            charts.append(f'<div class="panels learned">{"".join(panels)}</div>{lost}')
    return "".join(charts)


def _losses(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """(update, loss) by data set, in bins of equal length weighted by tokens."""
    found: dict[str, dict[int, list[tuple[float, float]]]] = {}
    step = max(1, -(-len(rows) // POINTS))
    for row in rows:
        for name, one in row.get("by_data", {}).items():
            if isinstance(one["loss"], float):  # what was not finite is written as text
                place = (row["update"] - 1) // step
                found.setdefault(name, {}).setdefault(place, []).append(
                    (one["loss"], one["tokens"])
                )
    return {
        name: [
            ((place + 0.5) * step, sum(v * n for v, n in some) / sum(n for _, n in some))
            for place, some in sorted(bins.items())
        ]
        for name, bins in found.items()
    }


def _looks(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, value in row.get("watched", {}).items():
            found.setdefault(name, []).append((float(row["update"]), float(value)))
    return found


def _panel(title: str, series: Mapping[str, Sequence[tuple[float, float]]], updates: int) -> str:
    """A line for each series on one scale, and a table that names the lines and gives their ends."""
    if not series:
        return ""
    shown = list(series.items())[:SERIES]
    values = [value for _, points in shown for _, value in points]
    low, high = min(0.0, *values), max(*values, 1e-9)
    lines = []
    for number, (name, points) in enumerate(shown):
        at = [
            (
                _EDGE + (_WIDTH - _EDGE) * x / updates,
                _HEIGHT - (_HEIGHT - 12) * (y - low) / (high - low),
            )
            for x, y in points
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        mark = f'<circle cx="{at[-1][0]:.1f}" cy="{at[-1][1]:.1f}" r="2.5"/>'
        lines.append(
            f'<g class="s{number % 5}"><title>{text(name)}</title><polyline points="{path}" '
            f'stroke-dasharray="{_DASHES[number // 5]}"/>{mark}</g>'
        )
    ends = "".join(
        f'<tr><td><svg class="s{number % 5}" viewBox="0 0 34 8" aria-hidden="true"><polyline '
        f'points="0,4 34,4" stroke-dasharray="{_DASHES[number // 5]}"/></svg>{text(name)}</td>'
        f"<td>{points[0][1]:.3f}</td><td>{points[-1][1]:.3f}</td></tr>"
        for number, (name, points) in enumerate(shown)
    )
    left = len(series) - len(shown)
    more = f"<p>{left} more data sets are in the journal.</p>" if left else ""
    return (
        f"<figure><figcaption>{text(title)}, {updates} updates</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH + 6} {_HEIGHT + 6}" role="img" aria-label="{text(title)}">'
        f'<text x="0" y="14">{high:.2f}</text>'
        f'<text x="0" y="{_HEIGHT}">{low:.2f}</text>{"".join(lines)}</svg>'
        f"<table><thead><tr><th>data set</th><th>first</th><th>last</th></tr></thead>"
        f"<tbody>{ends}</tbody></table>{more}</figure>"
    )
