"""ISBI 2015 cephalometric radiographs: 400 lateral skulls with 19 landmarks (Wang et al., 2016).

Source: figshare 3471833 (IEEE ISBI 2015 challenge), for research, open download. On disk, as
published: `RawImage/{TrainingData,Test1Data,Test2Data}/NNN.bmp` (001-150, 151-300, 301-400; 1935 x
2400 pixels of 0.1 mm) and `400_senior/NNN.txt`, `400_junior/NNN.txt` (or in `AnnotationsByMD/`),
whose first 19 lines are `x,y`; the reference is the mean of both. Another layout, also read:
`images/NNN.jpg`, `metadata.yaml`, and `points.csv` with columns document and points, the latter
`{0: {'x': 832.0, 'y': 994.0}, ...}`; it repeats 001.jpg, which is taken once. One sample per image
and landmark, as UMIT counts: 2,850 train, 4,750 test (both tests; `attributes["part"]` says test1
or test2). `attributes["spacing_mm"]` is the pixel size.

tested on: real (points.csv) and fixture (the challenge's folders)
"""

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from residency.data.published import Defects, Published, assemble, holds, one_of, sized_picture
from residency.data.records import read_table
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Point, Sample

LANDMARKS = (
    "Sella", "Nasion", "Orbitale", "Porion", "Subspinale", "Supramentale", "Pogonion", "Menton",
    "Gnathion", "Gonion", "Incision inferius", "Incision superius", "Upper lip", "Lower lip",
    "Subnasale", "Soft tissue pogonion", "Posterior nasal spine", "Anterior nasal spine",
    "Articulare",
)  # fmt: skip
SIZE = (1935, 2400)
SPACING_MM = 0.1
PARTS = ((150, "train"), (300, "test1"), (400, "test2"))  # the last image of each part
FOLDERS = {"train": "TrainingData", "test1": "Test1Data", "test2": "Test2Data"}
_POINT = re.compile(r"(\d+):\s*\{'x':\s*(-?[\d.]+),\s*'y':\s*(-?[\d.]+)\}")
ABOUT = Published(
    name="cephalometric",
    title="ISBI 2015 cephalometric",
    task="landmark",
    sizes={"train": 2850, "test": 4750},
    metric="mean radial error in mm; success within 2, 2.5, 3 and 4 mm",
    source="figshare.com/articles/3471833",
    licence="for research",
    access="open download",
    tested_on="real",
    modality={"en": "lateral cephalometric X-ray", "zh": "侧位头影测量X光"},
)


class Mark(NamedTuple):
    """One landmark of one image, in pixels; `part` is train, test1 or test2."""

    image: str
    part: str
    landmark: int
    x: float
    y: float


def recognises(path: Path) -> bool:
    """`RawImage`, or `points.csv` beside `images`."""
    if holds(path, "RawImage"):
        return one_of(path, "400_senior", "AnnotationsByMD/400_senior") is not None
    return holds(path, "points.csv", "images")


def load(where: str) -> Dataset:
    """Open either layout.

    Raises:
        DataError: neither is there, or an image has other than 19 points.
    """
    root, defects = ABOUT.locate(where), Defects()
    if holds(root, "points.csv"):
        files, base = [root / "points.csv"], root / "images"
        marks = list(_points(root, defects))
    elif holds(root, "RawImage"):
        base = root / "RawImage"
        files, marks = _annotations(root, defects)
    else:
        raise DataError(f"{root} has neither RawImage nor points.csv. Give the unpacked folder.")
    rows: dict[str, list[Mark]] = {"train": [], "test": []}
    for mark in marks:
        rows["train" if mark.part == "train" else "test"].append(mark)
    return assemble(
        ABOUT,
        rows,
        functools.partial(_sample, base),
        files=files,
        defects=defects,
        images=(base, lambda mark: (mark.image,)),
    )


def _part(stem: str) -> str:
    number = int(stem) if stem.isdigit() else 0
    part = next((part for last, part in PARTS if 1 <= number <= last), None)
    if part is None:
        raise DataError(f"Image {stem!r} is not one of 001 to 400, so its split is unknown.")
    return part


def _points(root: Path, defects: Defects) -> Iterator[Mark]:
    seen: dict[str, str] = {}
    for image, text in read_table(root / "points.csv", ("document", "points"), defects):
        if image in seen:
            same = "repeat an image" if seen[image] == text else "contradict an image's first row"
            defects.add(f"Rows of points.csv that {same} (left out)")
            continue
        seen[image] = text
        found = {int(n): (float(x), float(y)) for n, x, y in _POINT.findall(text)}
        yield from _marks(image, _part(Path(image).stem), [found.get(n) for n in range(19)])


def _annotations(root: Path, defects: Defects) -> tuple[list[Path], list[Mark]]:
    readers = [
        folder
        for name in ("400_senior", "400_junior")
        if (folder := one_of(root, name, f"AnnotationsByMD/{name}")) is not None
    ]
    if len(readers) < 2:
        defects.notes.append("One of 400_senior and 400_junior is absent: not the mean of both.")
    files: list[Path] = []
    marks: list[Mark] = []
    for path in sorted(readers[0].glob("*.txt")) if readers else ():
        both = [folder / path.name for folder in readers if (folder / path.name).is_file()]
        files += both
        points = [_mean(pair) for pair in zip(*map(_lines, both), strict=True)]
        part = _part(path.stem)
        marks += _marks(f"{FOLDERS[part]}/{path.stem}.bmp", part, points)
    return files, marks


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Where several readers put one landmark, on average."""
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _lines(path: Path) -> list[tuple[float, float]]:
    try:
        pairs = [text.split(",") for text in path.read_text(encoding="utf-8").split()[:19]]
        found = [(float(x), float(y)) for x, y in pairs]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} does not begin with 19 lines `x,y`: {error}.") from None
    if len(found) != len(LANDMARKS):
        raise DataError(f"{path} has {len(found)} points; expected {len(LANDMARKS)}.")
    return found


def _marks(image: str, part: str, points: Sequence[tuple[float, float] | None]) -> Iterator[Mark]:
    for place, point in enumerate(points):
        if point is None:
            raise DataError(f"{image} lacks landmark {place} ({LANDMARKS[place]}).")
        yield Mark(image, part, place, *point)


def _sample(root: Path, split: str, mark: Mark) -> Sample:
    name = LANDMARKS[mark.landmark]
    stem = Path(mark.image).stem
    return Sample(
        id=f"{ABOUT.name}/{split}/{stem}/{mark.landmark + 1}",
        dataset=ABOUT.name,
        task="landmark",
        answer=(Point(name=name, x=mark.x, y=mark.y),),
        images=(sized_picture(root, mark.image, SIZE),),
        question=name,
        options=LANDMARKS,
        modality=ABOUT.modality["en"],
        group=stem,
        attributes={"spacing_mm": str(SPACING_MM), "part": mark.part},
    )
