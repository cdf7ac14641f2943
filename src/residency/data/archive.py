"""WebDataset shards: tar files in which the files of one sample share a key, read in place."""

import functools
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from residency.data.documents import RowError, parse_json
from residency.data.images import SUFFIXES
from residency.data.splits import SYNONYMS
from residency.errors import DataError

TEXTS = {".txt": "caption", ".caption": "caption", ".cls": "label", ".label": "label"}
MAX_MEMBER = 1 << 28  # bytes
MAX_MEMBERS = 5_000_000


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a tar: where its bytes begin, and how many they are."""

    suffix: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Group:
    """The files of one sample."""

    shard: Path
    key: str
    members: tuple[Member, ...]

    def read(self, member: Member) -> bytes:
        """The bytes of a file."""
        with self.shard.open("rb") as stream:
            stream.seek(member.offset)
            return stream.read(member.size)


def groups(shard: Path) -> list[Group]:
    """The samples of an uncompressed shard, in its order.

    Raises:
        DataError: not a tar file, cut off, compressed, or with more files than are read.
    """
    found: dict[str, list[Member]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for count, info in enumerate(tar):
                if count >= MAX_MEMBERS:
                    raise DataError(f"{shard} has more than {MAX_MEMBERS:,} files.")
                # Links and devices are no data; nothing is ever unpacked to disk.
                if info.isreg() and info.size <= MAX_MEMBER:
                    folder, _, name = info.name.rpartition("/")
                    stem, _, suffix = name.partition(".")
                    if stem:
                        key = f"{folder}/{stem}".lstrip("/")
                        member = Member(f".{suffix.lower()}", info.offset_data, info.size)
                        found.setdefault(key, []).append(member)
        size = shard.stat().st_size
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{shard} is not a whole, uncompressed tar file: {reason}. Copy it again."
        ) from None
    if any(member.offset + member.size > size for some in found.values() for member in some):
        raise DataError(f"{shard} is cut off. Copy it again.")
    return [Group(shard, key, tuple(members)) for key, members in found.items()]


def row_of(group: Group, *, pixels: bool = True) -> dict[str, object]:
    """A sample's files as a row: images, the JSON's keys, a caption or a label.

    `pixels = False` puts an empty placeholder where the bytes of an image would be.

    Raises:
        RowError: text that is not UTF-8, or JSON that is damaged.
    """
    where = f"{group.shard} sample {group.key}"
    row: dict[str, object] = {}
    images: list[bytes | str] = []
    twice = [name for name, n in Counter(m.suffix for m in group.members).items() if n > 1]
    if twice:
        raise RowError("member", where, f"{twice[0]!r} twice. Keep one of them.")
    for member in group.members:
        end = f".{member.suffix.rpartition('.')[2]}"
        if end in SUFFIXES:
            images.append(group.read(member) if pixels else "(inside)")
        elif end == ".json" or end in TEXTS:
            try:
                text = group.read(member).decode("utf-8-sig")
            except UnicodeDecodeError:
                raise RowError("json_encoding", where, f"{member.suffix} is not UTF-8.") from None
            if end == ".json":
                value = parse_json(text, where)
                row |= value if isinstance(value, dict) else {}
            else:
                row[TEXTS[end]] = text.strip()
    row = {key: value for key, value in row.items() if key not in ("image", "images") or not images}
    if images:
        row["images"] = images
    row.setdefault("id", group.key)
    return row


def shards_of(path: Path) -> dict[str, Sequence[Path]]:
    """Tar files by split of their names (`train-000000.tar`), under "" where they state none."""
    files = [path] if path.is_file() else sorted(path.glob("*.tar")) if path.is_dir() else []
    found: dict[str, list[Path]] = {}
    for file in files:
        if file.suffix == ".tar":
            word = functools.reduce(lambda t, s: t.partition(s)[0], "-_.", file.stem).lower()
            found.setdefault(SYNONYMS.get(word, ""), []).append(file)
    return dict(found)
