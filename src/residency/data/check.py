"""Look at a data set before training on it: what it holds, and what is wrong with it.

Nothing here prints the value of a group: it may be a patient's identity.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from residency.codec import Qwen2VLCodec
from residency.data.documents import RowError
from residency.data.images import ImageError
from residency.dataset import Dataset
from residency.errors import DataError
from residency.task import Wording, task, text_of
from residency.types import Box, Box3D, Picture, Sample

SHOWN = 3  # sample ids per problem, and samples per data set
PROBLEMS = {
    "duplicate_id": "ids that several samples carry",
    "empty_answer": "samples whose answer is empty text",
    "options_twice": "samples that list an option twice",
    "label_outside": "samples whose answer is not among their options",
    "box_outside": "samples with a box that is empty or leaves the image or volume",
    "group_crosses": "samples whose group (patient) is also in another split",
    "leak": "images of a later split that an earlier split shows, pixel for pixel",
    "duplicate": "images that their own split already shows under another name",
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
    """

    dataset: str
    checked: Mapping[str, int]
    total: Mapping[str, int]
    images: int
    problems: tuple[Problem, ...]
    defects: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found in the samples."""
        return not self.problems

    def __str__(self) -> str:
        seen = ", ".join(f"{name} {n} of {self.total[name]}" for name, n in self.checked.items())
        head = f"{self.dataset}: checked {seen} samples; {self.images} distinct images decoded."
        notes = "".join(f"\nnote: {note}" for note in self.notes)
        found = (*self.problems, *self.defects)
        if not found:
            return f"{head}\nNo problems found.{notes}"
        rows = [("problem", "count", "first samples", "meaning")]
        for one in found:
            more = ", ..." if one.count > len(one.first) > 0 else ""
            rows.append((one.code, str(one.count), ", ".join(one.first) + more, one.what))
        return f"{head}\n{_table(rows)}{notes}"


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
class Images:
    """Every distinct picture decoded once: size or error code by key, first holder by content."""

    sizes: dict[str, tuple[int, int] | ImageError] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    splits: defaultdict[bytes, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    def see(self, picture: Picture, split: str, sample: str, ledger: _Ledger) -> None:
        """Report leaks and duplicates of a picture that can be read."""
        if isinstance(self.size(picture), ImageError):
            return
        holders = self.splits[self.contents[picture.key]]
        if any(other != split for other in holders):
            ledger.add("leak", sample)
        elif holders.get(split, picture.key) != picture.key:
            ledger.add("duplicate", sample)
        holders.setdefault(split, picture.key)

    def size(self, picture: Picture) -> tuple[int, int] | ImageError:
        """(width, height) in pixels, or why it cannot be decoded; decodes at first sight."""
        if picture.key not in self.sizes:
            self._decode(picture)
        return self.sizes[picture.key]

    def _decode(self, picture: Picture) -> None:
        try:
            image = picture.load()
        except ImageError as error:
            self.sizes[picture.key] = error
        except DataError as error:
            self.sizes[picture.key] = ImageError("unreadable", str(error))
        else:
            self.sizes[picture.key] = image.size
            content = repr(image.size).encode() + image.tobytes()
            self.contents[picture.key] = hashlib.blake2b(content, digest_size=16).digest()


def check(dataset: Dataset, *, strict: bool = False, limit: int | None = None) -> Findings:
    """Read every sample (the first `limit` of each split) and decode every image.

    Raises:
        DataError: `strict` and something was found.
    """
    ledger, images = _Ledger(), Images()
    checked: dict[str, int] = {}
    groups: dict[str, set[str]] = defaultdict(set)
    members: list[tuple[str, str]] = []
    ids: set[str] = set()
    for split, samples in dataset.splits.items():
        checked[split] = 0
        for fault in faults_of(samples):
            ledger.add(fault.code, fault.where, str(fault))
        for sample in islice(_each(samples), limit):
            checked[split] += 1
            if sample.id in ids:
                ledger.add("duplicate_id", sample.id)
            ids.add(sample.id)
            for picture in sample.images:
                images.see(picture, split, sample.id, ledger)
            for one in (sample, *sample.also):
                for code, what in defects_of(one, images):
                    ledger.add(code, one.id, what)
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
        len(images.sizes),
        ledger.problems(),
        tuple(_in_files(dataset)),
        tuple(note for note in dataset.notes if note not in _said_already(dataset)),
    )
    found = (*findings.problems, *findings.defects)
    if strict and found:
        listed = "; ".join(f"{p.code} {p.count} ({next(iter(p.first), p.what)})" for p in found)
        raise DataError(
            f"{dataset.name} has problems, with the first sample of each: {listed}. "
            "See them all without strict=true."
        )
    return findings


def _in_files(dataset: Dataset) -> Iterator[Problem]:
    """What the reader left out or mended: no sample shows it any more."""
    for what, count in sorted(dataset.defects.items(), key=lambda entry: -entry[1]):
        yield Problem("in_files", count, (), what)


def _said_already(dataset: Dataset) -> frozenset[str]:
    """The notes that only repeat a defect with its count."""
    return frozenset(f"{what}: {count:,}." for what, count in dataset.defects.items())


def _each(samples: Sequence[Sample]) -> Iterable[Sample]:
    return (samples[row] for row in range(len(samples)))


def faults_of(samples: Sequence[Sample]) -> tuple[RowError, ...]:
    """The rows beside the samples that a reader could not use."""
    found: tuple[RowError, ...] = getattr(samples, "faults", ())
    return found


def defects_of(sample: Sample, images: Images) -> Iterator[tuple[str, str]]:
    """Code and reason of everything that makes one sample useless by itself."""
    for picture in sample.images:
        size = images.size(picture)
        if isinstance(size, ImageError):
            yield f"image_{size.code}", str(size)
    answer = sample.answer
    if isinstance(answer, str) and not answer.strip():
        yield "empty_answer", PROBLEMS["empty_answer"]
    elif sample.options:
        stated = (answer,) if isinstance(answer, str) else answer
        if any(isinstance(entry, str) and entry not in sample.options for entry in stated):
            yield "label_outside", PROBLEMS["label_outside"]
    if len(set(sample.options)) < len(sample.options):
        yield "options_twice", PROBLEMS["options_twice"]
    if not _boxes_fit(sample, images):
        yield "box_outside", PROBLEMS["box_outside"]
    if sample.volume is not None:
        try:
            sample.volume.load()
        except DataError as error:
            yield f"volume_{getattr(error, 'code', 'unreadable')}", str(error)


def _boxes_fit(sample: Sample, images: Images) -> bool:
    """Whether boxes have an extent inside the first image; written so that NaN does not fit."""
    cubes = [entry for entry in sample.answer if isinstance(entry, Box3D)]
    if not all(0 <= c.x1 < c.x2 and 0 <= c.y1 < c.y2 and 0 <= c.z1 < c.z2 for c in cubes):
        return False
    boxes = [entry for entry in sample.answer if isinstance(entry, Box)]
    size = images.size(sample.images[0]) if boxes and sample.images else None
    if not isinstance(size, tuple):
        return True
    width, height = size
    return all(0 <= b.x1 < b.x2 <= width and 0 <= b.y1 < b.y2 <= height for b in boxes)


def show(dataset: Dataset, reader: str = "") -> str:
    """What the data set declares and holds, with a few samples as their task words them.

    `reader` names the module of `residency.datasets` that was given or inferred.
    """
    facts = [("reader", reader)] if reader else []
    facts += [
        ("name", dataset.name),
        ("source", dataset.source or "not declared"),
        ("licence", dataset.licence or "not declared"),
        ("digest", dataset.digest),
        ("modality", ", ".join(f"{k}: {v}" for k, v in dataset.modality.items()) or "not declared"),
    ]
    tallies = {split: _tally(samples) for split, samples in dataset.splits.items()}
    for what in ("task", "language"):
        every = sum((tally[what] for tally in tallies.values()), Counter[str]())
        facts.append((what, ", ".join(f"{name} ({n})" for name, n in every.most_common())))
    facts.append(("images", "; ".join(f"{k}: {_sizes(v)}" for k, v in dataset.splits.items())))
    blocks = [_table(facts), _table(_counts(dataset, tallies))]
    blocks += [_wording(sample) for sample in _few(dataset)]
    if dataset.notes:
        blocks.append("\n".join(f"note: {note}" for note in dataset.notes))
    return "\n\n".join(blocks)


def _tally(samples: Sequence[Sample]) -> dict[str, Counter[str]]:
    """Counts over a split: task, language, label, and group (for the number of them alone)."""
    tally: dict[str, Counter[str]] = {
        name: Counter() for name in ("task", "language", "label", "group")
    }
    for sample in _each(samples):
        tally["task"][sample.task] += 1
        tally["language"][sample.language] += 1
        tally["group"][sample.group] += 1
        answers = (sample.answer,) if isinstance(sample.answer, str) else sample.answer
        tally["label"].update(a if isinstance(a, str) else a.name for a in answers)
        if not answers:
            tally["label"]["(none)"] += 1
    return tally


def _counts(dataset: Dataset, tallies: dict[str, dict[str, Counter[str]]]) -> list[tuple[str, ...]]:
    """Rows of the table of splits: samples, groups, labels."""
    rows = [("", *tallies)]
    rows.append(("samples", *(str(len(samples)) for samples in dataset.splits.values())))
    groups = [len(tally["group"].keys() - {""}) for tally in tallies.values()]
    if any(groups):
        rows.append(("groups", *map(str, groups)))
    labels = list(dataset.labels)
    if labels and any(tally["label"]["(none)"] for tally in tallies.values()):
        labels.append("(none)")
    rows += [
        (label, *(str(tally["label"][label]) for tally in tallies.values())) for label in labels
    ]
    return rows


def _sizes(samples: Sequence[Sample]) -> str:
    """Width x height of the first images of a split, or why they cannot be read."""
    pictures = [picture for sample in samples[:SHOWN] for picture in sample.images]
    if not pictures:
        return "none"
    try:
        found = Counter("{}x{}".format(*picture.load().size) for picture in pictures)
    except DataError as error:
        return f"unreadable ({error})"
    return ", ".join(found)


def _few(dataset: Dataset) -> list[Sample]:
    """Samples spread over the first split."""
    samples = next((split for split in dataset.splits.values() if len(split)), ())
    last = len(samples) - 1
    return [samples[row] for row in sorted({last * part // SHOWN for part in range(SHOWN)})]


def _wording(sample: Sample) -> str:
    worded = task(sample.task)
    try:
        response = text_of(worded.write(sample, Qwen2VLCodec()))
    except DataError as error:
        response = f"cannot be written: {error}"
    return (
        f"sample {sample.id}\n  instruction: {_indent(worded.ask(sample, Wording()))}"
        f"\n  response:    {_indent(response)}"
    )


def _indent(text: str) -> str:
    return text.replace("\n", "\n               ")


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as left-aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
