"""LLaVA and ShareGPT: `conversations` of human and gpt, with `image` or `images`.

On disk: a JSON list or JSON lines of {"id", "image": "a.jpg" or a list, "conversations": [{"from":
"human", "value": "<image> What is shown?"}, {"from": "gpt", "value": "..."}]}, alone or as train,
val and test in a folder. Paths start beside the file or in its folder `images`. Source and licence
are the owner's.
"""

from pathlib import Path

from residency.data.formats import has_shape, load_rows
from residency.dataset import Dataset

SHAPES = ("conversations",)


def recognises(path: Path) -> bool:
    """Whether its first row has this shape; never raises."""
    return has_shape(path, SHAPES)


def load(where: str) -> Dataset:
    """Open a file, or a folder with one file per split.

    Raises:
        DataError: no such file, no list of rows, or no row that can be used.
    """
    return load_rows(where, "conversations")
