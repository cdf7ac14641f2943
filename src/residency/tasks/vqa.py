"""Answer a question about an image: closed where the sample has options, else in free words.

Wordings `umit` and its variants have the structure of UMIT's (Yu et al., 2025), in our words.
"""

from residency.errors import UsageError
from residency.task import PAPER, Codec, Wording, shown
from residency.text import mentioned, read_label, read_labels
from residency.types import Answer, Part, Sample

metrics = (
    "accuracy",
    "closed_accuracy",
    "open_recall",
    "token_f1",
    "response_words",
    "closed_accuracy@strict",
    "closed_parse_rate",
    "closed_accuracy@llava-med",
    "open_recall@llava-med",
)
templates = ("paper", "brief", "umit", "umit_look", "umit_question", "umit_say")

_OPTIONS = {"en": " Answer with one of: {options}.", "zh": "请从以下选项中选择：{options}。"}
_BRIEF = {"en": " Answer in a few words.", "zh": "请简短回答。"}
_JOIN = {"en": ", ", "zh": "、"}
# Per language and wording: the open and the closed form.
_UMIT = {
    "en": {
        "umit": (
            "Given {image}, please provide a brief answer to {question}",
            "Given {image}, choose one option from the {options} to answer: {question}",
        ),
        "umit_look": (
            "Look at {image} and reply in a few words. {question}",
            "Look at {image} and reply with one of {options}. {question}",
        ),
        "umit_question": (
            "{question} Answer shortly from {image}.",
            "{question} Choose from {image} one of: {options}.",
        ),
        "umit_say": (
            "What {image} shows answers this question; be brief: {question}",
            "What {image} shows answers this question, with {options}: {question}",
        ),
    },
    "zh": {
        "umit": (
            "根据{image}，简要回答：{question}",
            "根据{image}，从{options}中选择一项回答：{question}",
        ),
        "umit_look": (
            "观察{image}，用几个词回答。{question}",
            "观察{image}，用{options}之一回答。{question}",
        ),
        "umit_question": (
            "{question}请依据{image}简短作答。",
            "{question}请依据{image}从以下选项中选择：{options}。",
        ),
        "umit_say": (
            "{image}可以回答这个问题，请简洁：{question}",
            "{image}可以回答这个问题，请用{options}作答：{question}",
        ),
    },
}


def ask(sample: Sample, wording: Wording) -> str:
    """The question, then its options unless it names them all; `brief` asks open ones for brevity.

    Raises:
        UsageError: no such template.
    """
    if wording.template not in templates:
        raise UsageError(
            f"vqa has no wording {wording.template!r}. It has: {', '.join(templates)}."
        )
    question, language = sample.question.strip(), sample.language
    if wording.template in _UMIT[language]:
        closed = bool(sample.options and wording.list_options)
        form = _UMIT[language][wording.template][closed]
        options = _JOIN[language].join(sample.options)
        return form.format(image=shown(sample), options=options, question=question)
    if sample.options and wording.list_options:
        named = {option for option, _, _ in mentioned(question, sample.options)}
        if not named.issuperset(sample.options):
            listed = _JOIN[language].join(sample.options)
            return question + _OPTIONS[language].format(options=listed)
    elif wording.template == "brief":
        return question + _BRIEF[language]
    return question


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The answer as it stands; several of them as a list."""
    answer = sample.answer
    return (answer if isinstance(answer, str) else _JOIN[sample.language].join(map(str, answer)),)


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """Closed: the option that is stated, else None. Open: the text with single spaces.

    Case and final punctuation of an open answer are left to the metrics, so that reading a written
    answer gives it back.
    """
    if sample.options:
        many = isinstance(sample.answer, tuple)
        return read_labels(text, sample.options) if many else read_label(text, sample.options)
    return " ".join(text.split()) or None
