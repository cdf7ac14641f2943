"""Places there and back: text, pixels, millimetres, text, in the convention of every model family."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from residency.catalog import find, names
from residency.codec_fractions import FractionCodec
from residency.codec_pixels import ResizedCodec
from residency.task import task, text_of
from residency.types import Box, Picture, Point, Sample

FAMILIES: dict[str, Any] = {name: find("backbones", name).codec for name in names("backbones")}
CONVENTIONS = pytest.mark.parametrize(
    "codec", [*FAMILIES.values(), ResizedCodec()], ids=[*FAMILIES, "umit"]
)
SIZES = ((1935, 2400), (1024, 1024), (96, 96), (28, 28), (3000, 40), (41, 2999))
MANY, SPACING_MM = 60, 0.1
LABELS = ("left lung", "肺炎", "a {cell}", "Sella")


def sample(kind: str, size: tuple[int, int], answer: tuple[Any, ...]) -> Sample:
    picture = Picture(key="p", load=lambda: Image.new("RGB", size), size=size)
    return Sample(id="s", dataset="d", task=kind, answer=answer, images=(picture,))


def step(codec: Any, size: tuple[int, int], kind: str) -> tuple[float, float]:
    """How far apart two neighbouring values of a convention lie, in pixels of the image."""
    if isinstance(codec, FractionCodec):
        return (max(size) / 10**codec.decimals,) * 2
    if isinstance(codec, ResizedCodec) and kind == "landmark":
        return size[0] / codec.width, size[1] / codec.height
    columns, rows = codec.grid(size) if hasattr(codec, "grid") else (1000, 1000)
    return size[0] / columns, size[1] / rows


def drawn(kind: str, rng: np.random.Generator, size: tuple[int, int]) -> tuple[Any, ...]:
    """One to four boxes or points anywhere, borders and corners included."""
    made, named = [], rng.random() < 0.7  # one without a name would be read as the one before it
    for _ in range(rng.integers(1, 5)):
        across, down = (
            np.sort(rng.choice([0.0, side, *rng.uniform(0, side, 3)], 2, replace=False))
            for side in size
        )
        name = LABELS[rng.integers(len(LABELS))] if named else ""
        if kind == "landmark":
            made.append(Point(name=name, x=float(across[0]), y=float(down[1])))
        else:
            ends = dict(zip(("x1", "x2", "y1", "y2"), map(float, (*across, *down)), strict=True))
            made.append(Box(name=name, **ends))
    return tuple(made)


def trips(codec: Any, kind: str) -> Iterator[tuple[Sample, str, tuple[Any, ...]]]:
    """Samples, what is written of them, and what is read of that."""
    rng = np.random.default_rng(7)
    for number in range(MANY):
        size = SIZES[number % len(SIZES)]
        one = sample(kind, size, drawn(kind, rng, size))
        said = text_of(task(kind).write(one, codec))
        read = task(kind).read(said, one, codec)
        assert isinstance(read, tuple) and len(read) == len(one.answer), said
        yield one, said, read


@CONVENTIONS
@pytest.mark.parametrize("kind", ["detection", "landmark"])
def test_what_is_read_is_what_was_meant_within_half_a_step(codec: Any, kind: str) -> None:
    for one, said, read in trips(codec, kind):
        across, down = step(codec, one.images[0].size or (0, 0), kind)
        for meant, found in zip(one.answer, read, strict=True):
            for end in ("x", "y") if kind == "landmark" else ("x1", "x2", "y1", "y2"):
                reach = across if end.startswith("x") else down
                thin = kind == "detection" and (
                    meant.x2 - meant.x1 < across
                    if end.startswith("x")
                    else meant.y2 - meant.y1 < down
                )
                error = abs(getattr(meant, end) - getattr(found, end))
                assert error <= reach * (1.5 if thin else 0.5) + 1e-6, (said, meant, found)


@CONVENTIONS
@pytest.mark.parametrize("kind", ["detection", "landmark"])
def test_what_was_read_is_written_as_it_stood(codec: Any, kind: str) -> None:
    """Text to pixels to text changes no letter: nothing drifts, however often it is repeated."""
    for one, said, read in trips(codec, kind):
        again = replace(one, answer=read)
        assert text_of(task(kind).write(again, codec)) == said
        assert task(kind).read(said, again, codec) == read


@CONVENTIONS
def test_landmarks_keep_their_place_in_millimetres(codec: Any) -> None:
    """A cephalogram's pixels are a tenth of a millimetre: no convention loses a fifth of one."""
    rng, size = np.random.default_rng(3), SIZES[0]
    across, down = step(codec, size, "landmark")
    for _ in range(20):
        point = Point(
            name="Sella", x=float(rng.uniform(0, size[0])), y=float(rng.uniform(0, size[1]))
        )
        one = replace(sample("landmark", size, (point,)), question="Sella")
        said = text_of(task("landmark").write(one, codec))
        read = task("landmark").read(said, one, codec)
        assert isinstance(read, tuple)
        (found,) = read
        off = float(np.hypot(found.x - point.x, found.y - point.y)) * SPACING_MM
        assert off <= np.hypot(across, down) / 2 * SPACING_MM + 1e-6 < 0.22
