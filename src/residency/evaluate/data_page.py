"""A data set as one HTML file that needs nothing else: samples with boxes and points drawn in.

Nothing here prints the value of a group: it may be a patient's identity.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from residency.codec import Qwen2VLCodec
from residency.data.volumes import Slices
from residency.dataset import Dataset
from residency.errors import DataError
from residency.evaluate.charts import png, text
from residency.evaluate.store import write_whole
from residency.evaluate.style import CSS
from residency.task import Wording, task, text_of
from residency.types import Box, Box3D, Point, Sample

SHOWN = 12  # samples of each split
MOST_TEXT = 600  # characters of a question or an answer
COLOURS = ("#ffb000", "#19c3e6", "#ff5da2", "#7ee04a", "#b48cff", "#ff7a45", "#f4f4f4", "#3f8cff")
# The browser itself is told to refuse every address outside the file.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_CSS = """
article svg{display:block;width:100%;aspect-ratio:1;background:#000}
.shape{fill:none;stroke-width:2;vector-effect:non-scaling-stroke}
.key i{display:inline-block;width:.7em;height:.7em;border-radius:2px;margin:0 .3em 0 .6em}
.key i:first-child{margin-left:0}
article small{white-space:normal;overflow-wrap:anywhere;margin-top:.4rem}
.bad{display:grid;place-items:center;aspect-ratio:1;padding:1rem;background:var(--track);
color:var(--wrong);overflow-wrap:anywhere}
article dd{white-space:pre-wrap}
"""
Shape = Box | Point


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
    body = [f"<h1>{text(dataset.name)}</h1>", f'<dl class="settings">{listed}</dl>']
    for name, samples in dataset.splits.items():
        places = spread(len(samples), limit)
        body.append(
            f"<h2>{text(name)}</h2><p class='note'>{len(places)} of {len(samples):,} samples, spread "
            "evenly.</p>"
        )
        cards = "".join(_card(samples[place], dataset.labels) for place in places)
        body.append(f'<div class="cards">{cards}</div>')
    if dataset.notes:
        notes = "".join(f"<p>{text(note)}</p>" for note in dataset.notes)
        body.append(f"<h2>Notes</h2>{notes}")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{text(dataset.name)}</title><style>{CSS}{_CSS}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )
    write_whole(out, page)


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
    frame = _frame(sample)
    try:
        image = sample.images[frame].load()
    except DataError as error:
        return f'<div class="bad">{text(error)}</div>'
    width, height = image.size
    drawn = "".join(
        _drawn(shape, colours[shape.name], max(width, height))
        for shape in shapes(sample, frame, (width, height))
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{text(sample.id)}">'
        f'<image href="{png(image)}" width="{width}" height="{height}"/>{drawn}</svg>'
    )


def _frame(sample: Sample) -> int:
    """The image that is shown: the first, or of a volume the slice that most boxes cross."""
    if "slices" not in sample.attributes:
        return 0
    places = Slices.of(sample.attributes).places
    cubes = [entry for entry in sample.answer if isinstance(entry, Box3D)]
    middle = len(places) // 2
    crossed = [sum(c.z1 <= place < c.z2 for c in cubes) for place in places]
    return max(range(len(places)), key=lambda n: (crossed[n], -abs(n - middle)))


def shapes(sample: Sample, frame: int, size: tuple[int, int]) -> Iterator[Shape]:
    """Boxes and points of one image in its pixels; of cuboids, what they show in this slice."""
    for entry in sample.answer:
        if isinstance(entry, Box | Point):
            yield entry
        elif isinstance(entry, Box3D) and "slices" in sample.attributes:
            place = Slices.of(sample.attributes).places[frame]
            if entry.z1 <= place < entry.z2:
                # Slices are shown front up, the patient's right at the left.
                yield Box(
                    name=entry.name,
                    x1=size[0] - entry.x2,
                    y1=size[1] - entry.y2,
                    x2=size[0] - entry.x1,
                    y2=size[1] - entry.y1,
                )


def _colours(sample: Sample, labels: Sequence[str]) -> Mapping[str, str]:
    """The colour of every name in the answer; labels of the set have the same on every card."""
    names = dict.fromkeys(entry.name for entry in sample.answer if not isinstance(entry, str))
    order = list(dict.fromkeys((*labels, *names)))
    return {name: COLOURS[order.index(name) % len(COLOURS)] for name in names}


def _drawn(shape: Shape, colour: str, longest: int) -> str:
    numbers: Sequence[float] = (
        (shape.x1, shape.y1, shape.x2, shape.y2)
        if isinstance(shape, Box)
        else (shape.x, shape.y, longest / 60, 0)
    )
    if not all(map(math.isfinite, numbers)):
        return ""
    first, second, third, fourth = numbers
    style = f'class="shape" stroke="{colour}"><title>{text(shape.name)}</title>'
    if isinstance(shape, Box):
        across, down = max(third - first, 0), max(fourth - second, 0)
        return f'<rect x="{first:g}" y="{second:g}" width="{across:g}" height="{down:g}" {style}</rect>'
    return f'<circle cx="{first:g}" cy="{second:g}" r="{third:g}" {style}</circle>'


def _key(colours: Mapping[str, str]) -> str:
    """Which colour is which name."""
    marks = (
        f'<i style="background:{colour}"></i>{text(name)}'
        for name, colour in colours.items()
        if name
    )
    listed = "".join(marks)
    return f'<p class="key">{listed}</p>' if listed else ""
