"""Name the class of an image, or every finding in it: VITask's instruction (Bai et al., 2024).

Wordings: `paper` is App. A.1 (response "{label}."), `section3` the other form that the paper prints
("for diagnosis", no full stop), `category` says the same without medicine, `choose` is built as AdaMLLM
asks about food (its Table 13; a set of labels is a list in brackets), `umit` and its variants number the
options, and the response is `1:label` (UMIT, Yu et al., 2025; our words). Without `list_options` the label
sentence is left out: the paper's incomplete instruction.
"""

import re
from collections.abc import Sequence

from residency.errors import DataError, UsageError
from residency.task import PAPER, Codec, Wording, shown
from residency.text import NOTHING, read_label, read_labels
from residency.types import Answer, Part, Sample

metrics = (
    "accuracy",
    "macro_f1",
    "balanced_accuracy",
    "auroc",
    "brier",
    "ece",
    "accuracy_per_token",
    "label_accuracy",
    "samples_f1",
)
templates = (
    "paper", "section3", "category", "choose", "umit", "umit_which", "umit_option", "umit_decide"
)  # fmt: skip

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
# One label of those listed; a set of them, as a list. Without the options the first sentence alone.
_CHOOSE = {
    "en": (
        ("What does this {image} show?", "\nPick one of these: {labels}."),
        (
            "Which categories can be seen in this {image}?",
            "\nThe choices are: {labels}.\nReply with a list of those that can be seen, such as [{list}].",
        ),
    ),
    "zh": (
        ("这张{image}显示的是什么？", "\n请从以下选项中选择一项：{labels}。"),
        ("这张{image}中有哪些类别？", "\n可选类别有：{labels}。\n请用列表回答，例如[{list}]。"),
    ),
}
# Numbered options; per language and wording for one label and for a set of labels.
_UMIT = {
    "en": {
        "umit": (
            "Given {image}, choose one option from the {labels} to answer: {question}",
            "Given {image}, choose every option that holds from the {labels} to answer: {question}",
        ),
        "umit_which": (
            "{question} Options:\n{labels}\nAnswer from {image} with one of them.",
            "{question} Options:\n{labels}\nAnswer from {image} with all that hold.",
        ),
        "umit_option": (
            "Look at {image} and pick the right option. {question}\n{labels}",
            "Look at {image} and pick all right options. {question}\n{labels}",
        ),
        "umit_decide": (
            "Decide from {image} between\n{labels}\n{question}",
            "Decide from {image} which of these hold:\n{labels}\n{question}",
        ),
    },
    "zh": {
        "umit": (
            "根据{image}，从以下选项中选择一项：\n{labels}\n回答：{question}",
            "根据{image}，从以下选项中选择所有符合的：\n{labels}\n回答：{question}",
        ),
        "umit_which": (
            "{question}选项：\n{labels}\n请依据{image}用其中一项回答。",
            "{question}选项：\n{labels}\n请依据{image}用所有符合的选项回答。",
        ),
        "umit_option": (
            "观察{image}，选出正确的选项。{question}\n{labels}",
            "观察{image}，选出所有正确的选项。{question}\n{labels}",
        ),
        "umit_decide": (
            "依据{image}在以下各项中判断：\n{labels}\n{question}",
            "依据{image}判断以下哪些符合：\n{labels}\n{question}",
        ),
    },
}
_QUESTION = {"en": "Which class does this {image} belong to?", "zh": "这张{image}属于哪一类？"}
_NUMBER = re.compile(r"(?<!\w)\d+\s*[:：]\s*")
_LIST = re.compile(r"\s*\[(.*)\][\s.。]*", re.DOTALL)
_JOIN = {"en": ", ", "zh": "、"}
_STOP = {"en": ".", "zh": "。"}


def ask(sample: Sample, wording: Wording) -> str:
    """The instruction; "No finding" is listed last where an answer may be a set of labels.

    Raises:
        UsageError: no such template.
    """
    _check(wording)
    if wording.template in _UMIT[sample.language]:
        return _numbered(sample, wording)
    if wording.template == "choose":
        return _chosen(sample, wording)
    question, join, listing = _ASK[sample.language, wording.template]
    question = question.format(image=_image(sample))
    if not wording.list_options:
        return question
    labels = list(_options(sample))
    if isinstance(sample.answer, tuple) and NOTHING[sample.language] not in labels:
        labels.append(NOTHING[sample.language])
    return question + join + listing.format(labels=_JOIN[sample.language].join(labels))


def _chosen(sample: Sample, wording: Wording) -> str:
    question, listing = _CHOOSE[sample.language][isinstance(sample.answer, tuple)]
    labels, join = list(_options(sample)), _JOIN[sample.language]
    listed = listing.format(labels=join.join(labels), list=join.join(labels[:3]))
    return question.format(image=_image(sample)) + (listed if wording.list_options else "")


def _numbered(sample: Sample, wording: Wording) -> str:
    language = sample.language
    question = sample.question.strip() or _QUESTION[language].format(image=_image(sample))
    if not wording.list_options:
        return question
    form = _UMIT[language][wording.template][isinstance(sample.answer, tuple)]
    labels = "\n".join(f"{number}:{label}" for number, label in enumerate(_options(sample)))
    return form.format(image=shown(sample), labels=labels, question=question)


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The label, or the labels in canonical order, or "No finding".

    A full stop follows, except under `section3` and `choose`, where a set is a list in brackets; under
    `umit` the number of each label leads instead.

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
    numbered = wording.template in _UMIT[sample.language] and wording.list_options
    ordered = [
        f"{number}:{option}" if numbered else option
        for number, option in enumerate(options)
        if option in stated
    ]
    text = _JOIN[sample.language].join(ordered)
    if wording.template == "choose" and not isinstance(answer, str):
        return (f"[{text}]",)
    text = text or NOTHING[sample.language]
    bare = numbered or wording.template in ("section3", "choose")
    return (text if bare else text + _STOP[sample.language],)


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """The label or set of labels, by the rules of `read_label` and `read_labels`; numbers may lead.

    A set may be a list in brackets, `[]` is the empty one.
    """
    options = _options(sample)
    if not isinstance(sample.answer, tuple):
        return read_label(text, options)
    listed = _LIST.fullmatch(text)
    if listed is not None:
        text = listed.group(1)
        if not text.strip():
            return ()
    plain = read_labels(text, options)
    return read_labels(_NUMBER.sub("", text), options) if plain is None else plain


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
