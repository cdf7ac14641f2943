"""Describe an image in free words."""

from residency.errors import UsageError
from residency.task import PAPER, Codec, Wording
from residency.types import Answer, Part, Sample

metrics = (
    "token_f1",
    "exact_match",
    "rouge_l",
    "bleu4",
    "cider_d",
    "response_words",
    "rouge_l@coco",
    "cider_d@coco",
)
templates = ("paper", "what", "caption", "detail", "summary", "umit", "umit_tell", "umit_say")

_ASK = {
    "en": {
        "paper": "Describe the image.",
        "what": "What can be seen in this picture?",
        "caption": "Write a caption for the image.",
        "detail": "Tell me what is shown here, with its details.",
        "summary": "Sum up what the image contains.",
        "umit": "Given the image, describe it.",
        "umit_tell": "Look at the image and tell what it shows.",
        "umit_say": "Say in words what this image contains.",
    },
    "zh": {
        "paper": "描述这张图像。",
        "what": "这张图片中能看到什么？",
        "caption": "为这张图像写一段说明。",
        "detail": "请详细说明图中显示的内容。",
        "summary": "概括图像的内容。",
        "umit": "根据图像，对其进行描述。",
        "umit_tell": "观察图像，说明它显示了什么。",
        "umit_say": "用文字说明这张图像的内容。",
    },
}


def ask(sample: Sample, wording: Wording) -> str:
    """The sample's own question where it has one, else the wording.

    Raises:
        UsageError: no such template.
    """
    if wording.template not in templates:
        raise UsageError(
            f"caption has no wording {wording.template!r}. It has: {', '.join(templates)}."
        )
    return sample.question.strip() or _ASK[sample.language][wording.template]


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The caption as it stands."""
    return (str(sample.answer),)


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """The text without spaces around it, None where nothing was said."""
    return text.strip() or None
