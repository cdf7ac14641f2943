"""What is asked of a painted case under each task, and the exact answer."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from residency.phantoms.case import Case, Modality, fill, report, say
from residency.types import Answer, Box, Box3D, Language, Point

QUESTIONS = {
    "en": ("What is the {trait}?", "Is the {trait} {value}?", ("yes", "no")),
    "zh": ("{trait}是什么?", "{trait}是{value}吗?", ("是", "否")),
}
CHOICES = 4  # options of a multiple choice, at most


class Asked(NamedTuple):
    """The question (empty where the task asks by itself), the closed options and the answer."""

    question: str
    options: tuple[str, ...]
    answer: Answer


def ask(
    modality: Modality,
    case: Case,
    task: str,
    language: Language,
    *,
    size: int,
    rng: np.random.Generator,
    volume: bool,
) -> Asked:
    """What the task asks about the picture of a case (`size` x `size` pixels), or about its volume."""
    if task == "classification":
        labels = tuple(say(modality, label, language) for label in modality.LABELS)
        return Asked("", labels, say(modality, case.label, language))
    if task == "report":
        return Asked("", (), report(modality, case, language))
    if task == "caption":
        caption = modality.OF_A_VOLUME if volume else case.caption  # type: ignore[attr-defined]
        return Asked("", (), fill(modality, case, caption, language))
    if task in ("vqa", "mcq"):
        trait = _trait(modality, rng, volume)
        question = _question if task == "vqa" else _choice
        return question(modality, case, trait, language, rng)
    if task == "detection":
        return Asked("", (), boxes(modality, case, size, language))
    if task == "detection3d":
        return _cuboids(modality, case, size, language, rng)
    found = landmarks(modality, case, size, language)
    return Asked("", tuple(point.name for point in found), found)


def boxes(modality: Modality, case: Case, size: int, language: Language) -> tuple[Box, ...]:
    """The boxes of a case in pixels of a `size` x `size` image."""
    return tuple(
        Box(
            name=say(modality, name, language),
            x1=round(x1 * size, 2), y1=round(y1 * size, 2),
            x2=round(x2 * size, 2), y2=round(y2 * size, 2),
        )
        for name, (x1, y1, x2, y2) in case.boxes
    )  # fmt: skip


def landmarks(modality: Modality, case: Case, size: int, language: Language) -> tuple[Point, ...]:
    """The landmarks of a case in pixels of a `size` x `size` image."""
    return tuple(
        Point(name=say(modality, name, language), x=round(x * size, 2), y=round(y * size, 2))
        for name, (x, y) in case.points
    )


def _trait(modality: Modality, rng: np.random.Generator, volume: bool) -> str:
    """A trait to ask about; a volume has none of those of a slice."""
    without = modality.OF_A_SLICE if volume else ()  # type: ignore[attr-defined]
    traits = [trait for trait in modality.TRAITS if trait not in without]
    return traits[int(rng.integers(len(traits)))]


def _question(
    modality: Modality, case: Case, trait: str, language: Language, rng: np.random.Generator
) -> Asked:
    """Half open, half yes/no with as many yes as no."""
    traits: Mapping[str, tuple[str, ...]] = modality.TRAITS
    truth = case.facts[trait]
    what, whether, verdicts = QUESTIONS[language]
    name = say(modality, trait, language)
    if rng.random() < 0.5:
        return Asked(what.format(trait=name), (), say(modality, truth, language))
    others = [value for value in traits[trait] if value != truth]
    holds = bool(rng.random() < 0.5)
    value = truth if holds else others[int(rng.integers(len(others)))]
    asked = whether.format(trait=name, value=say(modality, value, language))
    return Asked(asked, verdicts, verdicts[0] if holds else verdicts[1])


def _choice(
    modality: Modality, case: Case, trait: str, language: Language, rng: np.random.Generator
) -> Asked:
    """The value among others of its trait, in a drawn order."""
    truth = case.facts[trait]
    others = [value for value in modality.TRAITS[trait] if value != truth]
    taken = [others[k] for k in rng.permutation(len(others))[: CHOICES - 1]]
    offered = [truth, *taken]
    options = tuple(say(modality, offered[k], language) for k in rng.permutation(len(offered)))
    question = QUESTIONS[language][0].format(trait=say(modality, trait, language))
    return Asked(question, options, say(modality, truth, language))


def _cuboids(
    modality: Modality, case: Case, size: int, language: Language, rng: np.random.Generator
) -> Asked:
    """The cuboids of one structure in voxels; no cuboid where a case has no lesion."""
    from residency.phantoms.solid import extents

    names = modality.STRUCTURES  # type: ignore[attr-defined]
    name = names[int(rng.integers(len(names)))]
    said = say(modality, name, language)
    found = tuple(
        Box3D(name=said, **dict(zip(("x1", "y1", "z1", "x2", "y2", "z2"), extent, strict=True)))
        for extent in extents(case.geometry, name, size)
    )
    return Asked(said, (), found)
