"""Bad rows: a run stops at them, or goes on without them where that was asked for and they are few.

`fail` stops before training and names the first; `skip` leaves them out and counts them; `quarantine`
lists each in `bad.jsonl` besides, with its place and reason. Above the ceiling all three stop. A split
is read through once, when it is first used (`residency.data.index`).
"""

import functools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from residency.data.defects import faults_of
from residency.data.index import Index
from residency.data.rows import Rows
from residency.data.strata import stratified
from residency.dataset import Dataset
from residency.errors import DataError, UsageError
from residency.types import Sample

OnBad = Literal["fail", "skip", "quarantine"]
CEILING = 0.001  # of the rows that are looked at (ours)
LIST, COUNTS = "bad.jsonl", "left_out.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What to do about bad rows, and which share of the rows looked at may be left out."""

    on_bad: OnBad = "fail"
    max_bad: float = CEILING

    def __post_init__(self) -> None:
        if self.on_bad not in ("fail", "skip", "quarantine") or not 0 <= self.max_bad <= 1:
            raise UsageError(
                f"on_bad={self.on_bad!r}, max_bad={self.max_bad}: expected fail, skip or quarantine, "
                "and a share between 0 and 1."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Bad:
    """A row that cannot be used: `where` is file and line, or the sample's id."""

    dataset: str
    split: str
    where: str
    code: str
    reason: str


@dataclass
class LeftOut:
    """What a run left out, on disk in its folder: counts by data set and split, and the list."""

    out: Path
    counts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.out / COUNTS).is_file():
            self.counts |= json.loads((self.out / COUNTS).read_text(encoding="utf-8"))

    def add(self, place: str, looked_at: int, found: Sequence[Bad], *, listed: bool) -> None:
        """Write down the bad rows of a place, such as `slake/train`; none forgets earlier ones."""
        known = self.counts.pop(place, None)
        if found:
            by_code = Counter(bad.code for bad in found)
            self.counts[place] = {"looked_at": looked_at, "bad": len(found), "codes": dict(by_code)}
        if not found and known is None:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        _write(self.out / COUNTS, json.dumps(self.counts, indent=1) + "\n")
        kept = [
            line for line in self._listed() if (line["dataset"], line["split"]) != _parts(place)
        ]
        if lines := [*kept, *(asdict(bad) for bad in found if listed)]:
            rows = (json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            _write(self.out / LIST, "".join(rows))

    def lines(self) -> list[str]:
        """A sentence per data set and split."""
        return [
            f"Left out as bad: {entry['bad']} of {entry['looked_at']} rows of {place} "
            f"({', '.join(f'{code} {n}' for code, n in entry['codes'].items())})."
            for place, entry in self.counts.items()
        ]

    def _listed(self) -> list[dict[str, str]]:
        path = self.out / LIST
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [json.loads(line) for line in lines]


def sift(
    dataset: Dataset, policy: Policy, *, left_out: LeftOut, limit: int | None = None, seed: int = 0
) -> Dataset:
    """The data set that gives away (`split`) the rows that can be used; a split is read when asked for.

    With `limit`, only the samples are read that `stratified(samples, limit, seed)` picks; a bad one
    makes it pick again, so what it finally picks is good. Samples that are computed and not read
    (`synthetic`) cannot be bad. Asking for a split raises `DataError` for bad rows with `fail`, for
    more of them than `max_bad` allows, and for bad rows only.
    """
    if dataset.synthetic:
        return dataset
    made: dict[str, Sequence[Sample]] = {}

    def admitted(split: str) -> Sequence[Sample]:
        if split not in made:
            made[split] = _good(split, dataset, policy, left_out, limit, seed)
        return made[split]

    return replace(dataset, admitted=admitted)


def _good(
    split: str,
    dataset: Dataset,
    policy: Policy,
    left_out: LeftOut,
    limit: int | None,
    seed: int,
) -> Sequence[Sample]:
    samples = dataset.splits[split]
    faults = faults_of(samples)
    found = [
        Bad(dataset=dataset.name, split=split, where=f.where, code=f.code, reason=str(f))
        for f in faults
    ]
    index = Index.open(dataset, split)
    looked: set[int] = set()
    bad: dict[int, Bad] = {}
    kept: Sequence[int] | Int[np.ndarray, " n"] = range(len(samples))
    while True:
        chosen = _chosen(samples, kept, limit, seed)
        fresh = [row for row in chosen if row not in looked]
        looked.update(fresh)
        for row, entry in index.entries(fresh):
            if entry.defects:
                code, reason = entry.defects[0]
                where = samples[row].id
                bad[row] = Bad(
                    dataset=dataset.name, split=split, where=where, code=code, reason=reason
                )
        if not any(row in bad for row in chosen):
            break
        kept = np.array([row for row in kept if row not in bad], dtype=np.int64)
        if limit is None or not len(kept):
            break
    found += [bad[row] for row in sorted(bad)]
    total = len(looked) + len(faults)
    left_out.add(f"{dataset.name}/{split}", total, found, listed=policy.on_bad == "quarantine")
    _require_few(dataset, found, total, policy)
    if len(samples) and not len(kept):
        raise DataError(f"{dataset.name}: every row of {split} is bad. Correct them.")
    return Rows(len(kept), functools.partial(_at, samples, kept)) if bad else samples


def _chosen(
    samples: Sequence[Sample],
    kept: Sequence[int] | Int[np.ndarray, " n"],
    limit: int | None,
    seed: int,
) -> list[int]:
    """The rows that a run will use, ascending."""
    if limit is None or not 1 <= limit < len(kept):
        return [int(row) for row in kept]
    some = Rows(len(kept), functools.partial(_at, samples, kept))
    return [int(kept[place]) for place in stratified(some, limit, seed)]


def _at(
    samples: Sequence[Sample], rows: Sequence[int] | Int[np.ndarray, " n"], place: int
) -> Sample:
    return samples[int(rows[place])]


def _require_few(dataset: Dataset, found: list[Bad], total: int, policy: Policy) -> None:
    if not found:
        return
    first = found[0]
    what = f"{dataset.name}/{first.split} has {len(found)} bad rows of {total}; the first: {first.reason}"
    if policy.on_bad == "fail":
        raise DataError(
            f"{what} ({first.code}). See all with `residency data check`; correct them, or leave out "
            "a few with on_bad=skip or on_bad=quarantine."
        )
    if len(found) > policy.max_bad * total:
        raise DataError(
            f"{what} ({first.code}). That is {len(found) / total:.2%}, and at most "
            f"{policy.max_bad:.2%} may be left out. Correct them, or raise max_bad knowingly."
        )


def _parts(place: str) -> tuple[str, str]:
    dataset, _, split = place.rpartition("/")
    return dataset, split


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
