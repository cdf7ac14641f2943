"""Is confidence worth what it says? Reliability curves with the band that perfect calibration stays in."""

from collections.abc import Sequence

import numpy as np

from residency.errors import ResidencyError
from residency.evaluate.calibration import BINS, Bin, calibration
from residency.evaluate.charts import text
from residency.evaluate.runs import Answered
from residency.metric import metric

PER_BIN = 20  # samples at least, where there are as many
_SIDE, _LEFT, _TOP = 240, 44, 8


def curves(answered: Sequence[Answered], *, seed: int) -> str:
    """A panel for every method whose options were scored; a line for those whose answers were not."""
    panels, unscored = [], []
    for one in answered:
        if one.control:
            continue
        try:
            panels.append(_panel(one, seed))
        except ResidencyError:  # sets of labels, or answers without scores
            unscored.append(one.title)
    if not panels:
        return ""
    left = f" No scores: {text(', '.join(unscored))}." if unscored else ""
    return (
        '<p class="note">Share right against confidence, the softmax over the scored options, in bins '
        "of equal size. Shaded: where 95&#8239;% of shares would lie if confidence were right "
        f"(consistency band); hollow points lie outside.{left}</p>"
        f'<div class="panels">{"".join(panels)}</div>'
    )


def _panel(one: Answered, seed: int) -> str:
    bins = calibration(
        one.predictions, seed=seed, bins=max(1, min(BINS, len(one.predictions) // PER_BIN))
    )
    numbers = ""
    for name in ("brier", "nll", "ece_adaptive"):
        chosen = metric(name)
        statistics = chosen.prepare(one.predictions, one.labels)
        value = float(chosen.value(statistics, np.ones((1, len(statistics))))[0])
        words = {"brier": "Brier", "nll": "NLL", "ece_adaptive": "ECE"}[name]
        numbers += f"<dt>{words}</dt><dd>{value:.3f}</dd>"
    numbers += f"<dt>n</dt><dd>{sum(b.n for b in bins):,}</dd>"
    rows = "".join(
        f"<tr><td>{b.n}</td><td>{b.confidence:.3f}</td><td>{b.accuracy:.3f}</td>"
        f"<td>{b.band_low:.3f} – {b.band_high:.3f}</td></tr>"
        for b in bins
    )
    return (
        f"<figure><figcaption>{text(one.title)}</figcaption>{svg(bins, one.title)}"
        f'<dl class="numbers">{numbers}</dl><details><summary>Numbers</summary><table><thead><tr>'
        '<th scope="col">n</th><th scope="col">confidence</th><th scope="col">right</th>'
        f'<th scope="col">band</th></tr></thead><tbody>{rows}</tbody></table></details></figure>'
    )


def _outside(one: Bin) -> bool:
    """Whether the share right is one that perfect calibration rarely gives."""
    return not one.band_low <= one.accuracy <= one.band_high


def svg(bins: Sequence[Bin], title: str) -> str:
    """The curve over its band; points that perfect calibration rarely gives are hollow."""

    def x(value: float) -> float:
        return round(_LEFT + _SIDE * value, 1)

    def y(value: float) -> float:
        return round(_TOP + _SIDE * (1 - value), 1)

    over = [f"{x(b.confidence)},{y(b.band_high)}" for b in bins]
    under = [f"{x(b.confidence)},{y(b.band_low)}" for b in reversed(bins)]
    band = f'<polygon class="band" points="{" ".join([*over, *under])}"/>'
    bars = "".join(
        f'<line class="band-edge" x1="{x(b.confidence)}" x2="{x(b.confidence)}" y1="{y(b.band_low)}" '
        f'y2="{y(b.band_high)}"/>'
        for b in bins
    )
    path = " ".join(f"{x(b.confidence)},{y(b.accuracy)}" for b in bins)
    points = "".join(
        f'<circle class="mark{" outside" if _outside(b) else ""}" cx="{x(b.confidence)}" '
        f'cy="{y(b.accuracy)}" r="4"><title>n {b.n}: confidence {b.confidence:.2f}, right {b.accuracy:.2f}'
        "</title></circle>"
        for b in bins
    )
    ticks = "".join(
        f'<text x="{x(t)}" y="{_TOP + _SIDE + 16}" text-anchor="middle">{t:g}</text>'
        f'<text x="{_LEFT - 6}" y="{y(t) + 4}" text-anchor="end">{t:g}</text>'
        for t in (0.0, 0.5, 1.0)
    )
    return (
        f'<svg class="reliability" viewBox="0 0 {_LEFT + _SIDE + 12} {_TOP + _SIDE + 36}" role="img" '
        f'aria-label="Calibration of {text(title)}; numbers below">'
        f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}"/>'
        f'<line class="ideal" x1="{x(0.0)}" y1="{y(0.0)}" x2="{x(1.0)}" y2="{y(1.0)}"/>{band}{bars}'
        f'<polyline class="curve" points="{path}"/>{points}{ticks}'
        f'<text x="{x(0.5)}" y="{_TOP + _SIDE + 32}" text-anchor="middle">confidence</text>'
        f'<text transform="translate(11 {y(0.5)}) rotate(-90)" text-anchor="middle">share right</text>'
        "</svg>"
    )
