"""Choice accuracy: the share of multiple-choice questions answered right, by several rules of reading.

Options are lettered A, B, ... in the order in which they were asked (the fact `options`; else the keys
of `scores`); a reference is an option or its letter.

`choice_accuracy`: the answer that the task read is the reference; unparsed is wrong, and counted.
`@strict`: the whole response is the letter ("B", "(B)", "B.") or the option, nothing around it.
`@likelihood`: the option with the largest score (summed log-likelihood); needs no reading.
`@mmmu`: the MMMU rule, which AdaMLLM keeps for PMC-VQA: letters in brackets, "(B)"; else letters between
spaces, " B "; else, in responses of more than five words, the text of an option; of several the last
one counts; of none a *random* option, drawn here with the sample's name as seed. "**B**" is a random
guess, and "A chest X-ray shows ..." answers A.
`@m3d`: M3D-VQA's rule: the response contains the right letter and a full stop, "B.", anywhere.

`parse_rate` and `accuracy_given_parsed` (their own files) tell format from knowledge.
"""

import random
import string
from collections.abc import Callable, Sequence

from residency.errors import DataError, UsageError
from residency.metric import Parts, Ratio, response, written
from residency.text import normalise
from residency.types import Prediction

LETTERS = string.ascii_uppercase


def options_of(prediction: Prediction, metric_id: str) -> list[str]:
    """The options in the order in which they were asked.

    Raises:
        UsageError: the prediction carries none.
    """
    options = list(prediction.facts.get("options") or prediction.scores)
    if not 2 <= len(options) <= len(LETTERS):
        raise UsageError(
            f"{metric_id} needs the options of sample {prediction.sample!r}, and it carries "
            f"{len(options)}. Declare `options` (2 to {len(LETTERS)} of them)."
        )
    return options


def place(answer: str, options: Sequence[str]) -> int | None:
    """Which option an answer is, given as its text or as its letter."""
    normed = [normalise(option) for option in options]
    if normalise(answer) in normed:
        return normed.index(normalise(answer))
    letter = LETTERS.find(answer.strip(" ().:").upper() or " ")
    return letter if 0 <= letter < len(options) and len(answer.strip(" ().:")) == 1 else None


def mmmu(said: str, options: Sequence[str], seed: str, signs: Sequence[str] = LETTERS) -> int:
    """The option that MMMU's parser reads, or a random one; `signs` are what stands for options."""
    for sign in ",.!?;:'":
        said = said.strip(sign)
    padded = f" {said} "
    for pattern in ("({})", " {} "):
        found = [padded.rfind(pattern.format(signs[i])) for i in range(len(options))]
        if max(found) >= 0:
            return found.index(max(found))
    if len(padded.split()) > 5:
        found = [padded.lower().rfind(option.lower()) for option in options]
        if max(found) >= 0:
            return found.index(max(found))
    return random.Random(seed).randrange(len(options))


def _strict(prediction: Prediction, options: Sequence[str]) -> int | None:
    return place(response(prediction).strip(), options)


def _mmmu(prediction: Prediction, options: Sequence[str]) -> int | None:
    return mmmu(response(prediction), options, prediction.sample)


def _likelihood(prediction: Prediction, options: Sequence[str]) -> int | None:
    if not prediction.scores:
        if prediction.answer is None:  # a diverged model, counted as unparsed
            return None
        raise UsageError(
            f"choice_accuracy@likelihood needs `scores`, and sample {prediction.sample!r} has none. "
            "Evaluate with mode=likelihood."
        )
    return place(max(prediction.scores, key=prediction.scores.__getitem__), options)


def _chosen(id: str, choose: Callable[[Prediction, Sequence[str]], int | None]) -> Ratio:
    def parts(prediction: Prediction) -> Parts:
        options = options_of(prediction, id)
        return choose(prediction, options) == _reference(prediction, options), 1

    return Ratio(id=id, parts=parts)


def _reference(prediction: Prediction, options: Sequence[str]) -> int:
    right = place(written(prediction.reference), options)
    if right is None:
        raise DataError(
            f"Sample {prediction.sample!r} has reference {prediction.reference!r}, which is neither "
            f"one of its options nor a letter: {', '.join(options)}."
        )
    return right


def _read(prediction: Prediction) -> Parts:
    if not isinstance(prediction.answer, str):
        return 0, 1
    options = prediction.facts.get("options") or list(prediction.scores)
    said, true = prediction.answer, written(prediction.reference)
    if options and place(true, options) is not None:
        return place(said, options) == place(true, options), 1
    return normalise(said) == normalise(true), 1


def _m3d(prediction: Prediction) -> Parts:
    options = options_of(prediction, "choice_accuracy@m3d")
    return f"{LETTERS[_reference(prediction, options)]}." in response(prediction), 1


metrics = (
    Ratio(id="choice_accuracy", parts=_read),
    _chosen("choice_accuracy@strict", _strict),
    _chosen("choice_accuracy@likelihood", _likelihood),
    _chosen("choice_accuracy@mmmu", _mmmu),
    Ratio(id="choice_accuracy@m3d", parts=_m3d),
)
