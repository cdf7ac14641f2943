"""Images in folders named after their class: the ImageFolder layout of torchvision.

On disk: `root/{train,val|valid|validation|dev,test}/<class>/<image>`, or `root/<class>/<image>`,
which is split 70/10/20 within each class, seeded, files of equal content together. An underscore in
a class name reads as a space. `root/residency.yaml` or `root/dataset.json` may declare modality
(en, zh), licence, source and the order of the labels. Source and licence are the owner's.
"""

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from residency.data.card import CARD_FILES, Card, distinct_labels, read_card
from residency.data.images import SUFFIXES, file_picture, inside
from residency.data.rows import Rows
from residency.data.splits import SPLITS, SYNONYMS, assign
from residency.dataset import Dataset
from residency.errors import DataError
from residency.provenance import file_hash
from residency.types import Sample

HASHED_BYTES = 2_000_000_000  # above this, contents are identified by name and size


@dataclass(frozen=True, slots=True)
class File:
    """An image file: path below the root, folder name of its class, bytes."""

    name: str
    label: str
    size: int


def recognises(path: Path) -> bool:
    """Two class folders in `train`, one with images; or images in two subfolders."""
    try:
        if not path.is_dir():
            return False
        if (path / "train").is_dir():
            classes = _folders(path / "train")
            return len(classes) > 1 and any(map(_holds_image, classes))
        return sum(_holds_image(entry) for entry in _folders(path)) >= 2
    except OSError:
        return False


def load(where: str) -> Dataset:
    """Open a folder of class folders.

    Raises:
        DataError: no such folder, fewer than two classes, a class without images, a class that
            only a held-out split has, or a symbolic link that leaves the folder.
    """
    root = Path(where)
    if not where or not root.is_dir():
        raise DataError(f"No such folder: {where!r}. Write folder:PATH with class folders in it.")
    card = read_card(root)
    skipped: Counter[str] = Counter()
    found = _splits(root, skipped)
    hashes = _hashes(root, [file for files in found.values() for file in files])
    notes = [*card.notes, *(f"Ignored: {count} {what}." for what, count in sorted(skipped.items()))]
    if not hashes:
        notes.append("Too large to hash here: identified by names and sizes, not by content.")
    given = tuple(found)
    if "val" not in found:
        found = _carve(found, hashes)
        notes.append(_carved(given, found))
    if "test" not in found:
        notes.append("No test split: nothing to evaluate on.")
    notes += _shared_content(found, hashes)
    labels = _labels(root, card, found)
    name = root.resolve().name
    return Dataset(
        name=name,
        splits={
            split: Rows(len(files), functools.partial(_sample, root, name, card, labels, files))
            for split, files in found.items()
        },
        labels=labels,
        modality=card.modality,
        digest=_digest(found, hashes),
        source=card.source,
        licence=card.licence,
        notes=tuple(notes),
    )


def _splits(root: Path, skipped: Counter[str]) -> dict[str, list[File]]:
    """Files by split; only `train`, holding everything, where the folder has no splits."""
    names = {entry.name: entry for entry in _folders(root)}
    if "train" not in names:
        return {"train": _files(root, root, skipped)}
    found: dict[str, list[File]] = {}
    for folder in names:
        split = SYNONYMS.get(folder)
        if split is None:
            skipped["folders beside the splits"] += 1
        elif split in found:
            raise DataError(f"{root} has two folders for the split {split}. Keep one of them.")
        else:
            found[split] = _files(root, root / folder, skipped)
    return {split: found[split] for split in SPLITS if split in found}


def _files(root: Path, parent: Path, skipped: Counter[str]) -> list[File]:
    """The image files of every class folder in `parent`, sorted by class and name."""
    files: list[File] = []
    for folder in _folders(parent):
        _stay(root, folder)
        before = len(files)
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name.startswith("."):
                skipped["hidden files"] += 1
            elif not entry.is_symlink() and entry.is_dir():
                skipped["folders inside classes"] += 1
            elif os.path.splitext(entry.name)[1].lower() not in SUFFIXES:
                skipped["files that are no images"] += 1
            else:
                _stay(root, entry)
                name = os.path.relpath(entry.path, root)
                files.append(File(name, folder.name, _size(entry)))
        if len(files) == before:
            raise DataError(f"The class folder {folder.path} has no images. Fill or remove it.")
    if len({file.label for file in files}) < 2:
        raise DataError(
            f"{parent} has {len({file.label for file in files})} class folders; at least two are "
            "needed, as root/CLASS/IMAGE or root/train/CLASS/IMAGE."
        )
    skipped["files outside class folders"] += sum(
        entry.is_file() and entry.name not in CARD_FILES for entry in os.scandir(parent)
    )
    skipped += Counter()  # drops zero counts
    return files


def _folders(parent: Path) -> list["os.DirEntry[str]"]:
    """Visible subfolders by name; those behind symbolic links too."""
    entries = [e for e in os.scandir(parent) if e.is_dir() and not e.name.startswith((".", "__"))]
    return sorted(entries, key=lambda entry: entry.name)


def _holds_image(folder: "os.DirEntry[str]") -> bool:
    with os.scandir(folder) as entries:
        return any(os.path.splitext(entry.name)[1].lower() in SUFFIXES for entry in entries)


def _stay(root: Path, entry: "os.DirEntry[str]") -> None:
    if entry.is_symlink():
        inside(root, os.path.relpath(entry.path, root))


def _size(entry: "os.DirEntry[str]") -> int:
    if not entry.is_file():
        raise DataError(f"{entry.path} is not a regular file, or a dangling link. Remove it.")
    return entry.stat().st_size


def _hashes(root: Path, files: list[File]) -> dict[str, str]:
    """Content hash by name; empty where reading everything would take too long."""
    if sum(file.size for file in files) > HASHED_BYTES:
        return {}
    return {file.name: file_hash(root / file.name) for file in files}


def _carve(found: dict[str, list[File]], hashes: dict[str, str]) -> dict[str, list[File]]:
    """What is not given (val, or val and test) taken out of train, class by class."""
    shares = (0.9, 0.1, 0.0) if "test" in found else (0.7, 0.1, 0.2)
    parts: dict[str, list[File]] = {split: [] for split in SPLITS}
    by_class: dict[str, list[File]] = {}
    for file in found["train"]:
        by_class.setdefault(file.label, []).append(file)
    for files in by_class.values():
        units = [hashes.get(file.name, file.name) for file in files]
        for file, side in zip(files, assign(units, shares=shares), strict=True):
            parts[SPLITS[side]].append(file)
    parts["test"] = found.get("test", parts["test"])
    return {split: files for split, files in parts.items() if files}


def _carved(given: tuple[str, ...], found: dict[str, list[File]]) -> str:
    counts = ", ".join(f"{split} {len(files)}" for split, files in found.items())
    taken = "val is 10 % of train" if "test" in given else "files were split 70/10/20"
    return (
        f"No val folder: {taken}, per class, seed 0, equal contents together ({counts}). "
        "Files of one patient may lie on both sides: give split folders to prevent that."
    )


def _shared_content(found: dict[str, list[File]], hashes: dict[str, str]) -> Iterator[str]:
    """A sentence for every pair of splits that share contents."""
    contents = {
        split: Counter(hashes[file.name] for file in files if file.name in hashes)
        for split, files in found.items()
    }
    for index, first in enumerate(found):
        for second in list(found)[index + 1 :]:
            shared = sum(contents[second][key] for key in contents[first].keys() & contents[second])
            if shared:
                yield f"{shared} files of {second} have the same content as files of {first}."


def _labels(root: Path, card: Card, found: dict[str, list[File]]) -> tuple[str, ...]:
    """The classes of train by name, or in the declared order."""
    folders = {split: {file.label for file in files} for split, files in found.items()}
    for split in found:
        if extra := sorted(folders[split] - folders["train"]):
            raise DataError(
                f"{root}: {split} has classes that train lacks: {', '.join(extra[:5])}"
                f"{' ...' if len(extra) > 5 else ''}. Add them to train or remove them."
            )
    labels = distinct_labels(tuple(map(_label, sorted(folders["train"]))), str(root))
    if card.labels and sorted(card.labels) != sorted(labels):
        raise DataError(
            f"{root}: the declared labels ({', '.join(card.labels)}) are not the class folders "
            f"({', '.join(labels)}). Make them the same."
        )
    return card.labels or labels


def _label(folder: str) -> str:
    return " ".join(folder.replace("_", " ").split())


def _digest(found: dict[str, list[File]], hashes: dict[str, str]) -> str:
    state = hashlib.sha256()
    for split, files in found.items():
        for file in files:
            state.update(f"{split}\0{file.name}\0{hashes.get(file.name, file.size)}\n".encode())
    return state.hexdigest()


def _sample(
    root: Path, name: str, card: Card, labels: tuple[str, ...], files: list[File], row: int
) -> Sample:
    file = files[row]
    return Sample(
        id=f"{name}/{file.name}",
        dataset=name,
        task="classification",
        answer=_label(file.label),
        images=(file_picture(root, file.name),),
        options=labels,
        modality=card.modality.get("en", ""),
    )
