"""Where converted rows go: JSON lines beside image files, or one Parquet file with images inside."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import PIL.Image
import pyarrow as pa
import pyarrow.parquet

from residency.data.images import read_image
from residency.provenance import file_hash
from residency.types import Picture

GROUP_BYTES = 32 << 20  # of images in one row group: what writing and reading hold in memory
COPIED = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_ROW = pa.schema(
    [
        ("split", pa.string()),
        ("id", pa.string()),
        ("task", pa.string()),
        ("language", pa.string()),
        ("group", pa.string()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
    ]
)


@dataclass(frozen=True, slots=True)
class File:
    """A written file, for the manifest."""

    name: str
    split: str
    kind: str
    sha256: str
    size: int


def encoded(picture: Picture) -> tuple[bytes, str]:
    """The bytes of a picture and their ending: a plain 8-bit JPEG or PNG file as it is, else a PNG.

    Files with EXIF data are written anew, since that turns images, and may say where they were taken.

    Raises:
        DataError: the picture cannot be decoded.
    """
    source = Path(picture.key)
    kind = COPIED.get(source.suffix.lower())
    if kind and "\0" not in picture.key and source.is_file():
        data = source.read_bytes()
        if _is_plain(data, kind):
            read_image(data, picture.key)
            return data, ".png" if kind == "PNG" else ".jpg"
    buffer = io.BytesIO()
    picture.load().save(buffer, format="PNG")
    return buffer.getvalue(), ".png"


def _is_plain(data: bytes, kind: str) -> bool:
    try:
        with PIL.Image.open(io.BytesIO(data), formats=[kind]) as image:
            return image.mode in ("L", "RGB") and not image.info.keys() & {"exif", "transparency"}
    except Exception:  # damaged: `picture.load` says how
        return False


class FolderSink:
    """`SPLIT.jsonl`, and every distinct image once, named by its sha256."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.streams: dict[str, IO[bytes]] = {}
        self.names: dict[str, str] = {}
        self.images = 0

    def __enter__(self) -> "FolderSink":
        return self

    def __exit__(self, *raised: object) -> None:
        for stream in self.streams.values():
            stream.close()

    def add(self, split: str, row: dict[str, Any], pictures: Sequence[Picture]) -> None:
        """Write a row and those of its images that are not there yet.

        Raises:
            DataError: an image cannot be decoded; the row is not written.
        """
        line = json.dumps(row | {"images": [self._image(p) for p in pictures]}, ensure_ascii=False)
        if split not in self.streams:
            self.streams[split] = (self.root / f"{split}.jsonl").open("wb")
        self.streams[split].write(line.encode("utf-8", errors="backslashreplace") + b"\n")

    def _image(self, picture: Picture) -> str:
        if picture.key not in self.names:
            data, suffix = encoded(picture)
            content = hashlib.sha256(data).hexdigest()
            name = f"images/{content[:2]}/{content}{suffix}"
            path = self.root / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                self.images += 1
            self.names[picture.key] = name
        return self.names[picture.key]

    def files(self) -> list[File]:
        """The tables; the names of images are their checksums."""
        return [
            _described(self.root / f"{split}.jsonl", split, "application/jsonlines")
            for split in self.streams
        ]


class ParquetSink:
    """One Parquet file in row groups of bounded size; an image is stored with every row that shows it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = pyarrow.parquet.ParquetWriter(path, _ROW, compression="zstd")
        self.rows: list[dict[str, Any]] = []
        self.held = 0
        self.images = 0

    def __enter__(self) -> "ParquetSink":
        return self

    def __exit__(self, *raised: object) -> None:
        if raised[0] is None:
            self._flush()
        self.writer.close()

    def add(self, split: str, row: dict[str, Any], pictures: Sequence[Picture]) -> None:
        """Keep a row until its group is full.

        Raises:
            DataError: an image cannot be decoded; the row is not written.
        """
        images = []
        for data, suffix in map(encoded, pictures):
            images.append({"bytes": data, "path": f"{hashlib.sha256(data).hexdigest()}{suffix}"})
            self.held += len(data)
        self.rows.append(row | {"split": split, "images": images})
        self.images += len(images)
        if self.held > GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self.rows:
            self.writer.write_table(pa.Table.from_pylist(self.rows, schema=_ROW))
        self.rows, self.held = [], 0

    def files(self) -> list[File]:
        """The one file."""
        return [_described(self.path, "", "application/vnd.apache.parquet")]


def _described(path: Path, split: str, kind: str) -> File:
    return File(path.name, split, kind, file_hash(path), path.stat().st_size)
