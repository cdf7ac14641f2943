"""Multiple-choice questions with four lettered choices, as PMC-VQA and M3D-VQA publish them."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from residency.text import normalise
from residency.types import Picture, Sample, Volume

_LETTERED = re.compile(r"\s*[A-D]\s*:\s*")


class Choice(NamedTuple):
    """One question; `answer` is one of `options`, '' where the row names none of them."""

    key: str
    image: str
    question: str
    options: tuple[str, ...]
    answer: str
    facts: tuple[tuple[str, str], ...] = ()


def bare(choice: str) -> str:
    """A choice without the letter in front of it, on one line: "A: lung" is lung."""
    letter = _LETTERED.match(choice)
    return " ".join(choice[letter.end() if letter else 0 :].split())


def chosen(options: Sequence[str], letter: str, answer: str) -> str:
    """The option that a letter names, else the one equal to the answer, else ''.

    A letter and an answer that name different options name none.
    """
    letter = letter.strip().upper()
    place = "ABCDEFGH".find(letter) if len(letter) == 1 else -1
    by_letter = options[place] if 0 <= place < len(options) else ""
    stated = normalise(answer)
    by_text = next((option for option in options if stated and normalise(option) == stated), "")
    return "" if by_letter and by_text and by_letter != by_text else by_letter or by_text


def lacks(row: Choice) -> str:
    """What an unusable row is without."""
    missing = [name for name in ("image", "question") if not getattr(row, name)]
    if not all(row.options) or len({normalise(option) for option in row.options}) < 4:
        missing.append("four different choices")
    if not row.answer:
        missing.append("a right choice")
    return " or ".join(missing)


def choice_image(row: Choice) -> tuple[str, ...]:
    """The one image that a row refers to."""
    return (row.image,)


def choice_sample(
    name: str,
    split: str,
    row: Choice,
    images: tuple[Picture, ...],
    modality: str,
    volume: Volume | None = None,
) -> Sample:
    """The multiple-choice sample of a row."""
    return Sample(
        id=f"{name}/{split}/{row.key}",
        dataset=name,
        task="mcq",
        answer=row.answer,
        images=images,
        volume=volume,
        question=row.question,
        options=row.options,
        modality=modality,
        group=row.image,
        attributes=dict(row.facts),
    )
