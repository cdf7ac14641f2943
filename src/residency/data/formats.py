"""Users' own files as data sets: find the split files, keep what each row says, build samples.

A file stands alone (rows state `split`, else images are split 70/10/20, seeded) or lies in a folder
as train, val and test. Rows that cannot be used are kept beside the samples of their split: `data
check` counts them, and `bad.sift` decides by `on_bad` whether a run may go on without them.
"""

import csv
import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from residency.data.card import CARD_FILES, Card, distinct_labels, read_card
from residency.data.columns import delimiter_of, read_columns
from residency.data.documents import RowError, json_lines, read_json
from residency.data.images import file_picture, read_image
from residency.data.rows import Rows
from residency.data.said import Image, Said, identity, read_row, shape_of
from residency.data.splits import SPLITS, SYNONYMS, assign, unknown_split
from residency.dataset import Dataset
from residency.errors import DataError
from residency.provenance import file_hash
from residency.types import Picture, Sample

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv")
TABLES = (".csv", ".tsv")
HEAD = 1 << 20  # bytes read to tell the shape of a file
MEDIA = ("", "images", "image", "media", "imgs")  # folders in which paths may start
Entry = Said | RowError
Read = TypeVar("Read")


@runtime_checkable
class States(Protocol):
    """A row that may state its split."""

    @property
    def split(self) -> str:
        """Its name, "" where none is stated."""
        ...


Stated = TypeVar("Stated", bound=States)


class Partial(Rows):
    """The samples of a split, and in `faults` the rows beside them that cannot be used."""

    def __init__(
        self, count: int, build: Callable[[int], Sample], faults: Sequence[RowError]
    ) -> None:
        super().__init__(count, build)
        self.faults = tuple(faults)


def gathered(
    faults: Mapping[str, Sequence[RowError]], kept: Collection[str], where: Path | str
) -> dict[str, list[RowError]]:
    """The faults of the splits that are `kept`; those of others are counted with the first of these.

    Raises:
        DataError: no split is kept, so no row of `where` can be used.
    """
    if not kept:
        first = next((fault for some in faults.values() for fault in some), "There are no rows.")
        raise DataError(f"{where}: no row can be used. {first}")
    found: dict[str, list[RowError]] = {split: [] for split in kept}
    for split, some in faults.items():
        found[split if split in found else next(iter(found))] += some
    return found


def unusable(faults: Mapping[str, Sequence[RowError]]) -> Iterator[str]:
    """A sentence that counts faults by code, where there are any."""
    if counts := Counter(entry.code for some in faults.values() for entry in some):
        listed = ", ".join(f"{code} {count}" for code, count in counts.most_common())
        yield f"Rows that cannot be used: {listed}. See `data check`."


def files_of(path: Path, suffixes: Sequence[str] = SUFFIXES) -> dict[str, Path]:
    """The file of each split, under "" for a file that is not one split; empty where none is."""
    try:
        if path.is_file():
            return {"": path} if path.suffix in suffixes else {}
        found = sorted(entry for entry in path.iterdir() if entry.suffix in suffixes)
    except OSError:
        return {}
    named = {
        SYNONYMS[entry.stem.lower()]: entry for entry in found if entry.stem.lower() in SYNONYMS
    }
    if named:
        return {split: named[split] for split in SPLITS if split in named}
    return {"": found[0]} if len(found) == 1 and found[0].name != "dataset.json" else {}


def first_row(path: Path) -> Mapping[str, object]:
    """The first object of a JSON or JSON-lines file, as far as its head tells; never raises.

    Of a CSV or TSV, the names of its columns.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD).decode("utf-8-sig", errors="ignore").lstrip()
        if path.suffix in TABLES:
            delimiter = delimiter_of(head, path.suffix)
            names = next(csv.reader(head.splitlines()[:1], delimiter=delimiter), [])
            return dict.fromkeys(name.strip() for name in names)
        start = head.index("{")
        if head[:start].strip() not in ("", "["):
            return {}
        value = json.JSONDecoder().raw_decode(head, start)[0]
        inside = [v[0] for v in value.values() if isinstance(v, list) and v]
        if len(inside) == 1 and isinstance(inside[0], dict) and not shape_of(set(value)):
            value = inside[0]  # {"data": [...]} and the like
        return {key.strip(): entry for key, entry in value.items()}
    except json.JSONDecodeError:  # longer than the head, or damaged: the keys are what is left
        return dict.fromkeys(re.findall(r'"\s*(\w+)\s*"\s*:', head[:10_000]))
    except (OSError, ValueError, RecursionError, csv.Error):
        return {}


def has_shape(path: Path, shapes: Iterable[str]) -> bool:
    """Whether the files of a path hold rows of one of these shapes; never raises."""
    files = files_of(path)
    return bool(files) and shape_of(set(first_row(next(iter(files.values()))))) in set(shapes)


def load_rows(where: str, reader: str, read: Callable[[object, str], Said] = read_row) -> Dataset:
    """The data set of a JSON or JSON-lines file, or of a folder with one per split.

    Raises:
        DataError: no such file, not UTF-8, no list of rows, or no row that can be used.
    """
    path = Path(where)
    files = files_of(path) if where else {}
    if not files:
        raise DataError(
            f"No such file: {where!r}. Write {reader}:PATH ({', '.join(SUFFIXES)}), or a folder "
            "with train.json, val.json, test.json."
        )
    entries = {split: list(rows_of(file, read)) for split, file in files.items()}
    root = path if path.is_dir() else path.parent
    name = path.stem if path.is_file() else path.resolve().name
    made = as_dataset(name, entries, root, digest=digest_of(files))
    return replace(made, notes=(*made.notes, *_beside(path, files.values())))


def _beside(path: Path, files: Iterable[Path]) -> Iterator[str]:
    """A sentence about files that could hold rows and are not read."""
    if path.is_dir():
        every = (entry for entry in path.iterdir() if entry.suffix in SUFFIXES)
        names = {entry.name for entry in every} - {file.name for file in files} - {*CARD_FILES}
        if names:
            yield f"Files beside the splits, which are not read: {', '.join(sorted(names)[:5])}."


def rows_of(path: Path, read: Callable[[object, str], Read]) -> Iterable[Read | RowError]:
    """What `read` makes of every row of a file, the error where it fails.

    Raises:
        DataError: not UTF-8, or a JSON value that is no list of rows.
    """
    rows: Iterable[tuple[int, object]]
    lined = path.suffix == ".jsonl"
    if lined:
        rows = json_lines(path)
    elif path.suffix in TABLES:
        columns = {name: values.to_pylist() for name, values in read_columns(path).items()}
        cells = zip(*columns.values(), strict=True)
        rows = enumerate((dict(zip(columns, row, strict=True)) for row in cells), start=1)
    else:
        value = read_json(path)
        if isinstance(value, dict):
            # {"data": [...]} and the like; one object alone is one row.
            lists = [entry for entry in value.values() if isinstance(entry, list)]
            value = lists[0] if len(lists) == 1 and not shape_of(set(value)) else [value]
        if not isinstance(value, list):
            raise DataError(f"{path} holds no list of rows.")
        rows = enumerate(value, start=1)
    for number, row in rows:
        place = f"{path} {'line' if lined else 'row'} {number}"
        try:
            yield row if isinstance(row, RowError) else read(row, place)
        except RowError as error:
            yield error


def as_dataset(
    name: str, entries: Mapping[str, Sequence[Entry]], root: Path, *, digest: str
) -> Dataset:
    """A data set of rows in memory; those under the split "" are split by what they say.

    Raises:
        DataError: no row can be used; two labels that a response cannot tell apart.
    """
    card = read_card(root)
    entries = {file: rows if file else sided(name, rows) for file, rows in entries.items()}
    said = [entry for rows in entries.values() for entry in rows if isinstance(entry, Said)]
    notes = [*card.notes]
    splits = _splits(entries, notes)
    bad = {
        split: [entry for entry in rows if isinstance(entry, RowError)]
        for split, rows in entries.items()
    }
    faults = gathered(bad, splits, root / name)
    pictured = sum(bool(entry.images) for entry in said)
    if not pictured:
        raise DataError(
            f"{root / name}: no row names an image. Put its path under the key `image` or `images`."
        )
    if pictured < len(said):
        notes.append(f"Rows without an image, which are text alone: {len(said) - pictured}.")
    media = _media(root, said, notes)
    labels = card.labels or _labels(splits)
    if count := sum(entry.unheard for entry in said):
        notes.append(f"System turns left out, because the task words the instruction: {count}.")
    notes += unusable(faults)
    return Dataset(
        name=name,
        splits={
            split: Partial(
                len(rows),
                functools.partial(_sample, name, media, card, labels, rows),
                faults[split],
            )
            for split, rows in splits.items()
        },
        labels=distinct_labels(labels, str(root / name)),
        modality=card.modality,
        digest=digest,
        source=card.source,
        licence=card.licence,
        notes=tuple(notes),
    )


def sided(name: str, rows: Sequence[Stated | RowError]) -> Sequence[Stated | RowError]:
    """The rows of a file; where some state a split, a row without one is bad."""
    if not any(not isinstance(entry, RowError) and entry.split for entry in rows):
        return rows
    return [
        entry
        if isinstance(entry, RowError) or entry.split
        else RowError("split", f"{name} row {number}", unknown_split(""))
        for number, entry in enumerate(rows, start=1)
    ]


def _splits(entries: Mapping[str, Sequence[Entry]], notes: list[str]) -> dict[str, list[Said]]:
    """Usable rows by split: as the files say, else as the rows say, else by group or image."""
    found: dict[str, list[Said]] = {split: [] for split in SPLITS}
    for file, rows in entries.items():
        usable = [entry for entry in rows if isinstance(entry, Said)]
        if file:
            found[file] += usable
            continue
        stated = [SYNONYMS[entry.split.lower()] if entry.split else "" for entry in usable]
        if not all(stated):
            places = assign([_unit(entry, number) for number, entry in enumerate(usable)])
            stated = [SPLITS[place] for place in places]
            notes.append("No split stated: groups (else images) were split 70/10/20, seed 0.")
        for side, entry in zip(stated, usable, strict=True):
            found[side].append(entry)
    return {split: some for split, some in found.items() if some}


def _unit(entry: Said, number: int) -> str:
    if entry.group or not entry.images:
        return f"g{entry.group}" if entry.group else f"row {number}"
    return f"i{identity(entry.images[0])}"


def _media(root: Path, said: Sequence[Said], notes: list[str]) -> Path:
    """The folder in which the paths of images start."""
    paths = [image for entry in said[:50] for image in entry.images if isinstance(image, str)]
    for folder in MEDIA:
        # A path that leaves the folder, or holds a NUL, is judged where it is read.
        if any("\0" not in path and (root / folder / path).is_file() for path in paths):
            if folder:
                notes.append(f"Image paths start in the folder {folder!r}.")
            return root / folder
    return root


def _labels(splits: Mapping[str, Sequence[Said]]) -> tuple[str, ...]:
    """The distinct labels of all rows, by name."""
    rows = (entry for some in splits.values() for entry in some)
    return tuple(sorted({str(entry.label) for entry in rows if entry.label is not None}))


def _sample(
    name: str, media: Path, card: Card, labels: tuple[str, ...], rows: Sequence[Said], place: int
) -> Sample:
    return sample_of(rows[place], name, media, labels, card.modality.get("en", ""), f"row-{place}")


def sample_of(
    said: Said, name: str, media: Path, labels: tuple[str, ...], modality: str, place: str
) -> Sample:
    """The sample of a row; later turns of a conversation are its `also`."""
    key = f"{name}/{said.id or place}"
    pictures = tuple(picture_of(image, media, key) for image in said.images)
    common = {"dataset": name, "images": pictures, "modality": modality, "group": said.group}
    if said.label is not None:
        answer = str(said.label)
        if isinstance(said.label, int) and said.label < len(labels) and answer not in labels:
            answer = labels[said.label]  # a class number of a file that declares its names
        return Sample(id=key, task="classification", answer=answer, options=labels, **common)  # type: ignore[arg-type]
    samples = [
        Sample(
            id=key if number == 0 else f"{key}#{number}",
            # A short answer is scored word by word; one of several lines keeps them.
            task="vqa" if question and answer == " ".join(answer.split()) else "caption",
            question=question,
            answer=answer,
            **common,  # type: ignore[arg-type]
        )
        for number, (question, answer) in enumerate(said.turns)
    ]
    return replace(samples[0], also=tuple(samples[1:]))


def picture_of(image: Image, media: Path, where: str) -> Picture:
    """The picture of a path below `media`, or of bytes."""
    if isinstance(image, str):
        return file_picture(media, image)
    load = functools.partial(read_image, image, f"the image of {where}")
    return Picture(key=identity(image), load=load)


def digest_of(files: Mapping[str, Path]) -> str:
    """Identifies the content of the file of each split."""
    state = hashlib.sha256()
    for split, path in files.items():
        state.update(f"{split}\0{file_hash(path)}\n".encode())
    return state.hexdigest()
