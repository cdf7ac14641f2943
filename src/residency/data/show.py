"""Show a data set in words: what it declares and holds, and a few samples as their tasks word them.

Nothing here prints the value of a group: it may be a patient's identity.
"""

from collections import Counter
from collections.abc import Sequence

from residency.codec import Qwen2VLCodec
from residency.data.check import columns
from residency.dataset import Dataset
from residency.errors import DataError
from residency.task import Wording, task, text_of
from residency.types import Sample

SHOWN = 3  # samples


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
    blocks = [columns(facts), columns(_counts(dataset, tallies))]
    blocks += [_wording(sample) for sample in _few(dataset)]
    if dataset.notes:
        blocks.append("\n".join(f"note: {note}" for note in dataset.notes))
    return "\n\n".join(blocks)


def _tally(samples: Sequence[Sample]) -> dict[str, Counter[str]]:
    """Counts over a split: task, language, label, and group (for the number of them alone)."""
    tally: dict[str, Counter[str]] = {
        name: Counter() for name in ("task", "language", "label", "group")
    }
    for sample in (samples[row] for row in range(len(samples))):
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
        first = pictures[0].load().size
        sizes = [first, *(picture.size or picture.load().size for picture in pictures[1:])]
        found = Counter("{}x{}".format(*size) for size in sizes)
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
