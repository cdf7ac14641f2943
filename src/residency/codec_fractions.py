"""Boxes as LLaVA writes them: `[0.213, 0.340, 0.521, 0.760]`, fractions of the image padded to a square.

LLaVA-1.5's training data (Visual Genome) is measured in the square that its processor pads an image to,
the image in the middle. Its two decimals are a hundredth of the longer side; three, and the form of
points and names, are ours.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from residency.codec_json import side
from residency.types import Box, Part, Point

Size = tuple[int, int]  # width, height
_NUMBER = r"\s*([01]?\.\d+|[01])\s*"
_NAME = r"(?:([^\[\]:;\n]+?)\s*:\s*)?"
_BOX = re.compile(rf"{_NAME}\[{','.join([_NUMBER] * 4)}\]")
_POINT = re.compile(rf"{_NAME}\[{','.join([_NUMBER] * 2)}\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class FractionCodec:
    """`[x1, y1, x2, y2]` and `[x, y]`, `name: ` before each that has a name, joined by "; "."""

    decimals: int = 3

    def write_boxes(self, boxes: Sequence[Box], size: Size) -> tuple[Part, ...]:
        """One after the other; a name of '' writes the coordinates alone."""
        edge, cells = max(size), 10**self.decimals
        rows = []
        for box in boxes:
            (x1, x2) = _inside(box.x1, box.x2, size[0], edge, cells)
            (y1, y2) = _inside(box.y1, box.y2, size[1], edge, cells)
            rows.append(self._row(box.name, (x1, y1, x2, y2)))
        return ("; ".join(rows),)

    def read_boxes(self, text: str, size: Size) -> tuple[Box, ...]:
        """Every four fractions in square brackets, cut to the image; none outside of it."""
        found = (_box(name, values, size) for name, values in _shapes(_BOX, text))
        return tuple(box for box in found if box is not None)

    def write_points(self, points: Sequence[Point], size: Size) -> tuple[Part, ...]:
        """One after the other; a name of '' writes the coordinates alone."""
        edge, left, top = _square(size)
        cells = 10**self.decimals
        placed = [(p.name, (p.x + left) / edge, (p.y + top) / edge) for p in points]
        rows = [
            self._row(name, [min(max(round(value * cells), 0), cells) for value in values])
            for name, *values in placed
        ]
        return ("; ".join(rows),)

    def read_points(self, text: str, size: Size) -> tuple[Point, ...]:
        """Every two fractions in square brackets that lie on the image."""
        edge, left, top = _square(size)
        slack = edge / 10**self.decimals  # a border may be written a little outside
        found = []
        for name, (x, y) in _shapes(_POINT, text):
            across, down = x * edge - left, y * edge - top
            if -slack <= across <= size[0] + slack and -slack <= down <= size[1] + slack:
                x, y = min(max(across, 0.0), float(size[0])), min(max(down, 0.0), float(size[1]))
                found.append(Point(name=name, x=x, y=y))
        return tuple(found)

    def _row(self, name: str, cells: Sequence[int]) -> str:
        numbers = ", ".join(f"{c / 10**self.decimals:.{self.decimals}f}" for c in cells)
        return (f"{name}: " if name else "") + f"[{numbers}]"


def _square(size: Size) -> tuple[int, float, float]:
    """The edge of the square around the image, and where the image begins in it."""
    edge = max(size)
    return edge, (edge - size[0]) / 2, (edge - size[1]) / 2


def _inside(low: float, high: float, length: int, edge: int, cells: int) -> tuple[int, int]:
    """Both ends of a side in cells of the square, some of it on the image."""
    before = (edge - length) / 2
    least = math.floor(before / edge * cells)
    most = math.ceil((before + length) / edge * cells)
    first, last = side(low + before, high + before, edge, cells)
    first = min(max(first, least), most - 1)
    return first, min(max(last, first + 1), most)


def _shapes(shape: re.Pattern[str], text: str) -> Iterator[tuple[str, list[float]]]:
    for found in shape.finditer(text):
        name, *numbers = found.groups()
        yield (name or "").strip(), [float(number) for number in numbers]


def _box(name: str, values: Sequence[float], size: Size) -> Box | None:
    """A box in pixels of the original, None without area or outside of the image."""
    edge, left, top = _square(size)
    x1, x2 = (min(max(values[k] * edge - left, 0.0), float(size[0])) for k in (0, 2))
    y1, y2 = (min(max(values[k] * edge - top, 0.0), float(size[1])) for k in (1, 3))
    if max(values) > 1 or x1 >= x2 or y1 >= y2:
        return None
    return Box(name=name, x1=x1, y1=y1, x2=x2, y2=y2)
