"""Name the class of an image, or every finding in it: VITask's instruction (Bai et al., 2024).

Wordings: `paper` is App. A.1 (response "{label}."), `section3` the other form that the paper prints
("for diagnosis", no full stop), `category` says the same without medicine. Without `list_options`
the label sentence is left out: the paper's incomplete instruction.
"""

from collections.abc import Sequence

from residency.errors import DataError, UsageError
from residency.task import PAPER, Codec, Wording
from residency.text import NOTHING, read_label, read_labels
from residency.types import Answer, Part, Sample

metrics = (
    "accuracy",
    "macro_f1",
    "balanced_accuracy",
    "auroc",
    "brier",
    "ece",
    "label_accuracy",
    "samples_f1",
)
templates = ("paper", "section3", "category")

# Per language and wording: what is asked, what joins it to the label sentence, and that sentence.
_ASK = {
    ("en", "paper"): ("Analyze the given {image}.", "\n", "The possible diagnoses are: {labels}."),
    ("en", "section3"): (
        "Analyze the given {image} for diagnosis.",
        " ",
        "The possible diagnoses are: {labels}.",
    ),
    ("en", "category"): (
        "What does the given {image} show?",
        "\n",
        "The possible categories are: {labels}.",
    ),
    ("zh", "paper"): ("分析给定的{image}。", "\n", "可能的诊断有：{labels}。"),
    ("zh", "section3"): ("分析给定的{image}并作出诊断。", "", "可能的诊断有：{labels}。"),
    ("zh", "category"): ("给定的{image}属于哪一类？", "\n", "可能的类别有：{labels}。"),
}
_JOIN = {"en": ", ", "zh": "、"}
_STOP = {"en": ".", "zh": "。"}


def ask(sample: Sample, wording: Wording) -> str:
    """The instruction; "No finding" is listed last where an answer may be a set of labels.

    Raises:
        UsageError: no such template.
    """
    _check(wording)
    question, join, listing = _ASK[sample.language, wording.template]
    question = question.format(image=_image(sample))
    if not wording.list_options:
        return question
    labels = list(_options(sample))
    if isinstance(sample.answer, tuple) and NOTHING[sample.language] not in labels:
        labels.append(NOTHING[sample.language])
    return question + join + listing.format(labels=_JOIN[sample.language].join(labels))


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The label, or the labels in canonical order, or "No finding"; a full stop except `section3`.

    Raises:
        DataError: a label outside the sample's options.
    """
    _check(wording)
    options, answer = _options(sample), sample.answer
    stated = [answer] if isinstance(answer, str) else list(answer)
    for label in stated:
        if label not in options:
            raise DataError(
                f"Sample {sample.id!r} has label {label!r}, which is outside its options: "
                f"{', '.join(options)}. Correct the label or add it to the set."
            )
    ordered = [option for option in options if option in stated]
    text = _JOIN[sample.language].join(ordered) or NOTHING[sample.language]
    return (text if wording.template == "section3" else text + _STOP[sample.language],)


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """The label or set of labels, by the rules of `read_label` and `read_labels`."""
    options = _options(sample)
    many = isinstance(sample.answer, tuple)
    return read_labels(text, options) if many else read_label(text, options)


def _check(wording: Wording) -> None:
    if wording.template not in templates:
        raise UsageError(
            f"classification has no wording {wording.template!r}. It has: {', '.join(templates)}."
        )


def _options(sample: Sample) -> Sequence[str]:
    if not sample.options:
        raise DataError(
            f"Sample {sample.id!r} is a classification without options. Declare the label set of "
            f"data set {sample.dataset!r}."
        )
    return sample.options


def _image(sample: Sample) -> str:
    """`{modality} image`, without saying "image" twice."""
    modality, word = sample.modality.strip(), "图像" if sample.language == "zh" else "image"
    if sample.language == "zh":
        return modality if modality.endswith(word) else modality + word
    return modality if modality.lower().endswith(word) else f"{modality} {word}".strip()
