"""Write a report of an image, of several views, or of a volume: findings, then impression, as one text.

Wordings `umit` and its variants have the structure of UMIT's (Yu et al., 2025), volumes their own.
"""

from residency.errors import UsageError
from residency.task import PAPER, Codec, Wording, shown
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
templates = ("paper", "write", "observe", "umit", "umit_findings", "umit_review", "umit_assess")

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
# Per language and wording: of images, and of a volume.
_UMIT = {
    "en": {
        "umit": (
            "Given {image}, please review {image} and create a report that assesses any abnormalities.",
            "Given a series of medical images, generate a report that assesses any abnormalities.",
        ),
        "umit_findings": (
            "Report what {image} shows, normal or not.",
            "Report what this series of slices shows of the volume, normal or not.",
        ),
        "umit_review": (
            "Review {image} and report your findings.",
            "Review the slices of this volume one by one and report your findings.",
        ),
        "umit_assess": (
            "Assess {image} for abnormalities in a report.",
            "Assess the whole volume for abnormalities in a report.",
        ),
    },
    "zh": {
        "umit": (
            "根据{image}，撰写评估异常情况的报告。",
            "根据同一检查的一系列切面，报告该容积图像的异常情况。",
        ),
        "umit_findings": (
            "报告{image}的表现，无论正常与否。",
            "报告这一系列切面显示的容积图像表现，无论正常与否。",
        ),
        "umit_review": ("阅读{image}并报告所见。", "逐层阅读该容积图像的切面并报告所见。"),
        "umit_assess": ("以报告形式评估{image}的异常。", "以报告形式评估整个容积图像的异常。"),
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
    question, umit = sample.question.strip(), _UMIT[sample.language].get(wording.template)
    if umit and not question:
        return umit[sample.volume is not None].format(image=shown(sample))
    word, join = ("图像", "") if sample.language == "zh" else ("image", " ")
    modality = sample.modality.strip()
    image = modality if modality.lower().endswith(word) else f"{modality}{join}{word}".strip()
    return question or _ASK[sample.language][wording.template].format(image=image)


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The report as it stands."""
    return (str(sample.answer),)


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """The text without spaces around it, None where nothing was said."""
    return text.strip() or None
