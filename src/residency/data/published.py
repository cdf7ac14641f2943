"""What every reader of a published data set shares: its stated facts, and rows turned into a `Dataset`.

The rules, the same for every set: a sample is built when it is indexed; a row that cannot be used is
left out and counted; a sample whose image is absent is left out and counted where other images of
the set are there (a partial download), and kept where none is (annotations alone can be read, and
`data check` then counts every missing image by name).
"""

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from residency.data.images import file_picture
from residency.data.rows import Rows
from residency.data.splits import SPLITS
from residency.dataset import Dataset
from residency.errors import DataError
from residency.provenance import file_hash
from residency.types import Picture, Sample

Row = TypeVar("Row")
ABSENT = "Samples whose image is absent (left out)"
LISTED_FOLDERS = 10_000  # more image folders than this are not listed: opening must stay cheap


@dataclass(frozen=True, kw_only=True)
class Published:
    """The facts of a published set, as its owners state them.

    `name` is that of the reader and of the data set. `sizes` are the published counts of samples per
    split, in the unit that the reader yields; `all` where the owners do not split. `metric` is how
    the papers score it. `access` says what one must do to get the files. `tested_on` is `real` where
    the reader was run on files of the owners, `fixture` where on files that a test writes in the
    published layout.
    """

    name: str
    title: str
    task: str
    sizes: Mapping[str, int]
    metric: str
    source: str
    licence: str
    access: str
    tested_on: Literal["real", "fixture"]
    modality: Mapping[str, str] = field(default_factory=dict)

    def locate(self, where: str) -> Path:
        """The path that the argument means; '' stands for `$RESIDENCY_DATA/<name>`.

        Raises:
            DataError: nothing is there, or '' without $RESIDENCY_DATA.
        """
        folder = os.environ.get("RESIDENCY_DATA", "")
        if not where and not folder:
            raise DataError(
                f"{self.name} needs a path: write {self.name}:PATH, or set $RESIDENCY_DATA to the "
                f"folder that holds {self.name}/. {self.title}: {self.source} ({self.access})."
            )
        path = Path(where) if where else Path(folder) / self.name
        if not path.exists():
            raise DataError(
                f"No such file or folder: {str(path)!r}. {self.title}: {self.source} "
                f"({self.access})."
            )
        return path


@dataclass(kw_only=True)
class Defects:
    """What was wrong with the files: how often each thing, and whole sentences."""

    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, what: str, times: int = 1) -> None:
        """Count `what`: "Rows without an image (left out)"."""
        if times:
            self.counts[what] += times

    def lines(self) -> tuple[str, ...]:
        """The sentences, then a sentence per count."""
        return (*self.notes, *(f"{what}: {n:,}." for what, n in sorted(self.counts.items())))


def holds(path: Path, *names: str) -> bool:
    """Whether a folder has a file or folder of each of these relative names; never raises."""
    try:
        return path.is_dir() and all((path / name).exists() for name in names)
    except (OSError, ValueError):
        return False


def one_of(folder: Path, *names: str) -> Path | None:
    """The first of the relative names that exists below the folder; never raises."""
    return next((folder / name for name in names if holds(folder, name)), None)


def first_of(folder: Path, *names: str) -> Path:
    """The first of the relative names that exists below the folder.

    Raises:
        DataError: none does.
    """
    found = one_of(folder, *names)
    if found is None:
        raise DataError(f"{folder} has no {' and no '.join(names)}. Give the folder as unpacked.")
    return found


def sized_picture(root: Path, name: str, size: tuple[int, int] | None) -> Picture:
    """`file_picture` whose (width, height) in pixels is declared, where known."""
    return replace(file_picture(root, name), size=size)


def assemble(
    about: Published,
    rows: Mapping[str, Sequence[Row]],
    build: Callable[[str, Row], Sample],
    *,
    files: Iterable[Path],
    defects: Defects,
    images: tuple[Path, Callable[[Row], Iterable[str]]] | None = None,
    lacks: Callable[[Row], str] = lambda row: "",
    labels: tuple[str, ...] = (),
    multi_label: bool = False,
) -> Dataset:
    """The data set of `rows` by split; `build(split, row)` makes a sample when it is indexed.

    `files` are the tables that identify the content. `images` is the root folder and what a row
    refers to below it, '/' between folders. `lacks(row)` says what an unusable row is without, '' for
    a usable one.

    Raises:
        DataError: no rows at all.
    """
    if not any(map(len, rows.values())):
        found = "; ".join(defects.lines())
        raise DataError(f"{about.name} has no usable rows. {found or 'The files are empty.'}")
    _compare(about, rows, defects)
    rows = {split: _usable(some, lacks, defects) for split, some in rows.items()}
    told = sum(map(len, rows.values()))
    if images is not None:
        rows = _with_images(rows, *images, defects)
    absent = told - sum(map(len, rows.values()))
    return Dataset(
        name=about.name,
        splits={
            split: Rows(len(rows[split]), functools.partial(_at, build, split, rows[split]))
            for split in sorted(rows, key=_order)
            if len(rows[split])
        },
        labels=labels,
        multi_label=multi_label,
        modality=about.modality,
        digest=digest(files),
        source=about.source,
        licence=about.licence,
        notes=defects.lines(),
        defects={**defects.counts, **({ABSENT: absent} if absent else {})},
    )


def digest(files: Iterable[Path]) -> str:
    """sha256 over the names and contents of files, in order of name."""
    state = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        state.update(f"{path.name}\0{file_hash(path)}\n".encode())
    return state.hexdigest()


def _order(split: str) -> tuple[int, str]:
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), split)


def _at(build: Callable[[str, Row], Sample], split: str, rows: Sequence[Row], place: int) -> Sample:
    return build(split, rows[place])


def _usable(rows: Sequence[Row], lacks: Callable[[Row], str], defects: Defects) -> Sequence[Row]:
    """The rows that lack nothing; the others are counted by what they lack."""
    found = Counter(map(lacks, rows))
    if set(found) <= {""}:
        return rows
    for what, count in found.items():
        if what:
            defects.add(f"Rows without {what} (left out)", count)
    return [row for row in rows if not lacks(row)]


def _compare(about: Published, rows: Mapping[str, Sequence[Row]], defects: Defects) -> None:
    """A note where the counts are not the published ones."""
    found = {split: len(some) for split, some in rows.items() if len(some)}
    if "all" in about.sizes:
        found["all"] = sum(found.values())
    if any(found.get(split) != count for split, count in about.sizes.items()):
        defects.notes.append(f"Rows: {sizes_text(found)}; published: {sizes_text(about.sizes)}.")


def sizes_text(sizes: Mapping[str, int]) -> str:
    """Counts by split in words, "" for none."""
    return ", ".join(f"{split} {sizes[split]:,}" for split in sorted(sizes, key=_order))


def _with_images(
    rows: Mapping[str, Sequence[Row]],
    root: Path,
    names: Callable[[Row], Iterable[str]],
    defects: Defects,
) -> Mapping[str, Sequence[Row]]:
    """The rows whose images are there; all rows where no image is."""
    folders = {
        name.rpartition("/")[0] for some in rows.values() for row in some for name in names(row)
    }
    if len(folders) > LISTED_FOLDERS:
        defects.notes.append(
            f"Images lie in {len(folders):,} folders and are looked for when they are read."
        )
        return rows
    there = {folder: _names(root / folder) for folder in folders}

    def here(name: str) -> bool:
        folder, _, file = name.rpartition("/")
        return file in there[folder]

    kept = {
        split: [row for row in some if all(map(here, names(row)))] for split, some in rows.items()
    }
    total, left = sum(map(len, rows.values())), sum(map(len, kept.values()))
    if left == total:
        return rows
    if not left:
        defects.notes.append(
            f"None of the images is on disk: {total:,} samples have annotations only, and reading "
            "their images fails as missing."
        )
        return rows
    each = ", ".join(
        f"{split} {len(rows[split]) - len(kept[split]):,} of {len(rows[split]):,}"
        for split in sorted(rows, key=_order)
        if len(rows[split])
    )
    defects.notes.append(f"Left out, because an image is absent: {each} samples.")
    return kept


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except (OSError, ValueError):  # absent, or a NUL in its name
        return frozenset()
