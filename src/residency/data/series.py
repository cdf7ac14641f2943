"""A series of DICOM slices as one volume: order by position, never by name or number.

A gap, a slice twice, another orientation, size or pixel spacing is an error, because stacking such
slices would stretch the patient without a word.
"""

import functools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from residency.data.dicom import Header
from residency.data.dicom_pixels import measured
from residency.data.volumes import Grid, VolumeError, orient
from residency.types import Volume

MIN_SLICES = 3
TURN = 1e-3  # how far two direction cosines may differ
UNEVEN = 0.05  # how far a slice may lie from its even place, as a share of the distance
Slice = tuple[Path, Header]


def by_series(slices: Sequence[Slice]) -> list[list[Slice]]:
    """The slices of each series, in the order of their first file; a file without one by folder."""
    found: defaultdict[str, list[Slice]] = defaultdict(list)
    for path, header in slices:
        found[header.ids["series"] or str(path.parent)].append((path, header))
    return list(found.values())


def stackable(slices: Sequence[Slice]) -> bool:
    """Whether they claim to be a volume: single frames with positions, and at least three of them."""
    located = all(h.frames == 1 and h.position and h.orientation for _, h in slices)
    return len(slices) >= MIN_SLICES and located


def open_series(slices: Sequence[Slice]) -> tuple[Volume, Grid]:
    """The volume of a series, decoded when it is needed and then kept.

    Raises:
        VolumeError: slices of several orientations, sizes or pixel spacings, a position twice, or
            distances that differ (a slice is missing).
    """
    where = str(slices[0][0].parent)
    _require_alike(slices, where)
    first = slices[0][1]
    across, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    normal = np.cross(across, down)
    heights = np.array([normal @ header.position for _, header in slices])
    order = np.argsort(heights, kind="stable")
    step = _step(heights[order], where)
    origin = np.array(slices[order[0]][1].position)
    rows_mm, columns_mm = first.spacing_mm or (0.0, 0.0)
    affine = np.eye(4)
    affine[:3] = np.stack([across * columns_mm, down * rows_mm, normal * step, origin], axis=1)
    affine[:2] *= -1  # DICOM points to the left and to the back, RAS+ to the right and to the front
    width, height = first.size
    _, grid = orient(affine, (width, height, len(slices)), where)
    paths = tuple(slices[place][0] for place in order)
    volume = Volume(
        key=f"{where}#{len(paths)}:{paths[0].name}",
        load=functools.partial(_load, paths, tuple(map(tuple, affine))),
        spacing_mm=grid.spacing_mm,
    )
    return volume, grid


def _require_alike(slices: Sequence[Slice], where: str) -> None:
    first = slices[0][1]
    if first.spacing_mm is None:
        raise VolumeError("spacing", f"{where}: its slices state no pixel spacing.")
    for path, header in slices[1:]:
        if not np.allclose(header.orientation, first.orientation, atol=TURN):
            raise VolumeError(
                "orientation",
                f"{where} mixes orientations: {path.name} differs from {slices[0][0].name}. "
                "Take the localiser out, or give each series a folder.",
            )
        same = header.spacing_mm is not None and np.allclose(header.spacing_mm, first.spacing_mm)
        if header.size != first.size or not same:
            raise VolumeError(
                "spacing", f"{where}: {path.name} has another size or pixel spacing than the first."
            )


def _step(heights: Float[np.ndarray, " n"], where: str) -> float:
    """The distance of the slices, in mm."""
    step = float((heights[-1] - heights[0]) / (len(heights) - 1))
    even = heights[0] + step * np.arange(len(heights))
    gaps = np.diff(heights)
    if step <= 0 or gaps.min() < UNEVEN * step:
        raise VolumeError("spacing", f"{where} has two slices at the same position.")
    if np.abs(heights - even).max() > UNEVEN * step + 0.01:
        raise VolumeError(
            "spacing",
            f"{where}: its slices lie {gaps.min():.3g} to {gaps.max():.3g} mm apart, so one is "
            "missing or they belong to several series.",
        )
    return step


@functools.lru_cache(maxsize=2)
def _load(
    paths: tuple[Path, ...], affine: tuple[tuple[float, ...], ...]
) -> Float[np.ndarray, "z y x"]:
    stack = np.stack([measured(path).T for path in paths], axis=-1)
    turn, _ = orient(np.array(affine), stack.shape, str(paths[0].parent))
    volume = turn(stack)
    volume.setflags(write=False)
    return volume
