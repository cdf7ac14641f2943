"""Write a report of an image: findings, then impression, as one text."""

from residency.errors import UsageError
from residency.task import PAPER, Codec, Wording
from residency.types import Answer, Part, Sample

metrics = (
    "token_f1",
    "rouge_l",
    "bleu4",
    "cider_d",
    "meteor",
    "response_words",
    "rouge_l@coco",
    "meteor@coco",
    "cider_d@iu-xray",
)
templates = ("paper", "write", "observe")

_ASK = {
    "en": {
        "paper": "Report the findings and the impression of the given {image}.",
        "write": "Write a report for this {image}, with findings and impression.",
        "observe": "Which findings does the {image} show, and what is your impression?",
    },
    "zh": {
        "paper": "报告给定{image}的所见和印象。",
        "write": "为这张{image}撰写报告，包括所见和印象。",
        "observe": "这张{image}有哪些所见？印象是什么？",
    },
}


def ask(sample: Sample, wording: Wording) -> str:
    """The sample's own question where it has one, else the wording with the modality.

    Raises:
        UsageError: no such template.
    """
    if wording.template not in templates:
        raise UsageError(
            f"report has no wording {wording.template!r}. It has: {', '.join(templates)}."
        )
    word, join = ("图像", "") if sample.language == "zh" else ("image", " ")
    modality = sample.modality.strip()
    image = modality if modality.lower().endswith(word) else f"{modality}{join}{word}".strip()
    return sample.question.strip() or _ASK[sample.language][wording.template].format(image=image)


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The report as it stands."""
    return (str(sample.answer),)


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """The text without spaces around it, None where nothing was said."""
    return text.strip() or None
