"""Which images of a seed are also in an evaluation split: equal pixels, or nearly so after re-encoding."""

from collections.abc import Iterable

import numpy as np
from PIL.Image import Image, Resampling

from residency.evaluate.predict import select
from residency.step import Workspace
from residency.types import Picture

SIDE = 16  # of the difference hash: 256 bits
NEAR = (
    8  # bits that may differ: another size or JPEG quality moves fewer, another image more (ours)
)
FLAT = (
    24  # an image with fewer differences than this, either way, has too little to be recognised by
)


def fingerprint(image: Image) -> np.ndarray:
    """The 256-bit difference hash of an image, uint8[32] (D. Hall's dHash): does grey rise to the right?"""
    grey = image.convert("L").resize((SIDE + 1, SIDE), Resampling.BOX)
    pixels = np.asarray(grey, dtype=np.int16)
    return np.packbits(pixels[:, 1:] > pixels[:, :-1])


class Seen:
    """The images of the evaluation splits."""

    def __init__(self, pictures: Iterable[Picture]) -> None:
        self._keys: set[str] = set()
        hashes = []
        for picture in pictures:
            if picture.key not in self._keys:
                self._keys.add(picture.key)
                hashes.append(fingerprint(picture.load()))
        self._hashes = np.array(hashes, dtype=np.uint8).reshape(-1, SIDE * SIDE // 8)

    def __len__(self) -> int:
        return len(self._hashes)

    def has(self, picture: Picture) -> bool:
        """Whether this image, or one that hardly differs from it, was seen."""
        if picture.key in self._keys:
            return True
        if not len(self._hashes):
            return False
        own = fingerprint(picture.load())
        bits = int(np.unpackbits(own).sum())
        if not FLAT <= bits <= SIDE * SIDE - FLAT:
            return False
        apart = np.bitwise_count(self._hashes ^ own).sum(axis=1)
        return bool(apart.min() <= NEAR)


def evaluated(workspace: Workspace, specs: tuple[str, ...]) -> list[Picture]:
    """The images of the validation and test splits of data sets."""
    found = []
    for dataset in workspace.datasets(specs):
        for split in ("val", "test"):
            if split in dataset.splits:
                some = select(dataset, split, limit=None, seed=0)
                found += [picture for sample in some for picture in sample.images]
    return found
