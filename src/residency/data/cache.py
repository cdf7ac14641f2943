"""Where what was learned about files is kept between runs: a folder of the user, readable by no one else."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

FOLDER = "RESIDENCY_CACHE"


def cache_folder(kind: str) -> Path:
    """`$RESIDENCY_CACHE`/KIND where it is set, else `residency/KIND` among the user's caches."""
    given = os.environ.get(FOLDER)
    if given:
        return Path(given) / kind
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "residency" / kind


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file that appears whole or not at all.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
