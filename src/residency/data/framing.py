"""Image transforms before any processor: a square with black borders, a stretched square, a crop.

InstFree shows SKINCON and CBIS-DDSM letterboxed, everything at 560 x 560 (one tile of Llama 3.2).
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool
from PIL import Image

from residency.errors import DataError, UsageError
from residency.types import Picture

Fit = Literal["letterbox", "stretch"]
TILE = 560  # pixels of a tile of Llama-3.2-Vision: a square of this side is one tile


@dataclass(frozen=True, slots=True)
class Frame:
    """A square of `side` pixels: all of the image on black, or the image stretched."""

    fit: Fit
    side: int = TILE

    def __post_init__(self) -> None:
        if not 2 <= self.side <= 4096:
            raise UsageError(f"side={self.side} pixels; give 2 to 4096 (InstFree: {TILE}).")

    def __call__(self, picture: Picture) -> Picture:
        """The picture in this frame; it is decoded when it is needed, as before."""
        make = letterbox if self.fit == "letterbox" else stretch
        return replace(
            picture,
            key=f"{picture.key}#{self.fit}={self.side}",
            load=lambda: make(picture.load(), self.side),
            size=(self.side, self.side),
        )


def letterbox(image: Image.Image, side: int = TILE) -> Image.Image:
    """The image as large as fits into a black square, in its middle; sides are rounded down (Lanczos)."""
    ratio = min(side / image.width, side / image.height)
    size = (max(1, int(image.width * ratio)), max(1, int(image.height * ratio)))
    square = Image.new("RGB", (side, side))
    corner = ((side - size[0]) // 2, (side - size[1]) // 2)
    square.paste(image.convert("RGB").resize(size, Image.Resampling.LANCZOS), corner)
    return square


def stretch(image: Image.Image, side: int = TILE) -> Image.Image:
    """The image as a square, its aspect ratio ignored (bicubic, as PIL resizes by default)."""
    return image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)


def crop_to_mask(
    image: Image.Image, mask: Bool[np.ndarray, "h w"], *, margin: float = 0.0
) -> Image.Image:
    """The lesion that a mask marks: its bounding box, wider by `margin` of its longer side all around.

    For mammograms without the cropped images that CBIS-DDSM publishes.

    Raises:
        DataError: the mask is empty, or of another size than the image.
    """
    if mask.shape != (image.height, image.width):
        raise DataError(
            f"The mask has {mask.shape[1]}x{mask.shape[0]} pixels, the image {image.width}x"
            f"{image.height}. Give the mask of this image."
        )
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise DataError("The mask marks nothing, so there is no lesion to crop to.")
    x1, x2, y1, y2 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    wider = round(margin * max(x2 - x1, y2 - y1))
    left, top = max(0, int(x1) - wider), max(0, int(y1) - wider)
    right, bottom = min(image.width, int(x2) + wider), min(image.height, int(y2) + wider)
    return image.crop((left, top, right, bottom))
