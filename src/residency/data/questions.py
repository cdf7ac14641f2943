"""Questions about images, as the published sets of visual question answering share them.

A closed question gets options: yes and no (in Chinese the pair that the answer belongs to), or the
closed answers of the set that the question itself names ("Which is bigger, lung or heart?"). Where
it names fewer than two the question is asked without options, and `attributes["answer_type"]` still
says CLOSED.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from residency.data.images import file_picture
from residency.data.published import Defects
from residency.text import mentioned, normalise
from residency.types import Language, Sample

YES_NO = ("yes", "no")
PAIRS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (YES_NO,),
    "zh": (
        ("是", "否"),
        ("是的", "不是"),
        ("有", "没有"),
        ("包含", "不包含"),
        ("包括", "不包括"),
        ("存在", "不存在"),
        ("可以", "不可以"),
        ("正常", "不正常"),
    ),
}
Vocabulary = Mapping[str, Sequence[str]]  # closed answers that are in no pair, by language


class Question(NamedTuple):
    """One row: `image` is relative to the root of the images, `answer_type` is OPEN or CLOSED."""

    key: str
    image: str
    question: str
    answer: str
    answer_type: str
    language: Language = "en"
    modality: str = ""
    group: str = ""
    facts: tuple[tuple[str, str], ...] = ()


def lacks(row: Question) -> str:
    """What an unusable row is without."""
    return " or ".join(n for n in ("image", "question", "answer") if not getattr(row, n))


def closed_vocabulary(rows: Iterable[Question]) -> dict[str, tuple[str, ...]]:
    """The closed answers, by language, that do not belong to a pair such as yes and no."""
    found: dict[str, set[str]] = {}
    for row in rows:
        if row.answer_type == "CLOSED" and row.answer and not _pair(row):
            found.setdefault(row.language, set()).add(row.answer)
    return {language: tuple(sorted(answers)) for language, answers in found.items()}


def closed_options(row: Question, vocabulary: Vocabulary) -> tuple[str, ...]:
    """The options of a closed question, () where it has none (module docstring)."""
    if row.answer_type != "CLOSED":
        return ()
    if pair := _pair(row):
        return pair
    options = _named(row.question, tuple(vocabulary.get(row.language, ())))
    stated = normalise(row.answer)
    return options if len(options) > 1 and stated in map(normalise, options) else ()


def question_sample(
    name: str, root: Path, vocabulary: Vocabulary, split: str, row: Question
) -> Sample:
    """The sample of a row; an answer with options takes the spelling of its option."""
    options = closed_options(row, vocabulary)
    stated = normalise(row.answer)
    answer = next((option for option in options if normalise(option) == stated), row.answer)
    return Sample(
        id=f"{name}/{split}/{row.key}",
        dataset=name,
        task="vqa",
        answer=answer,
        images=(file_picture(root, row.image),),
        question=row.question,
        options=options,
        modality=row.modality,
        group=row.group or row.image,
        attributes={"answer_type": row.answer_type, **dict(row.facts)},
        language=row.language,
    )


def count_without_options(
    rows: Iterable[Question], vocabulary: Vocabulary, defects: Defects
) -> None:
    """Count the closed questions that are asked without options."""
    asked = Counter(
        row._replace(key="", image="", facts=()) for row in rows if row.answer_type == "CLOSED"
    )
    open_ones = sum(n for row, n in asked.items() if not closed_options(row, vocabulary))
    defects.add("Closed questions that name no options (asked as open)", open_ones)


def image_of(row: Question) -> tuple[str, ...]:
    """The one image that a row refers to."""
    return (row.image,)


@functools.lru_cache(maxsize=100_000)  # sets ask the same questions about thousands of images
def _named(question: str, answers: tuple[str, ...]) -> tuple[str, ...]:
    """The answers that a question names, in its order."""
    return tuple(dict.fromkeys(answer for answer, _, _ in mentioned(question, answers)))


def _pair(row: Question) -> tuple[str, ...]:
    stated = normalise(row.answer)
    return next((pair for pair in PAIRS[row.language] if stated in pair), ())
