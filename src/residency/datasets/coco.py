"""COCO boxes: one JSON of images, categories and annotations per split.

On disk: the JSON alone beside its images, or a folder with `annotations/instances_train2017.json` and
images in `train2017/`, or `train/_annotations.coco.json` beside its images (Roboflow). Segmentations
are not read; crowds are left out and counted. Source and licence are the owner's.
"""

import re
from pathlib import Path

from residency.data.annotated import as_dataset, image_folder
from residency.data.annotations import Annotated, read_coco
from residency.data.documents import RowError
from residency.data.formats import HEAD
from residency.data.splits import ALLOWED, SYNONYMS, side_by_side
from residency.dataset import Dataset
from residency.errors import DataError

KEYS = ("images", "annotations", "categories")


def recognises(path: Path) -> bool:
    """Whether it is a COCO file, or a folder that holds some; never raises."""
    try:
        files = [file for some in _files(path).values() for file in some]
        return bool(files) and all(map(_is_coco, files))
    except OSError:
        return False


def load(where: str) -> Dataset:
    """Open a COCO file or a folder of them; an image with an annotation of no use is a bad row.

    Raises:
        DataError: no such file, not COCO, or several files of one split or of none that is known.
    """
    path = Path(where)
    files = _files(path) if where and path.exists() else {}
    if not files:
        raise DataError(f"No such file: {where!r}. Write coco:PATH of a JSON, or of its folder.")
    root = path if path.is_dir() else path.parent
    for split, some in files.items():
        if len(some) > 1:
            listed = ", ".join(file.relative_to(root).as_posix() for file in some[:5])
            raise DataError(
                f"{path} has {len(some)} files {f'of {split}' if split else 'of no known split'}: "
                f"{listed}. Name one as coco:FILE, or name them after {ALLOWED}."
            )
    if wrong := side_by_side(files):
        raise DataError(f"{path}: {wrong}")
    found: dict[str, list[Annotated | RowError]] = {}
    names: list[str] = []
    notes = []
    for split, (file, *_) in files.items():
        coco = read_coco(file)
        names += [name for name in coco.names if name not in names]
        if coco.crowds:
            notes.append(f"Crowd regions left out of {file.name}: {coco.crowds}.")
        images = [entry.image for entry in coco.images if isinstance(entry, Annotated)]
        beside = file.parent.relative_to(root).as_posix()
        word = _word(file)
        folder = image_folder(
            root, images, ("", beside, word, "images", f"images/{word}", split, f"images/{split}")
        )
        found[split] = [
            _below(entry, folder) if isinstance(entry, Annotated) else entry
            for entry in coco.images
        ]
    return as_dataset(path.stem if path.is_file() else path.resolve().name, found, root,
                      notes=notes, names=names)  # fmt: skip


def _below(entry: Annotated, folder: str) -> Annotated:
    name = f"{folder}/{entry.image}" if folder else entry.image
    return Annotated(image=name, boxes=entry.boxes, size=entry.size, id=entry.id)


def _files(path: Path) -> dict[str, list[Path]]:
    """COCO files by split, under "" those that state none."""
    if path.is_file():
        return {"": [path]} if path.suffix == ".json" else {}
    if not path.is_dir():
        return {}
    found: dict[str, list[Path]] = {}
    listed = [*path.glob("annotations/*.json"), *path.glob("*/_annotations.coco.json")]
    for file in sorted(listed or path.glob("*.json")):
        if file.stem.startswith(("captions_", "person_keypoints_", "image_info_", "stuff_")):
            continue  # other annotations of the same images
        found.setdefault(_split(file), []).append(file)
    return found


def _word(file: Path) -> str:
    """`train2017` of `instances_train2017.json`, `train` of `train/_annotations.coco.json`."""
    return file.parent.name if file.stem.startswith("_") else file.stem.rpartition("_")[2]


def _split(file: Path) -> str:
    return SYNONYMS.get(re.sub(r"\d+$", "", _word(file)).lower(), "")


def _is_coco(path: Path) -> bool:
    """By its head and tail: a file of gigabytes is not read to be recognised."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        text = stream.read(HEAD)
        if size > HEAD:
            stream.seek(max(HEAD, size - HEAD))
            text += stream.read(HEAD)
    found = [f'"{key}"'.encode() in text for key in KEYS]
    return all(found) or (size > 2 * HEAD and sum(found) == 2)
