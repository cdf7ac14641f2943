"""Boxes and points as models write them that count pixels of the *resized* image.

`Qwen25VLCodec` is Qwen2.5-VL's own form, `ResizedCodec` that of UMIT's landmarks. The text holds whole
pixels of the image as the model saw it, so `read(write(x))` is `x` within half of such a pixel,
`width / resized width / 2` original ones; a side thinner than a pixel is written one pixel wide.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from residency.codec import InternVLCodec, Qwen2VLCodec
from residency.errors import CheckpointError
from residency.types import Box, Part, Point

Size = tuple[int, int]  # width, height


def smart_resize(size: Size, *, factor: int, least: int, most: int) -> Size:
    """What Qwen2-VL's processor resizes an image to: multiples of `factor`, `least` to `most` pixels.

    Both sides are rounded to the factor; where the area leaves the range they are scaled alike first,
    rounded down from above and up from below.
    """
    rounded = tuple(max(round(side / factor), 1) * factor for side in size)
    area = rounded[0] * rounded[1]
    if least <= area <= most:
        return rounded[0], rounded[1]
    shrink = math.sqrt(size[0] * size[1] / (most if area > most else least))
    if area > most:
        sides = [max(factor, math.floor(side / shrink / factor) * factor) for side in size]
    else:
        sides = [math.ceil(side / shrink / factor) * factor for side in size]
    return sides[0], sides[1]


def _pixels(value: float, length: int, resized: int) -> int:
    return min(max(round(value / length * resized), 0), resized)


def _side(low: float, high: float, length: int, resized: int) -> tuple[int, int]:
    first, last = _pixels(low, length, resized), _pixels(high, length, resized)
    if last <= first:
        first = min(first, resized - 1)
        last = first + 1
    return first, last


def _box(name: str, values: Sequence[float], size: Size, resized: Size) -> Box | None:
    """A box in pixels of the original, None where its corners are out of range or of order."""
    x1, y1, x2, y2 = values
    if not (0 <= x1 < x2 <= resized[0] and 0 <= y1 < y2 <= resized[1]):
        return None
    across, down = size[0] / resized[0], size[1] / resized[1]
    return Box(name=name, x1=x1 * across, y1=y1 * down, x2=x2 * across, y2=y2 * down)


def _point(name: str, values: Sequence[float], size: Size, resized: Size) -> Point | None:
    x, y = values
    if not (0 <= x <= resized[0] and 0 <= y <= resized[1]):
        return None
    return Point(name=name, x=x * size[0] / resized[0], y=y * size[1] / resized[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Qwen25VLCodec:
    """Qwen2.5-VL: a fenced JSON list of `{"bbox_2d": [x1, y1, x2, y2], "label": name}`.

    Points are `{"point_2d": [x, y], "label": name}`. The defaults are those of its published
    processors; `fitted` takes them from the one at hand. Reading takes every object that is whole,
    with or without a fence, also of a list that was cut off.
    """

    factor: int = 28
    least: int = 56 * 56
    most: int = 12_845_056

    def resized(self, size: Size) -> Size:
        """(width, height) as the model sees it."""
        return smart_resize(size, factor=self.factor, least=self.least, most=self.most)

    def write_boxes(self, boxes: Sequence[Box], size: Size) -> tuple[Part, ...]:
        """The list; boxes with a name of '' have no label."""
        width, height = self.resized(size)
        rows = []
        for box in boxes:
            (x1, x2) = _side(box.x1, box.x2, size[0], width)
            (y1, y2) = _side(box.y1, box.y2, size[1], height)
            rows.append({"bbox_2d": [x1, y1, x2, y2]} | ({"label": box.name} if box.name else {}))
        return (_fenced(rows),)

    def read_boxes(self, text: str, size: Size) -> tuple[Box, ...]:
        """Every object with a well-formed `bbox_2d`."""
        resized = self.resized(size)
        found = (_box(name, v, size, resized) for name, v in _objects(text, "bbox_2d", 4))
        return tuple(box for box in found if box is not None)

    def write_points(self, points: Sequence[Point], size: Size) -> tuple[Part, ...]:
        """The list; points with a name of '' have no label."""
        width, height = self.resized(size)
        rows = [
            {"point_2d": [_pixels(p.x, size[0], width), _pixels(p.y, size[1], height)]}
            | ({"label": p.name} if p.name else {})
            for p in points
        ]
        return (_fenced(rows),)

    def read_points(self, text: str, size: Size) -> tuple[Point, ...]:
        """Every object with a well-formed `point_2d`."""
        resized = self.resized(size)
        found = (_point(name, v, size, resized) for name, v in _objects(text, "point_2d", 2))
        return tuple(point for point in found if point is not None)


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


_SHAPE = re.compile(r"(?:([^\[\]:;,\n]+?)\s*:\s*)?\[\s*(\d+(?:\.\d+)?)\s*,\s*(\d+(?:\.\d+)?)\s*\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class ResizedCodec:
    """Points as `[x,y]` in pixels after every image is resized to `width` by `height`: UMIT's landmarks.

    Its figures (sec. 4.6, e.g. Orbitale [421,435]) fit 640 by 800 of the 1935 by 2400 cephalograms, which
    the paper does not state. Several points are joined by "; ", `name: ` before each that has one. Boxes
    are those of Qwen2-VL, UMIT's base.
    """

    width: int = 640
    height: int = 800

    def write_boxes(self, boxes: Sequence[Box], size: Size) -> tuple[Part, ...]:
        """As Qwen2-VL."""
        return Qwen2VLCodec().write_boxes(boxes, size)

    def read_boxes(self, text: str, size: Size) -> tuple[Box, ...]:
        """As Qwen2-VL."""
        return Qwen2VLCodec().read_boxes(text, size)

    def write_points(self, points: Sequence[Point], size: Size) -> tuple[Part, ...]:
        """`[x,y]`, or `name: [x,y]; name: [x,y]`."""
        placed = [
            (p.name, _pixels(p.x, size[0], self.width), _pixels(p.y, size[1], self.height))
            for p in points
        ]
        return ("; ".join((f"{name}: " if name else "") + f"[{x},{y}]" for name, x, y in placed),)

    def read_points(self, text: str, size: Size) -> tuple[Point, ...]:
        """Every well-formed pair in square brackets."""
        resized = (self.width, self.height)
        found = (
            _point((match[1] or "").strip(), [float(match[2]), float(match[3])], size, resized)
            for match in _SHAPE.finditer(text)
        )
        return tuple(point for point in found if point is not None)


def fitted(codec: Any, processor: Any) -> Any:
    """The codec for images as this processor resizes them; one that does not ask stays as it is."""
    if not isinstance(codec, Qwen25VLCodec):
        return codec
    images = processor.image_processor
    return replace(
        codec,
        factor=images.patch_size * images.merge_size,
        least=images.size["shortest_edge"],
        most=images.size["longest_edge"],
    )


_KINDS = {
    kind.__name__: kind for kind in (Qwen2VLCodec, InternVLCodec, Qwen25VLCodec, ResizedCodec)
}


def described(codec: Any) -> dict[str, Any]:
    """A codec as JSON, for a checkpoint: its kind and its numbers."""
    return {"kind": type(codec).__name__, **asdict(codec)}


def codec_of(value: dict[str, Any]) -> Any:
    """The inverse of `described`.

    Raises:
        CheckpointError: a kind that this version does not know.
    """
    kind = _KINDS.get(str(value["kind"]))
    if kind is None:
        raise CheckpointError(
            f"The checkpoint writes boxes as {value['kind']!r}, which this version does not know. "
            f"It knows: {', '.join(_KINDS)}."
        )
    return kind(**{name: number for name, number in value.items() if name != "kind"})
