"""The report as one HTML file that needs nothing else: tables, intervals, images, settings."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from residency.catalog import find
from residency.dataset import Dataset
from residency.errors import UsageError
from residency.evaluate import charts
from residency.evaluate.charts import Card, Gallery, Reply, text
from residency.evaluate.ranking import Ranking
from residency.evaluate.results import MEAN, Row, metric_names
from residency.evaluate.store import write_whole
from residency.evaluate.style import CSS
from residency.metric import Metric
from residency.types import Answer, Prediction, Sample

__all__ = ["Card", "Gallery", "Reply", "choose", "write_page"]

# The browser itself is told to refuse every address outside the file.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_page(
    out: Path,
    *,
    title: str,
    rows: Sequence[Row],
    galleries: Sequence[Gallery],
    rankings: Sequence[Ranking],
    settings: Mapping[str, object],
    sections: Sequence[str] = (),
) -> None:
    """Write the page to the file `out`, whole or not at all.

    Sections without content are left out; `sections` are further ones, HTML already. `settings` is
    shown in its order; its key `command` is set as code, and a mapping in it (versions) as a list.

    Raises:
        UsageError: no rows.
    """
    if not rows:
        raise UsageError("A report page needs at least one row of results.")
    body = [f"<h1>{text(title)}</h1>", _lead(rows), *_results(rows)]
    if any(row.classes for row in rows):
        body += ["<h2>By class</h2>", *_by_dataset(rows, charts.classes)]
    if rankings:
        body += ["<h2>Response ranking</h2>", charts.rankings(rankings)]
    body += sections
    if galleries:
        body += ["<h2>Samples</h2>", *map(charts.gallery, galleries)]
    body += ["<h2>Run</h2>", charts.settings(settings)]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{text(title)}</title><style>{CSS}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )
    write_whole(out, page)


def _lead(rows: Sequence[Row]) -> str:
    unparsed = sum(row.n_unparsed for row in rows if row.dataset != MEAN)
    said = (
        f"{unparsed:,} answers could not be understood"
        if unparsed
        else "every answer was understood"
    )
    return (
        '<p class="note">Values with 95&#8239;% intervals below them; patients, not images, are '
        f"resampled. Grey rows are controls. Of all rows, {said}; what is not understood counts "
        "as wrong.</p>"
    )


def _results(rows: Sequence[Row]) -> list[str]:
    parts = ["<h2>Results</h2>"]
    names = {row.dataset for row in rows}
    several = len(names) > 1
    for name, group in _groups(rows, mean_first=True):
        heading = "Mean over data sets" if name == MEAN else name
        parts += [f"<h3>{text(heading)}</h3>"] if several else []
        parts.append(charts.headline(group))
        if MEAN in names and name != MEAN:
            continue  # one pair of charts says enough about a dozen data sets
        figures = "".join(charts.bars(group, metric) for metric in metric_names(group)[:2])
        parts.append(f'<div class="pair">{figures}</div>')
    return parts


def _by_dataset(rows: Sequence[Row], make: Callable[[Sequence[Row]], str]) -> list[str]:
    groups = [(name, make(group)) for name, group in _groups(rows) if name != MEAN]
    several = len(groups) > 1
    return [
        (f"<h3>{text(name)}</h3>" if several else "") + content
        for name, content in groups
        if content
    ]


def _groups(rows: Sequence[Row], *, mean_first: bool = False) -> list[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.dataset, []).append(row)
    return (
        sorted(groups.items(), key=lambda item: item[0] != MEAN)
        if mean_first
        else [*groups.items()]
    )


def choose(
    title: str,
    samples: Sequence[Sample],
    predictions: Mapping[str, Sequence[Prediction]],
    dataset: Dataset,
    *,
    limit: int = 12,
) -> Gallery:
    """A gallery of samples that some method answered, those with most wrong answers first.

    `predictions` maps the name of each method (with its view) to what it predicted. At most two
    thirds of the cards are taken from samples with a wrong answer while others are left, so that
    the page does not show failures alone; the note counts both. Open answers are not marked.
    """
    by_method = {name: {p.sample: p for p in said} for name, said in predictions.items()}
    found: list[tuple[int, Sample, tuple[Reply, ...]]] = []
    for sample in samples:
        replies = tuple(
            _reply(name, said[sample.id], sample, dataset)
            for name, said in by_method.items()
            if sample.id in said
        )
        if sample.images and replies:
            found.append((sum(r.right is False for r in replies), sample, replies))
    found.sort(key=lambda entry: -entry[0])  # stable: the split's order among equals
    wrong = [entry for entry in found if entry[0]]
    right = [entry for entry in found if not entry[0]]
    taken = wrong[: max(limit - len(right), 2 * limit // 3)]
    taken += right[: limit - len(taken)]
    cards = tuple(
        Card(
            name=sample.id,
            image=sample.images[0].load(),
            question=sample.question,
            reference=said(sample.answer),
            replies=replies,
        )
        for _, sample, replies in taken
    )
    note = (
        f"{len(cards)} of {len(found)} samples, those with most wrong answers first; "
        f"{len(wrong)} of {len(found)} have at least one wrong answer."
    )
    return Gallery(title=title, cards=cards, note=note)


def _reply(method: str, prediction: Prediction, sample: Sample, dataset: Dataset) -> Reply:
    closed = bool(sample.options or dataset.labels)
    if prediction.answer is None:
        words = prediction.text.strip()[:160]
        return Reply(
            method=method,
            text=f"not understood: “{words}”",
            right=False if closed else None,
        )
    accuracy = cast(Metric, find("metrics", "accuracy"))
    right = bool(accuracy.prepare([prediction], dataset.labels)[0, 0])
    return Reply(method=method, text=said(prediction.answer), right=right if closed else None)


def said(answer: Answer) -> str:
    """An answer as a reader sees it: text, labels joined, boxes and points by name."""
    if isinstance(answer, str):
        return answer
    return ", ".join(a if isinstance(a, str) else a.name for a in answer) or "none"
