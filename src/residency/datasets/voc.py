"""Pascal VOC boxes: an XML file per image.

On disk: `Annotations/*.xml`, `JPEGImages/*` (or `images/*`), and the splits as lists of names in
`ImageSets/Main/{train,val,test}.txt`; without lists, images are split 70/10/20, seeded. A folder of
XML files beside their images is read as well. Source and licence are the owner's.
"""

from dataclasses import replace
from pathlib import Path

from residency.data.annotated import as_dataset, image_folder, with_suffix
from residency.data.annotations import Annotated, read_voc
from residency.data.documents import RowError, read_text
from residency.dataset import Dataset
from residency.errors import DataError

SPLIT_FILES = ("train", "val", "test")
IMAGES = ("JPEGImages", "images", "Images", "")


def recognises(path: Path) -> bool:
    """Whether it is a folder with VOC annotations; never raises."""
    try:
        first = next(iter(sorted(_annotations(path).glob("*.xml"))), None)
        return first is not None and b"<annotation" in first.read_bytes()[:1000]
    except OSError:
        return False


def load(where: str) -> Dataset:
    """Open a VOC folder; an annotation that cannot be used is a bad row.

    Raises:
        DataError: no such folder, no annotation that can be used, or a list of a missing annotation.
    """
    root = Path(where)
    files = sorted(_annotations(root).glob("*.xml")) if where and root.is_dir() else []
    if not files:
        raise DataError(f"No annotations in {where!r}. Write voc:FOLDER with Annotations/*.xml.")
    entries: dict[str, Annotated | RowError] = {}
    for file in files:
        try:
            entries[file.stem] = read_voc(file)
        except DataError as error:
            entries[file.stem] = (
                error if isinstance(error, RowError) else RowError("xml", str(file), str(error))
            )
    usable = [entry.image for entry in entries.values() if isinstance(entry, Annotated)]
    folder = image_folder(root, usable, IMAGES)
    for stem, entry in entries.items():
        if isinstance(entry, Annotated):
            name = with_suffix(root / folder, entry.image)
            entries[stem] = replace(entry, image=f"{folder}/{name}" if folder else name, id=stem)
    return as_dataset(root.resolve().name, _splits(root, entries), root)


def _annotations(path: Path) -> Path:
    named = path / "Annotations"
    return named if named.is_dir() else path


def _splits(
    root: Path, entries: dict[str, Annotated | RowError]
) -> dict[str, list[Annotated | RowError]]:
    """Annotations by split: as the lists say, else all under ""."""
    folder = next((root / f for f in ("ImageSets/Main", "ImageSets") if (root / f).is_dir()), root)
    found: dict[str, list[Annotated | RowError]] = {}
    for split in SPLIT_FILES:
        path = folder / f"{split}.txt"
        if not path.is_file() or not path.stat().st_size:
            continue
        # A line may add a flag after the name (class lists of VOC 2007).
        stems = [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
        if missing := [stem for stem in stems if stem not in entries]:
            raise DataError(f"{path} lists {missing[0]!r}, which has no annotation.")
        found[split] = [entries[stem] for stem in stems]
    return found or {"": list(entries.values())}
