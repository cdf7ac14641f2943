"""Brushes shared by the painted modalities: outlines, noise, dots, strokes, the scanner's look."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from scipy import ndimage

from residency.phantoms.case import Rectangle

Plane = Float[np.ndarray, "h w"]
Colour = Float[np.ndarray, "h w 3"]


@lru_cache(maxsize=8)
def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The x and y of every pixel centre as fractions of the side, each `[size, size]`."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    x.flags.writeable = y.flags.writeable = False
    return x, y


@dataclass(frozen=True, slots=True)
class Outline:
    """A closed curve around a centre: an ellipse with waves and at most one notch.

    In the ellipse's own frame the radius is `1 + sum(a cos(n phi + p)) - notch`; `waves` lists
    (n, a, p), `notch` is (depth, angle, width), angles in radians.
    """

    x: float
    y: float
    width: float  # half axes, fractions of the image side
    height: float
    angle: float = 0.0
    waves: tuple[tuple[int, float, float], ...] = ()
    notch: tuple[float, float, float] = (0.0, 0.0, 1.0)

    def _bound(self, phi: np.ndarray) -> np.ndarray:
        bound = np.ones_like(phi)
        for n, amplitude, phase in self.waves:
            bound += amplitude * np.cos(n * phi + phase)
        depth, angle, width = self.notch
        if depth:
            away = (phi - angle + np.pi) % (2 * np.pi) - np.pi
            bound -= depth * np.exp(-((away / width) ** 2))
        return bound

    def curve(self, count: int = 90) -> Float[np.ndarray, "n 2"]:
        """Points (x, y) on the curve."""
        phi = np.arange(count) * (2 * np.pi / count)
        bound = self._bound(phi)
        u, v = bound * np.cos(phi) * self.width, bound * np.sin(phi) * self.height
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.stack([self.x + u * cos - v * sin, self.y + u * sin + v * cos], axis=1)

    def box(self, margin: float = 0.0) -> Rectangle:
        """The rectangle around the curve, cut to the image."""
        curve = self.curve()
        x1, y1 = np.clip(curve.min(axis=0) - margin, 0, 1)
        x2, y2 = np.clip(curve.max(axis=0) + margin, 0, 1)
        return float(x1), float(y1), float(x2), float(y2)

    def depth(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """How far inside the curve each place lies, about in fractions of the image side."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        dx, dy = x - np.float32(self.x), y - np.float32(self.y)
        u = (dx * np.float32(cos) + dy * np.float32(sin)) / np.float32(self.width)
        v = (dy * np.float32(cos) - dx * np.float32(sin)) / np.float32(self.height)
        rho = np.hypot(u, v)
        bound = self._bound(np.arctan2(v, u)) if self.waves or self.notch[0] else 1.0
        return np.asarray((bound - rho) * np.float32(min(self.width, self.height)))

    def window(self, size: int, margin: float = 0.04) -> tuple[slice, slice]:
        """Rows and columns of the image that hold the curve, a little generously."""
        reach = max(self.width, self.height) * (1 + sum(abs(a) for _, a, _ in self.waves)) + margin
        x1, y1 = max(int((self.x - reach) * size), 0), max(int((self.y - reach) * size), 0)
        x2, y2 = int((self.x + reach) * size) + 2, int((self.y + reach) * size) + 2
        return slice(y1, max(y2, 0)), slice(x1, max(x2, 0))

    def patch(self, size: int, soft: float = 0.008) -> tuple[tuple[slice, slice], Plane]:
        """A window of the image and the mask inside it, which may be empty."""
        window = self.window(size, 0.01 + 2 * soft)
        x, y = grid(size)
        return window, edge(self.depth(x[window], y[window]), soft)

    def mask(self, size: int, soft: float = 0.008) -> Plane:
        """1 inside, 0 outside, with an edge `soft` wide."""
        mask = np.zeros((size, size), np.float32)
        window, part = self.patch(size, soft)
        mask[window] = part
        return mask


def edge(depth: np.ndarray, soft: float) -> np.ndarray:
    """A soft step from outside (0) to inside (1) around depth 0."""
    return np.clip(depth / (2 * soft) + 0.5, 0, 1).astype(np.float32)


def wavy(
    rng: np.random.Generator, amplitude: float, orders: tuple[int, ...] = (2, 3, 4, 5)
) -> tuple[tuple[int, float, float], ...]:
    """Random waves for an outline whose summed amplitude is about `amplitude`."""
    share = rng.dirichlet(np.ones(len(orders))) * amplitude
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    return tuple((n, float(a), float(p)) for n, a, p in zip(orders, share, phases, strict=True))


def cloud(rng: np.random.Generator, size: int, cells: int) -> Plane:
    """Smooth noise of unit deviation with about `cells` bumps along the side."""
    coarse = Image.fromarray(rng.standard_normal((cells + 2, cells + 2), dtype=np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)) * np.float32(1.2)


def dots(
    points: Float[np.ndarray, "n 2"], size: int, radius: float, strength: float = 1.0
) -> Plane:
    """Soft round dots at the points (x, y), values in [0, 1]."""
    plane = np.zeros((size, size), np.float32)
    if len(points) == 0:
        return plane
    at = np.clip((points * size).astype(int), 0, size - 1)
    plane[at[:, 1], at[:, 0]] = 1.0
    sigma = max(radius * size, 0.35)
    peak = 2 * np.pi * sigma**2
    blurred = ndimage.gaussian_filter(plane, sigma, mode="constant", truncate=2.5)
    return np.clip(blurred * np.float32(peak * strength), 0, 1)


def cover(image: Colour, colour: tuple[float, ...] | np.ndarray, mask: Plane) -> None:
    """Paint a colour over the image where the mask is, in place."""
    image += mask[..., None] * (np.asarray(colour, np.float32) - image)


def fill(
    image: Colour,
    outline: Outline,
    colour: tuple[float, ...] | np.ndarray,
    *,
    soft: float = 0.008,
    alpha: float = 1.0,
) -> None:
    """Paint the inside of an outline over the image, in place."""
    window, mask = outline.patch(image.shape[0], soft)
    cover(image[window], colour, mask * np.float32(alpha))


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanner:
    """How another device would show the same scene at shift 1; 0 leaves the image as it is."""

    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)  # factor per colour channel
    contrast: float = 1.0
    noise: float = 0.0  # deviation
    blur: float = 0.0  # deviation as a fraction of the side
    vignette: float = 0.0  # darkening of the corners

    def see(self, image: Colour, shift: float, rng: np.random.Generator) -> Colour:
        """The image as that device shows it, with a little variation between images."""
        if shift == 0:
            return image
        size = image.shape[0]
        amount = shift * rng.uniform(0.75, 1.25, 5)
        middle = image.mean(axis=(0, 1), keepdims=True)
        image = middle + (image - middle) * np.float32(self.contrast ** amount[0])
        image = image * np.power(np.asarray(self.cast), amount[1]).astype(np.float32)
        if self.blur:
            sigma = self.blur * size * amount[2]
            image = ndimage.gaussian_filter(image, (sigma, sigma, 0), truncate=2.5)
        if self.vignette:
            x, y = grid(size)
            far = ((x - 0.5) ** 2 + (y - 0.5) ** 2) * np.float32(2 * self.vignette * amount[3])
            image = image * (1 - far[..., None])
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        return image + noise * np.float32(self.noise * amount[4])


def to_bytes(image: Colour) -> UInt8[np.ndarray, "h w 3"]:
    """Values in [0, 1] as 8-bit RGB."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def strokes(
    paths: Sequence[tuple[Float[np.ndarray, "_ 2"], float]], size: int, scale: int = 3
) -> Plane:
    """Polylines (x, y) with their widths, all fractions of the side; values in [0, 1]."""
    sheet = Image.new("L", (size * scale, size * scale))
    pen = ImageDraw.Draw(sheet)
    for points, width in paths:
        places = [tuple(place) for place in (points * size * scale).tolist()]
        pen.line(places, fill=255, width=max(round(width * size * scale), 1), joint="curve")
    return np.asarray(sheet.reduce(scale), np.float32) / np.float32(255)


def wander(
    rng: np.random.Generator,
    start: tuple[float, float],
    way: float,
    length: float,
    *,
    turn: float = 0.35,
    steps: int = 10,
) -> Float[np.ndarray, "n 2"]:
    """A path that sets out in direction `way` (radians) and turns a little at every step."""
    angles = way + np.cumsum(rng.normal(0, turn, steps))
    moves = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (length / steps)
    return np.concatenate([[start], np.asarray(start) + np.cumsum(moves, axis=0)])
