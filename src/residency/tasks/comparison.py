"""Compare two images: what they share and where they differ, or which of them; UMIT's first stage (sec. 3.2).

The first image of the sample is image 1, the second image 2. Closed where the sample has options ("image 1",
"image 2", "both"), else in free words.
"""

from residency.errors import DataError, UsageError
from residency.task import PAPER, Codec, Wording
from residency.text import mentioned, read_label
from residency.types import Answer, Part, Sample

metrics = ("accuracy", "token_f1", "rouge_l", "bleu4", "closed_accuracy", "response_words")
templates = ("paper", "both", "contrast")

_ASK = {
    "en": {
        "paper": "What are the similarities and the differences of image 1 and image 2?",
        "both": "Compare the two images: what do they have in common, and what sets them apart?",
        "contrast": "How does image 2 differ from image 1, and what is the same?",
    },
    "zh": {
        "paper": "图像1和图像2有哪些相同点和不同点？",
        "both": "比较这两张图像：它们有什么共同之处，又有什么区别？",
        "contrast": "图像2与图像1相比有哪些不同，哪些相同？",
    },
}
_OPTIONS = {"en": " Answer with one of: {options}.", "zh": "请从以下选项中选择：{options}。"}
_JOIN = {"en": ", ", "zh": "、"}


def ask(sample: Sample, wording: Wording) -> str:
    """The sample's own question where it has one, else the wording; then the options.

    Raises:
        UsageError: no such template.
        DataError: a sample that has not two images.
    """
    if wording.template not in templates:
        raise UsageError(
            f"comparison has no wording {wording.template!r}. It has: {', '.join(templates)}."
        )
    if len(sample.images) != 2:
        raise DataError(
            f"Sample {sample.id!r} compares two images and has {len(sample.images)}. Give it two "
            "in `images`, or ask it under the task vqa."
        )
    question = sample.question.strip() or _ASK[sample.language][wording.template]
    named = {option for option, _, _ in mentioned(question, sample.options)}
    if not wording.list_options or named.issuperset(sample.options):
        return question
    listed = _JOIN[sample.language].join(sample.options)
    return question + _OPTIONS[sample.language].format(options=listed)


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The answer as it stands.

    Raises:
        DataError: an answer that is no text, or is not among the options.
    """
    answer = sample.answer
    if not isinstance(answer, str) or (sample.options and answer not in sample.options):
        allowed = ", ".join(sample.options) or "a text"
        raise DataError(f"Sample {sample.id!r} has answer {answer!r}; a comparison has {allowed}.")
    return (answer,)


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """The option that is stated, or the text without spaces around it; None where there is none."""
    return read_label(text, sample.options) if sample.options else text.strip() or None
