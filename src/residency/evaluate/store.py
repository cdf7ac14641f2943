"""Predictions and results on disk: lines that survive a kill, files that appear whole."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from residency.data.identity import stand_in
from residency.errors import DataError, UsageError
from residency.types import Answer, Box, Box3D, Point, Prediction, Sample

FORMAT = 1
FILE = "predictions.jsonl"
_KINDS = {kind.__name__: kind for kind in (Box, Box3D, Point)}
_log = logging.getLogger(__name__)


def unit_hash(sample: Sample) -> str:
    """The bootstrap unit without the patient's name; equal units stay equal.

    A patient becomes a stand-in that is salted per installation (`residency.data.identity`): short
    numbers could be found by trying them all. Without a patient it is a hash of the image, which others may
    share, else of the sample's own id.
    """
    if sample.group:
        return stand_in(sample.group)
    return hashlib.sha256(sample.unit.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def encode_answer(answer: Answer | None) -> Any:
    """An answer as JSON: text as it is, labels as a list, boxes and points with their kind."""
    if answer is None or isinstance(answer, str):
        return answer
    return [a if isinstance(a, str) else {"kind": type(a).__name__, **asdict(a)} for a in answer]


def decode_answer(value: Any) -> Answer | None:
    """The inverse of `encode_answer`."""
    if value is None or isinstance(value, str):
        return value
    parts = tuple(
        v if isinstance(v, str) else _KINDS[v["kind"]](**{k: v[k] for k in v if k != "kind"})
        for v in value
    )
    return cast(Answer, parts)


def encode(prediction: Prediction) -> dict[str, Any]:
    """A prediction as one JSON object."""
    plain = {name: getattr(prediction, name) for name in Prediction.__dataclass_fields__}
    answer, reference = encode_answer(prediction.answer), encode_answer(prediction.reference)
    return plain | {
        "answer": answer,
        "reference": reference,
        "scores": dict(prediction.scores),
    }


def decode(value: Mapping[str, Any]) -> Prediction:
    """The inverse of `encode`."""
    answer, reference = decode_answer(value["answer"]), decode_answer(value["reference"])
    images = tuple(value.get("images", ()))  # not there in files of earlier versions
    return Prediction(**{**value, "answer": answer, "reference": reference, "images": images})


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What a predictions file holds.

    `dropped` counts truncated lines: the one found now (from byte `length` on) and those that
    earlier resumptions cut off and recorded. `complete` says that the run reached its end.
    """

    identity: Mapping[str, Any] | None
    predictions: tuple[Prediction, ...]
    dropped: int
    complete: bool
    length: int


def read_predictions(path: Path) -> Stored:
    """Read a predictions file that may end in the middle of a line.

    Raises:
        DataError: a line other than the last is not what we write.
    """
    data = path.read_bytes() if path.exists() else b""
    length = data.rfind(b"\n") + 1
    identity, predictions, dropped, complete = None, [], int(length < len(data)), False
    for number, line in enumerate(data[:length].splitlines(), start=1):
        try:
            value = json.loads(line)
            if number == 1:
                identity = value["identity"]
            elif "resumed" in value:
                dropped += value["resumed"]["dropped"]
            elif "end" in value:
                complete = True
            else:
                predictions.append(decode(value))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}, line {number}, is damaged ({error}). Delete the file and predict again."
            ) from error
    return Stored(
        identity=identity,
        predictions=tuple(predictions),
        dropped=dropped,
        complete=complete,
        length=length,
    )


class PredictionLog:
    """An open predictions file: what it already held, and the place for what comes."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Open or resume; a truncated last line is cut off, counted and recorded.

        Raises:
            UsageError: the file holds predictions of another model, data set, view or setting.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = read_predictions(path)
        if stored.identity is not None:
            _refuse_other(path, stored.identity, identity)
        self.kept, self.dropped, self.complete = stored.predictions, stored.dropped, stored.complete
        self._path = path
        self._file: BinaryIO = path.open("ab")
        tail = self._file.seek(0, os.SEEK_END) - stored.length
        self._file.truncate(stored.length)
        if stored.identity is None:
            self._write({"identity": {**identity}})
        if tail or (stored.identity is not None and not stored.complete):
            self._write({"resumed": {"kept": len(self.kept), "dropped": int(tail > 0)}})
        if tail:
            _log.warning("%s: dropped 1 truncated line, kept %d.", path, len(self.kept))

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Hand a batch to the system in one write: a kill of this process then loses none of it."""
        self._write(*(encode(p) for p in predictions))

    def finish(self, counts: Mapping[str, int]) -> None:
        """Mark the end and wait until the disk has everything."""
        self._write({"end": {**counts}})
        os.fsync(self._file.fileno())
        sync_folder(self._path.parent)

    def __enter__(self) -> "PredictionLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _write(self, *values: Mapping[str, Any]) -> None:
        lines = "".join(json.dumps(v, ensure_ascii=False, allow_nan=False) + "\n" for v in values)
        # A lone surrogate becomes a \uXXXX escape, which JSON reads back as it was.
        self._file.write(lines.encode("utf-8", "backslashreplace"))
        self._file.flush()


def _refuse_other(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differing = [k for k in {**wanted, **stored} if stored.get(k) != wanted.get(k)]
    if differing:
        changes = "; ".join(f"{k} was {stored.get(k)!r}, now {wanted.get(k)!r}" for k in differing)
        raise UsageError(
            f"{path} holds predictions of another run: {changes}. "
            "Delete the file or choose another folder."
        )


def write_whole(path: Path, text: str) -> None:
    """Write a file that is either absent (or the old one) or complete, never half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, staged = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(staged, 0o644)
        os.replace(staged, path)
    except BaseException:
        Path(staged).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder durable, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
