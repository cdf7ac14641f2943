"""Turn files and arrays into the 8-bit RGB images that everything else reads, refusing bad ones."""

import numpy as np
import PIL.Image
from PIL.Image import Image

from residency.errors import DataError


def array_image(pixels: np.ndarray) -> Image:
    """An image from uint8 `[h, w]` grey or `[h, w, 3]` RGB.

    Raises:
        DataError: another dtype or shape.
    """
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or colour):
        raise DataError(
            f"An image array must be uint8 [h, w] or [h, w, 3], not {pixels.dtype} "
            f"{list(pixels.shape)}."
        )
    return PIL.Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
