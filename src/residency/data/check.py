"""Check a data set before training on it: every row is read once, and what is wrong is counted by kind.

Nothing here prints the value of a group: it may be a patient's identity.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from residency.data.defects import MEANINGS, faults_of
from residency.data.images import MEANINGS as READ_AS
from residency.data.index import Index
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Sample

SHOWN = 3  # sample ids per problem
PROBLEMS = {
    **MEANINGS,
    "bit_depth": f"samples with images that {READ_AS['deep']}",
    "duplicate_id": "ids that several samples carry",
    "group_crosses": "samples whose group (patient) is also in another split",
    "leak": "images of a later split that an earlier split shows, pixel for pixel",
    "duplicate": "images that their own split already shows under another name",
    "repeated": "samples that ask and answer what an earlier one of their split does about the same image",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of defect: how often, and the ids of the first samples that have it."""

    code: str
    count: int
    first: tuple[str, ...]
    what: str


@dataclass(frozen=True)
class Findings:
    """What `check` found; as text, a table of problems.

    `problems` are those of the samples, `defects` what the reader left out of the files or mended.
    Of the distinct images of the samples, `images` could be decoded and `lost` could not.
    """

    dataset: str
    checked: Mapping[str, int]
    total: Mapping[str, int]
    images: int
    lost: int
    problems: tuple[Problem, ...]
    defects: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found in the samples."""
        return not self.problems

    def __str__(self) -> str:
        seen = ", ".join(f"{name} {n} of {self.total[name]}" for name, n in self.checked.items())
        lost = f", {self.lost} not" if self.lost else ""
        head = (
            f"{self.dataset}: checked {seen} samples; {self.images} distinct images decoded{lost}."
        )
        notes = "".join(f"\nnote: {note}" for note in self.notes)
        found = (*self.problems, *self.defects)
        if not found:
            return f"{head}\nNo problems found.{notes}"
        rows = [("problem", "count", "first samples", "meaning")]
        for one in found:
            more = ", ..." if one.count > len(one.first) > 0 else ""
            rows.append((one.code, str(one.count), ", ".join(one.first) + more, one.what))
        return f"{head}\n{columns(rows)}{notes}"


@dataclass
class _Ledger:
    """Problems as they turn up."""

    counts: Counter[str] = field(default_factory=Counter)
    first: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    what: dict[str, str] = field(default_factory=lambda: dict(PROBLEMS))

    def add(self, code: str, sample: str, what: str = "") -> None:
        self.counts[code] += 1
        if len(self.first[code]) < SHOWN:
            self.first[code].append(sample)
        if what:
            self.what.setdefault(code, what)

    def problems(self) -> tuple[Problem, ...]:
        return tuple(
            Problem(code, count, tuple(self.first[code]), self.what[code])
            for code, count in self.counts.most_common()
        )


@dataclass
class _Contents:
    """Who showed which pixels first, by split."""

    keys: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    holders: defaultdict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    def see(self, key: str, content: str, split: str, sample: str, ledger: _Ledger) -> None:
        """Report leaks and duplicates of a picture that can be read."""
        if not content:
            self.lost.add(key)
            return
        self.keys.add(key)
        holders = self.holders[content]
        if any(other != split for other in holders):
            ledger.add("leak", sample)
        elif holders.get(split, key) != key:
            ledger.add("duplicate", sample)
        holders.setdefault(split, key)


def check(dataset: Dataset, *, strict: bool = False, limit: int | None = None) -> Findings:
    """Read every sample (the first `limit` of each split) and decode every image.

    Raises:
        DataError: `strict` and something was found.
    """
    ledger, contents = _Ledger(), _Contents()
    checked: dict[str, int] = {}
    groups: dict[str, set[str]] = defaultdict(set)
    members: list[tuple[str, str]] = []
    ids: set[str] = set()
    marks: Counter[str] = Counter()
    for split, samples in dataset.splits.items():
        said: set[int] = set()
        for fault in faults_of(samples):
            ledger.add(fault.code, fault.where, str(fault))
        rows = range(len(samples) if limit is None else min(limit, len(samples)))
        checked[split] = len(rows)
        for row, entry in Index.open(dataset, split).entries(rows):
            sample = samples[row]
            if sample.id in ids:
                ledger.add("duplicate_id", sample.id)
            ids.add(sample.id)
            statement = _statement(sample)
            if statement in said:
                ledger.add("repeated", sample.id)
            said |= {statement} if statement else set()
            for picture, content in zip(sample.images, entry.contents, strict=True):
                contents.see(picture.key, content, split, sample.id, ledger)
            if "deep" in entry.marks:
                ledger.add("bit_depth", sample.id)
            marks.update(mark for mark in entry.marks if mark != "deep")
            for code, what in entry.defects:
                ledger.add(code, sample.id, what)
            if sample.group:
                groups[sample.group].add(split)
                members.append((sample.group, sample.id))
    for group, sample_id in members:
        if len(groups[group]) > 1:
            ledger.add("group_crosses", sample_id)
    findings = Findings(
        dataset.name,
        checked,
        {split: len(samples) for split, samples in dataset.splits.items()},
        len(contents.keys),
        len(contents.lost),
        ledger.problems(),
        tuple(_in_files(dataset)),
        (
            *(note for note in dataset.notes if note not in _said_already(dataset)),
            *(f"{count} images {READ_AS[mark]}." for mark, count in marks.items()),
        ),
    )
    found = (*findings.problems, *findings.defects)
    if strict and found:
        listed = "; ".join(f"{p.code} {p.count} ({next(iter(p.first), p.what)})" for p in found)
        raise DataError(
            f"{dataset.name} has problems, with the first sample of each: {listed}. "
            "See them all without strict=true."
        )
    return findings


def _statement(sample: Sample) -> int:
    """A hash of what is asked and answered about which image or volume; 0 where there is none."""
    shown = [picture.key for picture in sample.images]
    shown += [sample.volume.key] if sample.volume is not None else []
    if not shown:
        return 0
    return hash((sample.task, sample.question, sample.options, sample.answer, *shown))


def _in_files(dataset: Dataset) -> Iterator[Problem]:
    """What the reader left out or mended: no sample shows it any more."""
    for what, count in sorted(dataset.defects.items(), key=lambda entry: -entry[1]):
        yield Problem("in_files", count, (), what)


def _said_already(dataset: Dataset) -> frozenset[str]:
    """The notes that only repeat a defect with its count."""
    return frozenset(f"{what}: {count:,}." for what, count in dataset.defects.items())


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as left-aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
