"""Bad rows: a run stops at them, or goes on without them where that was asked for and they are few.

`fail` stops and names the first; `skip` leaves them out; `quarantine` leaves them out and lists each in
`bad.jsonl` with its place and reason. Above the ceiling all three stop.
"""

import functools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from residency.data.check import Images, defects_of, faults_of
from residency.data.rows import Rows
from residency.dataset import Dataset
from residency.errors import DataError, UsageError
from residency.types import Sample

OnBad = Literal["fail", "skip", "quarantine"]
CEILING = 0.001  # of the rows of a data set
LIST = "bad.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bad:
    """A row that cannot be used: `where` is file and line, or the sample's id."""

    split: str
    where: str
    code: str
    reason: str


def sift(
    dataset: Dataset, *, on_bad: OnBad = "fail", ceiling: float = CEILING, out: Path | None = None
) -> Dataset:
    """The data set without its bad rows; reads every row and decodes every image once.

    `out` is the folder in which `quarantine` writes `bad.jsonl`, one object per row.

    Raises:
        DataError: bad rows with `fail`, more of them than `ceiling` allows, or a split of bad rows only.
        UsageError: `quarantine` without `out`, or a ceiling that is no share.
    """
    if on_bad not in ("fail", "skip", "quarantine") or not 0 <= ceiling <= 1:
        raise UsageError(
            f"on_bad={on_bad!r}, ceiling={ceiling}: expected fail, skip or quarantine, and a share "
            "between 0 and 1."
        )
    if on_bad == "quarantine" and out is None:
        raise UsageError(f"on_bad=quarantine needs a folder for {LIST}: name `out`.")
    images = Images()
    kept: dict[str, list[int]] = {}
    found: list[Bad] = []
    total = 0
    for split, samples in dataset.splits.items():
        faults = faults_of(samples)
        found += [Bad(split=split, where=f.where, code=f.code, reason=str(f)) for f in faults]
        kept[split] = []
        for row in range(len(samples)):
            first = next(_bad(split, samples[row], images), None)
            if first is None:
                kept[split].append(row)
            else:
                found.append(first)
        total += len(samples) + len(faults)
    if not found:
        return dataset
    if on_bad == "quarantine" and out is not None:
        _write(out, found)
    _require_few(dataset, found, total, on_bad, ceiling)
    if empty := [split for split, rows in kept.items() if not rows]:
        raise DataError(f"{dataset.name}: every row of {', '.join(empty)} is bad. Correct them.")
    counts = Counter(bad.code for bad in found)
    listed = ", ".join(f"{code} {count}" for code, count in counts.most_common())
    listing = f"; listed in {LIST}" if on_bad == "quarantine" else ""
    return replace(
        dataset,
        splits={
            split: Rows(len(rows), functools.partial(_at, dataset.splits[split], rows))
            for split, rows in kept.items()
        },
        digest=f"{dataset.digest}-{len(found)}",
        notes=(
            *dataset.notes,
            f"Left out as bad: {len(found)} of {total} rows ({listed}){listing}.",
        ),
    )


def _bad(split: str, sample: Sample, images: Images) -> Iterator[Bad]:
    for one in (sample, *sample.also):
        for code, reason in defects_of(one, images):
            yield Bad(split=split, where=sample.id, code=code, reason=reason)


def _at(samples: Sequence[Sample], rows: Sequence[int], place: int) -> Sample:
    return samples[rows[place]]


def _require_few(
    dataset: Dataset, found: list[Bad], total: int, on_bad: OnBad, ceiling: float
) -> None:
    first = found[0]
    what = f"{dataset.name} has {len(found)} bad rows of {total}; the first: {first.reason}"
    if on_bad == "fail":
        raise DataError(
            f"{what} ({first.code}). See all with `data check`; correct them, or leave out a few "
            "with on_bad=skip or on_bad=quarantine."
        )
    if len(found) > ceiling * total:
        raise DataError(
            f"{what} ({first.code}). That is {len(found) / total:.2%}, and at most {ceiling:.2%} may "
            "be left out. Correct them, or raise the ceiling knowingly."
        )


def _write(out: Path, found: list[Bad]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(asdict(bad), ensure_ascii=False) + "\n" for bad in found)
    (out / LIST).write_text("".join(lines), encoding="utf-8")
