"""Choose a letter and say it in a stated sentence: the answer format of InstFree (Kang et al., sec. 4.3).

The instruction ends with how to answer; what follows "The correct answer is" must be the letter and
nothing else, as the authors' `eval.py` reads it. The task `mcq` reads answers more kindly.
"""

from residency.catalog import find
from residency.errors import UsageError
from residency.task import PAPER, Codec, Wording
from residency.types import Answer, Part, Sample

metrics = ("accuracy", "parse_rate", "accuracy_given_parsed")
templates = ("paper",)

_STATED = {"en": "The correct answer is", "zh": "正确答案是"}
_ASK = {
    "en": '\nReply with the letter of the right option only, in the words "{stated} [{letters}]."',
    "zh": "\n请只用正确选项的字母回答，格式为“{stated}[{letters}]。”",
}
_OR = {"en": " or ", "zh": "或"}
_STOP = {"en": ".", "zh": "。"}


def ask(sample: Sample, wording: Wording) -> str:
    """The question, an `A. option` per line, and the sentence to answer with.

    Without `list_options` the question stands alone.

    Raises:
        UsageError: no such template.
    """
    if wording.template not in templates:
        raise UsageError(
            f"choice has no wording {wording.template!r}. It has: {', '.join(templates)}."
        )
    listed = find("tasks", "mcq").ask(
        sample, Wording(template="plain", list_options=wording.list_options)
    )
    if not wording.list_options:
        return listed
    language = sample.language
    letters = _OR[language].join(_letters(sample))
    return listed + _ASK[language].format(stated=_STATED[language], letters=letters)


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The sentence with the letter, or the option itself where the instruction lists none.

    Raises:
        DataError: the answer is not among the options.
    """
    (said,) = find("tasks", "mcq").write(sample, codec, wording)
    if not wording.list_options:
        return (said,)
    language = sample.language
    gap = " " if language == "en" else ""
    return (f"{_STATED[language]}{gap}{said}{_STOP[language]}",)


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """The option whose letter follows the last "The correct answer is"; None for anything else."""
    rest = text.split(_STATED[sample.language])[-1]
    letter = rest.translate({ord(sign): None for sign in ".*[]。"}).strip().upper()
    letters = _letters(sample)
    return sample.options[letters.index(letter)] if len(letter) == 1 and letter in letters else None


def _letters(sample: Sample) -> str:
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(sample.options)]
