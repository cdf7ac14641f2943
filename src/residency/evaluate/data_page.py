"""A data set as one HTML file that needs nothing else: samples with boxes and points drawn in.

Nothing here prints the value of a group: it may be a patient's identity.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from residency.codec import Qwen2VLCodec
from residency.dataset import Dataset
from residency.errors import DataError
from residency.evaluate.charts import text
from residency.evaluate.drawing import best_frame, drawn, png, shapes
from residency.evaluate.page import Section, page
from residency.evaluate.store import write_whole
from residency.task import Wording, task, text_of
from residency.types import Box, Box3D, Point, Sample

SHOWN = 12  # samples of each split
MOST_TEXT = 600  # characters of a question or an answer
COLOURS = ("#ffb000", "#19c3e6", "#ff5da2", "#7ee04a", "#b48cff", "#ff7a45", "#f4f4f4", "#3f8cff")


def write_data_page(out: Path, dataset: Dataset, *, limit: int = SHOWN) -> None:
    """Write the page to the file `out`, whole or not at all: at most `limit` samples of each split."""
    counts = ", ".join(f"{name} {len(some):,}" for name, some in dataset.splits.items())
    facts = {
        "samples": counts,
        "source": dataset.source or "not declared",
        "licence": dataset.licence or "not declared",
        "modality": ", ".join(dataset.modality.values()) or "not declared",
        "labels": ", ".join(dataset.labels) or "open",
    }
    listed = "".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in facts.items())
    sections = []
    for name, samples in dataset.splits.items():
        places = spread(len(samples), limit)
        cards = "".join(_card(samples[place], dataset.labels) for place in places)
        html = (
            f"<p class='note'>{len(places)} of {len(samples):,} samples, spread evenly.</p>"
            f'<div class="cards">{cards}</div>'
        )
        sections.append(Section(heading=name, html=html))
    notes = "".join(f"<p>{text(note)}</p>" for note in dataset.notes)
    sections.append(Section(heading="Notes", html=notes))
    lead = f'<dl class="settings">{listed}</dl>'
    write_whole(out, page(dataset.name, sections, lead=lead))


def spread(count: int, limit: int) -> list[int]:
    """At most `limit` places among `count`, the first and the last among them."""
    taken = min(count, limit)
    return sorted({place * (count - 1) // max(taken - 1, 1) for place in range(taken)})


def _card(sample: Sample, labels: Sequence[str]) -> str:
    colours = _colours(sample, labels)
    lines = []
    for one in (sample, *sample.also):
        lines.append(f"<dt>question</dt><dd>{_cut(task(one.task).ask(one, Wording()))}</dd>")
        lines.append(f"<dt>answer</dt><dd><b>{_cut(said(one))}</b></dd>")
    return (
        f"<article>{_picture(sample, colours)}<div>{_key(colours)}<dl>{''.join(lines)}</dl>"
        f"<small>{text(sample.task)} · {text(sample.id)}</small></div></article>"
    )


def said(sample: Sample) -> str:
    """The answer as a reader sees it: text, or what is drawn, by name and number."""
    if any(isinstance(entry, Box | Box3D | Point) for entry in sample.answer):
        names = [entry.name for entry in sample.answer if not isinstance(entry, str)]
        counts = {name: names.count(name) for name in names}
        return ", ".join(f"{name or 'unnamed'} × {n}" for name, n in counts.items())
    try:
        return text_of(task(sample.task).write(sample, Qwen2VLCodec())) or "(none)"
    except DataError as error:
        return f"cannot be written: {error}"


def _cut(words: str) -> str:
    return text(words if len(words) <= MOST_TEXT else f"{words[:MOST_TEXT]} …")


def _picture(sample: Sample, colours: Mapping[str, str]) -> str:
    if not sample.images:
        return '<div class="bad">no image</div>'
    frame = best_frame(sample.answer, sample.attributes)
    try:
        image = sample.images[frame].load()
    except DataError as error:
        return f'<div class="bad">{text(error)}</div>'
    width, height = image.size
    over = "".join(
        drawn(shape, max(width, height), f'class="shape" style="--stroke:{colours[shape.name]}"')
        for shape in shapes(sample.answer, sample.attributes, frame, (width, height))
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{text(sample.id)}">'
        f'<image href="{png(image)}" width="{width}" height="{height}"/>{over}</svg>'
    )


def _colours(sample: Sample, labels: Sequence[str]) -> Mapping[str, str]:
    """The colour of every name in the answer; labels of the set have the same on every card."""
    names = dict.fromkeys(entry.name for entry in sample.answer if not isinstance(entry, str))
    order = list(dict.fromkeys((*labels, *names)))
    return {name: COLOURS[order.index(name) % len(COLOURS)] for name in names}


def _key(colours: Mapping[str, str]) -> str:
    """Which colour is which name."""
    marks = (
        f'<i style="background:{colour}"></i>{text(name)}'
        for name, colour in colours.items()
        if name
    )
    listed = "".join(marks)
    return f'<p class="key">{listed}</p>' if listed else ""
