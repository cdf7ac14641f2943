"""Parquet tables with images inside: `image` as bytes or {"bytes", "path"}, beside a label or text.

On disk: a Parquet file, or a folder of them named `train-*`, `validation-*`, `test-*` as the Hugging Face
hub stores data sets. Columns of any shape that `residency.data.said` knows. Tables with paths are read
by `table`. Source and licence are the owner's.
"""

from pathlib import Path

from residency.data.arrow import as_dataset, parquet_keys, read_parquet
from residency.data.said import shape_of
from residency.data.splits import SYNONYMS, side_by_side
from residency.dataset import Dataset
from residency.errors import DataError

FOLDERS = ("", "data")  # the hub keeps shards in `data`


def recognises(path: Path) -> bool:
    """Whether its first Parquet file has a known shape with images inside; never raises."""
    try:
        files = [file for some in _files(path).values() for file in some]
    except OSError:
        return False
    if not files:
        return False
    keys, inside = parquet_keys(files[0])
    dialogue = shape_of(keys) in ("conversations", "messages", "caption", "text", "prompt")
    return bool(shape_of(keys)) and (inside or dialogue)


def load(where: str) -> Dataset:
    """Open a Parquet file, or a folder of them.

    Raises:
        DataError: no such file, cut off, columns of no known shape, or a misspelt split.
    """
    path = Path(where)
    files = _files(path) if where and path.exists() else {}
    if not files:
        raise DataError(f"No such file: {where!r}. Write parquet:PATH.")
    if wrong := side_by_side(files):
        raise DataError(f"{path}: {wrong}")
    tables = {split: read_parquet(some) for split, some in files.items()}
    name = path.stem if path.is_file() else path.resolve().name
    return as_dataset(name, tables, path if path.is_dir() else path.parent)


def _files(path: Path) -> dict[str, list[Path]]:
    """Parquet files by split; under "" where their names state none."""
    if path.is_file():
        return {"": [path]} if path.suffix == ".parquet" else {}
    if not path.is_dir():
        return {}
    for folder in FOLDERS:
        found: dict[str, list[Path]] = {}
        for file in sorted((path / folder).glob("*.parquet")):
            word = file.stem.partition("-")[0].partition("_")[0].lower()
            found.setdefault(SYNONYMS.get(word, ""), []).append(file)
        if found:
            return found
    return {}
