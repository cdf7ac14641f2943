"""Chats as `messages` with `images` (ms-swift, TRL), or with content lists (OpenAI, Anthropic).

On disk: a JSON list or JSON lines of {"messages": [{"role": "user", "content": "<image>..." or
[{"type": "text"}, {"type": "image_url"}]}, {"role": "assistant", "content": "..."}], "images":
["a.jpg"]}. Images are paths or base64; addresses are refused, because nothing is fetched. Source
and licence are the owner's.
"""

from pathlib import Path

from residency.data.formats import files_of, first_row, has_shape, load_rows
from residency.dataset import Dataset

SHAPES = ("messages",)


def recognises(path: Path) -> bool:
    """Whether its first row has this shape, and no boxes (`objects` reads those); never raises."""
    return has_shape(path, SHAPES) and "objects" not in first_row(
        next(iter(files_of(path).values()))
    )


def load(where: str) -> Dataset:
    """Open a file, or a folder with one file per split.

    Raises:
        DataError: no such file, no list of rows, or no row that can be used.
    """
    return load_rows(where, "messages")
