"""What an image is, in two hashes: of its pixels, and of its look, which survives another size or JPEG."""

import hashlib

import numpy as np
from PIL import Image

from residency.types import Picture

SIDE = 16  # the look is SIDE x SIDE bits
WORDS = SIDE * SIDE // 64


def pixel_hash(image: Image.Image) -> str:
    """16 hex digits of SHA-256 over size and RGB pixels: equal hashes, equal images."""
    size = f"{image.width}x{image.height}:".encode()
    return hashlib.sha256(size + image.convert("RGB").tobytes()).hexdigest()[:16]


def look(image: Image.Image) -> np.ndarray:
    """Difference hash, `[4]` of 64 bits: whether each of 16 x 16 grey cells is darker than its neighbour.

    The image is reduced to 17 by 16 pixels; copies in another size or compression differ in a few bits.
    """
    small = image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, dtype=np.int16)
    bits = np.packbits(grey[:, :-1] < grey[:, 1:])
    return bits.view(np.uint64)


class Hashes:
    """`pixel_hash` of pictures; one that was seen a moment ago is not decoded again."""

    def __init__(self, kept: int = 4096) -> None:
        self._kept, self._known = kept, dict[str, str]()

    def __call__(self, picture: Picture) -> str:
        """Of one picture, known by its key."""
        if picture.key not in self._known:
            if len(self._known) >= self._kept:
                self._known.pop(next(iter(self._known)))
            self._known[picture.key] = pixel_hash(picture.load())
        return self._known[picture.key]
