"""Boxes and points as JSON, in a grid laid over the image: Qwen3-VL, Gemini, and whoever knows no other.

A fenced list of `{"bbox_2d": [x1, y1, x2, y2], "label": name}`. `read(write(x))` is `x` within half a
cell of the grid; a side thinner than a cell is written one cell wide, because a box without area could
not be read back.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from residency.types import Box, Part, Point

Size = tuple[int, int]  # width, height


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonCodec:
    """Whole numbers from 0 to 1000 of the image's width and height.

    As it stands it is Qwen3-VL's form, in which Qwen2.5-VL's points (`point_2d`) are kept. `rows_first`
    writes y before x, as Gemini and MedGemma 1.5 do under the key `box_2d`. Reading takes every object
    that is whole, with or without a fence, also of a list that was cut off.
    """

    box: str = "bbox_2d"
    point: str = "point_2d"
    rows_first: bool = False

    def grid(self, size: Size) -> Size:
        """Columns and rows of the grid over an image of this size."""
        del size
        return 1000, 1000

    def write_boxes(self, boxes: Sequence[Box], size: Size) -> tuple[Part, ...]:
        """The list; boxes with a name of '' have no label."""
        columns, rows = self.grid(size)
        listed = []
        for box in boxes:
            (x1, x2) = side(box.x1, box.x2, size[0], columns)
            (y1, y2) = side(box.y1, box.y2, size[1], rows)
            corners = [y1, x1, y2, x2] if self.rows_first else [x1, y1, x2, y2]
            listed.append(_labelled({self.box: corners}, box.name))
        return (_fenced(listed),)

    def read_boxes(self, text: str, size: Size) -> tuple[Box, ...]:
        """Every object with four numbers under the key of boxes."""
        grid = self.grid(size)
        found = (
            placed_box(name, self._across_first(values), size, grid)
            for name, values in _objects(text, self.box, 4)
        )
        return tuple(box for box in found if box is not None)

    def write_points(self, points: Sequence[Point], size: Size) -> tuple[Part, ...]:
        """The list; points with a name of '' have no label."""
        columns, rows = self.grid(size)
        listed = []
        for one in points:
            x, y = cell(one.x, size[0], columns), cell(one.y, size[1], rows)
            listed.append(_labelled({self.point: [y, x] if self.rows_first else [x, y]}, one.name))
        return (_fenced(listed),)

    def read_points(self, text: str, size: Size) -> tuple[Point, ...]:
        """Every object with two numbers under the key of points."""
        grid = self.grid(size)
        found = (
            placed_point(name, self._across_first(values), size, grid)
            for name, values in _objects(text, self.point, 2)
        )
        return tuple(point for point in found if point is not None)

    def _across_first(self, values: list[float]) -> list[float]:
        if not self.rows_first:
            return values
        return [number for k in range(0, len(values), 2) for number in values[k : k + 2][::-1]]


def cell(value: float, length: int, cells: int) -> int:
    """The nearest line of the grid, inside the image."""
    return min(max(round(value / length * cells), 0), cells)


def side(low: float, high: float, length: int, cells: int) -> tuple[int, int]:
    """Both ends of a side, at least one cell apart."""
    first, last = cell(low, length, cells), cell(high, length, cells)
    if last <= first:
        first = min(first, cells - 1)
        last = first + 1
    return first, last


def placed_box(name: str, values: Sequence[float], size: Size, grid: Size) -> Box | None:
    """A box in pixels of the original, None where its corners are out of range or of order."""
    x1, y1, x2, y2 = values
    if not (0 <= x1 < x2 <= grid[0] and 0 <= y1 < y2 <= grid[1]):
        return None
    across, down = size[0] / grid[0], size[1] / grid[1]
    return Box(name=name, x1=x1 * across, y1=y1 * down, x2=x2 * across, y2=y2 * down)


def placed_point(name: str, values: Sequence[float], size: Size, grid: Size) -> Point | None:
    """A point in pixels of the original, None where it is out of range."""
    x, y = values
    if not (0 <= x <= grid[0] and 0 <= y <= grid[1]):
        return None
    return Point(name=name, x=x * size[0] / grid[0], y=y * size[1] / grid[1])


def _labelled(row: dict[str, Any], name: str) -> dict[str, Any]:
    return row | ({"label": name} if name else {})


def _fenced(rows: Sequence[dict[str, Any]]) -> str:
    lines = ",\n".join(f"\t{json.dumps(row, ensure_ascii=False)}" for row in rows)
    return f"```json\n[\n{lines}\n]\n```"


def _objects(text: str, key: str, count: int) -> Iterator[tuple[str, list[float]]]:
    """Label and numbers of every JSON object in the text that has `key` with as many numbers."""
    decoder, place = json.JSONDecoder(), text.find("{")
    while place >= 0:
        end = place + 1
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            value = {}
        numbers = value.get(key)
        whole = isinstance(numbers, list) and all(type(n) in (int, float) for n in numbers)
        if whole and len(numbers) == count:
            yield str(value.get("label") or "").strip(), [float(n) for n in numbers]
        place = text.find("{", end)
