"""Read plain arrays out of `.npz` files, lazily and never through pickle."""

import functools
import hashlib
import shutil
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from residency.data.cache import cache_folder, write_whole
from residency.errors import DataError

UNREADABLE = (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError)
HELD = 2**30  # bytes of an array that are kept in memory
KEPT = 16  # archives shared by the samples that arrive from another process


class Archive:
    """The arrays of one `.npz`, each inflated when first asked for and then kept.

    A copy sent to another process carries the path alone: the file is read once there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrays: dict[str, np.ndarray] = {}
        self._inflating = threading.Lock()  # threads that decode images want the same array

    def __reduce__(self) -> tuple[Any, ...]:
        return _archive, (self.path,)

    def names(self) -> set[str]:
        """The arrays in the file.

        Raises:
            DataError: not a whole zip file.
        """
        try:
            with zipfile.ZipFile(self.path) as archive:
                return {name.removesuffix(".npy") for name in archive.namelist()}
        except UNREADABLE:
            raise DataError(
                f"{self.path.name} is not a whole npz file ({self.path.stat().st_size} bytes): "
                "truncated, or another format. Copy or download it again."
            ) from None

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and dtype of an array, read without inflating it."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as member:
                major, _ = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0
                shape, _, dtype = (read if major == 1 else np.lib.format.read_array_header_2_0)(
                    member
                )
                size = archive.getinfo(f"{name}.npy").file_size
        except UNREADABLE as error:
            raise self._unreadable(name, error) from None
        if dtype.hasobject or size < int(np.prod(shape, dtype=np.int64)) * dtype.itemsize:
            raise DataError(
                f"{self.path.name}: array {name!r} holds Python objects or is shorter than its "
                "header says. Only plain numeric arrays are read; download the file again."
            )
        return shape, dtype

    def array(self, name: str) -> np.ndarray:
        """One array, never unpickled, inflated once whatever number of threads ask at once.

        One of more than `HELD` bytes is inflated to a file among the caches and mapped from there.
        """
        kept = self._arrays.get(name)
        if kept is not None:
            return kept
        with self._inflating:
            if name not in self._arrays:
                try:
                    shape, dtype = self.header(name)
                    large = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize > HELD
                    self._arrays[name] = self._mapped(name) if large else self._read(name)
                except (*UNREADABLE, KeyError) as error:
                    raise self._unreadable(name, error) from None
            return self._arrays[name]

    def _read(self, name: str) -> np.ndarray:
        with np.load(self.path, allow_pickle=False) as archive:
            array: np.ndarray = archive[name]
            return array

    def _mapped(self, name: str) -> np.ndarray:
        status = self.path.stat()
        said = f"{self.path.resolve()} {status.st_size} {status.st_mtime_ns} {name}"
        path = cache_folder("arrays") / f"{hashlib.sha256(said.encode()).hexdigest()[:32]}.npy"
        if not path.is_file():
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as member:
                write_whole(path, lambda stream: shutil.copyfileobj(member, stream, 1 << 22))
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return array

    def _unreadable(self, name: str, error: Exception) -> DataError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return DataError(
            f"{self.path.name}: array {name!r} cannot be read ({reason}). Download the file again."
        )


@functools.lru_cache(maxsize=KEPT)
def _archive(path: Path) -> Archive:
    """The one archive of a path in a receiving process, whatever number of samples arrive."""
    return Archive(path)
