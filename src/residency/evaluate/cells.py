"""Values of the cells of a predictions file: answers, options, and how a text is read as an answer."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from residency.codec import Qwen2VLCodec
from residency.evaluate.store import decode_answer
from residency.metric import written
from residency.task import task
from residency.text import normalise
from residency.types import Answer, Box, Box3D, Point, Sample

_LETTERED = re.compile(r"\s*\(?([A-Z])\s*[).:、]\s*")
_task = cache(task)  # looking a name up reads a folder
_SHAPES = {2: (Point, ("x", "y")), 4: (Box, ("x1", "y1", "x2", "y2"))}
_SHAPES[6] = (Box3D, ("x1", "y1", "z1", "x2", "y2", "z2"))


def written_text(answer: Answer | None) -> str:
    """An answer in words; '' for boxes and points."""
    shapes = isinstance(answer, tuple) and any(not isinstance(part, str) for part in answer)
    return "" if shapes else written(answer)


def words(value: Any) -> str:
    """A value of one cell as text, '' for none and for what is no cell."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).strip() if isinstance(value, str | int | float) else ""


def answer_of(value: Any) -> Answer | None:
    """A JSON value as an answer; ValueError where it is none."""
    if value is None or isinstance(value, str):
        return None if value in (None, "nan", "NaN") else value
    if not isinstance(value, list):
        if isinstance(value, dict):
            raise ValueError("an object")
        return words(value)
    if value and all(map(_number, value)):
        return _shapes([value])
    if value and all(isinstance(one, list) and all(map(_number, one)) for one in value):
        return _shapes(value)
    if not all(isinstance(one, str | dict) for one in value):
        raise ValueError("a list of neither texts nor shapes")
    try:
        return decode_answer(value)
    except (KeyError, TypeError) as error:
        raise ValueError("no known shape") from error


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shapes(rows: Sequence[Sequence[int | float]]) -> Answer:
    length = len(rows[0])
    if length not in _SHAPES or any(len(row) != length for row in rows):
        raise ValueError("a point has 2 numbers, a box 4, a 3D box 6")
    kind, names = _SHAPES[length]
    values = [dict(zip(names, map(float, row), strict=True)) for row in rows]
    shapes: Any = tuple(kind(name="", **value) for value in values)
    return shapes


def read(said: str, sample: Sample, vocabulary: tuple[str, ...]) -> Answer | None:
    """What a text states, by the rules of `residency.evaluate.foreign`."""
    several = isinstance(sample.answer, tuple)
    if several:
        sample = replace(sample, options=sample.options or vocabulary)
    letters = any(len(option.strip()) == 1 for option in sample.options)
    lettered = 2 <= len(sample.options) <= 26 and not letters and not several
    return _task("mcq" if lettered else "vqa").read(said, sample, Qwen2VLCodec())


def options(value: Any) -> tuple[str, ...]:
    """A list, an object by letter, or either as JSON text; letters before all of them are cut off.

    Raises:
        ValueError: not at least two texts.
    """
    if isinstance(value, str):
        value = json.loads(value)
    parts = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(parts, list) or len(parts) < 2 or not all(map(words, parts)):
        raise ValueError("no list of at least two texts")
    texts = [words(part) for part in parts]
    marks = [_LETTERED.match(text) for text in texts]
    if all(mark and mark[1] == chr(65 + i) for i, mark in enumerate(marks)):
        cut = [text[mark.end() :] for text, mark in zip(texts, marks, strict=True) if mark]
        return tuple(cut) if all(cut) else tuple(texts)
    return tuple(texts)


def option(reference: str, options: Sequence[str]) -> str | None:
    """The option that a reference is: by its text, its letter or both ("B. lung")."""
    by_text = {normalise(option): option for option in options}
    bare = _LETTERED.sub("", reference, count=1)
    for text in (reference, bare):
        if normalise(text) in by_text:
            return by_text[normalise(text)]
    place = ord(reference.strip(" ().:").upper()[:1] or "?") - 65
    alone = len(reference.strip(" ().:")) == 1
    return options[place] if alone and 0 <= place < len(options) else None
