"""The general world: small pictures of shapes, dots, lines, spots and patterns with exact facts.

Nothing here resembles an imaging modality: the generalist learns to look from these pictures alone.
A scene is facts first (`draw`), pixels later (`general_paint.render`); both follow from the
generator's seed, so no file is ever needed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random

import numpy as np

SIDE = 96  # pixels

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart")
RGB: Mapping[str, tuple[int, int, int]] = {
    "red": (215, 35, 35),
    "orange": (245, 140, 25),
    "yellow": (240, 222, 50),
    "green": (45, 165, 65),
    "cyan": (60, 210, 220),
    "blue": (45, 75, 220),
    "purple": (135, 50, 185),
    "pink": (250, 150, 195),
    "white": (245, 245, 245),
    "black": (15, 15, 15),
}
COLOURS = tuple(RGB)
GREYS = ("white", "black")
TEXTURES = ("plain", "striped", "dotted", "checked")
SIZES = ("small", "large")
ORIENTATIONS = ("horizontal", "vertical", "rising", "falling")
HALVES = ("left", "right", "top", "bottom")
PLACES = ("left", "right", "top", "bottom", "centre")
PATTERNS = ("plain", "stripes", "dots", "checks", "noise", "blobs", "gradient", "rings")
KINDS = ("objects", "dots", "lines", "halves", "pattern", "spots")
FACTS: Mapping[str, tuple[str, ...]] = {
    "palette": ("colour", "greyscale"), "tone": ("bright", "dark"), "place": PLACES,
    "orientation": ORIENTATIONS, "thickness": ("thin", "thick"), "half": HALVES,
    "pattern": PATTERNS, "sharpness": ("sharp", "blurred"), "brightness": ("dark", "bright"),
    "hue": COLOURS,
}  # fmt: skip
TOWARDS = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1), "centre": (0, 0)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """Something countable; `box` is x1, y1, x2, y2 in pixels, x2 and y2 exclusive."""

    shape: str
    colour: str
    texture: str
    size: str
    radii: tuple[int, int]
    box: tuple[int, int, int, int]

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the box as (x, y) in pixels."""
        x1, y1, x2, y2 = self.box
        return (x1 + x2) / 2, (y1 + y2) / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Everything that can be asked about a picture; `grain` seeds what is not asked."""

    kind: str
    grain: int
    things: tuple[Thing, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


def draw(rng: Random, kind: str, number: int = 0, grey: bool | None = None) -> Scene:
    """The facts of a new scene of one of `KINDS`.

    `number` things where the kind has any (0: chosen), greyscale or not (None: a quarter is).
    """
    grey = rng.random() < 0.25 if grey is None else grey
    facts = {"palette": "greyscale" if grey else "colour"}
    colours = GREYS if grey else COLOURS
    things: tuple[Thing, ...] = ()
    if kind == "objects":
        things = _objects(rng, number or rng.randint(1, 4), colours)
    elif kind == "dots":
        things = _dots(rng, number or rng.randint(1, 8), rng.choice(colours))
    elif kind == "spots":
        facts |= {"tone": rng.choice(("bright", "dark")), "place": rng.choice(PLACES)}
        things = _spots(rng, number or rng.randint(1, 3), facts)
    elif kind == "lines":
        facts |= {
            "orientation": rng.choice(ORIENTATIONS),
            "thickness": rng.choice(("thin", "thick")),
        }
    elif kind == "halves":
        facts["half"] = rng.choice(HALVES)
    else:
        facts |= {"pattern": rng.choice(PATTERNS), "sharpness": rng.choice(("sharp", "blurred"))}
        facts["brightness"] = rng.choice(("dark", "bright"))
    facts["hue"] = things[0].colour if things else rng.choice(colours)
    return Scene(kind=kind, grain=rng.getrandbits(32), things=things, facts=facts)


@lru_cache(maxsize=4096)
def mask(shape: str, rx: int, ry: int) -> np.ndarray:
    """Coverage 0 to 1 of a shape of those radii, float32 [h, w], trimmed to its visible extent."""
    offset = (np.arange(4) + 0.5) / 4 - 0.5
    u = (np.arange(-rx, rx + 1)[:, None] + offset).reshape(-1) / (rx + 0.5)
    v = (np.arange(-ry, ry + 1)[:, None] + offset).reshape(-1) / (ry + 0.5)
    inside = _INSIDE[shape](*np.meshgrid(u, v)).astype(np.float32)
    cover = inside.reshape(2 * ry + 1, 4, 2 * rx + 1, 4).mean(axis=(1, 3))
    rows, columns = np.nonzero((cover >= 0.5).any(1))[0], np.nonzero((cover >= 0.5).any(0))[0]
    return np.asarray(cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    step, inner = math.pi / 5, 0.45
    x, y = inner * math.cos(step), inner * math.sin(step)
    angle = np.abs((np.arctan2(u, -v) + step) % (2 * step) - step)
    rim = y / (np.cos(angle) * y - np.sin(angle) * (x - 1))
    return np.asarray(np.hypot(u, v) <= rim)


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = 1.2 * u, 0.12 - 1.15 * v
    return np.asarray((x * x + y * y - 1) ** 3 - x * x * y**3 <= 0)


_INSIDE: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda u, v: np.hypot(u, v) <= 1,
    "square": lambda u, v: np.maximum(abs(u), abs(v)) <= 1,
    "triangle": lambda u, v: abs(u) <= (v + 1) / 2,
    "star": _star,
    "cross": lambda u, v: np.minimum(abs(u), abs(v)) <= 0.3,
    "ring": lambda u, v: (np.hypot(u, v) <= 1) & (np.hypot(u, v) >= 0.55),
    "diamond": lambda u, v: abs(u) + abs(v) <= 1,
    "heart": _heart,
}


def _objects(rng: Random, number: int, colours: Sequence[str]) -> tuple[Thing, ...]:
    """Objects that do not overlap, no two of the same colour and shape."""
    pairs = rng.sample([(c, s) for c in colours for s in SHAPES], number)
    sizes = [rng.choice(SIZES) for _ in pairs]
    while True:
        things: list[Thing] = []
        for (colour, shape), size in zip(pairs, sizes, strict=True):
            low, high = (7, 9) if size == "small" else (13, 20 if number < 3 else 15)
            radii = (rng.randint(low, high), rng.randint(low, high))
            texture = rng.choice(TEXTURES) if size == "large" else "plain"
            height, width = mask(shape, *radii).shape
            free = _place(rng, width, height, [thing.box for thing in things], gap=3)
            if free is None:
                break
            things.append(
                Thing(shape=shape, colour=colour, texture=texture, size=size, radii=radii, box=free)
            )
        if len(things) == number:
            return tuple(things)


def _place(
    rng: Random, width: int, height: int, taken: Sequence[tuple[int, int, int, int]], gap: int
) -> tuple[int, int, int, int] | None:
    """A free box of that size, None where 30 tries find none."""
    for _ in range(30):
        x1, y1 = rng.randint(1, SIDE - width - 1), rng.randint(1, SIDE - height - 1)
        x2, y2 = x1 + width, y1 + height
        if all(
            x2 + gap <= a or c + gap <= x1 or y2 + gap <= b or d + gap <= y1 for a, b, c, d in taken
        ):
            return x1, y1, x2, y2
    return None


def _dots(rng: Random, number: int, colour: str) -> tuple[Thing, ...]:
    radius = rng.randint(3, 5)
    side = 2 * radius + 1
    boxes: list[tuple[int, int, int, int]] = []
    while len(boxes) < number:
        free = _place(rng, side, side, boxes, gap=4)
        boxes = [*boxes, free] if free else []
    return tuple(
        Thing(
            shape="circle", colour=colour, texture="plain", size="small", radii=(radius,) * 2, box=b
        )
        for b in boxes
    )


def _spots(rng: Random, number: int, facts: Mapping[str, str]) -> tuple[Thing, ...]:
    """Soft spots: one lies at `facts["place"]`, several anywhere apart from each other."""
    boxes: list[tuple[int, int, int, int]] = []
    while len(boxes) < number:
        radius = rng.randint(9, 15)
        if number == 1:
            dx, dy = TOWARDS[facts["place"]]
            x = 48 + 28 * dx + rng.randint(-6, 6)
            y = 48 + 28 * dy + rng.randint(-6, 6)
            boxes.append((x - radius, y - radius, x + radius, y + radius))
        else:
            free = _place(rng, 2 * radius, 2 * radius, boxes, gap=6)
            boxes = [*boxes, free] if free else []
    colour = "white" if facts["tone"] == "bright" else "black"
    return tuple(
        Thing(
            shape="spot",
            colour=colour,
            texture="plain",
            size="large" if x2 - x1 > 24 else "small",
            radii=((x2 - x1) // 2, (y2 - y1) // 2),
            box=(max(x1, 0), max(y1, 0), min(x2, SIDE), min(y2, SIDE)),
        )
        for x1, y1, x2, y2 in boxes
    )
