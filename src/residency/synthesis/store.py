"""Rows that a kill can neither lose nor repeat: shards that are only appended to, sealed under their hash.

A job has a fixed list of inputs, cut into groups; the rows of a group are written at once. Shard k holds
the rows of `shard` inputs. While it grows it is `shard-00007.part`; when it is full it becomes
`shard-00007-<first 16 digits of its sha256>.jsonl` by one rename. What a kill leaves is whole groups and
perhaps the beginning of one, which is cut off and made again, in the same company as before: so the
files of a killed run equal those of an undisturbed one, byte for byte. A job may go on in groups of another
size; its shards keep theirs.
"""

import fcntl
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from residency.errors import DataError, UsageError
from residency.evaluate.store import sync_folder, write_whole
from residency.provenance import file_hash

SHARD = 1024  # rows of a sealed shard, rounded up to whole groups
IDENTITY = "job.json"
_SEALED = re.compile(r"shard-(\d{5})-([0-9a-f]{16})\.jsonl")
Row = dict[str, Any]
T = TypeVar("T")


class Rows:
    """The rows of a job in one folder, made once, readable while they grow."""

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], *, total: int, group: int
    ) -> None:
        """Open or resume.

        Raises:
            UsageError: the folder holds another job.
            DataError: a sealed shard is missing, damaged or not of this job.
        """
        if group < 1:
            raise UsageError(f"{group} rows are no group; write at least one at a time.")
        self.folder, self.total, self.group = folder, total, group
        folder.mkdir(parents=True, exist_ok=True)
        self.shard = _claim(folder, {**identity, "total": total}, shard=-(-SHARD // group) * group)
        self._sealed = _sealed(folder)
        self._length = 0  # bytes of the open shard that are whole groups
        self._counted = 0  # and their rows
        if not self.complete:
            self._recover()

    @property
    def done(self) -> int:
        """Rows that are safe."""
        return min(len(self._sealed) * self.shard, self.total) + self._counted

    @property
    def complete(self) -> bool:
        """Whether every input has its row in a sealed shard."""
        return len(self._sealed) * self.shard >= self.total

    @property
    def _part(self) -> Path:
        return self.folder / f"shard-{len(self._sealed):05d}.part"

    def _room(self) -> int:
        """Rows that the open shard holds when it is full."""
        return min(self.shard, self.total - len(self._sealed) * self.shard)

    def _recover(self) -> None:
        """Count the whole groups of the open shard and cut off the rest."""
        data = self._part.read_bytes() if self._part.exists() else b""
        ends = [place + 1 for place, byte in enumerate(data) if byte == 10]
        room = self._room()
        rows = len(ends)
        if rows < room:
            rows -= rows % self.group
        self._counted, self._length = rows, ends[rows - 1] if rows else 0
        if len(data) > self._length:
            with self._part.open("r+b") as file:
                file.truncate(self._length)
        if rows == room:
            self._seal()

    @property
    def wanted(self) -> int:
        """How many rows the next group has; it ends with its shard."""
        return min(self.group, self._room() - self._counted)

    def append(self, rows: Sequence[Row]) -> None:
        """Write the rows of the next group in one go; seals the shard that they fill."""
        if len(rows) != self.wanted:
            raise ValueError(f"{len(rows)} rows for a group of {self.wanted}")
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        # A lone surrogate becomes a \uXXXX escape, which JSON reads back as it was.
        data = lines.encode("utf-8", "backslashreplace")
        with self._part.open("ab") as file:
            file.write(data)
        self._length += len(data)
        self._counted += len(rows)
        if self._counted == self._room():
            self._seal()

    def _seal(self) -> None:
        with self._part.open("rb") as file:
            os.fsync(file.fileno())
        name = f"shard-{len(self._sealed):05d}-{file_hash(self._part)[:16]}.jsonl"
        os.replace(self._part, self.folder / name)
        sync_folder(self.folder)
        self._sealed.append(self.folder / name)
        self._counted = self._length = 0

    def __iter__(self) -> Iterator[Row]:
        """The safe rows in the order of the inputs."""
        paths = [(path, -1) for path in self._sealed]
        paths += [(self._part, self._counted)] if self._counted else []
        return _lines(paths)


def _lines(paths: Sequence[tuple[Path, int]]) -> Iterator[Row]:
    """The first so many rows of each file; -1 for all."""
    for path, count in paths:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                if number == count:
                    break
                yield json.loads(line)


def read_rows(folder: Path) -> list[Row]:
    """The rows of a finished job.

    Raises:
        DataError: there is none, it is unfinished, or a shard is damaged.
    """
    try:
        identity = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
        total, shard = int(identity["total"]), int(identity["shard"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder} holds no rows of a job ({error}). Run its step first."
        ) from error
    sealed = _sealed(folder)
    if len(sealed) * shard < total:
        raise DataError(f"{folder} is unfinished: {len(sealed)} sealed shards. Run its step again.")
    return list(_lines([(path, -1) for path in sealed]))


def _claim(folder: Path, identity: Mapping[str, Any], *, shard: int) -> int:
    """Refuse a folder of another job; else say whose it is. Returns the rows of its shards."""
    wanted = json.loads(json.dumps(identity))
    path = folder / IDENTITY
    for unfinished in folder.glob(f".{IDENTITY}.*.tmp"):  # of a process killed at its first step
        unfinished.unlink()
    if not path.exists():
        content = json.dumps({**wanted, "shard": shard}, indent=1, ensure_ascii=False)
        write_whole(path, content + "\n")
        return shard
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        shard = int(stored.pop("shard"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged. Delete {folder} and run again.") from error
    differing = [key for key in {**wanted, **stored} if wanted.get(key) != stored.get(key)]
    if differing:
        changes = "; ".join(f"{k} was {stored.get(k)!r}, now {wanted.get(k)!r}" for k in differing)
        raise UsageError(
            f"{folder} holds rows of another job: {changes}. Choose another folder, or delete it."
        )
    return shard


def _sealed(folder: Path) -> list[Path]:
    """The sealed shards in order, each checked against its name.

    Raises:
        DataError: a gap, or content that is not what the name says.
    """
    found = sorted(path for path in folder.iterdir() if _SEALED.fullmatch(path.name))
    for number, path in enumerate(found):
        match = _SEALED.fullmatch(path.name)
        content = file_hash(path)[:16]
        if match is None or int(match[1]) != number or match[2] != content:
            raise DataError(
                f"{path} is damaged or out of place (content {content}, expected shard {number}). "
                f"Delete it and every shard after it, and run again."
            )
    return found


def failures(rows: Sequence[Row], *, most: int = 3) -> dict[str, int]:
    """The most frequent reasons why an engine wrote no row, and their counts; numbers in them may differ."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for row in rows:
        if reason := row["reason"]:
            kind = re.sub(r"\d+", "", reason)
            counts[first.setdefault(kind, reason)] += 1
    return dict(counts.most_common(most))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No second process may write to the folder meanwhile; a killed one holds nothing.

    Raises:
        UsageError: another process writes to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"Another process writes to {folder}. Wait for it, or stop it."
            ) from error
        yield


def fill(
    folder: Path,
    identity: Mapping[str, Any],
    inputs: Sequence[T],
    make: Callable[[Sequence[T]], Sequence[Row]],
    *,
    group: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """One row for every input, in order; what the folder already holds is not made again."""
    with alone(folder):
        rows = Rows(folder, identity, total=len(inputs), group=group)
        while not rows.complete:
            start = rows.done
            rows.append(make(inputs[start : start + rows.wanted]))
            if progress:
                progress(rows.done, len(inputs))
        return list(rows)
