"""How model families spell boxes and points in text: one value per convention.

Here those of Qwen2-VL and InternVL; conventions in pixels are in `residency.codec_pixels`. Coordinates
are integers from 0 to 1000 of the image's width and height, so `read(write(x))` is `x`
within half a quantum, `width / 2000` by `height / 2000` pixels. A side thinner than a quantum is
written one quantum wide, because a box without area could not be read back.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from residency.errors import DataError
from residency.types import Box, Markup, Part, Point, Sample

SCALE = 1000
Shape = TypeVar("Shape", Box, Point)
_NUMBER = r"\s*(\d+(?:\.\d+)?)\s*"
_PAIR = rf"\({_NUMBER},{_NUMBER}\)"


def size_of(sample: Sample) -> tuple[int, int]:
    """(width, height) in pixels of the sample's first image; decodes it where no size is declared.

    Raises:
        DataError: the sample has no image, so pixels have no meaning.
    """
    if not sample.images:
        raise DataError(
            f"Sample {sample.id!r} has boxes or points but no image. Give it one in `images`."
        )
    picture = sample.images[0]
    return picture.size or picture.load().size


def _quantum(value: float, length: int) -> int:
    return min(max(round(value / length * SCALE), 0), SCALE)


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    """Both ends of a side in quanta, at least one apart."""
    first, last = _quantum(low, length), _quantum(high, length)
    if last <= first:
        first = min(first, SCALE - 1)
        last = first + 1
    return first, last


def _box_quanta(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    (x1, x2), (y1, y2) = _span(box.x1, box.x2, size[0]), _span(box.y1, box.y2, size[1])
    return x1, y1, x2, y2


def _box(name: str, values: tuple[float, ...], size: tuple[int, int]) -> Box | None:
    """A box in pixels, None where the corners are out of range or out of order."""
    x1, y1, x2, y2 = values
    if not (0 <= x1 < x2 <= SCALE and 0 <= y1 < y2 <= SCALE):
        return None
    across, down = size[0] / SCALE, size[1] / SCALE
    return Box(name=name, x1=x1 * across, y1=y1 * down, x2=x2 * across, y2=y2 * down)


def _point(name: str, values: tuple[float, ...], size: tuple[int, int]) -> Point | None:
    x, y = values
    if not (0 <= x <= SCALE and 0 <= y <= SCALE):
        return None
    return Point(name=name, x=x * size[0] / SCALE, y=y * size[1] / SCALE)


def _named(
    text: str, name: re.Pattern[str], shape: re.Pattern[str]
) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Every shape in reading order with the name that was last stated before it ('' for none)."""
    names = [(found.end(), found.group(1).strip()) for found in name.finditer(text)]
    for found in shape.finditer(text):
        before = [stated for end, stated in names if end <= found.start()]
        yield before[-1] if before else "", tuple(float(number) for number in found.groups())


def _joined(written: Iterable[tuple[Part, ...]]) -> tuple[Part, ...]:
    return tuple(part for parts in written for part in parts)


def _kept(
    found: Iterator[tuple[str, tuple[float, ...]]],
    build: Callable[[str, tuple[float, ...], tuple[int, int]], Shape | None],
    size: tuple[int, int],
) -> tuple[Shape, ...]:
    built = (build(name, values, size) for name, values in found)
    return tuple(shape for shape in built if shape is not None)


@dataclass(frozen=True, slots=True)
class Qwen2VLCodec:
    """Qwen2-VL: `<|box_start|>(x1,y1),(x2,y2)<|box_end|>`, after an object reference if named.

    Qwen2-VL documents no points: `<|box_start|>(x,y)<|box_end|>` is ours. Reading forgives spaces
    and missing control tokens, since decoding may have skipped them.
    """

    def write_boxes(self, boxes: Sequence[Box], size: tuple[int, int]) -> tuple[Part, ...]:
        """One box after the other; a name of '' writes the coordinates alone."""
        quanta = [_box_quanta(box, size) for box in boxes]
        return _joined(
            self._wrap(box.name, f"({x1},{y1}),({x2},{y2})")
            for box, (x1, y1, x2, y2) in zip(boxes, quanta, strict=True)
        )

    def read_boxes(self, text: str, size: tuple[int, int]) -> tuple[Box, ...]:
        """Every well-formed box, named by the last object reference before it."""
        return _kept(_named(text, _QWEN_NAME, _QWEN_BOX), _box, size)

    def write_points(self, points: Sequence[Point], size: tuple[int, int]) -> tuple[Part, ...]:
        """One point after the other; a name of '' writes the coordinates alone."""
        return _joined(
            self._wrap(p.name, f"({_quantum(p.x, size[0])},{_quantum(p.y, size[1])})")
            for p in points
        )

    def read_points(self, text: str, size: tuple[int, int]) -> tuple[Point, ...]:
        """Every well-formed point that is not a corner of a box."""
        return _kept(_named(text, _QWEN_NAME, _QWEN_POINT), _point, size)

    def _wrap(self, name: str, inner: str) -> tuple[Part, ...]:
        shape: tuple[Part, ...] = (Markup("<|box_start|>"), inner, Markup("<|box_end|>"))
        if not name:
            return shape
        return (Markup("<|object_ref_start|>"), name, Markup("<|object_ref_end|>"), *shape)


@dataclass(frozen=True, slots=True)
class InternVLCodec:
    """InternVL: `<ref>name</ref><box>[[x1, y1, x2, y2]]</box>`.

    Points as `<box>[[x, y]]</box>` are ours. Reading also takes several boxes in one list.
    """

    def write_boxes(self, boxes: Sequence[Box], size: tuple[int, int]) -> tuple[Part, ...]:
        """One box after the other; a name of '' writes the coordinates alone."""
        return _joined(self._wrap(box.name, _box_quanta(box, size)) for box in boxes)

    def read_boxes(self, text: str, size: tuple[int, int]) -> tuple[Box, ...]:
        """Every well-formed box, named by the last reference before it."""
        return _kept(_named(text, _INTERN_NAME, _INTERN_BOX), _box, size)

    def write_points(self, points: Sequence[Point], size: tuple[int, int]) -> tuple[Part, ...]:
        """One point after the other; a name of '' writes the coordinates alone."""
        return _joined(
            self._wrap(p.name, (_quantum(p.x, size[0]), _quantum(p.y, size[1]))) for p in points
        )

    def read_points(self, text: str, size: tuple[int, int]) -> tuple[Point, ...]:
        """Every well-formed point."""
        return _kept(_named(text, _INTERN_NAME, _INTERN_POINT), _point, size)

    def _wrap(self, name: str, quanta: tuple[int, ...]) -> tuple[Part, ...]:
        inner = f"[[{', '.join(map(str, quanta))}]]"
        shape: tuple[Part, ...] = (Markup("<box>"), inner, Markup("</box>"))
        return (Markup("<ref>"), name, Markup("</ref>"), *shape) if name else shape


_QWEN_NAME = re.compile(r"<\|object_ref_start\|>(.*?)<\|object_ref_end\|>", re.DOTALL)
_QWEN_BOX = re.compile(rf"{_PAIR}\s*,\s*{_PAIR}")
# A pair on either side of a comma is the corner of a box.
_QWEN_POINT = re.compile(rf"(?<!\),)(?<!\), ){_PAIR}(?!\s*,\s*\()")
_INTERN_NAME = re.compile(r"<ref>(.*?)</ref>", re.DOTALL)
_INTERN_BOX = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")
_INTERN_POINT = re.compile(rf"\[{_NUMBER},{_NUMBER}\]")
