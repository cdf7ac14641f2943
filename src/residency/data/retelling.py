"""What each draw of a sample may change in its words: its instruction and the order of its response.

Response shuffling is InstFree's equation 4, RS(y) = Join(Shuffle(Split(y))), done afresh at every draw.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from residency.data.negatives import uniform
from residency.errors import UsageError
from residency.text import words
from residency.types import Language, Part, Reading

Split = Literal["none", "separator", "sentences", "sections"]
Draw = Literal["uniform", "rare_words"]
SEPARATORS: Mapping[str, str] = {"en": ", ", "zh": "，"}
# A sentence ends at a Chinese stop, or at a Latin one before a space and a capital, a digit or a bracket.
_END = re.compile(r"(?<=[。！？；])|(?<=[.!?])\s+(?=[\"'“(\[]?[A-Z0-9\u3400-\u9fff])")
_ABBREVIATED = re.compile(
    r"(?:\b(?:Fig|Figs|Dr|Mr|Mrs|Ms|Prof|No|Nos|vs|ca|approx|e\.g|i\.e|resp|St|T|L|C)|\b[A-Z])\.$"
)
_CHINESE_END = re.compile(r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Retelling:
    """How a drawn sample is put into words; the default leaves its task's words as they are.

    `instructions` hold, by language, what is asked instead: one is drawn each time (InstFree's FT has
    one, its FT w/ Rand 58). `shuffle` says where a response is split before its pieces change places:
    at `separator` (by default ", ", in Chinese "，"; a final stop stays final), between sentences, or
    between lines, which hold the sections of a report. `draw` is how samples are chosen: every one once
    per epoch, or with replacement and more often where they hold rare words (InstFree w/ Bal).
    """

    instructions: Mapping[Language, tuple[str, ...]] = field(default_factory=dict)
    shuffle: Split = "none"
    separator: str | None = None
    draw: Draw = "uniform"

    def __post_init__(self) -> None:
        if self.separator == "":
            raise UsageError("separator='' splits nothing; give what stands between the pieces.")

    def __call__(self, reading: Reading, draw: tuple[int, ...]) -> Reading:
        """The reading as told at a draw, which (seed, epoch, place in the epoch) number.

        Raises:
            UsageError: there are instructions, and none in the sample's language.
        """
        if not self.instructions and self.shuffle == "none":
            return reading
        *before, asked, answered = reading.conversation
        if self.instructions:
            pool = self.instructions.get(reading.sample.language, ())
            if not pool:
                raise UsageError(
                    f"No instruction in language {reading.sample.language!r} for sample "
                    f"{reading.sample.id!r}; there are some in {', '.join(self.instructions)}."
                )
            said = pool[uniform(len(pool), *draw, 0)]
            images = tuple(part for part in asked.parts if not isinstance(part, str))
            asked = replace(asked, parts=(*images, said))
        if self.shuffle != "none":
            parts = tuple(self._shuffled(p, reading, draw) for p in answered.parts)
            answered = replace(answered, parts=parts)
        return replace(reading, conversation=(*before, asked, answered))

    def _shuffled(self, part: Part, reading: Reading, draw: tuple[int, ...]) -> Part:
        if type(part) is not str:  # control text and images stay where they are
            return part
        pieces, join, end = self.split(part, reading.sample.language)
        return join_pieces([pieces[k] for k in permutation(len(pieces), *draw, 1)], join) + end

    def split(self, text: str, language: Language) -> tuple[list[str], str | None, str]:
        """The pieces of a response, what joins them (None: as sentences), and what stays at the end."""
        if self.shuffle == "sentences":
            return sentences(text), None, ""
        if self.shuffle == "sections":
            return [line for line in text.split("\n") if line.strip()], "\n", ""
        if self.shuffle == "none":
            return [text], "", ""
        separator = self.separator or SEPARATORS[language]
        end = text[-1] if text.endswith((".", "。")) else ""
        return text[: len(text) - len(end)].split(separator), separator, end


def permutation(size: int, *key: int) -> list[int]:
    """A permutation of `range(size)`, uniform, that depends on nothing but `key` (Fisher-Yates)."""
    order = list(range(size))
    for last in range(size - 1, 0, -1):
        other = uniform(last + 1, *key, last)
        order[last], order[other] = order[other], order[last]
    return order


def sentences(text: str) -> list[str]:
    """The sentences of an English or Chinese text; abbreviations, decimals and initials end none."""
    found: list[str] = []
    for piece in _END.split(text.strip()):
        if found and _ABBREVIATED.search(found[-1]):
            found[-1] = f"{found[-1]} {piece}"
        elif piece.strip():
            found.append(piece.strip())
    return found


def join_pieces(pieces: Sequence[str], join: str | None) -> str:
    """The pieces as one text; without `join` a space stands after each that does not end in Chinese."""
    if join is not None:
        return join.join(pieces)
    gaps = ["" if _CHINESE_END.search(piece) else " " for piece in pieces]
    return "".join(piece + gap for piece, gap in zip(pieces, gaps, strict=True)).rstrip()


def rarity(texts: Sequence[str]) -> Float[np.ndarray, " n"]:
    """How often each text is to be drawn so that rare words are seen more often; the mean is 1.

    The mean of 1 / (number of texts that hold the word) over the different words of a text. The
    paper says that samples with words of low frequency are likelier, not by how much: ours.
    """
    held = [set(words(text)) for text in texts]
    frequency = Counter(word for some in held for word in some)
    raw = np.array([np.mean([1 / frequency[w] for w in some]) if some else 0.0 for some in held])
    total = raw.sum()
    return raw * len(raw) / total if total else np.ones(len(raw))
