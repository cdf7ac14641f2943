"""Attributes of an image as text to learn and as multiple choice: the form of instruction-free tuning.

InstFree (Kang et al.; its `preprocess_att_dataset.py` and `eval.py`) trains on a text that joins the
attributes by ", " and evaluates with one multiple-choice question per image.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from residency.data.images import file_picture
from residency.types import Sample

SEPARATOR = ", "  # what InstFree's response shuffling splits at


class Attributed(NamedTuple):
    """One image with its attributes; `asked` is the multiple-choice question, '' where there is none."""

    key: str
    image: str
    text: str
    facts: Mapping[str, str]
    asked: str = ""
    answer: str = ""
    options: tuple[str, ...] = ()
    group: str = ""


def attribute_sample(name: str, root: Path, modality: str, split: str, row: Attributed) -> Sample:
    """The attributes as a caption, or the multiple-choice question where the row has one."""
    return Sample(
        id=f"{name}/{split}/{row.key}",
        dataset=name,
        task="mcq" if row.asked else "caption",
        answer=row.answer if row.asked else row.text,
        images=(file_picture(root, row.image),),
        question=row.asked,
        options=row.options,
        modality=modality,
        group=row.group,
        attributes=row.facts,
    )


def attributed_image(row: Attributed) -> tuple[str, ...]:
    """The one image that a row refers to."""
    return (row.image,)


def lacks(row: Attributed) -> str:
    """What an unusable row is without."""
    return " or ".join(
        what for what, has in (("image", row.image), ("attributes", row.text)) if not has
    )
