"""The pixels of the general world: a scene's facts, painted over seeded backdrops and noise."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageFilter

from residency.phantoms.general import RGB, SIDE, TOWARDS, Scene, mask

Pixels = np.ndarray  # float32 [96, 96, 3], 0 to 255
_LUMA = np.array((0.299, 0.587, 0.114), dtype=np.float32)
_TINT = {name: np.array(rgb, dtype=np.float32) for name, rgb in RGB.items()}

_Y, _X = np.mgrid[:SIDE, :SIDE].astype(np.float32)
_ANGLES = {
    "horizontal": math.pi / 2,
    "vertical": 0.0,
    "rising": math.pi / 4,
    "falling": -math.pi / 4,
}


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
        pixels = np.repeat(pixels @ _LUMA[:, None], 3, axis=2)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    soft = rng.uniform(0.3, 0.9) if scene.kind in ("objects", "lines") and rng.random() < 0.3 else 0
    return image.filter(ImageFilter.GaussianBlur(soft)) if soft else image


def _away_from(rng: np.random.Generator, colours: Sequence[str]) -> np.ndarray:
    """A random colour that stands out from the given ones, mid-grey where ten tries find none."""
    for _ in range(10):
        base = rng.integers(0, 256, 3) * rng.uniform(0.3, 1) if rng.random() < 0.5 else None
        base = np.full(3, rng.uniform(10, 245)) if base is None else base
        luma = base @ _LUMA
        gaps = [
            min(
                abs(base - RGB[c]).sum() / 2.4,
                2.2 * abs(luma - np.dot(RGB[c], _LUMA)),
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
    where = np.zeros((height, width))
    if name == "striped":
        where = y % (2 * step) < step
    elif name == "dotted":
        where = np.hypot(x % (2 * step + 1) - step, y % (2 * step + 1) - step) < 0.75 * step
    elif name == "checked":
        where = (x // (step + 1) + y // (step + 1)) % 2
    return where.astype(np.float32)


def _paint_things(scene: Scene, rng: np.random.Generator) -> Pixels:
    pixels = _backdrop(rng, _away_from(rng, [thing.colour for thing in scene.things]))
    for thing in scene.things:
        x1, y1, x2, y2 = thing.box
        tone = _TINT[thing.colour] + rng.uniform(-10, 10, 3).astype(np.float32)
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
    return np.asarray(pixels + line * (_TINT[hue] - pixels), dtype=np.float32)


def _paint_halves(scene: Scene, rng: np.random.Generator) -> Pixels:
    dx, dy = TOWARDS[scene.facts["half"]]
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
    tint = (_TINT[scene.facts["hue"]] - 128) * 0.35
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
