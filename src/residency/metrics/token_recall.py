"""Token recall and precision: the share of the reference's distinct words that a response holds.

`token_recall`: |said and true| / |true| over the sets of words, so repeating a word gains nothing;
`token_precision`: the same over |said|. Words as `residency.text.words`, Chinese by character. Recall
rewards saying everything: quote both, or `token_f1`. Unparsed answers score 0, two empty texts 1.
"""

from residency.metric import Parts, Ratio, written
from residency.text import words
from residency.types import Prediction


def shares(said: str, true: str) -> tuple[float, float]:
    """Recall and precision of the sets of words; 1 where the divisor is empty, as is the other."""
    found, wanted = set(words(said)), set(words(true))
    shared = len(found & wanted)
    recall = shared / len(wanted) if wanted else float(not found)
    precision = shared / len(found) if found else float(not wanted)
    return recall, precision


def _recall(prediction: Prediction) -> Parts:
    if prediction.answer is None:
        return 0, 1
    return shares(written(prediction.answer), written(prediction.reference))[0], 1


def _precision(prediction: Prediction) -> Parts:
    if prediction.answer is None:
        return 0, 1
    return shares(written(prediction.answer), written(prediction.reference))[1], 1


metrics = (
    Ratio(id="token_recall", parts=_recall),
    Ratio(id="token_precision", parts=_precision),
)
