"""Volumes as M3D prepares them: `.npy` of 1 x 32 x 256 x 256, values 0 to 1, read slice by slice.

The preparation (Bai et al., 2024) swaps the axes to depth, height, width, scales to 0..1, crops to
the foreground and resizes, so neither spacing nor orientation is known any more: `spacing_mm` is not
a number, and slices are shown as they are stored.
"""

import functools
from pathlib import Path

import numpy as np
from PIL.Image import Image

from residency.data.images import ImageError, array_image, inside
from residency.data.nifti import read_m3d
from residency.errors import DataError
from residency.types import Picture, Volume

DEPTH, HEIGHT, WIDTH = 32, 256, 256
UNKNOWN = (float("nan"), float("nan"), float("nan"))


def m3d_volume(root: Path, name: str) -> tuple[Volume, tuple[Picture, ...]]:
    """The volume `name` below `root` and its 32 slices as pictures, first slice first."""
    key = str(root / name)
    volume = Volume(key=key, load=functools.partial(_load, root, name), spacing_mm=UNKNOWN)
    pictures = tuple(
        Picture(
            key=f"{key}#z={place}",
            load=functools.partial(_slice, root, name, place),
            size=(WIDTH, HEIGHT),
        )
        for place in range(DEPTH)
    )
    return volume, pictures


def base_of(root: Path, first: str) -> Path:
    """The folder that a table's paths are relative to: the table's own, or the one above it."""
    return next((base for base in (root, root.parent) if (base / first).is_file()), root)


def _load(root: Path, name: str) -> np.ndarray:
    path = inside(root, name)
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        raise ImageError("missing", f"No such volume: {path}") from None
    return _kept(path, changed)


@functools.lru_cache(maxsize=2)  # the slices of a sample are asked for one after the other
def _kept(path: Path, changed: int) -> np.ndarray:
    values = read_m3d(path)
    values.setflags(write=False)
    return values


def _slice(root: Path, name: str, place: int) -> Image:
    try:
        values = _load(root, name)[place]
    except ImageError:
        raise
    except DataError as error:
        raise ImageError("volume", str(error)) from None
    return array_image(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8))
