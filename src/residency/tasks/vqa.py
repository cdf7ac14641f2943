"""Answer a question about an image: closed where the sample has options, else in free words."""

from residency.errors import UsageError
from residency.task import PAPER, Codec, Wording
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
templates = ("paper", "brief")

_OPTIONS = {"en": " Answer with one of: {options}.", "zh": "请从以下选项中选择：{options}。"}
_BRIEF = {"en": " Answer in a few words.", "zh": "请简短回答。"}
_JOIN = {"en": ", ", "zh": "、"}


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
