"""Boxes and points as models write them that count pixels of the *resized* image.

`Qwen25VLCodec` is Qwen2.5-VL's own form, `ResizedCodec` that of UMIT's landmarks. The text holds whole
pixels of the image as the model saw it, so `read(write(x))` is `x` within half of such a pixel,
`width / resized width / 2` original ones; a side thinner than a pixel is written one pixel wide.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from residency.codec import InternVLCodec, Qwen2VLCodec
from residency.codec_fractions import FractionCodec
from residency.codec_json import JsonCodec, cell, placed_point
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Qwen25VLCodec(JsonCodec):
    """Qwen2.5-VL: JSON whose grid are the pixels of the resized image.

    The defaults are those of its published processors; `fitted` takes them from the one at hand.
    """

    factor: int = 28
    least: int = 56 * 56
    most: int = 12_845_056

    def grid(self, size: Size) -> Size:
        """(width, height) as the model sees it."""
        return smart_resize(size, factor=self.factor, least=self.least, most=self.most)


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
            (p.name, cell(p.x, size[0], self.width), cell(p.y, size[1], self.height))
            for p in points
        ]
        return ("; ".join((f"{name}: " if name else "") + f"[{x},{y}]" for name, x, y in placed),)

    def read_points(self, text: str, size: Size) -> tuple[Point, ...]:
        """Every well-formed pair in square brackets."""
        resized = (self.width, self.height)
        found = (
            placed_point(
                (match[1] or "").strip(), [float(match[2]), float(match[3])], size, resized
            )
            for match in _SHAPE.finditer(text)
        )
        return tuple(point for point in found if point is not None)


def suits(codec: Any, own: Any) -> bool:
    """Whether a model that writes places as `own` may be taught `codec` instead: its boxes stay the same."""
    return not isinstance(codec, ResizedCodec) or isinstance(own, Qwen2VLCodec | ResizedCodec)


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
    kind.__name__: kind
    for kind in (
        Qwen2VLCodec,
        InternVLCodec,
        Qwen25VLCodec,
        ResizedCodec,
        JsonCodec,
        FractionCodec,
    )
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
