"""Random changes of training images that leave the answer true: off unless named, and never in a test.

Boxes and points move along. What cannot be moved safely is not: turning leaves samples with boxes
alone (a turned box is no box), flipping is for classification and detection alone and only where no
word of the sample knows left from right, and nothing moves in a volume or may leave the picture. A
change follows from (seed, epoch, sample) by hash, so a resumed run makes the same ones.
"""

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import PIL.Image
from jaxtyping import Float
from PIL.Image import Image

from residency.catalog import suggest
from residency.errors import UsageError
from residency.types import Answer, Box, Box3D, Picture, Point, Sample

FLIPPED_TASKS = ("classification", "detection")
SIDES = re.compile(
    r"\b(left|right|lt|rt|\w*lateral\w*|\w*side[sd]?|dextr\w*|sinistr\w*|situs|\w*clockwise)\b|[左右侧]",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Augment:
    """The largest change of each kind; 0 for none.

    `rotate` in degrees either way, `shift` as a share of each side, `zoom`, `brightness` and `contrast`
    as a share either way (0.1: factors 0.9 to 1.1), `flip` the chance of a mirrored image.
    """

    rotate: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    flip: float = 0.0

    @classmethod
    def of(cls, words: tuple[str, ...]) -> "Augment":
        """Read `("rotate:10", "flip:0.5")`; no words change nothing.

        Raises:
            UsageError: an unknown or repeated change, or a number out of its range.
        """
        most = {
            "rotate": 180.0,
            "shift": 0.5,
            "zoom": 0.9,
            "brightness": 0.9,
            "contrast": 0.9,
            "flip": 1.0,
        }
        given: dict[str, float] = {}
        for word in words:
            name, _, number = word.partition(":")
            if name not in most or name in given:
                raise UsageError(
                    f"augment: {word!r} is unknown or given twice.{suggest(name, list(most))} Changes: "
                    f"{', '.join(f'{key}:0..{top:g}' for key, top in most.items())}."
                )
            try:
                given[name] = float(number)
            except ValueError:
                given[name] = -1.0
            if not 0 <= given[name] <= most[name]:
                raise UsageError(f"augment: {word!r} needs a number from 0 to {most[name]:g}.")
        return cls(**given)

    @property
    def describe(self) -> str:
        """For people, "" for none."""
        named = [(entry.name, getattr(self, entry.name)) for entry in fields(self)]
        return ", ".join(f"{name} {value:g}" for name, value in named if value)

    def __call__(self, sample: Sample, seed: int, epoch: int, index: int) -> Sample:
        """The sample under the change of this epoch; the same one where nothing may change."""
        if not self.describe or not sample.images:
            return sample
        draw = np.random.Philox(key=[seed % 2**64, (epoch << 40 | index) % 2**64]).random_raw(7)
        chance = draw.astype(np.float64) / 2.0**64
        angle, right, down, scale, light, contrast = chance[:6] * 2 - 1
        everything = (sample, *sample.also)
        change = Change(
            turn=0.0 if any(map(_boxes, everything)) else float(self.rotate * angle),
            right=float(self.shift * right),
            down=float(self.shift * down),
            scale=float(1 + self.zoom * scale),
            flip=bool(chance[6] < self.flip) and all(map(mirrors, everything)),
            light=float(self.brightness * light),
            contrast=float(1 + self.contrast * contrast),
        )
        located = any(map(_places, everything))
        size = (sample.images[0].size or sample.images[0].load().size) if located else (1, 1)
        leaves = not all(_stays(one.answer, change, size) for one in everything)
        if sample.volume is not None or leaves:
            change = replace(change, turn=0.0, right=0.0, down=0.0, scale=1.0, flip=False)
        return _changed(sample, change, size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What is done to the images of one sample: `turn` in degrees, `right`, `down` in shares."""

    turn: float
    right: float
    down: float
    scale: float
    flip: bool
    light: float
    contrast: float

    @property
    def moves(self) -> bool:
        """Whether places change."""
        return (self.turn, self.right, self.down, self.scale, self.flip) != (0, 0, 0, 1, False)

    def matrix(self, size: tuple[int, int]) -> Float[np.ndarray, "3 3"]:
        """Takes (x, y, 1) in pixels to where it lies afterwards; about the middle of the image."""
        width, height = size
        turn = np.deg2rad(self.turn)
        cos, sin = self.scale * np.cos(turn), self.scale * np.sin(turn)
        middle = np.array([width / 2, height / 2])
        linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if self.flip else 1.0, 1.0])
        shift = middle - linear @ middle + (self.right * width, self.down * height)
        return np.vstack([np.column_stack([linear, shift]), [0.0, 0.0, 1.0]])


def mirrors(sample: Sample) -> bool:
    """Whether the mirror image of a sample has the same answer."""
    return sample.task in FLIPPED_TASKS and not any(map(SIDES.search, _words(sample)))


def _words(sample: Sample) -> Iterator[str]:
    yield sample.question
    yield from sample.options
    answers = (sample.answer,) if isinstance(sample.answer, str) else sample.answer
    yield from (one if isinstance(one, str) else one.name for one in answers)


def _boxes(sample: Sample) -> bool:
    return any(isinstance(entry, Box | Box3D) for entry in sample.answer)


def _places(sample: Sample) -> bool:
    return any(isinstance(entry, Box | Point) for entry in sample.answer)


def _stays(answer: Answer, change: Change, size: tuple[int, int]) -> bool:
    """Whether everything that the answer locates stays inside the picture."""
    width, height = size
    for entry in _moved(answer, change, size):
        if isinstance(entry, Box):
            if not (0 <= entry.x1 < entry.x2 <= width and 0 <= entry.y1 < entry.y2 <= height):
                return False
        elif isinstance(entry, Point) and not (0 <= entry.x < width and 0 <= entry.y < height):
            return False
    return True


def _moved(answer: Answer, change: Change, size: tuple[int, int]) -> Answer:
    located = any(isinstance(entry, Box | Point) for entry in answer)
    if isinstance(answer, str) or not located or not change.moves:
        return answer
    matrix = change.matrix(size)

    def at(x: float, y: float) -> tuple[float, float]:
        found = matrix @ (x, y, 1.0)
        return float(found[0]), float(found[1])

    moved: list[Box | Point] = []
    for entry in answer:
        if isinstance(entry, Box):
            corners = at(entry.x1, entry.y1), at(entry.x2, entry.y2)
            (x1, x2), (y1, y2) = (sorted(side) for side in zip(*corners, strict=True))
            moved.append(replace(entry, x1=x1, y1=y1, x2=x2, y2=y2))
        elif isinstance(entry, Point):
            x, y = at(entry.x + 0.5, entry.y + 0.5)  # a point names a pixel: its middle moves
            moved.append(replace(entry, x=x - 0.5, y=y - 0.5))
    return tuple(moved)  # type: ignore[return-value]


def _changed(sample: Sample, change: Change, size: tuple[int, int]) -> Sample:
    return replace(
        sample,
        images=tuple(_picture(picture, change) for picture in sample.images),
        answer=_moved(sample.answer, change, size),
        also=tuple(replace(one, answer=_moved(one.answer, change, size)) for one in sample.also),
    )


def _picture(picture: Picture, change: Change) -> Picture:
    load = functools.partial(_drawn, picture.load, change)
    return Picture(key=f"{picture.key}#{hash(change):x}", load=load, size=picture.size)


def _drawn(load: Callable[[], Image], change: Change) -> Image:
    image = load()
    if change.moves:
        back = np.linalg.inv(change.matrix(image.size))[:2].ravel()
        image = image.transform(
            image.size, PIL.Image.Transform.AFFINE, tuple(back), PIL.Image.Resampling.BILINEAR
        )
    if (change.light, change.contrast) != (0, 1):
        levels = (np.arange(256) - 127.5) * change.contrast + 127.5 + 255 * change.light
        image = image.point(np.rint(levels).clip(0, 255).astype(int).tolist() * 3)
    return image
