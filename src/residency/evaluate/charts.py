"""Parts of the report page: tables, bars with intervals and settings, as escaped HTML."""

from collections.abc import Mapping, Sequence
from html import escape

from residency.evaluate.ranking import Ranking, panel, summary
from residency.evaluate.results import (
    FLIPS,
    ClassScore,
    Estimate,
    Row,
    is_fraction,
    metric_names,
    shown,
)
from residency.text import capital


def text(value: object) -> str:
    """Data as HTML text."""
    return escape(str(value), quote=True)


_COUNTS = {"n": "n", "n_unparsed": "unparsed", "n_length": "cut off", "n_error": "refused"}
_ALWAYS = ("n", "n_unparsed")
MAIN = 4  # metrics of the headline; a task names its main ones first


def headline(rows: Sequence[Row]) -> str:
    """Methods and views down, the main metrics and the counts across; further metrics folded below."""
    names = metric_names(rows)
    flips = [name for name in names if name == FLIPS]
    ordered = [name for name in names if name != FLIPS]
    main, rest = ordered[:MAIN], ordered[MAIN:]
    if len(rest) == 1:  # one more column is less than a table of its own
        main, rest = ordered, []
    told = [name for name in _COUNTS if name in _ALWAYS or any(getattr(r, name) for r in rows)]
    shown_first = _table(rows, [*main, *flips], told)
    if not rest:
        return shown_first
    return (
        f"{shown_first}<details><summary>{len(rest)} further metrics</summary>"
        f"{_table(rows, rest, ())}</details>"
    )


def _table(rows: Sequence[Row], names: Sequence[str], told: Sequence[str]) -> str:
    """Metrics with their intervals, then counts."""
    seeds = len({row.seed for row in rows}) > 1
    heads = [*(f"{label(name)}{unit(name)}" for name in names), *map(_COUNTS.__getitem__, told)]
    head = "".join(f'<th scope="col">{text(h)}</th>' for h in heads)
    body = []
    for row in rows:
        seed = f" seed {row.seed}" if seeds else ""
        cells = "".join(_cell(name, row.metrics.get(name)) for name in names)
        cells += "".join(f"<td>{getattr(row, name):,}</td>" for name in told)
        under = f"<small>{text((row.view or '') + seed)}</small>"
        quiet = ' class="quiet"' if is_control(row) else ""
        body.append(f'<tr{quiet}><th scope="row">{text(method(row))}{under}</th>{cells}</tr>')
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr><th scope="col">Method</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(name: str, value: Estimate | None) -> str:
    if value is None:
        return "<td>–</td>"
    interval = ""
    if value.low != value.high and value.low == value.low:
        interval = f"<small>{shown(name, value.low)} – {shown(name, value.high)}</small>"
    return f"<td><b>{shown(name, value.estimate)}</b>{interval}</td>"


def bars(rows: Sequence[Row], metric: str) -> str:
    """One bar per row with its interval as a whisker; fractions run from 0 to 100."""
    with_it = [row for row in rows if metric in row.metrics]
    top = 1.0 if is_fraction(metric) else max(row.metrics[metric].high for row in with_it) or 1.0
    seeds = len({row.seed for row in rows}) > 1
    lines = []
    for row in with_it:
        value = row.metrics[metric]
        at, low, high = (
            100 * min(max(x, 0) / top, 1) for x in (value.estimate, value.low, value.high)
        )
        name = titled(row) + (f" · {row.seed}" if seeds else "")
        whisker = (
            f'<line x1="{low:.2f}%" x2="{high:.2f}%" y1="9" y2="9" class="whisker"/>'
            if high > low
            else ""
        )
        said = shown(metric, value.estimate)
        kind = "bar quiet" if is_control(row) else "bar"
        lines.append(bar(name, at, said, said=said, kind=kind, whisker=whisker))
    title = f"{label(metric)}{unit(metric)}, 95&#8239;% interval as a line"
    return f'<figure class="bars"><figcaption>{title}</figcaption>{"".join(lines)}</figure>'


def bar(
    name: str, percent: float, value: str, *, said: str, kind: str = "bar", whisker: str = ""
) -> str:
    """One bar of a figure: its name, what fills it, and the value; `said` is read aloud for it."""
    return (
        f'<div class="name">{text(name)}</div>'
        f'<svg class="{kind}" role="img" aria-label="{text(name)}: {said}">'
        f'<rect class="track" width="100%" height="18" rx="3"/>'
        f'<rect class="fill" width="{percent:.2f}%" height="18" rx="3"/>{whisker}</svg>'
        f'<div class="value">{value}</div>'
    )


def classes(rows: Sequence[Row]) -> str:
    """A per-class table for every row that has one; that of the last row with a view is open."""
    having = [row for row in rows if row.classes and not is_control(row)]
    shown_first = next(
        (row for row in reversed(having) if row.view), having[-1] if having else None
    )
    parts = []
    for row in having:
        state = " open" if row is shown_first else ""
        body = "".join(_class_row(line) for line in row.classes)
        parts.append(
            f"<details{state}><summary>{text(titled(row))}</summary>"
            '<div class="scroll" tabindex="0"><table><thead><tr>'
            '<th scope="col">Class</th><th scope="col">support</th><th scope="col">recall %</th>'
            '<th scope="col">precision %</th><th scope="col">F1 %</th></tr></thead>'
            f"<tbody>{body}</tbody></table></div></details>"
        )
    return "".join(parts)


def _class_row(line: ClassScore) -> str:
    numbers = "".join(
        f"<td>{'–' if value is None else f'{100 * value:.1f}'}</td>"
        for value in (line.recall, line.precision, line.f1)
    )
    return f'<tr><th scope="row">{text(line.label)}</th><td>{line.support:,}</td>{numbers}</tr>'


def rankings(shown_rankings: Sequence[Ranking]) -> str:
    """The panels of Figure 3 with their numbers and one legend."""
    panels = []
    for one in shown_rankings:
        numbers = "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in summary(one).items())
        panels.append(
            f"<figure><figcaption>{text(one.name)}</figcaption>{panel(one)}"
            f'<dl class="numbers">{numbers}</dl></figure>'
        )
    return (
        '<p class="note">Density of the mean token probability of the right response, given '
        '<span class="key positive">its own image (solid)</span> or '
        '<span class="key negative">a wrong image (dashed)</span>. Win rate: how often the own '
        "image makes it likelier. Each panel has its own height.</p>"
        f'<div class="panels">{"".join(panels)}</div>'
    )


def settings(values: Mapping[str, object]) -> str:
    """Run settings as a list; a mapping inside (such as versions) becomes a list of its own."""
    parts = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        shape = f"<pre>{text(value)}</pre>" if name == "command" else text(value)
        parts.append(f"<dt>{text(name)}</dt><dd>{shape}</dd>")
    return f'<dl class="settings">{"".join(parts)}</dl>'


def is_control(row: Row) -> bool:
    """Whether a row is there to be beaten: no look at the right image, or no model at all."""
    blind = row.view is not None and row.view.startswith(("blank", "shuffled"))
    return blind or row.method.endswith(("majority", "chance"))  # behind the name of a run


def method(row: Row) -> str:
    """The method and its variant."""
    return f"{row.method} {row.variant}".strip()


def titled(row: Row) -> str:
    """The method with its view, where it reads one."""
    return f"{method(row)} · {row.view}" if row.view else method(row)


def label(metric: str) -> str:
    """The metric's id in words."""
    return capital(metric.replace("_", " ").replace("f1", "F1").replace("iou", "IoU"))


def unit(metric: str) -> str:
    """What follows the metric's name."""
    return " %" if is_fraction(metric) else ""
