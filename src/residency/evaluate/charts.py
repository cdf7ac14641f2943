"""Parts of the report page: tables, bars with intervals and the gallery, as escaped HTML."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from PIL.Image import Image, Resampling

from residency.evaluate.ranking import Ranking, panel, summary
from residency.evaluate.results import ClassScore, Estimate, Row, is_fraction, metric_names, shown

LARGEST = 256  # pixels per side of an embedded image


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What one method answered; `right` is None where an answer is not simply right or wrong."""

    method: str
    text: str
    right: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One sample of a gallery: its image, its reference and what every method answered."""

    name: str
    image: Image
    question: str
    reference: str
    replies: tuple[Reply, ...]

    @property
    def wrong(self) -> int:
        """How many methods are wrong about it."""
        return sum(reply.right is False for reply in self.replies)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gallery:
    """Cards under a heading; `note` says how they were chosen."""

    title: str
    cards: tuple[Card, ...]
    note: str = ""
    alt: str = field(default="sample image")


def text(value: object) -> str:
    """Data as HTML text."""
    return escape(str(value), quote=True)


def headline(rows: Sequence[Row]) -> str:
    """Methods and views down, metrics across, every metric with its interval."""
    names = metric_names(rows)
    seeds = len({row.seed for row in rows}) > 1
    heads = [*(f"{label(name)}{unit(name)}" for name in names), "n", "unparsed"]
    head = "".join(f'<th scope="col">{text(h)}</th>' for h in heads)
    body = []
    for row in rows:
        seed = f" seed {row.seed}" if seeds else ""
        cells = "".join(_cell(name, row.metrics.get(name)) for name in names)
        cells += f"<td>{row.n:,}</td><td>{row.n_unparsed:,}</td>"
        under = f"<small>{text((row.view or '') + seed)}</small>"
        quiet = ' class="quiet"' if is_control(row) else ""
        body.append(f'<tr{quiet}><th scope="row">{text(method(row))}{under}</th>{cells}</tr>')
    return (
        f'<div class="scroll"><table><thead><tr><th scope="col">Method</th>{head}</tr></thead>'
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
        lines.append(
            f'<div class="name">{text(name)}</div>'
            f'<svg class="bar{" quiet" if is_control(row) else ""}" role="img" '
            f'aria-label="{text(name)}: {shown(metric, value.estimate)}">'
            f'<rect class="track" width="100%" height="18" rx="3"/>'
            f'<rect class="fill" width="{at:.2f}%" height="18" rx="3"/>{whisker}</svg>'
            f'<div class="value">{shown(metric, value.estimate)}</div>'
        )
    title = f"{label(metric)}{unit(metric)}, 95&#8239;% interval as a line"
    return f'<figure class="bars"><figcaption>{title}</figcaption>{"".join(lines)}</figure>'


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
            '<div class="scroll"><table><thead><tr>'
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


def gallery(shown_gallery: Gallery) -> str:
    """The cards of a gallery, those with most wrong answers first."""
    ordered = sorted(shown_gallery.cards, key=lambda card: -card.wrong)
    cards = "".join(_card(card, shown_gallery.alt) for card in ordered)
    note = f"<p class='note'>{text(shown_gallery.note)}</p>" if shown_gallery.note else ""
    return f'<h3>{text(shown_gallery.title)}</h3>{note}<div class="cards">{cards}</div>'


_MARKS = {True: ("right", "✓ right"), False: ("wrong", "✗ wrong"), None: ("open", "")}


def _card(card: Card, alt: str) -> str:
    replies = []
    for reply in card.replies:
        kind, mark = _MARKS[reply.right]
        mark = f'<em class="{kind}">{mark}</em>' if mark else ""
        replies.append(f"<dt>{text(reply.method)}</dt><dd>{text(reply.text)}{mark}</dd>")
    question = f"<p>{text(card.question)}</p>" if card.question else ""
    return (
        f'<article><img src="{png(card.image)}" alt="{text(alt)} {text(card.name)}" loading="lazy">'
        f"<div>{question}<dl><dt>reference</dt><dd><b>{text(card.reference)}</b></dd>"
        f"{''.join(replies)}</dl></div></article>"
    )


def png(image: Image) -> str:
    """A data URI; larger images are reduced, small ones left to the browser to enlarge."""
    picture = image.convert("RGB")
    picture.thumbnail((LARGEST, LARGEST), Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


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
    return blind or row.method in ("majority", "chance")


def method(row: Row) -> str:
    """The method and its variant."""
    return f"{row.method} {row.variant}".strip()


def titled(row: Row) -> str:
    """The method with its view, where it reads one."""
    return f"{method(row)} · {row.view}" if row.view else method(row)


def label(metric: str) -> str:
    """The metric's id in words."""
    words = metric.replace("_", " ").replace("f1", "F1")
    return words[:1].upper() + words[1:]


def unit(metric: str) -> str:
    """What follows the metric's name."""
    return " %" if is_fraction(metric) else ""
