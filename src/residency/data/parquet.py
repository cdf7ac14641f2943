"""Rows of Parquet files with embedded images, as the Hugging Face Hub stores data sets.

The texts are read at once; an image is read with its row group when it is decoded.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from PIL.Image import Image

from residency.data.images import ImageError, read_image
from residency.errors import DataError
from residency.types import Picture


def shards(folder: Path, split: str) -> list[Path]:
    """The files of a split, `SPLIT-00000-of-00003-*.parquet`, in `folder` or its `data`."""
    found = [*folder.glob(f"{split}-*.parquet"), *folder.glob(f"data/{split}-*.parquet")]
    return sorted(found)


def read_texts(path: Path, wanted: Sequence[str]) -> list[tuple[str, ...]]:
    """The text columns of a file, a tuple per row; `a.b` is the field b of the column a.

    A field that the file lacks, and null, read as ''.

    Raises:
        DataError: not a whole Parquet file, or a column missing.
    """
    try:
        file = pyarrow.parquet.ParquetFile(path)
        leaves = {file.schema.column(place).path for place in range(len(file.schema))}
        for name in wanted:
            if "." not in name and name not in leaves:
                have = ", ".join(file.schema_arrow.names)
                raise DataError(f"{path} lacks the column {name}; found: {have}.")
        table = file.read(columns=[name for name in wanted if name in leaves])
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is not a whole Parquet file: {reason}. Copy it again.") from None
    columns = [_texts(table, name, leaves) for name in wanted]
    return list(zip(*columns, strict=True))


def embedded_picture(path: Path, row: int, key: str) -> Picture:
    """The image of a row, whose column `image` holds {bytes, path}."""
    return Picture(key=key, load=functools.partial(_decode, path, row))


def _texts(table: pa.Table, name: str, leaves: set[str]) -> list[str]:
    if name not in leaves:
        return [""] * table.num_rows
    column, _, field = name.partition(".")
    cells = table.column(column).to_pylist()
    if field:
        cells = [(cell or {}).get(field) for cell in cells]
    return ["" if cell is None else str(cell) for cell in cells]


def _decode(path: Path, row: int) -> Image:
    group, place = _place(path, row)
    data = _images(path, group)[place]
    if data is None:
        raise ImageError("missing", f"{path.name} row {row} has no bytes in the column image.")
    return read_image(data, f"{path.name} row {row}")


@functools.lru_cache(maxsize=256)
def _ends(path: Path) -> tuple[int, ...]:
    """The row after the last one of every row group."""
    metadata = pyarrow.parquet.read_metadata(path)
    ends, total = [], 0
    for group in range(metadata.num_row_groups):
        total += metadata.row_group(group).num_rows
        ends.append(total)
    return tuple(ends)


def _place(path: Path, row: int) -> tuple[int, int]:
    """Row group of a row, and its place inside."""
    ends = _ends(path)
    group = next(place for place, end in enumerate(ends) if row < end)
    return group, row - (ends[group - 1] if group else 0)


@functools.lru_cache(maxsize=2)  # a row group of images can take hundreds of megabytes
def _images(path: Path, group: int) -> list[bytes | None]:
    table = pyarrow.parquet.ParquetFile(path).read_row_group(group, columns=["image.bytes"])
    return [cell and cell.get("bytes") for cell in table.column("image").to_pylist()]
