"""What every painted modality provides: a case with its exact facts, and a way to paint it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from residency.text import capital
from residency.types import Language

T = TypeVar("T")
Rectangle = tuple[float, float, float, float]  # x1, y1, x2, y2 as fractions of the image side


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One drawn patient view: everything that is true of the image before it is painted.

    All text is English; a modality's `WORDS` translates it. `facts` maps each trait to its value.
    `findings` and `impression` are templates over the facts (`"{nucleus shape}"`). Positions are
    fractions of the image side. `geometry` is for the modality's own `paint`.
    """

    label: str
    facts: Mapping[str, str]
    boxes: tuple[tuple[str, Rectangle], ...]
    points: tuple[tuple[str, tuple[float, float]], ...]
    findings: tuple[str, ...]
    impression: str
    caption: str
    geometry: Any = field(repr=False)


@runtime_checkable
class Modality(Protocol):
    """What every module in `residency.phantoms.modalities` provides."""

    NAME: str  # of the imaging modality, in English
    LABELS: tuple[str, ...]
    TRAITS: Mapping[str, tuple[str, ...]]  # every attribute with its closed set of values
    WORDS: Mapping[str, str]  # English to Chinese: labels, traits, values, names, templates

    def draw(self, label: str, rng: np.random.Generator, patient: np.random.Generator) -> Case:
        """A case of that class; `patient` yields what all images of one patient share."""
        ...

    def paint(
        self, case: Case, size: int, shift: float, rng: np.random.Generator
    ) -> UInt8[np.ndarray, "h w 3"]:
        """The image of a case. `rng` and `shift` move the appearance, never the facts."""
        ...


def stream(*words: object) -> np.random.Generator:
    """A generator that depends on the words alone, equal in every process."""
    digest = hashlib.sha256("\x1f".join(map(str, words)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def pick(rng: np.random.Generator, shares: Mapping[T, float]) -> T:
    """A key, drawn in proportion to its share."""
    edges = np.cumsum(list(shares.values()))
    return list(shares)[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))]


def say(modality: Modality, text: str, language: Language) -> str:
    """A label, trait, value, name or template of the modality in that language."""
    return text if language == "en" else modality.WORDS[text]


def localise(modality: Modality, case: Case, language: Language) -> dict[str, str]:
    """The facts with their names and values in that language."""
    return {
        say(modality, trait, language): say(modality, value, language)
        for trait, value in case.facts.items()
    }


def fill(modality: Modality, case: Case, template: str, language: Language) -> str:
    """A template with the facts of the case, which it names in English in either language."""
    values = {trait: say(modality, value, language) for trait, value in case.facts.items()}
    values["label"] = say(modality, case.label, language)
    text = say(modality, template, language).format_map(values)
    return capital(text)


def report(modality: Modality, case: Case, language: Language) -> str:
    """The findings and the impression, each on its line."""
    heads = ("Findings: ", "Impression: ") if language == "en" else ("所见:", "印象:")
    gap = " " if language == "en" else ""
    findings = gap.join(fill(modality, case, text, language) for text in case.findings)
    return f"{heads[0]}{findings}\n{heads[1]}{fill(modality, case, case.impression, language)}"
