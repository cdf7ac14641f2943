"""Which predictions of two runs are about the same sample, and how many have no partner."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from residency.errors import DataError, UsageError
from residency.evaluate.lines import Findings
from residency.evaluate.scoring import SUMMARY
from residency.evaluate.sources import read_any
from residency.evaluate.store import FILE, decode, encode_answer
from residency.types import Prediction

ANSWERS = "answers.jsonl"  # of methods that answer without words
RESULTS = ("results.json", SUMMARY)
Key = tuple[str, str, str, str]  # step, data set, task, view
NAMES = ("step", "data set", "task", "view")
SHOWN = 6  # reasons in a message


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """The same samples twice, in the same order, and what was left out."""

    name: Key
    first: tuple[Prediction, ...]
    second: tuple[Prediction, ...]
    only_first: int
    only_second: int
    differing: int  # the same sample with another reference
    repeated: int  # further predictions of a sample that one side holds twice
    regrouped: int  # samples that B resamples with others; the first side's unit is used


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """Every pair of sets, and in words what was paired across names or not at all."""

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


def predictions_of(path: Path) -> tuple[dict[Key, list[Prediction]], Findings]:
    """All predictions under a run folder, beside a results file, or in one predictions file.

    Also what is wrong with the files, in the terms of `residency score`.

    Raises:
        DataError: there are none.
    """
    if path.name in RESULTS:
        path = path.parent
    if not path.exists():
        raise DataError(f"No {path}. Give a run folder or a predictions file.")
    files = sorted(path.rglob(FILE)) + sorted(path.rglob(ANSWERS)) if path.is_dir() else [path]
    found: dict[Key, list[Prediction]] = {}
    findings = Findings()
    for file in files:
        step = _step(file, path) if path.is_dir() else ""
        for p in _predictions(file, findings):
            found.setdefault((step, p.dataset, p.task, p.view), []).append(p)
    if not found:
        raise DataError(
            f"{path} holds no {FILE}: without predictions nothing can be paired. "
            "Evaluate again, or name the folder that holds them."
        )
    return found, findings


def _predictions(file: Path, findings: Findings) -> Sequence[Prediction]:
    if file.name == ANSWERS:
        return _answers(file)
    read = read_any(file, dataset="predictions")
    for name, places in read.findings.places.items():
        findings.places.setdefault(name, []).extend(places)
    return read.predictions


def _answers(file: Path) -> Sequence[Prediction]:
    try:
        return [decode(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is damaged ({error}). Evaluate again.") from error


def _step(file: Path, root: Path) -> str:
    """The folder of the step, which holds its summary, as seen from the root."""
    for folder in file.parents:
        if folder == root or (folder / SUMMARY).is_file():
            return "" if folder == root else str(folder.relative_to(root))
    return ""


def pair(first: Mapping[Key, list[Prediction]], second: Mapping[Key, list[Prediction]]) -> Pairing:
    """Pair sets by step, data set, task and view, and their predictions by sample.

    Where each side has a single step (or data set, task, view) the names need not agree, and a note
    says so: two methods are compared so, or two views.

    Raises:
        UsageError: nothing can be paired.
    """
    notes: list[str] = []
    alike: list[bool] = []
    for place, word in enumerate(NAMES):
        one, two = ({key[place] for key in side} for side in (first, second))
        single = len(one) == len(two) == 1
        if single and one != two:
            a, b = (names.pop() or "none" for names in (one, two))
            notes.append(f"{word} {a!r} of A is paired with {b!r} of B, the only ones")
        alike.append(not single)
    left, right = ({_shared(key, alike): key for key in side} for side in (first, second))
    for letter, side, own, other in (("A", first, left, right), ("B", second, right, left)):
        for name in own.keys() - other.keys():
            said = ", ".join(part for part in own[name] if part)
            notes.append(f"only in {letter}: {len(side[own[name]])} predictions of {said}")
    pairs = tuple(
        _pair(key, first[key], second[right[name]]) for name, key in left.items() if name in right
    )
    if not any(one.first for one in pairs):
        reasons = [*notes, *(reason for one in pairs for reason in unpaired(one))]
        more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
        raise UsageError(
            "Nothing can be paired: no sample of a data set, task and view is in both A and B: "
            + "; ".join(reasons[:SHOWN])
            + more
        )
    return Pairing(pairs=tuple(one for one in pairs if one.first), notes=tuple(sorted(notes)))


def _shared(key: Key, alike: Sequence[bool]) -> tuple[str, ...]:
    """The names that must agree."""
    return tuple(part for part, needed in zip(key, alike, strict=True) if needed)


def _pair(name: Key, first: Sequence[Prediction], second: Sequence[Prediction]) -> Pair:
    ours, theirs = ({p.sample: p for p in reversed(side)} for side in (first, second))
    both = [sample for sample in dict.fromkeys(p.sample for p in first) if sample in theirs]
    same = [s for s in both if _reference(ours[s]) == _reference(theirs[s])]
    return Pair(
        name=name,
        first=tuple(ours[s] for s in same),
        second=tuple(theirs[s] for s in same),
        only_first=len(ours) - len(both),
        only_second=len(theirs) - len(both),
        differing=len(both) - len(same),
        repeated=len(first) + len(second) - len(ours) - len(theirs),
        regrouped=_regrouped([(ours[s].unit, theirs[s].unit) for s in same]),
    )


def _regrouped(units: Sequence[tuple[str, str]]) -> int:
    """How many samples break a one-to-one naming: hashes of the same patients differ by machine."""
    there: dict[str, str] = {}
    back: dict[str, str] = {}
    return sum(there.setdefault(a, b) != b or back.setdefault(b, a) != a for a, b in units)


def _reference(prediction: Prediction) -> str:
    return json.dumps(encode_answer(prediction.reference), sort_keys=True)


def unpaired(pair: Pair) -> list[str]:
    """What of a pair was left out or decided, in words; nothing where every sample has a partner."""
    said = {
        "only in A": pair.only_first,
        "only in B": pair.only_second,
        "with different references": pair.differing,
        "repeated, the first kept": pair.repeated,
        "in another group in B, resampled by A's": pair.regrouped,
    }
    return [f"{count} samples {reason}" for reason, count in said.items() if count]
