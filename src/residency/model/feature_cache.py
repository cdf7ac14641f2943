"""Encoded images on disk: found by content, checked when read, bounded in size, safe to share."""

import hashlib
import logging
import os
import queue
import re
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

SUFFIX = ".safetensors"
MEMORY = 2**28  # bytes of features held in memory, and as many at most on their way to the disk
ENTRY, DRAFT = re.compile(rf"[0-9a-f]{{64}}\{SUFFIX}"), re.compile(r"\.[0-9a-f]{64}-[0-9a-f]{8}")
STALE = 3600.0  # seconds after which a file that was never renamed is nobody's any more
DAMAGE = (ValueError, KeyError, TypeError, RuntimeError, SafetensorError)
log = logging.getLogger(__name__)


class FeatureCache:
    """Tensors by key: a little memory in front of a folder that keeps to its budget.

    A file is written under a name of its own and renamed, so processes may share the folder. What
    does not match its checksum is removed and counts as absent. Writing happens in a thread; what
    it cannot follow, or the disk refuses, is left out and counted.

    Room is made by removing what was not used for longest, but nothing that was used since this
    cache was opened: an epoch comes round to every image once, so that the one not seen for longest
    is the next to be needed. Where nothing else is left, new features are left out.
    """

    def __init__(self, folder: Path, *, gib: float, part: str = "") -> None:
        """`gib` bounds all of `folder`; this cache reads and writes in its folder `part`.

        Keys are 64 hexadecimal digits; files of other names are nobody's business here.
        """
        self.damaged = self.evicted = self.left_out = 0
        self._root, self._part = folder, folder / part
        self._budget, self._full = gib * 2**30, False
        self._size, self._unseen = (
            -1,
            0,
        )  # bytes in the folder, and those added since it was looked at
        self._opened = time.time_ns()
        self._lock = threading.Lock()
        self._memory: OrderedDict[str, Tensor] = OrderedDict()
        self._pending: dict[str, Tensor] = {}
        self._held = self._waiting = 0
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None

    def path(self, key: str) -> Path:
        """Where a key is kept."""
        return self._part / key[:2] / f"{key}{SUFFIX}"

    def get(self, key: str) -> Tensor | None:
        """The features of a key, None where there are none; those just put are where they were put."""
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
            if key in self._pending:
                return self._pending[key]
        found = self.read(key)
        if found is not None:
            self._remember(key, found)
        return found

    def put(self, key: str, features: Tensor) -> None:
        """Keep features; returns at once."""
        size = features.numel() * features.element_size()
        with self._lock:
            if key in self._pending:
                return
            if self._waiting + size > MEMORY:
                self.left_out += 1
                return
            self._pending[key] = features.detach()
            self._waiting += size
            if self._writer is None:
                self._writer = threading.Thread(
                    target=self._write_all, name="residency-features", daemon=True
                )
                self._writer.start()
        self._queue.put(key)

    def close(self) -> None:
        """Wait until everything is on disk."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._queue.put(None)
            writer.join()

    # --- the disk -------------------------------------------------------------------------------

    def read(self, key: str) -> Tensor | None:
        """The features of a key from disk, as they were written."""
        path = self.path(key)
        try:
            features = unpack(key, path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, *DAMAGE):
            self.damaged += 1
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        with suppress(OSError):  # of a folder that may only be read
            os.utime(path)  # used now
        return features

    def write(self, key: str, features: Tensor) -> bool:
        """Write the features of a key to disk unless they are there; False where there is no room.

        Raises:
            OSError: the disk refused; nothing of the entry is left.
        """
        path = self.path(key)
        if path.exists():
            return True
        content = pack(key, features)
        if not self._room(len(content)):
            return False
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{key}-{secrets.token_hex(4)}")
        try:
            draft.write_bytes(content)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        self._size += len(content)
        self._unseen += len(content)
        return True

    def _room(self, size: int) -> bool:
        """Make room for so many bytes; once there is none, there will be none."""
        if self._full:
            return False
        if self._size < 0:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)  # images can be private
            self._survey()
            free = shutil.disk_usage(self._root).free
            self._budget = min(self._budget, self._size + free / 2)  # checkpoints need some
        elif self._unseen > self._budget / 32:  # other processes write too
            self._survey()
        if self._size + size > self._budget:
            self._evict(size)
        return not self._full

    def _survey(self) -> list[tuple[int, int, Path]]:
        """All entries, those not used for longest first; sums up their bytes."""
        files = sorted(self._files())
        self._size, self._unseen = sum(held for _, held, _ in files), 0
        return files

    def _evict(self, size: int) -> None:
        files = self._survey()
        for used, held, path in files:
            # A tenth more than is needed, so that not every write looks at all files.
            if used >= self._opened or self._size + size <= 0.9 * self._budget:
                break
            path.unlink(missing_ok=True)
            self._size -= held
            self.evicted += 1
        self._full = self._size + size > self._budget  # of what is in use

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """When each entry was last used (ns), its bytes and its path; abandoned drafts are removed."""
        for parent, _, names in os.walk(self._root):
            for name in names:
                if not (ENTRY.fullmatch(name) or DRAFT.fullmatch(name)):
                    continue
                path = Path(parent, name)
                try:
                    facts = path.stat()
                    if ENTRY.fullmatch(name):
                        yield facts.st_mtime_ns, facts.st_size, path
                    elif facts.st_mtime < time.time() - STALE:
                        path.unlink()
                except FileNotFoundError:  # another process was faster
                    continue

    def _write_all(self) -> None:
        """The writer: takes features to memory and disk until it is told to stop."""
        refused = False
        while (key := self._queue.get()) is not None:
            features = self._pending[key].cpu()
            self._remember(key, features)
            try:
                self.left_out += refused or not self.write(key, features)
            except (OSError, SafetensorError) as error:
                log.warning("Features are no longer kept: %s. The run goes on.", error)
                refused, self.left_out = True, self.left_out + 1
            with self._lock:
                gone = self._pending.pop(key)
                self._waiting -= gone.numel() * gone.element_size()

    def _remember(self, key: str, features: Tensor) -> None:
        with self._lock:
            if key in self._memory:
                return
            self._memory[key] = features
            self._held += features.nbytes
            while self._held > MEMORY and self._memory:
                self._held -= self._memory.popitem(last=False)[1].nbytes


def pack(key: str, features: Tensor) -> bytes:
    """An entry as safetensors: the features, and a hash of them with their key."""
    features = features.detach().cpu().contiguous()
    digest = torch.frombuffer(bytearray(_digest(key, features)), dtype=torch.uint8)
    return save({"features": features, "sha256": digest})


def unpack(key: str, content: bytes) -> Tensor:
    """The features of an entry.

    Raises:
        one of `DAMAGE`: it is not what was written for this key.
    """
    held = load(content)
    features = held["features"]
    if bytes(held["sha256"].tolist()) != _digest(key, features):
        raise ValueError(f"{key} does not match its checksum")
    return features


def _digest(key: str, features: Tensor) -> bytes:
    made = hashlib.sha256(f"{key} {features.dtype} {tuple(features.shape)}".encode())
    made.update(features.reshape(-1).view(torch.uint8).numpy().data)
    return made.digest()
