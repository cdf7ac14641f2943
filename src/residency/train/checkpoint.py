"""Checkpoints that are whole or absent: staged, hashed, renamed, and verified before reading."""

import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from residency.errors import CheckpointError, ResidencyError, UsageError
from residency.provenance import file_hash
from residency.train.state import (
    load_optimizer,
    load_tree,
    rng_state,
    save_optimizer,
    save_tree,
    set_rng_state,
)

__all__ = [
    "Manifest",
    "SaveFailed",
    "clean",
    "commit",
    "load_optimizer",
    "load_tree",
    "newest",
    "prune",
    "rng_state",
    "save_optimizer",
    "save_tree",
    "set_rng_state",
    "verify",
]

FORMAT = 1
MANIFEST = "manifest.json"
STAGING, ASIDE = ".staging-", ".aside-"
log = logging.getLogger(__name__)


class SaveFailed(ResidencyError):  # noqa: N818 - it is reported and survived, not fatal
    """A checkpoint could not be written; earlier ones are intact and training can go on."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint holds: `files` maps a path inside it to (bytes, sha256).

    `identity` says which run it belongs to. `extra` lists files that somebody added later; they
    are neither verified nor read.
    """

    identity: Mapping[str, object]
    files: Mapping[str, tuple[int, str]]
    extra: tuple[str, ...] = ()


def commit(target: Path, write: Callable[[Path], None], identity: Mapping[str, object]) -> None:
    """Make `target` a checkpoint of what `write` puts into the folder it is given.

    Everything is written to a sibling, flushed to disk, hashed and renamed, so that `target` is
    never seen half-written. An existing `target` is replaced only by a whole one.

    Raises:
        SaveFailed: the disk refused (full, read-only, no permission); nothing has changed.
    """
    staging = _sibling(target, STAGING)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
        write(staging)
        _seal(staging, identity)
        _swap(staging, target)
    except (OSError, SafetensorError) as error:  # the latter is how safetensors reports a full disk
        raise SaveFailed(
            f"Saving {target} failed: {error}. Earlier checkpoints are intact; "
            "free space there or choose another folder."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def verify(folder: Path) -> Manifest:
    """The manifest of a checkpoint whose every file is as it was written.

    Raises:
        CheckpointError: names the first file that is wrong, and how.
    """
    try:
        return _verified(folder)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error}.") from None


def newest(
    root: Path,
    *,
    identity: Mapping[str, object] | None = None,
    skipped: list[str] | None = None,
) -> tuple[Path, Manifest] | None:
    """The newest valid `update-<n>` below `root`, None where there is none at all.

    Why others were passed over is appended to `skipped`, or logged as a warning without it. They
    are left where they are: they are evidence.

    Raises:
        CheckpointError: there are checkpoints, but none is valid.
        UsageError: the newest valid one differs from `identity`; names each key, saved and given.
    """
    reasons: list[str] = []
    for folder in _updates(root):
        try:
            manifest = verify(folder)
        except CheckpointError as error:
            reasons.append(str(error))
            continue
        if skipped is not None:
            skipped.extend(reasons)
        for reason in reasons if skipped is None else ():
            log.warning("Skipped a checkpoint. %s", reason)
        if identity is not None:
            _same(folder, identity, manifest.identity)
        return folder, manifest
    if reasons:
        raise CheckpointError(
            f"No valid checkpoint in {root}: {' '.join(reasons)} "
            "Restore one of them, or start afresh in another folder."
        )
    return None


def prune(root: Path, keep: int) -> list[Path]:
    """Remove what is older than the newest `keep` valid checkpoints; returns what was removed.

    Invalid checkpoints do not count and are never removed.

    Raises:
        UsageError: `keep` is below one.
    """
    if keep < 1:
        raise UsageError(f"keep={keep} would leave no checkpoint; keep at least 1.")
    folders, valid = _updates(root), 0
    removed = []
    for folder in folders if len(folders) > keep else ():
        try:
            verify(folder)
        except CheckpointError as error:
            log.warning("Left an invalid checkpoint in place. %s", error)
            continue
        valid += 1
        if valid > keep and _discard(folder):
            removed.append(folder)
    return removed


def clean(root: Path) -> list[Path]:
    """Undo what a killed process left half-done below `root`; call it once, before training.

    Staged folders are removed, and a checkpoint that was moved aside to be replaced comes back
    where its replacement never arrived. Returns what was found.
    """
    found = sorted(path for path in _entries(root) if path.name.startswith((ASIDE, STAGING)))
    for path in found:
        if path.name.startswith(ASIDE):
            target = root / path.name.removeprefix(ASIDE).rpartition("-")[0]
            if not target.exists():
                path.rename(target)
                continue
        shutil.rmtree(path, ignore_errors=True)
    return found


def _discard(folder: Path) -> bool:
    """Rename, then delete: a kill in between leaves work for `clean`, not half a checkpoint."""
    doomed = _sibling(folder, STAGING)
    try:
        folder.rename(doomed)
    except OSError as error:
        log.warning("Could not remove an old checkpoint. %s", error)
        return False
    shutil.rmtree(doomed, ignore_errors=True)
    return True


def _sibling(target: Path, prefix: str) -> Path:
    return target.with_name(f"{prefix}{target.name}-{secrets.token_hex(4)}")


def _entries(root: Path) -> list[Path]:
    return list(root.iterdir()) if root.is_dir() else []


def _updates(root: Path) -> list[Path]:
    numbered = [(re.fullmatch(r"update-(\d+)", path.name), path) for path in _entries(root)]
    return [path for _, path in sorted(((int(m[1]), p) for m, p in numbered if m), reverse=True)]


def _walk(folder: Path) -> Iterator[Path]:
    """Everything but folders below `folder`; links are named, not followed."""
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in files)
        yield from (Path(parent, name) for name in folders if Path(parent, name).is_symlink())


def _seal(folder: Path, identity: Mapping[str, object]) -> None:
    """Hash and flush every file, write the manifest last, then flush the folders."""
    files = {}
    for path in sorted(_walk(folder)):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            raise OSError(f"{name} is not a regular file")
        files[name] = (path.stat().st_size, file_hash(path))
        _flush(path)
    text = _render({"format": FORMAT, "identity": dict(identity), "files": files})
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    _flush(folder / MANIFEST)
    for parent, _, _ in os.walk(folder, topdown=False):
        _flush(Path(parent))


def _swap(staging: Path, target: Path) -> None:
    aside = None
    if target.exists():
        aside = _sibling(target, ASIDE)
        target.rename(aside)
    try:
        staging.rename(target)
    except OSError:
        if aside is not None:
            aside.rename(target)
        raise
    _flush(target.parent)
    if aside is not None:
        shutil.rmtree(aside, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _render(content: Mapping[str, object]) -> str:
    """The manifest as text, with its own hash: a flipped bit in it is found as well."""
    body = json.dumps(content, sort_keys=True, allow_nan=False)
    digest = hashlib.sha256(body.encode()).hexdigest()
    return json.dumps({**content, "sha256": digest}, sort_keys=True, indent=1, allow_nan=False)


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; give a checkpoint such as update-100.")
    if not path.is_file() or path.is_symlink():
        raise CheckpointError(f"{folder}: {MANIFEST} is missing, so it was never completed.")
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        content.pop("sha256")
        version = content["format"]
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        raise CheckpointError(f"{folder}: {MANIFEST} is damaged.") from None
    if version != FORMAT:
        raise CheckpointError(
            f"{folder}: {MANIFEST} has format {version!r}, and this version reads {FORMAT}. "
            "Use the version of residency that wrote it."
        )
    try:
        whole = _render(content) == text
        files = {name: (int(size), str(sha)) for name, (size, sha) in content["files"].items()}
        identity = dict(content["identity"])
    except (ValueError, AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise CheckpointError(f"{folder}: {MANIFEST} is damaged.")
    return Manifest(identity, files)


def _verified(folder: Path) -> Manifest:
    manifest = _read_manifest(folder)
    found = set()
    for path in _walk(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise CheckpointError(f"{folder}: {name} is a symbolic link, which is never followed.")
        found.add(name)
    for name, (size, digest) in manifest.files.items():
        if name not in found:
            raise CheckpointError(f"{folder}: {name} is missing.")
        actual = (folder / name).stat().st_size
        if actual != size:
            raise CheckpointError(f"{folder}: {name} has {actual} bytes instead of {size}.")
        if file_hash(folder / name) != digest:
            raise CheckpointError(f"{folder}: {name} has changed since it was saved (sha256).")
    extra = tuple(sorted(found - set(manifest.files) - {MANIFEST}))
    return Manifest(manifest.identity, manifest.files, extra)


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    items = [
        _flat(inner, f"{prefix}.{key}" if prefix else str(key)) for key, inner in value.items()
    ]
    return {key: inner for item in items for key, inner in item.items()}


def _same(folder: Path, given: Mapping[str, object], saved: Mapping[str, object]) -> None:
    now, then = _flat(json.loads(json.dumps(given))), _flat(saved)
    differing = [
        f"{key} was {then.get(key, 'absent')!r}, given {now.get(key, 'absent')!r}"
        for key in sorted({*now, *then})
        if now.get(key) != then.get(key) or (key in now) != (key in then)
    ]
    if differing:
        raise UsageError(
            f"{folder} belongs to another run: {'; '.join(differing)}. "
            "Give the saved values, or another folder."
        )
