"""Instructions for reports: the fixed one of plain fine-tuning, and a pool of sixty (ours) to draw from.

InstFree's FT asks "Describe this medical scan" (Kang et al., sec. 5.1); its FT w/ Rand draws from 58
instructions that are not published.
"""

from collections.abc import Mapping

from residency.types import Language

FIXED: Mapping[Language, tuple[str, ...]] = {
    "en": ("Describe this medical scan.",),
    "zh": ("描述这幅医学影像。",),
}
_ASK: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "Give a report of {it}.",
        "Write down what {it} shows.",
        "State the findings of {it}.",
        "List what can be seen in {it}.",
        "Summarise {it}.",
        "Note the features of {it}.",
        "Tell me what you see in {it}.",
        "Put {it} into words.",
        "Characterise {it}.",
        "What does {it} show?",
        "Read {it} for me.",
        "Record your observations of {it}.",
    ),
    "zh": (
        "请报告{it}。",
        "写下{it}显示的内容。",
        "陈述{it}的所见。",
        "列出{it}中能看到的内容。",
        "概括{it}。",
        "记录{it}的特征。",
        "告诉我你在{it}中看到了什么。",
        "用文字说明{it}。",
        "刻画{it}的特点。",
        "{it}显示了什么？",
        "请为我解读{it}。",
        "写出你对{it}的观察。",
    ),
}
_IT: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "this medical scan", "this medical image", "the image", "this picture", "the study shown",
    ),
    "zh": ("这幅医学影像", "这张医学图像", "该图像", "这张图片", "所示检查"),
}  # fmt: skip
POOL: Mapping[Language, tuple[str, ...]] = {
    language: tuple(ask.format(it=it) for ask in asks for it in _IT[language])
    for language, asks in _ASK.items()
}
