"""Images with captions: {"image", "caption"} pairs.

On disk: a JSON list or JSON lines of {"image": "a.jpg", "caption": "..."} (or `text`), as QA-Synthesizer
and image collections write them, or a CSV or TSV with these columns. Source and licence are the owner's.
"""

from pathlib import Path

from residency.data.formats import has_shape, load_rows
from residency.dataset import Dataset

SHAPES = ("caption", "text")


def recognises(path: Path) -> bool:
    """Whether its first row has this shape; never raises."""
    return has_shape(path, SHAPES)


def load(where: str) -> Dataset:
    """Open a file, or a folder with one file per split.

    Raises:
        DataError: no such file, no list of rows, or no row that can be used.
    """
    return load_rows(where, "captions")
