"""Response ranking: are right image-response pairs likelier (VITask, eq. 4, Figure 3)?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Float

from residency.errors import DataError

GRID = np.linspace(0, 1, 101)
BINS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """How one model separates positive from negative image pairs.

    `win_rate` is the share of pairs for which equation 4 holds, ties one half; `area` compares
    every positive with every negative (area under the ROC curve). `margin` is the mean of positive
    minus negative. `overlap` is the common area of the two normalised histograms of 20 bins (1:
    identical, 0: apart). `positive` and `negative` are densities on `GRID`, each of integral 1.
    """

    name: str
    n: int
    win_rate: float
    area: float
    margin: float
    overlap: float
    positive: tuple[float, ...]
    negative: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """All numbers, with the grid of the densities."""
        return asdict(self) | {"grid": GRID.round(2).tolist()}


def ranking(
    name: str, positive: Float[np.ndarray, " n"], negative: Float[np.ndarray, " n"]
) -> Ranking:
    """Compare the pairs; entry i of both is the mean token probability of the same response i.

    Raises:
        DataError: no pairs, unequal numbers of them, or values outside [0, 1].
    """
    if positive.shape != negative.shape or not positive.size:
        raise DataError(
            f"Ranking {name!r} needs pairs; got {positive.size} positives and "
            f"{negative.size} negatives."
        )
    for side in (positive, negative):
        if not ((side >= 0) & (side <= 1)).all():  # also refuses NaN
            raise DataError(f"Ranking {name!r}: mean token probabilities must lie in [0, 1].")
    wins = (positive > negative) + 0.5 * (positive == negative)
    return Ranking(
        name=name,
        n=positive.size,
        win_rate=float(wins.mean()),
        area=_area(positive, negative),
        margin=float((positive - negative).mean()),
        overlap=float(np.minimum(_histogram(positive), _histogram(negative)).sum()),
        positive=_density(positive),
        negative=_density(negative),
    )


def _area(positive: Float[np.ndarray, " n"], negative: Float[np.ndarray, " n"]) -> float:
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    upto = np.searchsorted(ordered, positive, side="right")
    return float((below + upto).mean() / (2 * len(ordered)))


def _histogram(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " k"]:
    return np.histogram(values, bins=BINS, range=(0, 1))[0] / values.size


def _density(values: Float[np.ndarray, " n"]) -> tuple[float, ...]:
    """Gaussian kernel density on `GRID`, reflected at 0 and 1 so that no mass leaves [0, 1]."""
    # Silverman's rule; the floor keeps the kernel wider than the grid.
    width = max(0.02, 1.06 * float(values.std()) * values.size**-0.2)
    counts, edges = np.histogram(values, bins=400, range=(0, 1))
    centres = (edges[:-1] + edges[1:]) / 2
    mirrored = np.concatenate((centres, -centres, 2 - centres))
    kernels = np.exp(-0.5 * ((GRID[:, None] - mirrored[None]) / width) ** 2)
    density = kernels @ np.tile(counts, 3)
    density /= ((density[1:] + density[:-1]) / 2 * np.diff(GRID)).sum()
    return tuple(density.round(5).tolist())


_WIDTH, _HEIGHT, _LEFT, _TOP, _BASE = 300, 190, 14, 16, 160


def panel(shown: Ranking) -> str:
    """One panel of Figure 3 as inline SVG, scaled to its own peak; colours follow the page.

    Styled by `--positive`, `--negative` and `currentColor`, with fallbacks for use on its own.
    """
    peak = max(*shown.positive, *shown.negative)
    inner = _WIDTH - 2 * _LEFT

    def curve(density: Sequence[float], side: str, colour: str, dash: str) -> str:
        points = " ".join(
            f"{_LEFT + x * inner:.1f},{_BASE - (_BASE - _TOP) * y / peak:.1f}"
            for x, y in zip(GRID, density, strict=True)
        )
        paint = f"var(--{side},{colour})"
        area = f"{_LEFT},{_BASE} {points} {_LEFT + inner},{_BASE}"
        return (
            f'<polygon points="{area}" style="fill:{paint};opacity:.18"/>'
            f'<polyline points="{points}" style="fill:none;stroke:{paint};stroke-width:2;'
            f'stroke-linejoin:round{dash}"/>'
        )

    ticks = "".join(
        f'<text x="{_LEFT + t * inner:.0f}" y="{_BASE + 16}" text-anchor="middle">{t:g}</text>'
        for t in (0, 0.5, 1)
    )
    label = escape(
        f"{shown.name}: density of the mean token probability for right and wrong images",
        quote=True,
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}" '
        'style="font:11px system-ui,sans-serif;fill:currentColor">'
        + curve(shown.negative, "negative", "#c2560c", ";stroke-dasharray:5 3")
        + curve(shown.positive, "positive", "#1f6feb", "")
        + f'<line x1="{_LEFT}" x2="{_LEFT + inner}" y1="{_BASE}" y2="{_BASE}" '
        f'style="stroke:currentColor;opacity:.5"/>{ticks}</svg>'
    )


def figure(rankings: Sequence[Ranking]) -> str:
    """The panels side by side as a stand-alone SVG file, each with its name and numbers."""
    titled = []
    for place, shown in enumerate(rankings):
        numbers = "  ".join(f"{name} {value}" for name, value in summary(shown).items())
        titled.append(
            f'<g transform="translate({place * _WIDTH},0)">'
            f'<text x="{_LEFT}" y="18" style="font-weight:600">{escape(shown.name)}</text>'
            f'<text x="{_LEFT}" y="34" style="font-size:9.5px;white-space:pre">'
            f"{escape(numbers)}</text>"
            f'<svg y="36" width="{_WIDTH}" height="{_HEIGHT}">{panel(shown)}</svg></g>'
        )
    width, height = _WIDTH * len(rankings), _HEIGHT + 60
    legend = (
        f'<text x="{_LEFT}" y="{height - 12}" style="font-size:11px">Mean token probability of the '
        'right response: <tspan style="fill:#1f6feb">— with its own image</tspan>, '
        '<tspan style="fill:#c2560c">- - with a wrong image</tspan></text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        'style="font:13px system-ui,sans-serif;background:#fff;color:#1c2024;fill:#1c2024">'
        + "".join(titled)
        + legend
        + "</svg>\n"
    )


def summary(shown: Ranking) -> Mapping[str, str]:
    """The numbers of a panel as a reader sees them."""
    return {
        "win rate": f"{100 * shown.win_rate:.1f}%",
        "margin": f"{shown.margin:+.3f}".replace("-", "−"),
        "overlap": f"{shown.overlap:.2f}",
        "pairs": str(shown.n),
    }
