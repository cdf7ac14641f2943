"""Volumes: where every voxel lies in the patient, and which slices stand for it as pictures.

Arrays are `[z, y, x]` in RAS+ order: x grows to the patient's right, y to the front, z to the head.
Pictures of slices are turned as radiologists look at them: front up, the patient's right at the left.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Num, UInt8

from residency.data.images import array_image
from residency.data.windows import PRESETS, Window, Windows, shown, windows
from residency.errors import DataError, UsageError
from residency.types import Box3D, Picture, Volume

FRAMES = 32
MAX_VOXELS = 2**29  # 2 GiB as float32
SAMPLED = 2**20  # voxels, at least, from which the window of a volume is taken
Choice = Literal["uniform", "all"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a volume is shown: how many slices, chosen how, through which window (None: its own)."""

    how: Choice = "uniform"
    count: int = FRAMES
    window: Windows | None = None

    @classmethod
    def of(cls, window: str, frames: str) -> "Look":
        """What the options say; `frames` is a number or `all`, `window` "" or see `windows`.

        Raises:
            UsageError: anything else.
        """
        shown = windows(window) if window else None
        if frames == "all":
            return cls("all", FRAMES, shown)
        if not frames.isdecimal() or not int(frames):
            raise UsageError(f"frames={frames}: expected a number of slices, or all.")
        return cls("uniform", int(frames), shown)

    @property
    def mark(self) -> str:
        """Tells this look from others in the identity of a data set; "" for that by default."""
        return "" if self == Look() else repr(self)


class VolumeError(DataError):
    """A volume that cannot be used; `code` says why in one word, for counting."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the voxels of a RAS+ volume lie.

    `shape` is (z, y, x) in voxels; `affine` holds four rows that take the middle of voxel (x, y, z)
    to millimetres in the scanner's RAS+ frame.
    """

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, float, float, float], ...]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """The size of a voxel along (z, y, x)."""
        sizes = np.sqrt((np.array(self.affine)[:3, :3] ** 2).sum(axis=0))
        return float(sizes[2]), float(sizes[1]), float(sizes[0])

    def mm(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """Millimetres of a place given in voxels; whole numbers are the middles of voxels."""
        found = np.array(self.affine) @ (x, y, z, 1.0)
        return float(found[0]), float(found[1]), float(found[2])

    def voxel(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """The place in voxels (x, y, z) of a place in millimetres."""
        found = np.linalg.inv(np.array(self.affine)) @ (x, y, z, 1.0)
        return float(found[0]), float(found[1]), float(found[2])

    def box_mm(self, box: Box3D) -> tuple[float, float, float, float, float, float]:
        """x1, y1, z1, x2, y2, z2 in millimetres: the outer faces of the box's voxels.

        Exact where the volume is not oblique; otherwise the two corners, taken to millimetres.
        """
        low = self.mm(box.x1 - 0.5, box.y1 - 0.5, box.z1 - 0.5)
        high = self.mm(box.x2 - 0.5, box.y2 - 0.5, box.z2 - 0.5)
        return *low, *high

    def box(self, name: str, corners_mm: tuple[float, ...]) -> Box3D:
        """The box in voxels whose faces lie at x1, y1, z1, x2, y2, z2 millimetres."""
        low = (value + 0.5 for value in self.voxel(*corners_mm[:3]))
        high = (value + 0.5 for value in self.voxel(*corners_mm[3:]))
        x1, y1, z1 = low
        x2, y2, z2 = high
        return Box3D(name=name, x1=x1, y1=y1, z1=z1, x2=x2, y2=y2, z2=z2)

    def same(self, other: "Grid") -> bool:
        """Whether two volumes have the same voxels, within a hundredth of one."""
        near = 0.01 * min(self.spacing_mm)
        return self.shape == other.shape and np.allclose(self.affine, other.affine, atol=near)


@dataclass(frozen=True, slots=True)
class Slices:
    """Which slices were taken: the map between a frame's number, its voxel and its millimetres.

    `as_stored` slices are shown as they lie in the array, not turned as those of a RAS+ volume are.
    """

    places: tuple[int, ...]
    first_mm: float
    step_mm: float
    as_stored: bool = False

    def voxel(self, frame: float) -> float:
        """The voxel z of a place between frames, as a model states it."""
        return float(np.interp(frame, range(len(self.places)), self.places))

    def mm(self, frame: float) -> float:
        """The height in the scanner, in mm, of a place between frames."""
        return self.first_mm + self.voxel(frame) * self.step_mm

    def frame(self, voxel: float) -> float:
        """The place between frames of a voxel z."""
        return float(np.interp(voxel, self.places, range(len(self.places))))

    @property
    def attributes(self) -> Mapping[str, str]:
        """The map as attributes of a sample."""
        return {
            "slices": " ".join(map(str, self.places)),
            "first_mm": f"{self.first_mm:.6g}",
            "step_mm": f"{self.step_mm:.6g}",
            **({"as_stored": "yes"} if self.as_stored else {}),
        }

    @classmethod
    def of(cls, attributes: Mapping[str, str]) -> "Slices":
        """The map that `attributes` wrote down."""
        places = tuple(int(place) for place in attributes["slices"].split())
        first, step = float(attributes["first_mm"]), float(attributes["step_mm"])
        return cls(places, first, step, "as_stored" in attributes)


def choose(depth: int, *, how: Choice = "uniform", count: int = FRAMES) -> tuple[int, ...]:
    """The slices that stand for `depth` of them: all, or the middles of `count` equal parts.

    Raises:
        UsageError: a count under one, or no such way to choose.
    """
    if how not in ("uniform", "all") or count < 1:
        raise UsageError(
            f"frames={count}, choice={how!r}: expected at least one frame, `uniform` or `all`."
        )
    if how == "all" or depth <= count:
        return tuple(range(depth))
    return tuple(int((part + 0.5) * depth / count) for part in range(count))


def frames(
    volume: Volume,
    grid: Grid,
    look: Look = Look(),
) -> tuple[tuple[Picture, ...], Slices]:
    """Slices as pictures, and the map back; `volume.load` should keep what it has just decoded.

    Three windows give the three colours of every picture. Without a window, values below -200 mean
    Hounsfield units and the window `abdomen`; else half a percent is cut at either end of the volume.
    """
    places = choose(grid.shape[0], how=look.how, count=look.count)
    mark = f" {look.window}" if look.window else ""
    pictures = tuple(
        Picture(
            key=f"{volume.key}#z={place}{mark}",
            load=functools.partial(_picture, volume.load, place, look.window),
            size=(grid.shape[2], grid.shape[1]),
        )
        for place in places
    )
    return pictures, Slices(places, grid.mm(0.0, 0.0, 0.0)[2], float(grid.affine[2][2]))


def _picture(load: Callable[[], np.ndarray], place: int, window: Windows | None) -> Any:
    shown_by = window or _natural(load)
    return array_image(slice_pixels(load()[place], shown_by))


@functools.lru_cache(maxsize=32)  # the slices of a sample share its `load`
def _natural(load: Callable[[], np.ndarray]) -> Window:
    return natural_window(load())


def slice_pixels(values: Num[np.ndarray, "y x"], window: Windows) -> UInt8[np.ndarray, "y x *c"]:
    """One RAS+ slice as a radiologist sees it; three windows become RGB."""
    turned = values[::-1, ::-1]
    if isinstance(window, Window):
        return shown(turned, window)
    return np.stack([shown(turned, one) for one in window], axis=-1)


def natural_window(values: Num[np.ndarray, "z y x"]) -> Window:
    """The window of a volume for which none is declared."""
    if values.min() < -200:
        return PRESETS["abdomen"]
    some = values.ravel()[:: max(1, values.size // SAMPLED)]
    low, high = (float(edge) for edge in np.percentile(some, (0.5, 99.5)))
    return Window.between(low, high if high > low else low + 1)


def orient(
    affine: Num[np.ndarray, "4 4"], shape: tuple[int, ...], where: str
) -> tuple[Callable[[np.ndarray], np.ndarray], Grid]:
    """How to turn voxels `[i, j, k]` of this affine into `[z, y, x]` RAS+, and where they then lie.

    Raises:
        VolumeError: an affine that is not finite or flattens the volume.
    """
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    columns = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    flat = not np.isfinite(affine).all() or not columns.all()
    if flat or abs(np.linalg.det(affine[:3, :3] / columns)) < 0.1:
        raise VolumeError(
            "orientation", f"{where}: its affine does not say where voxels lie. Correct the header."
        )
    turn = io_orientation(affine)
    turned = affine @ inv_ornt_aff(turn, shape)
    sizes = [0, 0, 0]
    for axis, (to, _) in enumerate(turn):
        sizes[int(to)] = shape[axis]
    rows = tuple(tuple(float(value) for value in row) for row in turned)

    def apply(voxels: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(apply_orientation(voxels, turn).T)

    return apply, Grid((sizes[2], sizes[1], sizes[0]), rows)  # type: ignore[arg-type]
