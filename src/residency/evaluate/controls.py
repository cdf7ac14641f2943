"""Controls: does the model look at the image, and does it beat an answer that never looks?"""

import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from residency.errors import UsageError
from residency.evaluate.results import Estimate, Row
from residency.evaluate.statistics import interval
from residency.evaluate.store import encode_answer, unit_hash
from residency.metric import facts, mean
from residency.text import normalise
from residency.types import Answer, Prediction, Sample


def shuffled_partners(samples: Sequence[Sample], *, seed: int) -> list[Sample]:
    """For every sample another one whose image it is shown, each image used exactly once.

    Partners have the same number of images. The samples are ordered by answer and rotated by the
    size of the largest class: none keeps its own image, and as few as possible get one that shares
    their answer (none where no class holds more than half). Questions about one image are then
    swapped apart where that is possible.

    Raises:
        UsageError: a sample without an image, or the only one with its number of images.
    """
    generator = np.random.default_rng(seed)
    places: dict[int, list[int]] = {}
    for i, sample in enumerate(samples):
        places.setdefault(len(sample.images), []).append(i)
    partners: dict[int, Sample] = {}
    for number, group in places.items():
        if not number or len(group) < 2:
            raise UsageError(
                f"Sample {samples[group[0]].id!r} ({number} images) has no other to swap images "
                "with. Leave the shuffled view out, or raise limit=."
            )
        shuffled = _derange([samples[i] for i in group], generator)
        partners.update(zip(group, shuffled, strict=True))
    return [partners[i] for i in range(len(samples))]


def _derange(samples: Sequence[Sample], generator: np.random.Generator) -> list[Sample]:
    answers = [_key(sample.answer) for sample in samples]
    sizes = Counter(answers)
    order = sorted(
        generator.permutation(len(samples)).tolist(), key=lambda i: (-sizes[answers[i]], answers[i])
    )
    shift = max(sizes.values()) % len(samples) or 1
    partner = [0] * len(samples)
    for place, i in enumerate(order):
        partner[i] = order[(place + shift) % len(samples)]
    _part_same_images(samples, answers, partner, generator)
    return [samples[j] for j in partner]


def _part_same_images(
    samples: Sequence[Sample],
    answers: Sequence[str],
    partner: list[int],
    generator: np.random.Generator,
) -> None:
    """Swap partners, in place, until no sample is shown its own picture under another question."""
    pictures = [tuple(picture.key for picture in sample.images) for sample in samples]

    def bad(i: int, j: int) -> int:
        return 2 * (pictures[i] == pictures[j]) + (answers[i] == answers[j])

    for i in range(len(samples)):
        if pictures[i] != pictures[partner[i]]:
            continue
        for k in generator.permutation(len(samples)).tolist():
            before = bad(i, partner[i]) + bad(k, partner[k])
            if (
                partner[k] != i
                and partner[i] != k
                and before > (bad(i, partner[k]) + bad(k, partner[i]))
            ):
                partner[i], partner[k] = partner[k], partner[i]
                break


def _key(answer: Answer) -> str:
    return repr(encode_answer(answer))


def majority(samples: Sequence[Sample], train: Sequence[Sample]) -> list[Prediction]:
    """Every sample answered with the most frequent answer of the training split.

    Ties go to the answer seen first. Scored like any method; no image is read.

    Raises:
        UsageError: the training split is empty.
    """
    if not len(train):
        raise UsageError("The majority answer needs a training split, and it is empty.")
    seen: dict[str, Answer] = {}
    counts: Counter[str] = Counter()
    for sample in train:
        seen.setdefault(_key(sample.answer), sample.answer)
        counts[_key(sample.answer)] += 1
    answer = seen[counts.most_common(1)[0][0]]
    return [fixed(sample, answer) for sample in samples]


def fixed(sample: Sample, answer: Answer | None, *, view: str = "") -> Prediction:
    """The prediction of a method that answers without words (the expert, the majority class).

    An empty `view` becomes null in the results.
    """
    return Prediction(
        sample=sample.id,
        dataset=sample.dataset,
        task=sample.task,
        view=view,
        text=answer if isinstance(answer, str) else "",
        answer=answer,
        reference=sample.answer,
        unit=unit_hash(sample),
        facts=facts(sample),
    )


def chance(samples: Sequence[Sample], labels: Sequence[str] = ()) -> float | None:
    """The expected accuracy of a uniform guess among each sample's options.

    `labels` are the options of samples that name none. None where some sample is open or
    multi-label: there a uniform guess means nothing.
    """
    sizes = [0 if isinstance(s.answer, tuple) else len(s.options or labels) for s in samples]
    if not sizes or not all(sizes):
        return None
    return float(np.mean([1 / size for size in sizes]))


def chance_row(samples: Sequence[Sample], labels: Sequence[str] = (), *, seed: int) -> Row | None:
    """`chance` as a row of results; an expectation has no interval. None where there is none."""
    value = chance(samples, labels)
    if value is None:
        return None
    return Row(
        method="chance",
        variant="",
        view=None,
        dataset=samples[0].dataset,
        task=samples[0].task,
        seed=seed,
        n=len(samples),
        n_unparsed=0,
        metrics={"accuracy": Estimate(estimate=value, low=value, high=value)},
    )


def flip_rate(
    own: Sequence[Prediction], other: Sequence[Prediction], *, seed: int
) -> Estimate | None:
    """The share of samples answered otherwise once the image is another or none, with its interval.

    Answers are compared as they were understood (text after `normalise`), right or wrong; two that could
    not be understood are the same. Near 0 the model does not look. None where no sample is in both.
    """
    before = {p.sample: p for p in own}
    pairs = [(before[p.sample], p) for p in other if p.sample in before]
    if not pairs:
        return None
    flipped = np.array([[float(_said(one) != _said(two))] for one, two in pairs])
    found = interval(mean, flipped, [p.unit for p, _ in pairs], seed=seed)
    return Estimate(**found._asdict())


def _said(prediction: Prediction) -> object:
    answer = prediction.answer
    return normalise(answer) if isinstance(answer, str) else answer


def option_positions(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """How often each letter was said and was right: a model that likes a letter shows it here.

    `letters` maps A, B, ... to [said, right answers]; `unparsed` counts answers that name no option.
    Empty where the samples were not asked with options of their own that differ in order or content.
    """
    rows = [(p, list(p.facts.get("options") or ())) for p in predictions]
    asked = {tuple(options) for _, options in rows}
    if len(asked) < 2 or not all(2 <= len(options) <= 26 for options in asked):
        return {}
    said, right, unparsed = Counter[str](), Counter[str](), 0
    for p, options in rows:
        place = {
            normalise(option): letter for option, letter in zip(options, _LETTERS, strict=False)
        }
        chosen = place.get(normalise(p.answer)) if isinstance(p.answer, str) else None
        said.update([chosen] if chosen else [])
        unparsed += chosen is None
        true = place.get(normalise(p.reference)) if isinstance(p.reference, str) else None
        right.update([true] if true else [])
    letters = _LETTERS[: max(map(len, asked))]
    return {"letters": {one: [said[one], right[one]] for one in letters}, "unparsed": unparsed}


_LETTERS = string.ascii_uppercase
