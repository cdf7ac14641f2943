"""Read NIfTI volumes in RAS+ order, masks as boxes, and the arrays of M3D.

What the header promises is compared with the file before anything is allocated. Values are scaled
as the header declares; big-endian files are read like the others.
"""

import functools
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from residency.data.dicom import MEDICAL
from residency.data.volumes import MAX_VOXELS, Grid, VolumeError, orient
from residency.errors import UsageError
from residency.types import Box3D, Volume

SUFFIXES = (".nii", ".nii.gz")
DENSEST = 1032  # gzip cannot make anything smaller than by this factor
M3D_SHAPE = (1, 32, 256, 256)


def is_nifti(path: Path) -> bool:
    """Whether a file is named like NIfTI."""
    return path.name.lower().endswith(SUFFIXES)


def stem(path: Path) -> str:
    """The file name without `.nii` or `.nii.gz`."""
    name = path.name
    return name[: -len(next(end for end in SUFFIXES[::-1] if name.lower().endswith(end)))]


def read_grid(path: Path) -> Grid:
    """Where the voxels lie once they are in RAS+ order; reads the header alone.

    Raises:
        VolumeError: not NIfTI, not three-dimensional, more than 2^29 voxels, more than the file can
            hold, or an orientation that is not declared.
        UsageError: nibabel is not installed.
    """
    image, shape = _opened(path)
    return orient(np.asarray(image.affine, np.float64), shape, str(path))[1]


def read_volume(path: Path) -> Float[np.ndarray, "z y x"]:
    """The voxels, float32 in RAS+ order, scaled as the header declares.

    Raises:
        VolumeError: what `read_grid` refuses; cut off or damaged data; NaN or infinity.
    """
    image, shape = _opened(path)
    turn, _ = orient(np.asarray(image.affine, np.float64), shape, str(path))
    values = turn(_stored(image, shape, path)).astype(np.float32)
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise VolumeError("nan", f"{path} has {count} voxels that are NaN or infinite.")
    return values


def open_volume(path: Path) -> tuple[Volume, Grid]:
    """A volume that is decoded when it is needed; the last two of a process are kept decoded."""
    grid = read_grid(path)
    load = functools.partial(_kept, path, os.stat(path).st_mtime_ns)
    return Volume(key=str(path), load=load, spacing_mm=grid.spacing_mm), grid


def read_mask(path: Path, grid: Grid) -> Integer[np.ndarray, "z y x"]:
    """The labels of a mask that belongs to a volume.

    Raises:
        VolumeError: what `read_grid` refuses; another shape or place than the volume; values that
            are not whole or are negative.
    """
    image, shape = _opened(path)
    turn, own = orient(np.asarray(image.affine, np.float64), shape, str(path))
    if not own.same(grid):
        raise VolumeError(
            "mask_grid",
            f"{path} has {_size(own)} voxels of {_mm(own)} mm, its volume {_size(grid)} of "
            f"{_mm(grid)} mm, or lies elsewhere. Resample the mask onto the volume.",
        )
    values = turn(_stored(image, shape, path))
    # Nearly every mask is stored as small whole numbers, which need no other type and no comparison.
    whole = values.dtype.kind in "iu" and values.dtype.itemsize <= 4 and values.dtype.isnative
    labels = values.astype(np.int32) if not whole else values
    if not (whole or np.array_equal(labels, values)) or labels.min() < 0:
        raise VolumeError("mask_values", f"{path} holds values that are not labels 0, 1, 2, ...")
    return labels


def mask_boxes(labels: Integer[np.ndarray, "z y x"], names: Mapping[int, str]) -> tuple[Box3D, ...]:
    """The extent of every named label that occurs, in voxels, upper corner exclusive."""
    from scipy.ndimage import find_objects

    boxes = []
    for value, found in enumerate(find_objects(labels), start=1):
        if found is not None and value in names:
            z, y, x = ((float(side.start), float(side.stop)) for side in found)
            boxes.append(
                Box3D(name=names[value], x1=x[0], y1=y[0], z1=z[0], x2=x[1], y2=y[1], z2=z[1])
            )
    return tuple(boxes)


def read_m3d(path: Path) -> Float[np.ndarray, "32 256 256"]:
    """A volume as M3D stores it: `.npy`, 1 x 32 x 256 x 256, values 0 to 1, spacing lost.

    Raises:
        VolumeError: not such an array, objects inside, or NaN.
    """
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise VolumeError("npy", f"{path} is not a whole .npy file: {reason}.") from None
    if not isinstance(values, np.ndarray) or values.shape != M3D_SHAPE or values.dtype.kind != "f":
        shape = getattr(values, "shape", "no array")
        raise VolumeError("npy", f"{path} is {shape}; M3D stores 1 x 32 x 256 x 256 as float.")
    found = np.array(values[0], np.float32)
    if not np.isfinite(found).all():
        raise VolumeError("nan", f"{path} has voxels that are NaN or infinite.")
    return found


@functools.lru_cache(maxsize=2)
def _kept(path: Path, changed: int) -> Float[np.ndarray, "z y x"]:
    values = read_volume(path)
    values.setflags(write=False)  # several pictures share it
    return values


def _opened(path: Path) -> tuple[Any, tuple[int, int, int]]:
    """The image, its data still on disk, and its three sizes."""
    try:
        nibabel = importlib.import_module("nibabel")
    except ImportError:
        raise UsageError(f"Reading NIfTI needs nibabel: {MEDICAL}.") from None
    if not path.is_file():
        raise VolumeError("missing", f"No such file: {path}.")
    try:
        image = nibabel.load(path)
        header = image.header
        shape = tuple(int(side) for side in image.shape)
        declared = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
        bytes_promised = int(np.prod(shape, dtype=object)) * image.get_data_dtype().itemsize
        bytes_promised += int(image.dataobj.offset)
    except Exception as error:  # a damaged header makes the parser raise nearly anything
        raise VolumeError(
            "nifti", f"{path} is not a whole NIfTI file ({type(error).__name__}). Copy it again."
        ) from None
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 1:
        listed = " x ".join(map(str, shape))
        raise VolumeError("frames", f"{path} has {listed} voxels; expected three sizes.")
    held = path.stat().st_size * (DENSEST if path.name.lower().endswith(".gz") else 1)
    if np.prod(shape, dtype=object) > MAX_VOXELS or bytes_promised > held:
        listed = " x ".join(map(str, shape))
        raise VolumeError(
            "size",
            f"{path} promises {listed} voxels, which is more than "
            f"{'the file holds' if bytes_promised > held else f'the {MAX_VOXELS:,} that are read'}.",
        )
    if not declared:
        raise VolumeError(
            "orientation",
            f"{path} does not say which way is left (sform and qform codes are 0). Set one of them.",
        )
    return image, (shape[0], shape[1], shape[2])


def _stored(image: Any, shape: tuple[int, int, int], path: Path) -> np.ndarray:
    """The voxels as they are stored, scaled."""
    try:
        return np.asanyarray(image.dataobj).reshape(shape, order="A")
    except Exception as error:  # as above, for the data
        raise VolumeError(
            "truncated", f"{path} is cut off or damaged ({type(error).__name__}). Copy it again."
        ) from None


def _size(grid: Grid) -> str:
    return " x ".join(map(str, grid.shape[::-1]))


def _mm(grid: Grid) -> str:
    return " x ".join(f"{side:.3g}" for side in grid.spacing_mm[::-1])
