"""What is true of a phantom volume: the exact extent of its structures in voxels."""

from functools import lru_cache

import numpy as np
from jaxtyping import Int

from residency.phantoms.brush import Outline, grid
from residency.phantoms.modalities import ct
from residency.phantoms.modalities.ct import Abdomen, Organ

# x1, y1, z1, x2, y2, z2 in whole voxels; the upper corner exclusive
Extent = tuple[float, float, float, float, float, float]


def extents(abdomen: Abdomen, name: str, size: int) -> tuple[Extent, ...]:
    """The extents of every structure of that name in a volume with `size` x `size` slices.

    A voxel belongs to a structure where its middle lies inside the outline of its slice. A lesion
    that is too small for any voxel has none.
    """
    organs = dict(zip(ct.ORGANS, abdomen.organs, strict=False))
    some = abdomen.organs[len(ct.ORGANS) :] if name == "lesion" else (organs[name],)
    found = (_extent(organ, size) for organ in some)
    return tuple(extent for extent in found if extent is not None)


@lru_cache(maxsize=4096)  # a sample is built anew whenever it is indexed
def _extent(organ: Organ, size: int) -> Extent | None:
    """Sections are scaled about one axis, so each lies within every wider one: the widest decides."""
    sections = {z: section for z in range(ct.DEPTH) if (section := organ.cut(float(z))) is not None}
    if not sections:
        return None
    widest = _inside(max(sections.values(), key=lambda section: section[1])[0], size)
    if not len(widest):
        return None
    first = next(z for z in sections if len(_inside(sections[z][0], size)))
    last = next(z for z in reversed(sections) if len(_inside(sections[z][0], size)))
    (y1, x1), (y2, x2) = widest.min(axis=0).tolist(), (widest.max(axis=0) + 1).tolist()
    return float(x1), float(y1), float(first), float(x2), float(y2), float(last + 1)


def _inside(outline: Outline, size: int) -> Int[np.ndarray, "n 2"]:
    """Row and column of every pixel whose middle lies inside."""
    x, y = grid(size)
    rows, columns = outline.window(size)
    places = np.argwhere(outline.depth(x[rows, columns], y[rows, columns]) > 0)
    return places + np.array([rows.start, columns.start])
