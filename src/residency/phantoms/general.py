"""The general world: small pictures of shapes, dots, lines, spots and patterns with exact facts.

Nothing here resembles an imaging modality: the generalist learns to look from these pictures alone.
A scene is facts first (`draw`), pixels later (`render`); both follow from the generator's seed, so
no file is ever needed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random

import numpy as np
from PIL import Image, ImageFilter

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

Pixels = np.ndarray  # float32 [96, 96, 3], 0 to 255

_Y, _X = np.mgrid[:SIDE, :SIDE].astype(np.float32)
_ANGLES = {
    "horizontal": math.pi / 2,
    "vertical": 0.0,
    "rising": math.pi / 4,
    "falling": -math.pi / 4,
}
_TOWARDS = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1), "centre": (0, 0)}


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


def render(scene: Scene) -> Image.Image:
    """The scene as a 96 x 96 RGB image, the same one every time."""
    rng = np.random.default_rng(scene.grain)
    pixels = _PAINTERS[scene.kind](scene, rng)
    if scene.kind in ("objects", "dots", "lines", "spots") and rng.random() < 0.5:
        pixels = (pixels - 128) * rng.uniform(0.75, 1.1) + 128 + rng.uniform(-20, 20)
    if rng.random() < 0.5:
        grain = rng.standard_normal((SIDE, SIDE, 1), dtype=np.float32)
        pixels = pixels + np.float32(rng.uniform(2, 12)) * grain
    if scene.facts["palette"] == "greyscale":
        pixels = np.repeat(pixels @ np.float32([[0.299], [0.587], [0.114]]), 3, axis=2)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    soft = rng.uniform(0.3, 0.9) if scene.kind in ("objects", "lines") and rng.random() < 0.3 else 0
    return image.filter(ImageFilter.GaussianBlur(soft)) if soft else image


@lru_cache(maxsize=4096)
def mask(shape: str, rx: int, ry: int) -> np.ndarray:
    """Coverage 0 to 1 of a shape of those radii, float32 [h, w], trimmed to its visible extent."""
    offset = (np.arange(4) + 0.5) / 4 - 0.5
    u = (np.arange(-rx, rx + 1)[:, None] + offset).reshape(-1) / (rx + 0.5)
    v = (np.arange(-ry, ry + 1)[:, None] + offset).reshape(-1) / (ry + 0.5)
    inside = _INSIDE[shape](*np.meshgrid(u, v)).astype(np.float32)
    cover = inside.reshape(2 * ry + 1, 4, 2 * rx + 1, 4).mean(axis=(1, 3))
    rows, columns = np.nonzero((cover >= 0.5).any(1))[0], np.nonzero((cover >= 0.5).any(0))[0]
    return cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    step, inner = math.pi / 5, 0.45
    x, y = inner * math.cos(step), inner * math.sin(step)
    angle = np.abs((np.arctan2(u, -v) + step) % (2 * step) - step)
    return np.hypot(u, v) <= y / (np.cos(angle) * y - np.sin(angle) * (x - 1))


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = 1.2 * u, 0.12 - 1.15 * v
    return (x * x + y * y - 1) ** 3 - x * x * y**3 <= 0


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
            dx, dy = _TOWARDS[facts["place"]]
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


def _away_from(rng: np.random.Generator, colours: Sequence[str]) -> np.ndarray:
    """A random colour that stands out from the given ones, mid-grey where ten tries find none."""
    for _ in range(10):
        base = rng.integers(0, 256, 3) * rng.uniform(0.3, 1) if rng.random() < 0.5 else None
        base = np.full(3, rng.uniform(10, 245)) if base is None else base
        luma = base @ (0.299, 0.587, 0.114)
        gaps = [
            min(
                abs(base - RGB[c]).sum() / 2.4,
                2.2 * abs(luma - np.dot(RGB[c], (0.299, 0.587, 0.114))),
            )
            for c in colours
        ]
        if min(gaps) > 55:
            return base.astype(np.float32)
    return np.full(3, 128, np.float32)


def _backdrop(rng: np.random.Generator, base: np.ndarray) -> Pixels:
    style = rng.integers(6)
    strength = np.float32(rng.uniform(10, 32))
    if style == 0:
        relief = np.zeros((SIDE, SIDE), np.float32)
    elif style == 1:
        angle = rng.uniform(0, 2 * math.pi)
        relief = ((_X - 48) * math.cos(angle) + (_Y - 48) * math.sin(angle)) / 48
    elif style == 2:
        relief = 1 - np.hypot(_X - rng.uniform(20, 76), _Y - rng.uniform(20, 76)) / 40
    elif style == 3:
        relief = 0.6 * rng.standard_normal((SIDE, SIDE), dtype=np.float32)
    elif style == 4:
        relief = _clouds(rng, int(rng.integers(4, 12)))
    else:
        angle, period = rng.uniform(0, math.pi), rng.uniform(3, 12)
        wave = _X * math.cos(angle) + _Y * math.sin(angle)
        relief = 0.4 * np.sin(2 * math.pi * wave / period)
    return np.asarray(base + strength * relief.astype(np.float32)[..., None], dtype=np.float32)


def _clouds(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth noise of about unit amplitude with that many cells across, float32 [96, 96]."""
    coarse = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _texture(name: str, height: int, width: int, step: int) -> np.ndarray:
    """Where the second tone goes, float32 [h, w]."""
    y, x = _Y[:height, :width], _X[:height, :width]
    if name == "striped":
        return (y % (2 * step) < step).astype(np.float32)
    if name == "dotted":
        radius = np.hypot(x % (2 * step + 1) - step, y % (2 * step + 1) - step)
        return (radius < 0.75 * step).astype(np.float32)
    if name == "checked":
        return ((x // (step + 1) + y // (step + 1)) % 2).astype(np.float32)
    return np.zeros((height, width), np.float32)


def _paint_things(scene: Scene, rng: np.random.Generator) -> Pixels:
    pixels = _backdrop(rng, _away_from(rng, [thing.colour for thing in scene.things]))
    for thing in scene.things:
        x1, y1, x2, y2 = thing.box
        tone = np.float32(RGB[thing.colour]) + rng.uniform(-10, 10, 3).astype(np.float32)
        second = tone * 0.35 if tone.sum() > 300 else tone * 0.4 + 140
        where = _texture(thing.texture, y2 - y1, x2 - x1, int(rng.integers(3, 5)))[..., None]
        cover = mask(thing.shape, *thing.radii)[..., None]
        inside = tone * (1 - where) + second * where
        pixels[y1:y2, x1:x2] += cover * (inside - pixels[y1:y2, x1:x2])
    return pixels


def _paint_spots(scene: Scene, rng: np.random.Generator) -> Pixels:
    bright = scene.facts["tone"] == "bright"
    level = rng.uniform(40, 130) if bright else rng.uniform(125, 215)
    tint = rng.uniform(-25, 25, 3)
    pixels = _backdrop(rng, np.float32(level) + tint.astype(np.float32))
    for thing in scene.things:
        (x, y), (rx, ry) = thing.centre, thing.radii
        bump = np.exp(-(((_X - x) / rx) ** 2 + ((_Y - y) / ry) ** 2) * 1.4)
        pixels += np.float32(110 if bright else -110) * bump[..., None]
    return pixels


def _paint_lines(scene: Scene, rng: np.random.Generator) -> Pixels:
    angle = _ANGLES[scene.facts["orientation"]] + rng.uniform(-0.12, 0.12)
    period = rng.uniform(5, 7) if scene.facts["thickness"] == "thin" else rng.uniform(13, 20)
    wave = _X * math.cos(angle) + _Y * math.sin(angle)
    line = np.clip(2 * np.sin(2 * math.pi * (wave / period + rng.random())) + 0.5, 0, 1)[..., None]
    hue = scene.facts["hue"]
    pixels = _backdrop(rng, _away_from(rng, [hue]))
    return np.asarray(pixels + line * (np.float32(RGB[hue]) - pixels), dtype=np.float32)


def _paint_halves(scene: Scene, rng: np.random.Generator) -> Pixels:
    dx, dy = _TOWARDS[scene.facts["half"]]
    along = ((_X - 47.5) * dx + (_Y - 47.5) * dy) / 48
    edge = np.clip(along * rng.uniform(1, 12), -1, 1) * rng.uniform(18, 60)
    pixels = _backdrop(rng, rng.uniform(95, 160) + rng.uniform(-30, 30, 3).astype(np.float32))
    calm = pixels.mean((0, 1)) + 0.5 * (pixels - pixels.mean((0, 1)))
    return np.asarray(calm + edge[..., None], dtype=np.float32)


def _paint_pattern(scene: Scene, rng: np.random.Generator) -> Pixels:
    name, bright = scene.facts["pattern"], scene.facts["brightness"] == "bright"
    step = int(rng.integers(4, 8))
    if name in ("stripes", "dots", "checks"):
        plain = {"stripes": "striped", "dots": "dotted", "checks": "checked"}[name]
        relief = 2 * _texture(plain, SIDE, SIDE, step) - 1
        relief = relief.T if rng.random() < 0.5 else relief
    elif name == "noise":
        coarse = rng.uniform(-1, 1, (SIDE // 2, SIDE // 2)).astype(np.float32)
        relief = coarse.repeat(2, 0).repeat(2, 1)
    elif name == "blobs":
        relief = np.clip(2.5 * _clouds(rng, 7), -1, 1)
    elif name == "gradient":
        angle = rng.uniform(0, 2 * math.pi)
        relief = ((_X - 48) * math.cos(angle) + (_Y - 48) * math.sin(angle)) / 48
    elif name == "rings":
        relief = np.sign(np.sin(np.hypot(_X - 48, _Y - 48) * math.pi / step))
    else:
        relief = np.zeros((SIDE, SIDE), np.float32)
    if scene.facts["sharpness"] == "blurred":
        image = Image.fromarray((127.5 * (relief + 1)).astype(np.uint8))
        soft = image.filter(ImageFilter.GaussianBlur(step / 3))
        relief = np.asarray(soft, dtype=np.float32) / 127.5 - 1
    level = rng.uniform(165, 205) if bright else rng.uniform(50, 90)
    tint = (np.float32(RGB[scene.facts["hue"]]) - 128) * 0.35
    pixels = level + tint + np.float32(rng.uniform(25, 45)) * relief[..., None]
    return np.asarray(pixels, dtype=np.float32)


_PAINTERS: Mapping[str, Callable[[Scene, np.random.Generator], Pixels]] = {
    "objects": _paint_things,
    "dots": _paint_things,
    "spots": _paint_spots,
    "lines": _paint_lines,
    "halves": _paint_halves,
    "pattern": _paint_pattern,
}
