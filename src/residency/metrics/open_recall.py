"""Open recall: how much of the reference the responses to open questions hold, closed ones left out.

A row is open where it is not closed (`closed_accuracy.is_closed`); NaN where no row is open.

`open_recall`: token recall over distinct words (`token_recall`).

`@llava-med`: the recall of LLaVA-Med v1.0.0's `calculate_f1score`, which AdaMLLM and LLaVA-Med print
for the open questions of VQA-RAD, SLAKE and PathVQA (times 100). Both texts pass `normalise_vqa` twice,
as its evaluation does. With words counted, tp is the count *in the response* of every shared word, fp
that of the words only said, fn the count in the reference of the words not said: recall tp / (tp + fn),
so repeating a right word raises it. `open_precision@llava-med` and `open_f1@llava-med` are the other two
numbers of the same function. An empty side scores 0.
"""

from collections import Counter
from collections.abc import Callable

from residency.metric import Parts, Ratio, response, written
from residency.metrics.closed_accuracy import is_closed
from residency.metrics.token_recall import shares
from residency.text import normalise_vqa
from residency.types import Prediction


def llava_med(said: str, true: str) -> tuple[float, float, float]:
    """Precision, recall and F1 of LLaVA-Med v1.0.0."""
    found, wanted = (
        Counter(normalise_vqa(normalise_vqa(text.lower())).split()) for text in (said, true)
    )
    hits = sum(count for word, count in found.items() if word in wanted)
    if not hits:
        return 0.0, 0.0, 0.0
    missed = sum(count for word, count in wanted.items() if word not in found)
    precision, recall = hits / found.total(), hits / (hits + missed)
    return precision, recall, 2 * precision * recall / (precision + recall)


def _distinct(prediction: Prediction) -> float:
    if prediction.answer is None:
        return 0.0
    return shares(written(prediction.answer), written(prediction.reference))[0]


def _number(which: int) -> Callable[[Prediction], float]:
    return lambda p: llava_med(response(p), written(p.reference))[which]


def _open(id: str, score: Callable[[Prediction], float]) -> Ratio:
    def parts(prediction: Prediction) -> Parts:
        return (0, 0) if is_closed(prediction) else (score(prediction), 1)

    return Ratio(id=id, parts=parts)


metrics = (
    _open("open_recall", _distinct),
    _open("open_precision@llava-med", _number(0)),
    _open("open_recall@llava-med", _number(1)),
    _open("open_f1@llava-med", _number(2)),
)
