"""How cost grows: with samples and with tokens in proportion, with labels that share a prefix hardly at all.

python benchmarks/scaling.py --json scaling.json --plot docs/scaling.svg

A small InternVL with real token counts (256 an image), one thread, float32; FLOPs by torch's counter,
CPU seconds as the median of repeats that run in turn. Samples: updates of VITask's second stage with
adapters, images once. Tokens: plain tuning of one sample with a longer question. Labels: scoring of one
image, all labels in one pass, beside one pass per label with its own image.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import figures
import torch
from cpu_time import loss_of
from flops import QUESTION, SIDE, TINY, internvl, pairs, picture, reading, with_expert
from torch.utils.flop_counter import FlopCounterMode

from residency.model.generation import score
from residency.model.huggingface import Backbone
from residency.objectives.likelihood import Likelihood
from residency.objectives.vitask import VITask
from residency.types import PLAIN, Part

SAMPLES, TOKENS, LABELS = (1, 2, 4, 8), (64, 128, 256, 512, 1024), (1, 2, 4, 8, 16, 32, 64)
WORDS = ("mild", "severe", "focal", "diffuse", "left", "right", "early", "late")


@dataclass(slots=True)
class Row:
    """One point: what grows, how large it is, what a pass costs."""

    axis: str
    size: int
    gflops: float
    cpu_seconds: float = 0.0


Work = Callable[[], object]


def samples(backbone: Backbone, count: int) -> Work:
    """An update of VITask's second stage over so many samples."""
    objective = VITask(align=1.0, contrast=1.0 if count > 1 else 0.0)
    batch = backbone.collate(pairs(count), objective.views, "trees")

    def update() -> None:
        loss_of(objective, backbone.read(batch), batch).backward()  # type: ignore[no-untyped-call]
        backbone.zero_grad()

    return update


def tokens(backbone: Backbone, count: int) -> Work:
    """An update of plain tuning over one sample whose question has about so many tokens."""
    ids = backbone.composer.tokenizer(QUESTION * 20)["input_ids"][:count]
    question = backbone.composer.tokenizer.decode(ids)
    objective = Likelihood()
    made = [reading(0, picture(0), question, "yes, mild")]
    batch = backbone.collate(made, objective.views, "trees")

    def update() -> None:
        loss_of(objective, backbone.read(batch), batch).backward()  # type: ignore[no-untyped-call]
        backbone.zero_grad()

    return update


def labels(backbone: Backbone, count: int, *, together: bool) -> Work:
    """Scores of so many labels for one image."""
    options: list[tuple[Part, ...]] = [
        (f"{WORDS[k % 8]} {WORDS[k // 8]} finding",) for k in range(count)
    ]
    made = [reading(0, picture(0), QUESTION, "yes, mild")]

    def scores() -> None:
        with torch.no_grad():
            for some in [options] if together else [[option] for option in options]:
                score(backbone, made, PLAIN, some)

    return scores


def measure(repeats: int) -> list[Row]:
    """FLOPs once; CPU seconds with all points in turn."""
    backbone = with_expert(internvl(TINY, "cpu"))
    backbone.attach(backbone.expert)  # type: ignore[arg-type]
    backbone.limits = type(backbone.limits)(max_tokens=8192)
    works: dict[tuple[str, int], Work] = {
        **{("samples", n): samples(backbone, n) for n in SAMPLES},
        **{("tokens", n): tokens(backbone, n) for n in TOKENS},
        **{("labels", n): labels(backbone, n, together=True) for n in LABELS},
        **{("labels apart", n): labels(backbone, n, together=False) for n in LABELS[:4]},
    }
    rows = {}
    for (axis, size), work in works.items():
        with FlopCounterMode(display=False) as counter:
            work()
        rows[axis, size] = Row(axis, size, counter.get_total_flops() / 1e9)
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in works}
    for _ in range(repeats):
        for key, work in works.items():
            began = time.process_time()
            work()
            seconds[key].append(time.process_time() - began)
    for key, row in rows.items():
        row.cpu_seconds = statistics.median(seconds[key])
    return list(rows.values())


def table(rows: list[Row]) -> str:
    """Cost of each point, and of one more unit since the point before."""
    head = f"{'axis':<14}{'size':>6}{'GFLOPs':>10}{'CPU s':>9}{'GFLOPs':>10}{'CPU ms':>9}  per unit more"
    lines = [head]
    for before, row in zip([None, *rows], rows, strict=False):
        line = f"{row.axis:<14}{row.size:>6}{row.gflops:>10.2f}{row.cpu_seconds:>9.3f}"
        if before is not None and before.axis == row.axis:
            more = row.size - before.size
            line += f"{(row.gflops - before.gflops) / more:>10.3f}"
            line += f"{1e3 * (row.cpu_seconds - before.cpu_seconds) / more:>9.2f}"
        lines.append(line)
    return "\n".join(lines)


# --- the plot ---------------------------------------------------------------------------------

PANELS = (
    ("GFLOPs, VITask stage 2", ("samples",)),
    ("GFLOPs, plain tuning of one sample", ("tokens",)),
    ("GFLOPs, labels scored for one image", ("labels", "labels apart")),
)
WIDE, HIGH, LEFT, TOP, GAP = 240, 170, 46, 34, 62


def plot(rows: list[Row]) -> str:
    """GFLOPs over size as SVG, a panel for each thing that grows, all axes from zero."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{3 * (WIDE + GAP)}" height="{HIGH + 84}" '
        'font-family="sans-serif" font-size="11" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for number, (title, axes) in enumerate(PANELS):
        shown = {axis: [row for row in rows if row.axis == axis] for axis in axes}
        x = LEFT + number * (WIDE + GAP)
        parts += _panel(x, title, {axis: of for axis, of in shown.items() if of})
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(x: int, title: str, shown: dict[str, list[Row]]) -> list[str]:
    most = max(row.size for of in shown.values() for row in of)
    cost = 1.1 * max(row.gflops for of in shown.values() for row in of)

    def place(size: float, gflops: float) -> tuple[float, float]:
        return x + WIDE * size / most, TOP + HIGH * (1 - gflops / cost)

    parts = [f'<text x="{x}" y="{TOP - 14}" font-weight="bold">{escape(title)}</text>']
    for k in range(5):
        height, size = cost * k / 4, most * k / 4
        y, across = place(0, height)[1], place(size, 0)[0]
        parts += [
            f'<line x1="{x}" x2="{x + WIDE}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>',
            f'<text x="{x - 5}" y="{y + 4:.1f}" text-anchor="end">{height:.0f}</text>',
            f'<text x="{across:.1f}" y="{TOP + HIGH + 16}" text-anchor="middle">{size:g}</text>',
        ]
    for (axis, of), colour in zip(shown.items(), ("#1f5fa8", "#c2571a"), strict=False):
        line = [place(row.size, row.gflops) for row in of]
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="'
            + " ".join(f"{a:.1f},{b:.1f}" for a, b in line)
            + '"/>'
        )
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in line]
        if len(shown) > 1:
            name = "one pass" if axis == "labels" else "a pass per label"
            a, b = line[-1]
            end = "end" if a > x + WIDE / 2 else "start"
            parts.append(
                f'<text x="{a + (6 if end == "start" else 0):.1f}" y="{b - 8:.1f}" '
                f'fill="{colour}" text-anchor="{end}">{name}</text>'
            )
    middle = x + WIDE / 2
    unit = {"samples": "samples in a batch", "tokens": "tokens of the question"}
    under = unit.get(next(iter(shown)), "labels")
    parts.append(f'<text x="{middle}" y="{TOP + HIGH + 36}" text-anchor="middle">{under}</text>')
    return parts


def main() -> None:
    """Measure, print, draw, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="an SVG file")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(options.repeats)
    print(f"One CPU thread, float32, images of {SIDE} x {SIDE}; median of {options.repeats}.")
    print(table(rows))
    figures.write(rows, options.json)
    if options.plot is not None:
        options.plot.write_text(plot(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
