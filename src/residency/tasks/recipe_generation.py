"""Write the recipe of a dish from its picture: title, ingredients, steps (Recipe1M; AdaMLLM)."""

from residency.errors import DataError, UsageError
from residency.task import PAPER, Codec, Wording
from residency.types import Answer, Part, Sample

metrics = ("rouge_l", "bleu4", "token_f1", "rouge_l@pypi-rouge", "response_words")
templates = ("paper", "cook", "parts")

_ASK = {
    "en": {
        "paper": "Write the recipe of the dish in the image: title, ingredients and instructions.",
        "cook": "How is the dish in the picture made?",
        "parts": "Name this dish, list what goes into it, and say step by step how to cook it.",
    },
    "zh": {
        "paper": "写出图中菜肴的食谱：名称、配料和步骤。",
        "cook": "图中的菜是怎么做的？",
        "parts": "说出这道菜的名称，列出配料，并分步说明做法。",
    },
}


def ask(sample: Sample, wording: Wording) -> str:
    """The sample's own question where it has one, else the wording.

    Raises:
        UsageError: no such template.
    """
    if wording.template not in templates:
        raise UsageError(
            f"recipe_generation has no wording {wording.template!r}. It has: {', '.join(templates)}."
        )
    return sample.question.strip() or _ASK[sample.language][wording.template]


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The recipe as it stands.

    Raises:
        DataError: an answer that is no text.
    """
    if not isinstance(sample.answer, str):
        raise DataError(f"Sample {sample.id!r} has {sample.answer!r}; a recipe is one text.")
    return (sample.answer,)


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """The text without spaces around it, None where nothing was said."""
    return text.strip() or None
