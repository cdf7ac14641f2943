"""Name the ingredients of a dish from its picture (Nutrition5k, as AdaMLLM asks for it).

The answer is a set of ingredient names. A name outside the sample's options, or any name where it has none,
is read as it is said: naming something else is a wrong ingredient, not an unreadable answer.
"""

import re

from residency.errors import DataError, UsageError
from residency.task import PAPER, Codec, Wording
from residency.text import normalise, read_labels
from residency.types import Answer, Part, Sample

metrics = (
    "ingredient_recall",
    "ingredient_precision",
    "samples_f1",
    "ingredient_recall@nutrition5k",
    "parse_rate",
)
templates = ("paper", "list", "made")

_ASK = {
    "en": {
        "paper": "What ingredients are used to make the dish in the image?",
        "list": "List the ingredients of the dish.",
        "made": "What is this dish made of?",
    },
    "zh": {
        "paper": "图中的菜肴使用了哪些配料？",
        "list": "列出这道菜的配料。",
        "made": "这道菜由什么做成？",
    },
}
_JOIN = {"en": ", ", "zh": "、"}
_NONE = {"en": "None.", "zh": "无。"}
_NONE_READ = {"none", "nothing", "无", "没有"}
_BETWEEN = re.compile(r"\s*(?:[,;\n、，；]|(?<=[\s,])and\s|以及|和)\s*")
_BULLET = re.compile(r"^(?:and\s+|[-*•]\s*|\(?\d+[.)]\s*)+")


def ask(sample: Sample, wording: Wording) -> str:
    """The sample's own question where it has one, else the wording; the vocabulary is not listed.

    Raises:
        UsageError: no such template.
    """
    if wording.template not in templates:
        raise UsageError(
            f"ingredients has no wording {wording.template!r}. It has: {', '.join(templates)}."
        )
    return sample.question.strip() or _ASK[sample.language][wording.template]


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The names as they stand, "None." for none.

    Raises:
        DataError: an answer that is no set of names, or one that could not be read back.
    """
    answer = sample.answer
    names = [name for name in answer if isinstance(name, str)]
    if isinstance(answer, str) or len(names) != len(answer):
        raise DataError(f"Sample {sample.id!r} has {answer!r}; ingredients are a set of names.")
    text = _JOIN[sample.language].join(names) or _NONE[sample.language]
    if read(text, sample, codec) != answer:
        raise DataError(
            f"Sample {sample.id!r}: {text!r} does not read back as {names}. Names with separators need the "
            "vocabulary as the sample's options, and stand in its order."
        )
    return (text,)


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """The names, each once, those among the options first and in their order; () for "None".

    A list made of the sample's options alone is read by them, so that they may hold separators.
    """
    if normalise(text) in _NONE_READ:
        return ()
    pieces = [_BULLET.sub("", piece.strip()).strip(" .。") for piece in _BETWEEN.split(text)]
    spelled = {normalise(option): option for option in sample.options}
    found = dict.fromkeys(spelled.get(normalise(piece), piece) for piece in pieces if piece)
    if sample.options and not found.keys() <= set(sample.options):
        whole = read_labels(text, sample.options)
        found = dict.fromkeys(whole) if whole else found
    known = [option for option in sample.options if option in found]
    return (*known, *(name for name in found if name not in sample.options)) or None
