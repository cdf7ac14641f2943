"""Choose from lettered options; the answer is the option, the response its letter.

`choices` is built as AdaMLLM asks PMC-VQA's questions (its Table 13). Under `umit` and its variants it is
UMIT's question about a volume (its 3D VQA). All in our words.
"""

import re
import string
import unicodedata

from residency.errors import DataError, UsageError
from residency.task import PAPER, Codec, Wording, shown
from residency.text import normalise, read_label
from residency.types import Answer, Part, Sample

metrics = (
    "accuracy",
    "parse_rate",
    "accuracy_given_parsed",
    "choice_accuracy@likelihood",
    "choice_accuracy@strict",
    "choice_accuracy@mmmu",
    "choice_accuracy@m3d",
)
templates = ("paper", "plain", "choices", "umit", "umit_look", "umit_pick", "umit_letter")

_ASK = {"en": "\nAnswer with the letter of the correct option.", "zh": "\n请用正确选项的字母回答。"}
_CHOICES = {"en": ("Question: ", "The choices are:"), "zh": ("问题：", "选项如下：")}
_UMIT = {
    "en": {
        "umit": "Given {image}, choose the letter of the right option to answer: {listed}",
        "umit_look": "Look at {image} and answer with a letter. {listed}",
        "umit_pick": "Which option is right for {image}? Pick its letter. {listed}",
        "umit_letter": "{listed}\nAnswer from {image} with the letter alone.",
    },
    "zh": {
        "umit": "根据{image}，选择正确选项的字母回答：{listed}",
        "umit_look": "观察{image}，用字母回答。{listed}",
        "umit_pick": "对于{image}，哪个选项正确？选出它的字母。{listed}",
        "umit_letter": "{listed}\n请依据{image}只用字母回答。",
    },
}
# "B", "(B)", "B.", "**B**"; then what follows a marked letter: "B. lung", "(B) lung", "B: lung".
_ALONE = re.compile(r"[\s(\[*]*([A-Za-z])[\s)\].:,*、。]*")
_LED = re.compile(r"\s*(?:\(([A-Z])\)|([A-Z])[).:、])\s*(.+)", re.DOTALL)
_STATED = re.compile(
    r"(?:(?i:answer|option|choice)(?i:\s+is)?|答案(?:是|为)?|选项?|选择)\s*[::]?\s*"
    r"[(\[*]*([A-Z])(?![\w'])"
)


def ask(sample: Sample, wording: Wording) -> str:
    """The question, then one `A. option` per line; `plain` and `choices` do not explain how to answer.

    Without `list_options` there are no letters to choose: the question stands alone.

    Raises:
        UsageError: no such template.
    """
    if wording.template not in templates:
        raise UsageError(
            f"mcq has no wording {wording.template!r}. It has: {', '.join(templates)}."
        )
    question = sample.question.strip()
    if not wording.list_options:
        return question
    if wording.template == "choices":
        asked, offered = _CHOICES[sample.language]
        marked = zip(_letters(sample), sample.options, strict=True)
        listed = "\n".join(f"({letter}) {option}" for letter, option in marked)
        return f"{asked}{question}\n{offered}\n{listed}"
    lines = [
        f"{letter}. {option}"
        for letter, option in zip(_letters(sample), sample.options, strict=True)
    ]
    listed = "\n".join([question, *lines])
    if wording.template in _UMIT[sample.language]:
        return _UMIT[sample.language][wording.template].format(image=shown(sample), listed=listed)
    return listed + (_ASK[sample.language] if wording.template == "paper" else "")


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The letter of the right option, or the option itself where the instruction lists none.

    Raises:
        DataError: the answer is not among the options.
    """
    if sample.answer not in sample.options:
        raise DataError(
            f"Sample {sample.id!r} has answer {sample.answer!r}, which is not among its options: "
            f"{', '.join(sample.options)}."
        )
    place = sample.options.index(str(sample.answer))
    return (_letters(sample)[place] if wording.list_options else sample.options[place],)


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """The option a response chooses by letter or by its text; None where these disagree.

    A bare letter inside a sentence does not count, because "A" is also a word.
    """
    folded = unicodedata.normalize("NFKC", text)
    by_letter = dict(zip(_letters(sample), sample.options, strict=True))
    alone = _ALONE.fullmatch(folded)
    if alone:
        return by_letter.get(alone.group(1).upper())
    led = _LED.fullmatch(folded)
    letters = {led.group(1) or led.group(2)} if led else set()
    letters |= set(_STATED.findall(folded))
    chosen = {by_letter.get(letter) for letter in letters}
    worded = read_label(led.group(3) if led else folded, sample.options)
    if worded is not None and normalise(worded) not in {normalise(c) for c in chosen if c}:
        chosen.add(worded)
    return chosen.pop() if len(chosen) == 1 else None


def _letters(sample: Sample) -> str:
    count = len(sample.options)
    if not 2 <= count <= len(string.ascii_uppercase):
        raise DataError(
            f"Sample {sample.id!r} has {count} options; multiple choice takes 2 to "
            f"{len(string.ascii_uppercase)}."
        )
    return string.ascii_uppercase[:count]
