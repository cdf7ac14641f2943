"""Questions about images, as the published sets of visual question answering share them.

A closed question gets options by a rule that looks at the question and at training answers, never at which
answer is right, so that test options give nothing away. In this order:

1. the alternatives that the question names ("Which is bigger, lung or heart?", "肺还是心脏"), each spelled
   as the longest training answer that fits there;
2. yes and no where it opens as such a question does ("Is ...", "...吗"); the wording of the pair (是 / 否,
   有 / 没有) is that of the annotation, which does not tell which of the two is right;
3. otherwise the training answers to closed questions of its type, where there are at least two.

Where the rule finds none, or finds options without the annotated answer, the question is asked without
options and counted; `attributes["answer_type"]` still says CLOSED.
"""

import functools
import re
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
_ASKS = {
    "en": re.compile(
        r"^(?:is|are|was|were|do|does|did|can|could|has|have|had|will|would|should|may|might)\b",
        re.I,
    ),
    "zh": re.compile("吗|是否|有没有|是不是|能否|可否"),
}
_OR = {"en": re.compile(r",?\s+or\s+(?:an?\s+|the\s+)?", re.I), "zh": re.compile("还是|或者|或")}
_ENDS = re.compile(r"[?？.。,，;；:：]")


class Taught(NamedTuple):
    """Answers to the closed questions of a training split: by language, and by language and type."""

    answers: Mapping[str, tuple[str, ...]]
    of_kind: Mapping[tuple[str, str], tuple[str, ...]]


class Question(NamedTuple):
    """One row: `image` is relative to the root of the images, `answer_type` is OPEN or CLOSED.

    `kind` is the set's own type of question ("POS", "Modality"), '' where it has none.
    """

    key: str
    image: str
    question: str
    answer: str
    answer_type: str
    language: Language = "en"
    modality: str = ""
    group: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    kind: str = ""


def lacks(row: Question) -> str:
    """What an unusable row is without."""
    return " or ".join(n for n in ("image", "question", "answer") if not getattr(row, n))


def taught(train: Iterable[Question]) -> Taught:
    """The answers that the closed questions of a training split have, in the first spelling of each."""
    answers: dict[str, dict[str, str]] = {}
    of_kind: dict[tuple[str, str], dict[str, str]] = {}
    for row in train:
        if row.answer_type == "CLOSED" and row.answer:
            spelled = normalise(row.answer)
            answers.setdefault(row.language, {}).setdefault(spelled, row.answer)
            if row.kind:
                of_kind.setdefault((row.language, row.kind), {}).setdefault(spelled, row.answer)
    return Taught(
        {language: tuple(sorted(known.values())) for language, known in answers.items()},
        {key: tuple(sorted(known.values())) for key, known in of_kind.items()},
    )


def ruled_options(row: Question, known: Taught) -> tuple[str, ...]:
    """The options that the rule gives a closed question (module docstring), () where it gives none."""
    if named := _named(row.question, row.language, known.answers.get(row.language, ())):
        return named
    if _ASKS[row.language].search(row.question):
        return _pair(row) or PAIRS[row.language][0]
    same = known.of_kind.get((row.language, row.kind), ())
    return same if len(same) > 1 else ()


def closed_options(row: Question, known: Taught) -> tuple[str, ...]:
    """`ruled_options` where the annotated answer is among them, else (); always () for open questions."""
    if row.answer_type != "CLOSED":
        return ()
    options = ruled_options(row, known)
    return options if normalise(row.answer) in map(normalise, options) else ()


def question_sample(name: str, root: Path, known: Taught, split: str, row: Question) -> Sample:
    """The sample of a row; an answer with options takes the spelling of its option."""
    options = closed_options(row, known)
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


def count_without_options(rows: Iterable[Question], known: Taught, defects: Defects) -> None:
    """Count the closed questions that are asked without options, by reason."""
    asked = Counter(
        row._replace(key="", image="", facts=()) for row in rows if row.answer_type == "CLOSED"
    )
    bare = {row: n for row, n in asked.items() if not closed_options(row, known)}
    none = sum(n for row, n in bare.items() if not ruled_options(row, known))
    defects.add("Closed questions for which the rule has no options (asked as open)", none)
    outside = sum(bare.values()) - none
    defects.add(
        "Closed questions whose answer is outside the options of the rule (asked as open)", outside
    )


def image_of(row: Question) -> tuple[str, ...]:
    """The one image that a row refers to."""
    return (row.image,)


@functools.lru_cache(maxsize=100_000)  # sets ask the same questions about thousands of images
def _named(question: str, language: Language, answers: tuple[str, ...]) -> tuple[str, ...]:
    """The alternatives around the last "or" of a question, in its order; () where it has none.

    Beside it stand training answers, or else (in English) the next word; before the last comma only
    training answers count.
    """
    joints = list(_OR[language].finditer(question))
    if not joints:
        return ()
    *earlier, left = question[: joints[-1].start()].split(",")
    right = _ENDS.split(question[joints[-1].end() :])[0]
    words = language == "en"
    found = [_beside(part, answers, at_end=True) for part in earlier]
    found.append(_beside(left, answers, at_end=True) or (left.split() or [""])[-1] * words)
    found.append(_beside(right, answers, at_end=False) or (right.split() or [""])[0] * words)
    options = tuple(dict.fromkeys(option for option in found if option))
    return options if len(options) > 1 else ()


def _beside(part: str, answers: Sequence[str], *, at_end: bool) -> str:
    """The longest of the answers that a part of a question ends or begins with, '' for none."""
    norm = normalise(part)
    fitting = [
        (start if at_end else -end, answer)
        for answer in answers
        for _, start, end in mentioned(norm, [answer])
        if (end == len(norm) if at_end else start == 0)
    ]
    return min(fitting)[1] if fitting else ""


def _pair(row: Question) -> tuple[str, ...]:
    stated = normalise(row.answer)
    return next((pair for pair in PAIRS[row.language] if stated in pair), ())
