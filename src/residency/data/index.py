"""An index of the rows of a data set: sizes, lengths, contents and what is wrong, each row read once.

A row is read again when the size or time of one of its files has changed, and when it was bad, so
that what was mended counts as mended. Entries lie in shards of 1,024 rows, named after the content of
the data set; reading that was stopped goes on where it was. Images are decoded in several threads
and let go at once: an index keeps numbers, never pixels.
"""

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from residency.data.cache import cache_folder, write_whole
from residency.data.defects import Seen, defects_of
from residency.data.images import MARKS, ImageError
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Picture, Sample

VERSION = 1  # of the entries, and of the rules by which images are read
SHARD = 1024
KEPT = 65_536  # pictures of which a reader remembers what it saw
READERS = min(8, os.cpu_count() or 1)
PACE = 2.0  # seconds between two lines of progress


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a row. `sizes` are (width, height) of each image, (0, 0) for one that fails.

    `contents` are hashes of the pixels, "" as above; `letters` counts the characters of question
    and textual answer; `marks` say by which rules images were read (`images.MEANINGS`), one entry
    for each image and rule; `defects` are pairs of code and reason, none for a row that can be used.
    """

    stamp: int
    letters: int
    sizes: tuple[tuple[int, int], ...]
    contents: tuple[str, ...]
    marks: tuple[str, ...]
    defects: tuple[tuple[str, str], ...]

    def as_json(self) -> list[object]:
        """Plain lists."""
        return [self.stamp, self.letters, self.sizes, self.contents, self.marks, self.defects]

    @classmethod
    def of(cls, value: list[Any]) -> "Entry":
        """The inverse of `as_json`."""
        stamp, letters, sizes, contents, marks, defects = value
        return cls(
            stamp,
            letters,
            tuple(map(tuple, sizes)),
            tuple(contents),
            tuple(marks),
            tuple(map(tuple, defects)),
        )


@dataclass(frozen=True, kw_only=True)
class Index:
    """The entries of one split. `folder` is where its shards are kept, None for nowhere."""

    name: str
    samples: Sequence[Sample]
    folder: Path | None
    _eyes: "_Eyes" = field(default_factory=lambda: _Eyes(), repr=False)

    @classmethod
    def open(cls, dataset: Dataset, split: str) -> "Index":
        """The index of a split of a data set, wherever its files lie."""
        said = json.dumps([VERSION, dataset.name, dataset.digest, split])
        key = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return cls(
            name=f"{dataset.name}/{split}",
            samples=dataset.split(split),
            folder=cache_folder("index") / key if dataset.digest else None,
        )

    def entries(self, rows: Sequence[int] | None = None) -> Iterator[tuple[int, Entry]]:
        """Row and entry of the given rows (all where None), in their order, a shard at a time.

        Rows must ascend.
        """
        wanted = range(len(self.samples)) if rows is None else rows
        said = time.monotonic()
        done = 0
        for number, some in _by_shard(wanted):
            yield from self._shard(number, some)
            done += len(some)
            if time.monotonic() - said > PACE and sys.stderr.isatty():
                said = time.monotonic()
                print(f"{self.name}: {done:,} of {len(wanted):,} read once", file=sys.stderr)

    def _shard(self, number: int, rows: Sequence[int]) -> list[tuple[int, Entry]]:
        path = self.folder / f"{number:06d}.json" if self.folder else None
        known = _load(path) if path else {}
        samples = [self.samples[row] for row in rows]
        todo = []
        for place, (row, sample) in enumerate(zip(rows, samples, strict=True)):
            entry = known.get(row)
            if entry is None or entry.defects or entry.stamp != stamp(sample):
                todo.append(place)
        if todo:
            voxels = any(samples[place].volume is not None for place in todo)
            # A volume is large, and its slices come from one decoding: one at a time.
            with ThreadPoolExecutor(1 if voxels else READERS) as pool:
                fresh = pool.map(self._eyes.entry, (samples[place] for place in todo))
                changed = {rows[place]: entry for place, entry in zip(todo, fresh, strict=True)}
            news = any(known.get(row) != entry for row, entry in changed.items())
            known |= changed
            if news and path:
                _save(path, known)
        return [(row, known[row]) for row in rows]


class _Eyes:
    """Looks at samples; remembers the pictures that it saw last, for questions share theirs."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}
        self._lock = threading.Lock()

    def entry(self, sample: Sample) -> Entry:
        """What is to be known of a sample and of those that share its images."""
        before = stamp(sample)
        seen = tuple(map(self.look, sample.images))
        found = tuple(defect for one in (sample, *sample.also) for defect in defects_of(one, seen))
        return Entry(
            stamp=before,
            letters=sum(map(_letters, (sample, *sample.also))),
            sizes=tuple(one.size for one in seen),
            contents=tuple(one.content for one in seen),
            marks=tuple(mark for one in seen for mark in one.marks),
            defects=found,
        )

    def look(self, picture: Picture) -> Seen:
        """Size and content of a picture, or why it cannot be decoded."""
        known = self._seen.get(picture.key)
        if known is None:
            known = _decoded(picture)
            with self._lock:
                while len(self._seen) >= KEPT:
                    del self._seen[next(iter(self._seen))]
                self._seen[picture.key] = known
        return known


def _decoded(picture: Picture) -> Seen:
    try:
        image = picture.load()
    except ImageError as error:
        return Seen(error=(error.code, str(error)))
    except DataError as error:
        return Seen(error=(getattr(error, "code", "unreadable"), str(error)))
    pixels = repr(image.size).encode() + image.tobytes()
    content = hashlib.blake2b(pixels, digest_size=16).hexdigest()
    return Seen(size=image.size, content=content, marks=image.info.get(MARKS, ()))


def stamp(sample: Sample) -> int:
    """A number that changes with the size or time of the files behind a sample."""
    state = hashlib.blake2b(digest_size=6)
    keys = [picture.key for picture in sample.images]
    keys += [sample.volume.key] if sample.volume is not None else []
    state.update("\0".join(keys).encode("utf-8", "surrogatepass"))
    for path in dict.fromkeys(key.rpartition("#")[0] or key for key in keys):  # `#` names a slice
        try:
            status = os.stat(path)
        except (OSError, ValueError):  # no file, but bytes inside a table
            continue
        state.update(f"\0{status.st_size} {status.st_mtime_ns}".encode())
    return int.from_bytes(state.digest(), "big")


def _letters(sample: Sample) -> int:
    answers = (sample.answer,) if isinstance(sample.answer, str) else sample.answer
    return len(sample.question) + sum(len(one) for one in answers if isinstance(one, str))


def _by_shard(rows: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    start = 0
    while start < len(rows):
        number = rows[start] // SHARD
        stop = start
        while stop < len(rows) and rows[stop] // SHARD == number:
            stop += 1
        yield number, rows[start:stop]
        start = stop


def _load(path: Path) -> dict[int, Entry]:
    """The entries of a shard; none where it is absent or damaged, for it can be made again."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return {int(row): Entry.of(value) for row, value in saved.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _save(path: Path, entries: dict[int, Entry]) -> None:
    """Whole or not at all; an index that cannot be kept is made again, which is no error."""
    text = json.dumps({str(row): entry.as_json() for row, entry in sorted(entries.items())})
    try:
        write_whole(path, lambda stream: stream.write(text.encode()))
    except OSError as error:
        print(f"No index can be kept in {path.parent} ({error.strerror}).", file=sys.stderr)
