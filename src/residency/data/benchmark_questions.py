"""Answered questions as multiple choice: Medical-CXR-VQA as InstFree asks it (sec. 4.2).

Wrong options are answers to other questions of the same type; yes/no questions have two options; a
question with several answers (abnormalities) is asked once for each of them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from residency.data.benchmark import NO, YES, Plan
from residency.data.retelling import permutation
from residency.dataset import Dataset
from residency.types import Sample

KIND = "question_type"


def choices(
    dataset: Dataset, plan: Plan, name: str
) -> tuple[dict[str, list[Sample]], Counter[str]]:
    """Multiple-choice questions of val and test, and what was left out, by reason.

    Answers of all splits are options. A right answer of the same question is never offered as a wrong
    one (the paper does not say; ours). The right option takes every place equally often under `ours`,
    a random one under `published`.
    """
    pools = _pools(dataset)
    left: Counter[str] = Counter()
    made = {
        split: [
            question
            for sample in dataset.splits[split]
            for question in _asked(sample, plan, name, split, pools, left)
        ]
        for split in ("val", "test")
        if split in dataset.splits
    }
    if plan.protocol == "ours":
        made = {split: _balanced(some, plan.seed) for split, some in made.items()}
    return {split: some for split, some in made.items() if some}, +left


def _pools(dataset: Dataset) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for samples in dataset.splits.values():
        for sample in samples:
            found.setdefault(sample.attributes[KIND], set()).update(_answers(sample))
    return {kind: tuple(sorted(answers)) for kind, answers in found.items()}


def _answers(sample: Sample) -> tuple[str, ...]:
    """The answers of a question: several where it lists abnormalities."""
    text = str(sample.answer)
    parts = text.split(",") if sample.attributes[KIND] == "abnormality" else [text]
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _asked(
    sample: Sample,
    plan: Plan,
    name: str,
    split: str,
    pools: Mapping[str, tuple[str, ...]],
    left: Counter[str],
) -> list[Sample]:
    kind, right = sample.attributes[KIND], _answers(sample)
    questions = []
    for number, answer in enumerate(right):
        chance = Random(f"{plan.seed}/{sample.id}/{number}")
        if answer.casefold() in YES | NO:
            options = [o for o in ("yes", "no") if o != answer.casefold()]
            answer = answer.casefold()
        else:
            others = [o for o in pools[kind] if o not in right and o.casefold() not in YES | NO]
            options = chance.sample(others, min(len(others), plan.choices - 1))
        if not options:
            left[f"Questions of type {kind} without another answer (left out)"] += 1
            continue
        options = [answer, *options]
        if len(options) > 2 or plan.protocol == "ours":
            chance.shuffle(options)
        else:
            options.sort(reverse=True)  # yes, no
        key = sample.id.removeprefix(f"{sample.dataset}/{split}/")
        questions.append(
            replace(
                sample, id=f"{name}/{split}/{key}/{number}", dataset=name, task=plan.task,
                answer=answer, options=tuple(options),
                attributes={**sample.attributes, "attribute": kind, "told": ""},
            )
        )  # fmt: skip
    return questions


def _balanced(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """The same questions with the right option in every place equally often, per type."""
    turns: Counter[tuple[str, int]] = Counter()
    placed = []
    for sample in samples:
        kind, size = sample.attributes["attribute"], len(sample.options)
        lap, place = divmod(turns[kind, size], size)
        turns[kind, size] += 1
        options = [option for option in sample.options if option != sample.answer]
        options.insert(permutation(size, seed, lap)[place], str(sample.answer))
        placed.append(replace(sample, options=tuple(options)))
    return placed
