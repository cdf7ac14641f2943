"""Closed accuracy: the share of closed questions answered right, open ones left out.

A row is closed (`is_closed`) where its `answer_type` says so; without that fact, where it has options
or its reference is yes or no. NaN where no row is closed.

`closed_accuracy`: what the response states is the reference. Where the reference is yes or no, a
response states the one that it opens with, else the only one of both that it holds as a word with
nothing negated ("not enlarged" states neither). Elsewhere it states the one option that it names
(`residency.text.read_label`), or the reference itself where no options are known. Ambiguity is wrong.

`@strict`: the whole response is the reference, case, spaces and final punctuation aside.

`@llava-med`: LLaVA-Med v1.0.0's rule, which AdaMLLM keeps. After `normalise_vqa`, right iff the
response contains "yes" or "no" *as a substring* and contains the reference as a substring. So "normal"
answers no, "yes and no" is right either way, and a reference that is neither can hardly be hit.

`closed_parse_rate`: the share of closed questions whose response states an answer at all.
"""

import re
from collections.abc import Callable

from residency.metric import Parts, Ratio, response, written
from residency.text import normalise, normalise_vqa, read_label
from residency.types import Prediction

YES = ("yes", "是", "是的", "有", "对", "正确", "存在")
NO = ("no", "否", "不是", "没有", "无", "不", "不对", "错误", "不存在")
_CLOSED = {"closed", "close", "yes/no", "yesno", "binary", "choice"}
_OPEN = {"open", "open-ended", "other", "number", "free"}
# The longest word first, so that 不是 is not read as 是.
_OPENS = re.compile(
    r"(?:(yes|no)(?![\w-])|("
    + "|".join(sorted((*YES[1:], *NO[1:]), key=len, reverse=True))
    + r")(?:$|[,.;:!\s]))"
)


def is_closed(prediction: Prediction) -> bool:
    """Whether the question has a closed set of answers."""
    kind = normalise(str(prediction.facts.get("answer_type", "")))
    if kind in _CLOSED or kind in _OPEN:
        return kind in _CLOSED
    return (
        bool(prediction.facts.get("options"))
        or _polarity(written(prediction.reference)) is not None
    )


def _polarity(text: str) -> str | None:
    """Yes or no where the whole text is one of them."""
    norm = normalise(text)
    return "yes" if norm in YES else "no" if norm in NO else None


def stated(prediction: Prediction) -> str | None:
    """The answer that the response to a closed question states, normalised, else None."""
    said, reference = response(prediction), written(prediction.reference)
    if _polarity(reference) is not None:
        opens = _OPENS.match(normalise(said))
        return _polarity(
            opens.group(0).strip(" ,.;:!") if opens else read_label(said, ("yes", "no")) or ""
        )
    options = prediction.facts.get("options") or (reference,)
    label = read_label(said, options)
    return None if label is None else normalise(label)


def _right(prediction: Prediction) -> Parts:
    reference = written(prediction.reference)
    wanted = _polarity(reference) or normalise(reference)
    return stated(prediction) == wanted, 1


def _strict(prediction: Prediction) -> Parts:
    return normalise(response(prediction)) == normalise(written(prediction.reference)), 1


def _llava_med(prediction: Prediction) -> Parts:
    said = normalise_vqa(response(prediction).lower())
    true = normalise_vqa(written(prediction.reference).lower())
    return ("yes" in said or "no" in said) and true in said, 1


def _parsed(prediction: Prediction) -> Parts:
    return stated(prediction) is not None, 1


def _closed(id: str, parts: Callable[[Prediction], Parts]) -> Ratio:
    return Ratio(id=id, parts=lambda p: parts(p) if is_closed(p) else (0, 0))


metrics = (
    _closed("closed_accuracy", _right),
    _closed("closed_accuracy@strict", _strict),
    _closed("closed_accuracy@llava-med", _llava_med),
    _closed("closed_parse_rate", _parsed),
)
