"""Accuracy by attribute as a radar chart with its chance ring (InstFree, Figure 5), and as bars.

Both show the same numbers; the bars carry the intervals and are the accessible form.
"""

import math
from collections.abc import Sequence

from residency.evaluate.charts import label, text, unit
from residency.evaluate.groups import Group, Table
from residency.evaluate.results import Estimate, is_fraction, shown

FEWEST, MOST = 3, 16
SERIES = 5  # methods that can be told apart
_WIDTH, _HEIGHT, _RADIUS = 460, 360, 118
_DASHES = ("", "7 4", "2 4", "9 3 2 3", "4 4")


def fits(table: Table) -> bool:
    """Whether a table is worth a radar chart."""
    return is_fraction(table.metric) and FEWEST <= len(table.groups) <= MOST


def chart(table: Table) -> str:
    """The radar beside the bars."""
    methods = list(enumerate(table.methods))[-SERIES:]
    return (
        f'<figure class="radar"><figcaption>{text(label(table.metric))}{unit(table.metric)} by '
        f"{text(table.fact)}{_left_out(table)}</figcaption>{_legend(methods, table)}"
        f'<div class="pair">{_radar(table, methods)}{_bars(table, methods)}</div></figure>'
    )


def _left_out(table: Table) -> str:
    left = len(table.methods) - SERIES
    return f"; the last {SERIES} methods, {left} more in the table" if left > 0 else ""


def _legend(methods: Sequence[tuple[int, str]], table: Table) -> str:
    keys = "".join(
        f'<span><svg class="s{at}" viewBox="0 0 34 12" aria-hidden="true">'
        f'<line x1="1" x2="33" y1="6" y2="6" stroke-dasharray="{_DASHES[at]}"/>{_mark(at, 17.0, 6.0)}'
        f"</svg>{text(name)}</span>"
        for at, (_, name) in enumerate(methods)
    )
    if any(group.chance for group in table.groups):
        keys += (
            '<span><svg class="chance" viewBox="0 0 34 12" aria-hidden="true">'
            '<line x1="1" x2="33" y1="6" y2="6"/></svg>chance</span>'
        )
    return f'<p class="legend">{keys}</p>'


def _place(at: int, of: int, value: float) -> tuple[float, float]:
    angle = 2 * math.pi * at / of - math.pi / 2
    reach = _RADIUS * min(max(value, 0.0), 1.0)
    return _WIDTH / 2 + reach * math.cos(angle), _HEIGHT / 2 + reach * math.sin(angle)


def _ring(values: Sequence[float]) -> str:
    places = (_place(at, len(values), value) for at, value in enumerate(values))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _radar(table: Table, methods: Sequence[tuple[int, str]]) -> str:
    groups = table.groups
    parts = [
        f'<polygon class="grid" points="{_ring([level] * len(groups))}"/>'
        for level in (0.25, 0.5, 0.75, 1.0)
    ]
    for at, group in enumerate(groups):
        x, y = _place(at, len(groups), 1.0)
        parts.append(
            f'<line class="grid" x1="{_WIDTH / 2:.0f}" y1="{_HEIGHT / 2:.0f}" x2="{x:.1f}" '
            f'y2="{y:.1f}"/>{_name(group, at, len(groups))}'
        )
    if all(group.chance is not None for group in groups):
        parts.append(
            f'<polygon class="chance" points="{_ring([g.chance or 0.0 for g in groups])}"/>'
        )
    for at, (place, name) in enumerate(methods):
        values = [_value(group.values[place]) for group in groups]
        marks = "".join(
            _mark(at, *_place(spoke, len(groups), value)) for spoke, value in enumerate(values)
        )
        parts.append(
            f'<g class="s{at}"><title>{text(name)}</title><polygon points="{_ring(values)}" '
            f'stroke-dasharray="{_DASHES[at]}"/>{marks}</g>'
        )
    ticks = "".join(
        f'<text class="tick" x="{_WIDTH / 2 + 3:.0f}" y="{_HEIGHT / 2 - _RADIUS * level + 4:.0f}">'
        f"{level:.0%}</text>".replace("%", "")
        for level in (0.5, 1.0)
    )
    lowest = max(_place(at, len(groups), 1.0)[1] for at in range(len(groups))) + 32
    return (
        f'<svg class="web" viewBox="0 30 {_WIDTH} {lowest - 30:.0f}" role="img" '
        f'aria-label="Radar of {text(table.metric)} by {text(table.fact)}; the bars show the same '
        f'numbers">{"".join(parts)}{ticks}</svg>'
    )


def _value(value: Estimate | None) -> float:
    return value.estimate if value is not None and math.isfinite(value.estimate) else 0.0


def _name(group: Group, at: int, of: int) -> str:
    x, y = _place(at, of, 1.0)
    dx, dy = x - _WIDTH / 2, y - _HEIGHT / 2
    anchor = "middle" if abs(dx) < _RADIUS / 5 else ("start" if dx > 0 else "end")
    words = group.name if len(group.name) <= 22 else f"{group.name[:21]}…"
    few = ' class="few"' if group.small else ""
    return (
        f'<text{few} x="{x + 9 * dx / _RADIUS:.1f}" y="{y + 12 * dy / _RADIUS + 4:.1f}" '
        f'text-anchor="{anchor}">{text(words)}<title>{text(group.name)}, n={group.n}</title></text>'
    )


def _mark(at: int, x: float, y: float) -> str:
    """Circle, square, triangle, diamond, cross: told apart without colour."""
    if at == 0:
        return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="3.4"/>'
    corners = (
        ((-3, -3), (3, -3), (3, 3), (-3, 3)),
        ((0, -4), (4, 3), (-4, 3)),
        ((0, -4.5), (4.5, 0), (0, 4.5), (-4.5, 0)),
        ((-4, -1), (-1, -1), (-1, -4), (1, -4), (1, -1), (4, -1), (4, 1), (1, 1), (1, 4), (-1, 4),
         (-1, 1), (-4, 1)),
    )[at - 1]  # fmt: skip
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon class="mark" points="{points}"/>'


def _bars(table: Table, methods: Sequence[tuple[int, str]]) -> str:
    rows = []
    for group in table.groups:
        few = " few" if group.small else ""
        rows.append(
            f'<div class="spoke{few}">{text(group.name)} <small>n {group.n:,}</small></div>'
        )
        for at, (place, name) in enumerate(methods):
            rows.append(_bar(at, name, group, group.values[place], table.metric))
    return f'<div class="spokes">{"".join(rows)}</div>'


def _bar(at: int, name: str, group: Group, value: Estimate | None, metric: str) -> str:
    if value is None or not math.isfinite(value.estimate):
        return f'<svg class="thin"></svg><div class="value" title="{text(name)}">–</div>'
    low, high = (
        100 * min(max(end, 0), 1) if end == end else None for end in (value.low, value.high)
    )
    whisker = (
        f'<line class="whisker" x1="{low:.1f}%" x2="{high:.1f}%" y1="5" y2="5"/>'
        if low is not None and high is not None and high > low
        else ""
    )
    line = ""
    if group.chance is not None:
        x = f"{100 * group.chance:.1f}%"
        line = f'<line class="chance" x1="{x}" x2="{x}" y1="0" y2="10"/>'
    said = f"{name}, {group.name}: {shown(metric, value.estimate)}"
    return (
        f'<svg class="thin s{at}" role="img" aria-label="{text(said)}"><title>{text(said)}</title>'
        f'<rect class="track" width="100%" height="10" rx="2"/><rect class="mark" '
        f'width="{100 * min(max(value.estimate, 0), 1):.1f}%" height="10" rx="2"/>{whisker}{line}</svg>'
        f'<div class="value">{shown(metric, value.estimate)}</div>'
    )
