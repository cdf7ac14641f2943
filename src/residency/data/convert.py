"""Write any data set as messages that this library and others read: JSON lines, or one Parquet file.

A sample becomes {"id", "task", "language", "group", "messages", "images"}: what is asked, and the answer
as text; further questions about the same images are further turns. Where every sample asks for boxes,
JSON lines hold them exactly, in the form of ms-swift (`objects`); points, cuboids, and boxes in Parquet
become text with coordinates from 0 to 1000, as Qwen2-VL writes them. Groups are written as stand-ins.

OUT is a folder with `train.jsonl` and the like, `images/` and `manifest.json`, or a file `NAME.parquet`
with the bytes of every image inside and `NAME.manifest.json` beside it. Rows are written as they are
read, one sample in memory at a time, under a hidden name that becomes OUT when all is written.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from residency.codec import Qwen2VLCodec
from residency.data.card import CARD_FILES
from residency.data.identity import stand_in
from residency.data.images import ImageError
from residency.data.manifest import manifest, write_json
from residency.data.said import TAG
from residency.data.sinks import FolderSink, ParquetSink
from residency.dataset import Dataset
from residency.errors import DataError, UsageError
from residency.task import Wording, task, text_of
from residency.types import Box, Sample

FREE = ("vqa", "caption")  # what the reader of messages makes: the question stands as it is
MANIFEST = "manifest.json"


class UnwritableError(DataError):
    """A sample that messages cannot hold; `code` says why in one word, for counting."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(kw_only=True)
class Written:
    """What was written and what was left out, with the first reason of each kind."""

    out: Path
    rows: Counter[str] = field(default_factory=Counter)
    images: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = ", ".join(f"{split} {count:,}" for split, count in self.rows.items())
        lines = [f"{self.out}: {counts} rows, {self.images:,} images."]
        for code, count in self.left_out.most_common():
            lines.append(f"left out: {code} {count:,}, the first: {self.reasons[code]}")
        return "\n".join(lines)


def convert(dataset: Dataset, out: Path, *, limit: int | None = None) -> Written:
    """Write every sample (the first `limit` of each split) to a new folder or Parquet file.

    A sample that cannot be written, because an image or its answer is unusable, is left out and
    counted, in the manifest too.

    Raises:
        UsageError: something is at OUT already.
        DataError: no sample could be written.
    """
    inside = out.suffix == ".parquet"
    beside = out.with_suffix(f".{MANIFEST}") if inside else out / MANIFEST
    for path in (out, beside):
        if path.exists():
            raise UsageError(f"{path} exists. Name a new place; nothing is written over.")
    written = Written(out=out)
    with _staged(out) as stage:
        sink = ParquetSink(stage / out.name) if inside else FolderSink(stage)
        with sink:
            exact = not inside and _asks_for_boxes(dataset, limit)
            for split, sample in _samples(dataset, limit):
                _write(sink, split, sample, exact, written)
        if not written.rows:
            reason = next(iter(written.reasons.values()), "There are no samples.")
            raise DataError(f"{dataset.name}: no sample could be written. {reason}")
        written.images = sink.images
        facts = manifest(dataset, sink.files(), written.rows, written.left_out, sink.images)
        write_json(stage / beside.name, facts)
        if inside:
            os.replace(stage / beside.name, beside)
            os.replace(stage / out.name, out)
        else:
            write_json(stage / CARD_FILES[1], _card(dataset))
            stage.chmod(0o755)
            os.rename(stage, out)
    return written


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A hidden folder beside OUT, gone at the end whatever happens."""
    out.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp"))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _samples(dataset: Dataset, limit: int | None) -> Iterator[tuple[str, Sample]]:
    for split, samples in dataset.splits.items():
        for row in islice(range(len(samples)), limit):
            yield split, samples[row]


def _asks_for_boxes(dataset: Dataset, limit: int | None) -> bool:
    """Whether every row would have `objects`, which is how their reader is told."""
    return all(
        sample.task == "detection" and len(sample.images) == 1 and not sample.also
        for _, sample in _samples(dataset, limit)
    )


def _write(
    sink: FolderSink | ParquetSink, split: str, sample: Sample, exact: bool, written: Written
) -> None:
    try:
        row = row_of(sample, exact=exact)
        sink.add(split, row, sample.images)
    except DataError as error:
        code = getattr(error, "code", "unreadable")
        code = f"image_{code}" if isinstance(error, ImageError) else code
        written.left_out[code] += 1
        written.reasons.setdefault(code, str(error))
    else:
        written.rows[split] += 1


def row_of(sample: Sample, *, exact: bool = False) -> dict[str, Any]:
    """The row of a sample without its images; `exact` puts boxes into `objects`, in pixels.

    Raises:
        UnwritableError: an empty answer, or a volume without pictures of its slices.
    """
    if not sample.images and sample.volume is not None:
        raise UnwritableError("volume", f"{sample.id} is a volume without pictures of its slices.")
    messages: list[dict[str, str]] = []
    for place, one in enumerate((sample, *sample.also)):
        tags = TAG * len(sample.images) if place == 0 else ""
        asked = one.question if one.task in FREE else task(one.task).ask(one, Wording())
        answer = _mark(one) if exact else text_of(task(one.task).write(one, Qwen2VLCodec()))
        if not answer.strip():
            raise UnwritableError("empty_answer", f"{one.id} has no answer.")
        if TAG in asked or TAG in answer:
            raise UnwritableError("placeholder", f"{one.id} has {TAG} in its text.")
        messages.append({"role": "user", "content": tags + asked})
        messages.append({"role": "assistant", "content": answer})
    row: dict[str, Any] = {
        "id": sample.id.removeprefix(f"{sample.dataset}/"),
        "task": sample.task,
        "language": sample.language,
        "group": stand_in(sample.group),
        "messages": messages,
    }
    if exact:
        row["objects"] = _objects(sample)
    return row


def _mark(sample: Sample) -> str:
    return "<ref-object><bbox>" * len(sample.answer) or "None."


def _objects(sample: Sample) -> Mapping[str, Any]:
    boxes = [entry for entry in sample.answer if isinstance(entry, Box)]
    return {
        "ref": [box.name for box in boxes],
        "bbox": [[box.x1, box.y1, box.x2, box.y2] for box in boxes],
        "bbox_type": "real",
    }


def _card(dataset: Dataset) -> dict[str, Any]:
    """What `residency.data.card` reads back."""
    return {
        "modality": dict(dataset.modality),
        "licence": dataset.licence,
        "source": dataset.source,
    }
